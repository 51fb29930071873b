//! Literals from messages: what a value's type says against what is there.

use std::{collections::BTreeMap, sync::Arc};

use coremltools_proto::mil_spec::{self as pb, tensor_value as tensor, value};
use mil::{Bytes, Const, DType, HostTensor, Literal, TensorType, Type};

use super::{WeightFiles, weights::WeightError};
use crate::{
    error::{Error, ModelFault, model_error},
    types,
};

/// Where a value stands, for messages; called only when something is wrong.
pub(super) type Place<'a> = &'a dyn Fn() -> String;

/// The literals of a map of attributes.
pub(super) fn decode_all(
    values: &BTreeMap<String, pb::Value>,
    place: Place<'_>,
    weights: &mut WeightFiles<'_>,
) -> Result<BTreeMap<String, Literal>, Error> {
    let decode = |(name, v): (&String, &pb::Value)| {
        let place = || format!("{}, {name}", place());
        Ok((name.clone(), decode(v, &place, weights)?))
    };
    values.iter().map(decode).collect()
}

/// The literal in a message.
///
/// # Errors
/// [`Error::Model`] at `place`, or the error of a weight file.
pub(super) fn decode(message: &pb::Value, place: Place<'_>, weights: &mut WeightFiles<'_>) -> Result<Literal, Error> {
    literal(message, weights).map_err(|e| match e {
        WeightError::Model(fault) => model_error(place(), fault),
        WeightError::File(error) => error,
    })
}

