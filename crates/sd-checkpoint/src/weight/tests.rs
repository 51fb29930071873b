//! Weights against the plain formulas.

use super::*;

fn tensor(shape: &[usize], dtype: DType) -> HostTensor {
    let n = shape.iter().product::<usize>();
    HostTensor::from_f32(shape.to_vec(), (0..n).map(|i| i as f32 * 0.25 - 3.0).collect::<Vec<f32>>()).cast(dtype)
}

#[test]
fn rows_transpositions_and_joins_read_as_what_they_are() {
    let whole = tensor(&[6, 4], DType::F16);
    let rows = |r: Range<usize>| Weight::rows_of(&whole, r).unwrap();
    assert_eq!(rows(1..3).constant().read().to_f32_vec(), whole.to_f32_vec()[4..12]);
    let joined = Weight::joined(vec![rows(0..2), rows(2..2), rows(2..5), rows(5..6)]).unwrap();
    assert_eq!((joined.dtype(), joined.shape()), (DType::F16, vec![6, 4]));
    assert_eq!(joined.constant().read().bytes(), whole.bytes());
    let turned = Weight::transposed(whole.clone()).unwrap();
    assert_eq!(turned.shape(), [4, 6]);
    let twice = Weight::joined(vec![turned.clone(), turned.clone()]).unwrap().constant().read();
    let once = turned.constant().read().to_f32_vec();
    assert_eq!(twice.to_f32_vec(), [once.clone(), once].concat());
    let mixed = Weight::joined(vec![whole.clone().into(), tensor(&[1, 4], DType::F32).into()]).unwrap();
    assert_eq!(mixed.dtype(), DType::F32);
    assert_eq!(mixed.constant().read().to_f32_vec()[..24], whole.to_f32_vec());
}

fn product(left: &[usize], right: &[usize]) -> Matrix {
    Matrix::product(tensor(left, DType::F16), tensor(right, DType::F32)).unwrap()
}

#[test]
fn sums_add_products_whatever_rows_are_asked_for() {
    let base = tensor(&[3, 2, 1, 2], DType::BF16);
    let (up, down) = (tensor(&[3, 2], DType::F16), tensor(&[2, 2, 1, 2], DType::F32));
    let added = Delta::matrix(Matrix::product(up.clone(), down.clone()).unwrap(), 0.5);
    let (up, down) = (up.to_f32_vec(), down.to_f32_vec());
    let expected: Vec<f32> = (0..12)
        .map(|i| {
            let product: f32 = (0..2).map(|r| up[i / 4 * 2 + r] * 0.5 * down[r * 4 + i % 4]).sum();
            base.to_f32_vec()[i] + product
        })
        .collect();
    let sum = Weight::sum(base.into(), vec![added]).unwrap();
    assert_eq!((sum.dtype(), sum.shape()), (DType::F32, vec![3, 2, 1, 2]));
    assert_eq!(sum.constant().read().to_f32_vec(), expected);
    assert_eq!(sum.values(1..2), expected[4..8]);
    let joined = Weight::joined(vec![sum.clone(), sum]).unwrap();
    assert_eq!(joined.values(2..4), [&expected[8..], &expected[..4]].concat());
}

/// Every kind of matrix of six rows and eight columns, two inputs by a kernel of four.
fn kinds() -> Vec<(&'static str, Delta)> {
    let core = tensor(&[3, 5, 2, 2], DType::F16);
    let tucker = Matrix::tucker(tensor(&[6, 3, 1, 1], DType::F32), core.clone(), tensor(&[5, 2], DType::F32)).unwrap();
    let turned = Matrix::turned_tucker(tensor(&[3, 6], DType::F32), core, tensor(&[5, 2], DType::BF16)).unwrap();
    let whole = Matrix::whole(tensor(&[6, 2, 2, 2], DType::F16)).unwrap();
    let small = Matrix::whole(tensor(&[2, 2], DType::F32)).unwrap();
    let thin = product(&[3, 1], &[1, 4]);
    let kronecker = Delta::kronecker(small, thin, 0.3).unwrap();
    let large = Matrix::whole(tensor(&[18, 8], DType::F32)).unwrap();
    vec![
        ("product", Delta::matrix(product(&[6, 2], &[2, 8]), 0.7)),
        ("whole", Delta::matrix(whole.clone(), -0.5)),
        ("tucker", Delta::matrix(tucker, 0.01)),
        ("hadamard", Delta::hadamard(product(&[6, 2], &[2, 8]), turned, 0.02).unwrap()),
        ("kronecker", kronecker),
        ("pieces", Delta::matrix(large, 1.0).taking(vec![9..12, 2..5]).unwrap()),
    ]
}

