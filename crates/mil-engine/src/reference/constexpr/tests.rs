//! Tests of weight decoding, with values worked out by hand.

use crate::reference::testing::{counting, eval, f, floats, i, ints};
use host_tensor::{Bytes, DType, HostTensor, pack_bits};

/// Packed integers of any width.
fn packed(dtype: DType, shape: &[usize], values: &[i32]) -> HostTensor {
    i(shape, values).cast(dtype)
}

fn bytes(values: &[u8]) -> HostTensor {
    HostTensor::new(DType::U8, [values.len()], Bytes::copy_from_slice(values)).unwrap()
}

#[test]
fn packed_indices_look_up_one_table() {
    // Golden vector of the format: six-bit codes 1, 2, 63, 32, 5.
    let lut = counting([64]);
    let got = floats!(
        "constexpr_lut_to_dense",
        indices = bytes(&[0x81, 0xF0, 0x83, 0x05]),
        lut = lut,
        shape = packed(DType::U32, &[2], &[1, 5])
    );
    assert_eq!(got, (vec![1, 5], vec![1., 2., 63., 32., 5.]));
    let codes: Vec<u8> = (0..40_000u32).map(|i| (i * 7 % 16) as u8).collect();
    let got = floats!(
        "constexpr_lut_to_dense",
        indices = bytes(&pack_bits(&codes, 4)),
        lut = counting([16]),
        shape = i([1], &[40_000])
    );
    assert!(got.1.iter().zip(&codes).all(|(v, c)| *v == f32::from(*c)));
}

#[test]
fn tables_of_other_sizes_and_short_indices_are_faults() {
    let shape = || i([1], &[8]);
    assert!(eval!("constexpr_lut_to_dense", indices = bytes(&[0; 3]), lut = counting([8]), shape = shape()).is_err());
    assert!(eval!("constexpr_lut_to_dense", indices = bytes(&[0; 3]), lut = counting([16]), shape = shape()).is_err());
    assert!(eval!("constexpr_lut_to_dense", indices = bytes(&[0; 4]), lut = counting([0]), shape = shape()).is_err());
}

#[test]
fn integer_tables_give_integers() {
    let got = ints!("constexpr_lut_to_dense", indices = bytes(&[0b01]), lut = i([2], &[-3, 7]), shape = i([1], &[2]));
    assert_eq!(got.1, [7, -3]);
}

#[test]
fn blocks_have_their_own_tables() {
    // Two groups along axis 0 of a [4, 1] tensor of two-bit indices.
    let indices = packed(DType::U2, &[4, 1], &[0, 3, 0, 3]);
    let lut = f([2, 1, 4, 1], &[0., 1., 2., 3., 10., 11., 12., 13.]);
    let got = floats!("constexpr_lut_to_dense", indices = indices, lut = lut);
    assert_eq!(got, (vec![4, 1], vec![0., 3., 10., 13.]));
    let indices = packed(DType::U1, &[3], &[0, 1, 0]);
    assert!(eval!("constexpr_lut_to_dense", indices = indices, lut = counting([2, 2, 1])).is_err());
}

#[test]
fn vectors_spread_along_their_axis() {
    let indices = || packed(DType::U1, &[2, 2], &[0, 1, 1, 0]);
    let lut = || f([1, 1, 2, 2], &[1., 2., 3., 4.]);
    let got = floats!("constexpr_lut_to_dense", indices = indices(), lut = lut(), vector_axis = 0);
    assert_eq!(got, (vec![4, 2], vec![1., 3., 2., 4., 3., 1., 4., 2.]));
    let got = floats!("constexpr_lut_to_dense", indices = indices(), lut = lut(), vector_axis = -1);
    assert_eq!(got, (vec![2, 4], vec![1., 2., 3., 4., 3., 4., 1., 2.]));
}

#[test]
fn sparse_masks_of_both_generations() {
    let got = floats!(
        "constexpr_sparse_to_dense",
        nonzero_data = f([2], &[5., 6.]),
        mask = bytes(&[0b0000_0110]),
        shape = i([2], &[2, 2])
    );
    assert_eq!(got, (vec![2, 2], vec![0., 5., 6., 0.]));
    let mask = || packed(DType::U1, &[3], &[1, 0, 1]);
    let got = floats!("constexpr_sparse_to_dense", nonzero_data = f([2], &[5., 6.]), mask = mask());
    assert_eq!(got, (vec![3], vec![5., 0., 6.]));
    assert!(eval!("constexpr_sparse_to_dense", nonzero_data = f([1], &[5.]), mask = mask()).is_err());
}

