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

#[test]
fn sums_add_products_whatever_rows_are_asked_for() {
    let base = tensor(&[3, 2, 1, 2], DType::BF16);
    let added = LowRank { up: tensor(&[3, 2], DType::F16), down: tensor(&[2, 2, 1, 2], DType::F32), scale: 0.5 };
    let (up, down) = (added.up.to_f32_vec(), added.down.to_f32_vec());
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
    let product = |up: &[usize], down: &[usize]| LowRank {
        up: tensor(up, DType::F32),
        down: tensor(down, DType::F32),
        scale: 1.0,
    };
    for (up, down) in [(&[6, 2], &[2, 5]), (&[5, 2], &[2, 4]), (&[6, 3], &[2, 4]), (&[4, 3], &[2, 4])] {
        let error = Weight::sum(whole.clone().into(), vec![product(up, down)]).unwrap_err();
        assert!(matches!(error, WeightError::LowRank { .. }), "{error}");
    }
    let ints = HostTensor::from_f32([6, 4], vec![0.0; 24]).cast(DType::I32);
    assert_eq!(Weight::sum(ints.into(), Vec::new()).unwrap_err(), WeightError::Type(DType::I32));
}
