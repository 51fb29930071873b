//! Quantization beside what coremltools makes of the same weights.

use super::*;

const AXES: Axes = Axes { output: 0, input: 1 };

fn run(values: &[f32], shape: &[usize], dtype: DType, symmetric: bool, blocks: Blocks) -> Affine {
    let how = Quantize { dtype, symmetric, blocks };
    quantize(&HostTensor::from_f32(shape, values.to_vec()), &how, AXES).unwrap()
}

const W: [f32; 8] = [0.11, 0.19, 0.3, 0.08, 0.0, 0.02, -0.5, 0.25];

/// Results of coremltools 9.0 for `W` as [2, 4], a scale per row.
#[test]
fn rows_are_quantized_as_coremltools_does() {
    type Case = (DType, bool, [i64; 8], [f32; 2], Option<[i64; 2]>);
    let sym8 = [0.002_362_204_7, 0.003_937_008];
    let cases: [Case; 8] = [
        (DType::I8, true, [47, 80, 127, 34, 0, 5, -127, 64], sym8, None),
        (DType::U8, true, [174, 207, 254, 161, 127, 132, 0, 191], sym8, Some([127, 127])),
        (DType::I4, true, [3, 4, 7, 2, 0, 0, -7, 3], [0.042_857_144, 0.071_428_575], None),
        (DType::U4, true, [10, 11, 14, 9, 7, 7, 0, 10], [0.042_857_144, 0.071_428_575], Some([7, 7])),
        (
            DType::I8,
            false,
            [-35, 33, 127, -60, 42, 49, -128, 127],
            [0.001_176_470_7, 0.002_941_176_5],
            Some([-128, 42]),
        ),
        (DType::U8, false, [93, 161, 255, 68, 170, 177, 0, 255], [0.001_176_470_7, 0.002_941_176_5], Some([0, 170])),
        (DType::I4, false, [-3, 1, 7, -4, 2, 2, -8, 7], [0.02, 0.05], Some([-8, 2])),
        (DType::U4, false, [5, 9, 15, 4, 10, 10, 0, 15], [0.02, 0.05], Some([0, 10])),
    ];
    for (dtype, symmetric, data, scale, offset) in cases {
        let a = run(&W, &[2, 4], dtype, symmetric, Blocks::PerChannel);
        assert_eq!(a.data.to_i64_vec(), data, "{dtype:?} {symmetric}");
        for (ours, theirs) in a.scale.to_f32_vec().iter().zip(scale) {
            assert!((ours - theirs).abs() <= theirs * 1e-6, "{dtype:?} {symmetric}: {ours} {theirs}");
        }
        assert_eq!(a.offset.map(|o| o.to_i64_vec()), offset.map(|o| o.to_vec()), "{dtype:?} {symmetric}");
    }
}

#[test]
fn blocks_have_scales_of_their_own() {
    let a = run(&W, &[2, 4], DType::I8, true, Blocks::PerBlock { size: 2 });
    assert_eq!(a.scale.shape(), [2, 2]);
    let wanted = [0.001_496_06, 0.002_362_2, 0.000_157_48, 0.003_937_01];
    assert!(a.scale.to_f32_vec().iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-8));
    let how = Quantize { dtype: DType::I8, symmetric: true, blocks: Blocks::PerBlock { size: 3 } };
    let error = quantize(&HostTensor::from_f32([2, 4], W.to_vec()), &how, AXES).unwrap_err();
    assert_eq!(error, "4 input channels do not divide into blocks of 3");
}

#[test]
fn zeros_stay_zeros_and_extremes_stay_finite() {
    let tiny = f16::MIN_POSITIVE_SUBNORMAL.to_f32();
    let rows = [[0.0, 0.0], [tiny, -tiny], [65504.0, -65504.0], [-65504.0, 3.0], [5.0, 5.0], [-0.0, 600.0]];
    for dtype in [DType::I8, DType::U8, DType::I4, DType::U4] {
        for symmetric in [true, false] {
            let how = Quantize { dtype, symmetric, blocks: Blocks::PerChannel };
            let w = HostTensor::from_f16([6, 2], rows.as_flattened());
            let a = quantize(&w, &how, AXES).unwrap();
            let scales = a.scale.to_f32_vec();
            assert!(scales.iter().all(|s| s.is_finite() && *s > 0.0), "{dtype:?} {symmetric}: {scales:?}");
            let decoded = Encoded::Affine(a).decode().to_f32_vec();
            assert_eq!(decoded[..2], [0.0, 0.0]);
            for (i, (d, w)) in decoded.iter().zip(rows.as_flattened()).enumerate() {
                // Half a step, half a one more for the rounding of the offset, and what that of the scale adds up to.
                let bound = scales[i / 2] * if symmetric { 0.52 } else { 1.05 } + w.abs() * 2e-3;
                assert!((d - w).abs() <= bound || (d - w).abs() <= 2.0 * tiny, "{dtype:?} {symmetric} {w}: {d}");
            }
        }
    }
}

use crate::Encoded;

#[test]
fn weights_that_are_not_finite_are_left() {
    let how = Quantize { dtype: DType::I8, symmetric: true, blocks: Blocks::PerTensor };
    for bad in [f32::NAN, f32::INFINITY] {
        assert!(quantize(&HostTensor::from_f32([1, 2], vec![1.0, bad]), &how, AXES).is_err());
    }
}
