//! Burn's element types and literals in MIL's terms.

use burn::backend::ir::{ScalarIr, TensorIr};
use burn::tensor::TensorData;
use host_tensor::HostTensor;
use mil::{Bytes, Const, DType, Literal, TensorType, Type};

/// The MIL element type for a Burn one.
///
/// Core ML computes with 32-bit integers, so every integer type becomes `int32`; literals that do not fit are
/// an error where they stand.
pub(crate) fn dtype(dtype: burn::tensor::DType) -> Result<DType, String> {
    use burn::tensor::DType as Burn;
    match dtype {
        Burn::F32 | Burn::Flex32 => Ok(DType::F32),
        Burn::F16 => Ok(DType::F16),
        Burn::I64 | Burn::I32 | Burn::I16 | Burn::I8 | Burn::U64 | Burn::U32 | Burn::U16 | Burn::U8 => Ok(DType::I32),
        Burn::Bool(_) => Ok(DType::Bool),
        other => Err(format!("{other:?}")),
    }
}

/// The MIL type for a recorded tensor.
pub(crate) fn tensor_type(tensor: &TensorIr) -> Result<Type, String> {
    Ok(Type::Tensor(TensorType::fixed(dtype(tensor.dtype)?, &tensor.shape)))
}

/// A recorded scalar as a literal of the given element type.
///
/// # Errors
/// The value, when it does not fit.
pub(crate) fn scalar(value: ScalarIr, dtype: DType) -> Result<Literal, String> {
    match dtype {
        DType::Bool => Ok(Literal::bool(as_f64(value) != 0.0)),
        DType::I32 => integer(value).map(Literal::int),
        // The rounding to f32 is what Burn does with the scalar too.
        _ => Ok(Literal::Tensor(Const::new(HostTensor::from_f32([], vec![as_f64(value) as f32])).cast(dtype))),
    }
}

fn integer(value: ScalarIr) -> Result<i32, String> {
    let fits = match value {
        ScalarIr::Int(i) => i32::try_from(i).ok(),
        ScalarIr::UInt(u) => i32::try_from(u).ok(),
        ScalarIr::Bool(b) => Some(i32::from(b)),
        ScalarIr::Float(x) if x.fract() == 0.0 && x.abs() < 2_147_483_648.0 => Some(x as i32),
        ScalarIr::Float(_) => None,
    };
    fits.ok_or_else(|| format!("{value:?}"))
}

/// A recorded scalar as a number.
pub(crate) fn as_f64(value: ScalarIr) -> f64 {
    match value {
        ScalarIr::Float(x) => x,
        ScalarIr::Int(i) => i as f64,
        ScalarIr::UInt(u) => u as f64,
        ScalarIr::Bool(b) => f64::from(u8::from(b)),
    }
}

/// Data that `forward` made itself, such as a causal mask, as a constant.
///
/// # Errors
/// The type or value that MIL cannot hold.
pub(crate) fn constant(data: &TensorData) -> Result<Const, String> {
    let shape: Vec<usize> = data.shape().to_vec();
    let tensor = match dtype(data.dtype())? {
        DType::F32 => HostTensor::from_f32(shape, data.iter::<f32>().collect()),
        DType::I32 => {
            let values: Result<Vec<i32>, String> =
                data.iter::<i64>().map(|i| i32::try_from(i).map_err(|_| i.to_string())).collect();
            HostTensor::from_i32(shape, values?)
        }
        DType::Bool => HostTensor::from_bool(shape, &data.iter::<bool>().collect::<Vec<_>>()),
        other => {
            let bytes = Bytes::copy_from_slice(data.as_bytes());
            HostTensor::new(other, shape, bytes).map_err(|e| e.to_string())?
        }
    };
    Ok(Const::new(tensor))
}