fn literal(message: &pb::Value, weights: &mut WeightFiles<'_>) -> Result<Literal, WeightError> {
    let ty = types::decode(message.r#type.as_ref())?;
    match &message.value {
        None => Err(ModelFault::Missing("a value").into()),
        Some(value::Value::BlobFileValue(blob)) => {
            let (dtype, shape, n) = match &ty {
                Type::Tensor(t) => fixed(t)?,
                other => return Err(storage(other, "a weight")),
            };
            Ok(Literal::Tensor(weights.constant(&blob.file_name, blob.offset, dtype, &shape, n)?))
        }
        Some(value::Value::ImmediateValue(v)) => {
            immediate(&ty, v.value.as_ref().ok_or(ModelFault::Missing("an immediate value"))?, weights)
        }
    }
}

fn immediate(
    ty: &Type,
    value: &value::immediate_value::Value,
    weights: &mut WeightFiles<'_>,
) -> Result<Literal, WeightError> {
    use value::immediate_value::Value as V;
    match (ty, value) {
        (Type::Tensor(t), V::Tensor(v)) => {
            let (dtype, shape, n) = fixed(t)?;
            let data = elements(dtype, n, v.value.as_ref(), ty)?;
            let tensor = HostTensor::new(dtype, shape, data).map_err(|e| ModelFault::TooLarge(e.to_string()))?;
            Ok(Literal::Tensor(Const::new(tensor)))
        }
        (Type::Strings(dims), V::Tensor(v)) => {
            let shape: Option<Vec<usize>> = dims.iter().map(|d| d.size()).collect();
            strings(shape.ok_or(ModelFault::Missing("a dimension of a constant"))?, v.value.as_ref(), ty)
        }
        (Type::List(element, length), V::List(v)) => {
            let items = all(&v.values, weights)?;
            items.iter().try_for_each(|item| same(element, item))?;
            count(ty, length.size().unwrap_or(items.len()), items.len())?;
            Ok(Literal::List((**element).clone(), items))
        }
        (Type::Tuple(types), V::Tuple(v)) => {
            let items = all(&v.values, weights)?;
            count(ty, types.len(), items.len())?;
            types.iter().zip(&items).try_for_each(|(ty, item)| same(ty, item))?;
            Ok(Literal::Tuple(items))
        }
        (Type::Dict(key_ty, value_ty), V::Dictionary(v)) => {
            let mut entries = Vec::with_capacity(v.values.len());
            for pair in &v.values {
                let key = literal(pair.key.as_ref().ok_or(ModelFault::Missing("a key"))?, weights)?;
                let value = literal(pair.value.as_ref().ok_or(ModelFault::Missing("a value of a key"))?, weights)?;
                same(key_ty, &key)?;
                same(value_ty, &value)?;
                entries.push((key, value));
            }
            Ok(Literal::Dict((**key_ty).clone(), (**value_ty).clone(), entries))
        }
        (ty, V::Tensor(_)) => Err(storage(ty, "a tensor")),
        (ty, V::Tuple(_)) => Err(storage(ty, "a tuple")),
        (ty, V::List(_)) => Err(storage(ty, "a list")),
        (ty, V::Dictionary(_)) => Err(storage(ty, "a dictionary")),
    }
}

fn all(values: &[pb::Value], weights: &mut WeightFiles<'_>) -> Result<Vec<Literal>, WeightError> {
    values.iter().map(|v| literal(v, weights)).collect()
}

/// Element type, shape and element count of a constant, whose shape must be known.
fn fixed(t: &TensorType) -> Result<(DType, Vec<usize>, usize), ModelFault> {
    let shape = t.static_shape().ok_or(ModelFault::Missing("a dimension of a constant"))?;
    // No overflow: `types` has refused what exceeds 2^40 elements.
    let n = shape.iter().product();
    Ok((t.dtype, shape, n))
}

/// The bytes of an immediate tensor of `n` elements, taken from the one field that its element type allows.
fn elements(dtype: DType, n: usize, value: Option<&tensor::Value>, ty: &Type) -> Result<Bytes, WeightError> {
    use tensor::Value as V;
    let data = match (dtype, value) {
        (_, None) if n == 0 => Bytes::new(),
        (_, None) => return Err(ModelFault::Missing("the elements of a tensor").into()),
        (DType::Bool, Some(V::Bools(v))) => collect(ty, n, &v.values, |b| [u8::from(*b)])?,
        (DType::F32, Some(V::Floats(v))) => collect(ty, n, &v.values, |x| x.to_le_bytes())?,
        (DType::F64, Some(V::Doubles(v))) => collect(ty, n, &v.values, |x| x.to_le_bytes())?,
        (DType::I32, Some(V::Ints(v))) => collect(ty, n, &v.values, |x| x.to_le_bytes())?,
        (DType::I16, Some(V::Ints(v))) => {
            fits(dtype, &v.values, |x| i16::try_from(x).is_ok())?;
            collect(ty, n, &v.values, |x| (*x as i16).to_le_bytes())?
        }
        (DType::U16, Some(V::Ints(v))) => {
            fits(dtype, &v.values, |x| u16::try_from(x).is_ok())?;
            collect(ty, n, &v.values, |x| (*x as u16).to_le_bytes())?
        }
        (DType::I64 | DType::U64, Some(V::LongInts(v))) => collect(ty, n, &v.values, |x| x.to_le_bytes())?,
        (
            DType::F16
            | DType::BF16
            | DType::I4
            | DType::I8
            | DType::U1
            | DType::U2
            | DType::U3
            | DType::U4
            | DType::U6
            | DType::U8
            | DType::U32,
            Some(V::Bytes(v)),
        ) => {
            let expected = dtype.byte_len(n).ok_or_else(|| ModelFault::TooLarge(ty.to_string()))?;
            count(ty, expected, v.values.len())?;
            v.values.clone()
        }
        (_, Some(other)) => return Err(storage(ty, field_name(other))),
    };
    Ok(data)
}

fn collect<T, const N: usize>(
    ty: &Type,
    expected: usize,
    values: &[T],
    to_bytes: impl Fn(&T) -> [u8; N],
) -> Result<Bytes, ModelFault> {
    count(ty, expected, values.len())?;
    Ok(values.iter().flat_map(to_bytes).collect::<Vec<u8>>().into())
}

fn fits(dtype: DType, values: &[i32], ok: impl Fn(i32) -> bool) -> Result<(), ModelFault> {
    match values.iter().find(|&&x| !ok(x)) {
        Some(&x) => Err(ModelFault::Element { value: x.into(), dtype }),
        None => Ok(()),
    }
}

fn strings(shape: Vec<usize>, value: Option<&tensor::Value>, ty: &Type) -> Result<Literal, WeightError> {
    let values = match value {
        None => &[][..],
        Some(tensor::Value::Strings(v)) => &v.values[..],
        Some(other) => return Err(storage(ty, field_name(other))),
    };
    count(ty, shape.iter().product(), values.len())?;
    Ok(Literal::Strings { shape, values: values.iter().map(|s| Arc::from(s.as_str())).collect() })
}

fn count(ty: &Type, expected: usize, actual: usize) -> Result<(), ModelFault> {
    if expected == actual { Ok(()) } else { Err(ModelFault::Count { ty: ty.to_string(), expected, actual }) }
}

fn same(declared: &Type, item: &Literal) -> Result<(), ModelFault> {
    let found = item.ty();
    if declared.agrees(&found) {
        return Ok(());
    }
    Err(ModelFault::TypeMismatch { declared: declared.to_string(), found: found.to_string() })
}

fn storage(ty: &Type, found: &'static str) -> WeightError {
    ModelFault::Storage { ty: ty.to_string(), found }.into()
}

const fn field_name(value: &tensor::Value) -> &'static str {
    match value {
        tensor::Value::Floats(_) => "floats",
        tensor::Value::Ints(_) => "ints",
        tensor::Value::Bools(_) => "bools",
        tensor::Value::Strings(_) => "strings",
        tensor::Value::LongInts(_) => "longInts",
        tensor::Value::Doubles(_) => "doubles",
        tensor::Value::Bytes(_) => "bytes",
    }
}

impl From<ModelFault> for WeightError {
    fn from(fault: ModelFault) -> Self {
        Self::Model(fault)
    }
}