/// Rows read one by one, two by two and all at once are the same ones.
#[test]
fn every_kind_is_the_same_whatever_rows_are_asked_for() {
    let base: Weight = tensor(&[6, 2, 2, 2], DType::F16).into();
    let lengths = tensor(&[6, 1, 1, 1], DType::F32);
    let inputs = tensor(&[1, 2, 1, 1], DType::F32);
    for (name, delta) in kinds() {
        let mut weights = vec![Weight::sum(base.clone(), vec![delta.clone()]).unwrap()];
        weights.extend(
            [&lengths, &inputs]
                .map(|lengths| Weight::decomposed(base.clone(), vec![delta.clone(), delta.clone()], lengths).unwrap()),
        );
        for weight in weights {
            let whole = weight.values(0..6);
            for at_a_time in 1..6 {
                let blocks = (0..6).step_by(at_a_time).map(|first| first..6.min(first + at_a_time));
                let blocks: Vec<f32> = blocks.flat_map(|rows| weight.values(rows)).collect();
                testkit::assert_all_close(name, &whole, &blocks, 1e-5, 1e-5);
            }
        }
    }
}

#[test]
fn cores_and_kronecker_products_are_what_their_formulas_say() {
    let base = || HostTensor::from_f32([6, 2, 2, 2], vec![0.0; 48]);
    let value = |name: &str| {
        let (_, delta) = kinds().into_iter().find(|(own, _)| *own == name).unwrap();
        Weight::sum(base().into(), vec![delta]).unwrap().values(0..6)
    };
    let of = |shape: &[usize]| tensor(shape, DType::F32).to_f32_vec();
    let (up, core, down) = (of(&[6, 3]), of(&[3, 5, 4]), of(&[5, 2]));
    let tucker = |o: usize, i: usize, k: usize, up: &dyn Fn(usize, usize) -> f32| -> f32 {
        let terms = (0..3).flat_map(|p| (0..5).map(move |q| (p, q)));
        terms.map(|(p, q)| up(o, p) * core[(p * 5 + q) * 4 + k] * down[q * 2 + i]).sum()
    };
    let every = || (0..6).flat_map(|o| (0..2).flat_map(move |i| (0..4).map(move |k| (o, i, k))));
    let expected: Vec<f32> = every().map(|(o, i, k)| 0.01 * tucker(o, i, k, &|o, p| up[o * 3 + p])).collect();
    testkit::assert_all_close("tucker", &expected, &value("tucker"), 1e-5, 1e-5);
    let (left, right) = (of(&[6, 2]), of(&[2, 8]));
    let product = |o: usize, c: usize| left[o * 2] * right[c] + left[o * 2 + 1] * right[8 + c];
    let hadamard =
        |(o, i, k): (usize, usize, usize)| 0.02 * product(o, i * 4 + k) * tucker(o, i, k, &|o, p| up[p * 6 + o]);
    let expected: Vec<f32> = every().map(hadamard).collect();
    testkit::assert_all_close("hadamard", &expected, &value("hadamard"), 1e-5, 1e-5);
    let (small, a, b) = (of(&[2, 2]), of(&[3, 1]), of(&[1, 4]));
    let kronecker = |(o, i, k): (usize, usize, usize)| 0.3 * small[o / 3 * 2 + i] * a[o % 3] * b[k];
    let expected: Vec<f32> = every().map(kronecker).collect();
    testkit::assert_all_close("kronecker", &expected, &value("kronecker"), 1e-5, 1e-5);
    let large = of(&[18, 8]);
    let expected = [&large[9 * 8..12 * 8], &large[2 * 8..5 * 8]].concat();
    testkit::assert_all_close("pieces", &expected, &value("pieces"), 0.0, 0.0);
}