#[test]
fn looked_up_non_zeros_come_in_dense_order() {
    let mask = packed(DType::U1, &[2, 2], &[1, 0, 1, 1]);
    let codes = packed(DType::U1, &[3], &[0, 1, 0]);
    let lut = f([1, 1, 2, 2], &[1., 2., 3., 4.]);
    let got =
        eval!("constexpr_lut_to_sparse", indices_mask = mask, indices_nonzero_data = codes, lut = lut, vector_axis = 0);
    let got = got.unwrap();
    assert_eq!((got[0].shape(), got[0].to_i64_vec()), (&[4, 2][..], vec![1, 0, 1, 0, 1, 1, 1, 1]));
    assert_eq!(got[1].to_f32_vec(), [1., 2., 3., 1., 4., 2.]);
    let mask = got[0].cast(DType::U1);
    let dense = floats!("constexpr_sparse_to_dense", nonzero_data = got[1].clone(), mask = mask);
    assert_eq!(dense, (vec![4, 2], vec![1., 0., 2., 0., 3., 1., 4., 2.]));
}

#[test]
fn affine_scales_belong_to_an_axis() {
    let data = || packed(DType::I8, &[2, 2], &[-128, 0, 1, 127]);
    let zeros = packed(DType::I8, &[2], &[0, 1]);
    let got = floats!(
        "constexpr_affine_dequantize",
        quantized_data = data(),
        zero_point = zeros,
        scale = f([2], &[1., 0.5]),
        axis = 0
    );
    assert_eq!(got, (vec![2, 2], vec![-128., 0., 0., 63.]));
    let got = floats!("constexpr_affine_dequantize", quantized_data = data(), zero_point = 0.5, scale = 2.0, axis = 1);
    assert_eq!(got.1, [-257., -1., 1., 253.]);
    let bad = f([3], &[1.; 3]);
    assert!(
        eval!("constexpr_affine_dequantize", quantized_data = data(), zero_point = 0.0, scale = bad, axis = 0).is_err()
    );
}

#[test]
fn blockwise_scales_cover_their_blocks() {
    let data = || packed(DType::I4, &[2, 4], &[-8, 7, 1, 2, 3, 4, 5, 6]);
    let got = floats!("constexpr_blockwise_shift_scale", data = data(), scale = f([2, 2], &[1., 10., 100., 1000.]));
    assert_eq!(got, (vec![2, 4], vec![-8., 7., 10., 20., 300., 400., 5000., 6000.]));
    let offset = packed(DType::I4, &[1, 1], &[1]);
    let got = floats!("constexpr_blockwise_shift_scale", data = data(), scale = f([1, 1], &[2.]), offset = offset);
    assert_eq!(got.1, [-18., 12., 0., 2., 4., 6., 8., 10.]);
    assert!(eval!("constexpr_blockwise_shift_scale", data = data(), scale = counting([1, 3])).is_err());
    assert!(eval!("constexpr_blockwise_shift_scale", data = data(), scale = counting([0, 4])).is_err());
}

#[test]
fn sparse_blocks_are_chosen_by_the_dense_position() {
    let mask = packed(DType::U1, &[2, 2], &[0, 1, 1, 1]);
    let got = eval!(
        "constexpr_sparse_blockwise_shift_scale",
        data_mask = mask,
        nonzero_data = packed(DType::I8, &[3], &[1, 2, 3]),
        scale = f([2, 1], &[1., 10.])
    );
    let got = got.unwrap();
    assert_eq!(got[0].to_i64_vec(), [0, 1, 1, 1]);
    assert_eq!(got[1].to_f32_vec(), [1., 20., 30.]);
}

#[test]
fn a_stored_half_becomes_a_float() {
    let half = HostTensor::from_f16([2], &[0.1, -3.0]);
    let got = floats!("constexpr_cast", source_val = half, output_dtype = "fp32");
    assert_eq!(got.1, [0.099_975_586, -3.0]);
}
