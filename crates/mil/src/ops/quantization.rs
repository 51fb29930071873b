//! Quantization of activations.

use super::{
    OpError, OpSpec, Param, View,
    dims::{axis, one},
    domain::{FLOAT, IOS17},
};
use crate::types::Type;
use host_tensor::DType::{self, I8, U8};

const BYTES: &[DType] = &[I8, U8];

/// clip(round(input / scale) + `zero_point`); scalars, or vectors along `axis`.
const QUANTIZE: &[Param] = &[
    Param::tensor("input", 'S', FLOAT),
    Param::tensor("zero_point", 'D', BYTES).constant().optional(),
    Param::tensor("scale", 'S', FLOAT).constant(),
    Param::int("axis").optional(),
    Param::text("output_dtype", &["int8", "uint8"]),
];

/// scale · (input - `zero_point`).
const DEQUANTIZE: &[Param] = &[
    Param::tensor("input", 'S', BYTES),
    Param::tensor("zero_point", 'S', BYTES).constant().optional(),
    Param::tensor("scale", 'D', FLOAT).constant(),
    Param::int("axis").optional(),
];

pub(super) const SPECS: &[OpSpec] =
    &[OpSpec::new("quantize", IOS17, QUANTIZE, quantize), OpSpec::new("dequantize", IOS17, DEQUANTIZE, dequantize)];

fn quantize(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let dtype = if o.known_text("output_dtype")? == "int8" { I8 } else { U8 };
    if let Some(zero_point) = o.optional_tensor("zero_point") {
        ensure!(zero_point.dtype == dtype, "zero_point {zero_point} must be of output_dtype {dtype}");
    }
    check_scale(o)?;
    one(dtype, o.tensor("input")?.shape.clone())
}

fn dequantize(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    check_scale(o)?;
    one(o.tensor("scale")?.dtype, o.tensor("input")?.shape.clone())
}

/// Scale and zero point are both scalars without an axis, or both vectors along it.
fn check_scale(o: &View<'_>) -> Result<(), OpError> {
    let (input, scale) = (o.tensor("input")?, o.tensor("scale")?);
    let along = if o.has("axis") { Some(axis(o.known_int("axis")?, input.rank())?) } else { None };
    match (scale.rank(), along) {
        (0, None) => {}
        (0, Some(_)) => fail!("axis goes with a vector of scales only, not with {scale}"),
        (1, Some(a)) => {
            ensure!(scale.shape[0].agrees(input.shape[a]), "scale {scale} does not fit axis {a} of {input}")
        }
        (1, None) => fail!("scale {scale} needs an axis"),
        _ => fail!("scale {scale} must be a scalar or a vector"),
    }
    if let Some(zero_point) = o.optional_tensor("zero_point") {
        ensure!(zero_point.shape == scale.shape, "zero_point {zero_point} and scale {scale} differ in shape");
    }
    Ok(())
}