#[test]
fn decomposed_weights_have_the_lengths_that_are_given() {
    let base: Weight = tensor(&[6, 2, 2, 2], DType::F32).into();
    let delta = Delta::matrix(product(&[6, 2], &[2, 8]), 0.7);
    let lengths: Vec<f32> = (0..6).map(|i| i as f32 + 0.5).collect();
    let rows = HostTensor::from_f32([6, 1, 1, 1], lengths.clone());
    let weight = Weight::decomposed(base.clone(), vec![delta.clone()], &rows).unwrap();
    let norm = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
    let norms: Vec<f32> = weight.values(0..6).chunks(8).map(norm).collect();
    testkit::assert_all_close("rows", &lengths, &norms, 1e-5, 0.0);
    let inputs = HostTensor::from_f32([1, 2], vec![3.0, 4.0]);
    let weight = Weight::decomposed(base.clone(), vec![delta.clone()], &inputs).unwrap();
    let values = weight.values(0..6);
    let of_input = |i: usize| values.chunks(4).skip(i).step_by(2).flatten().copied().collect::<Vec<f32>>();
    testkit::assert_all_close("inputs", &[3.0, 4.0], &[norm(&of_input(0)), norm(&of_input(1))], 1e-5, 0.0);
    // What is added afterwards is not rescaled.
    let more = Weight::sum(weight, vec![delta.clone()]).unwrap().values(0..6);
    let plain = Weight::sum(HostTensor::from_f32([6, 8], vec![0.0; 48]).into(), vec![delta]).unwrap().values(0..6);
    let both: Vec<f32> = values.iter().zip(plain).map(|(a, b)| a + b).collect();
    testkit::assert_all_close("sum", &both, &more, 1e-5, 1e-5);
    let zeros: Weight = HostTensor::from_f32([6, 8], vec![0.0; 48]).into();
    let still = Weight::decomposed(zeros, Vec::new(), &rows).unwrap();
    assert_eq!(still.values(0..6), [0.0; 48]);
    let other = tensor(&[5, 1], DType::F32);
    assert!(matches!(Weight::decomposed(base, Vec::new(), &other), Err(WeightError::Magnitude { .. })));
}

#[test]
fn sums_of_sums_are_one_and_large_ones_are_cut_into_groups() {
    let base: Weight = tensor(&[6, 8], DType::F32).into();
    let delta = |scale| Delta::matrix(product(&[6, 2], &[2, 8]), scale);
    let twice = Weight::sum(Weight::sum(base.clone(), vec![delta(0.5)]).unwrap(), vec![delta(-0.25)]).unwrap();
    let once = Weight::sum(base.clone(), vec![delta(0.25)]).unwrap();
    testkit::assert_all_close("sums", &once.values(0..6), &twice.values(0..6), 1e-5, 1e-5);
    let none = Weight::sum(base.clone(), Vec::new()).unwrap();
    assert_eq!(none.values(0..6), base.values(0..6));
}

#[test]
fn constants_of_clones_are_views_of_one_source() {
    let part: Weight = tensor(&[2, 2], DType::F16).into();
    let joined = Weight::joined(vec![part.clone(), part.clone()]).unwrap();
    assert_eq!(joined.constant().source_id(), joined.clone().constant().source_id());
    assert_eq!(part.constant().source_id(), part.clone().constant().source_id());
    let other = Weight::joined(vec![part.clone(), part]).unwrap();
    assert_ne!(joined.constant().source_id(), other.constant().source_id());
}

#[test]
fn what_does_not_fit_together_is_refused_by_shape() {
    let whole = tensor(&[6, 4], DType::F16);
    assert!(Weight::rows_of(&whole, 5..7).is_err());
    assert!(Weight::rows_of(&HostTensor::from_f32([], vec![1.0]), 0..1).is_err());
    assert!(Weight::transposed(tensor(&[2, 2, 1], DType::F32)).is_err());
    assert_eq!(Weight::joined(Vec::new()).unwrap_err(), WeightError::Empty);
    let error = Weight::joined(vec![whole.clone().into(), tensor(&[6, 5], DType::F16).into()]).unwrap_err();
    assert!(error.to_string().contains("[6, 4] and [6, 5]"), "{error}");
    for (left, right) in [(&[6, 2], &[2, 5]), (&[5, 2], &[2, 4])] {
        let error = Weight::sum(whole.clone().into(), vec![Delta::matrix(product(left, right), 1.0)]).unwrap_err();
        assert!(matches!(error, WeightError::Delta { .. }), "{error}");
    }
    let of = |shape: &[usize]| tensor(shape, DType::F32);
    assert!(Matrix::product(of(&[6, 3]), of(&[2, 4])).is_err());
    assert!(Matrix::product(of(&[]), of(&[2, 4])).is_err());
    assert!(Matrix::tucker(of(&[6, 3]), of(&[2, 4, 1, 1]), of(&[4, 2])).is_err());
    assert!(Matrix::turned_tucker(of(&[3, 6]), of(&[3, 4]), of(&[5, 2])).is_err());
    assert!(Matrix::whole(of(&[6]).cast(DType::I32)).is_err());
    assert!(Delta::hadamard(product(&[6, 1], &[1, 4]), product(&[6, 1], &[1, 5]), 1.0).is_err());
    assert!(Delta::matrix(product(&[6, 1], &[1, 4]), 1.0).taking(std::iter::once(4..7).collect()).is_err());
    let ints = HostTensor::from_f32([6, 4], vec![0.0; 24]).cast(DType::I32);
    assert_eq!(Weight::sum(ints.into(), Vec::new()).unwrap_err(), WeightError::Type(DType::I32));
}

#[test]
fn bounds_hold_and_see_what_leaves_half_precision() {
    let base: Weight = tensor(&[6, 2, 2, 2], DType::F16).into();
    let exceptions = |weight: &Weight| weight.constant().source_exceptions();
    let fits = |weight: &Weight| match weight {
        Weight::Sum(sum) => sum.is_known_to_fit_half(),
        _ => panic!("not a sum"),
    };
    for (name, delta) in kinds() {
        let lengths = tensor(&[6], DType::F32);
        let sums = [
            Weight::sum(base.clone(), vec![delta.clone()]).unwrap(),
            Weight::decomposed(base.clone(), vec![delta.clone()], &lengths).unwrap(),
        ];
        for sum in &sums {
            assert!(fits(sum) && exceptions(sum).is_empty(), "{name}");
        }
        let bound = delta.bound();
        let mut alone = vec![0.0; 48];
        delta.add(0..6, &mut alone);
        assert!(alone.iter().all(|x| x.abs() <= bound * 1.0001), "{name}: {bound} {alone:?}");
    }
    let large = |value: f32| HostTensor::from_f32([6, 1], vec![value; 6]);
    let by = |value: f32| {
        let delta = Matrix::product(large(value), HostTensor::from_f32([1, 8], vec![1.0; 8])).unwrap();
        Weight::sum(base.clone(), vec![Delta::matrix(delta, 1.0)]).unwrap()
    };
    for value in [70_000.0, f32::INFINITY, f32::NAN] {
        assert!(!fits(&by(value)) && !exceptions(&by(value)).is_empty(), "{value}");
    }
    assert!(fits(&by(60_000.0)));
}
