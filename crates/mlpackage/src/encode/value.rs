//! Literals to messages: in the weight file, or immediate in the field that their element type demands.

use coremltools_proto::mil_spec::{self as pb, tensor_value as tensor, value};
use mil::{Const, DType, HostTensor, Literal};

use super::WeightPlan;
use crate::{error::Error, types};

/// The message of a literal; large tensors are added to the weights.
pub(crate) fn encode<'p>(literal: &'p Literal, weights: &mut WeightPlan<'p>) -> Result<pb::Value, Error> {
    if let Literal::Tensor(constant) = literal
        && weights.takes(constant)
    {
        let offset = weights.place(constant)?;
        let blob = value::BlobFileValue { file_name: weights.file().to_owned(), offset };
        return Ok(message(literal, value::Value::BlobFileValue(blob)));
    }
    immediate(literal, weights)
}

fn immediate<'p>(literal: &'p Literal, weights: &mut WeightPlan<'p>) -> Result<pb::Value, Error> {
    use value::immediate_value::Value as V;
    let mut encode_all = |items: &'p [Literal]| items.iter().map(|l| encode(l, weights)).collect::<Result<Vec<_>, _>>();
    let inner = match literal {
        Literal::Tensor(constant) => V::Tensor(pb::TensorValue { value: Some(elements(constant)) }),
        Literal::Strings { values, .. } => {
            let values = values.iter().map(|s| s.to_string()).collect();
            V::Tensor(pb::TensorValue { value: Some(tensor::Value::Strings(tensor::RepeatedStrings { values })) })
        }
        Literal::Tuple(items) => V::Tuple(pb::TupleValue { values: encode_all(items)? }),
        Literal::List(_, items) => V::List(pb::ListValue { values: encode_all(items)? }),
        Literal::Dict(_, _, entries) => {
            let mut values = Vec::with_capacity(entries.len());
            for (k, v) in entries {
                let (key, value) = (Some(encode(k, weights)?), Some(encode(v, weights)?));
                values.push(pb::dictionary_value::KeyValuePair { key, value });
            }
            V::Dictionary(pb::DictionaryValue { values })
        }
    };
    Ok(message(literal, value::Value::ImmediateValue(value::ImmediateValue { value: Some(inner) })))
}

fn message(literal: &Literal, value: value::Value) -> pb::Value {
    pb::Value { doc_string: String::new(), r#type: Some(types::encode(&literal.ty())), value: Some(value) }
}

/// The field for each element type; a runtime reads no other. (coremltools 9.0, `backend/mil/helper.py`.)
fn elements(constant: &Const) -> tensor::Value {
    let tensor = constant.read();
    match tensor.dtype() {
        DType::Bool => {
            tensor::Value::Bools(tensor::RepeatedBools { values: tensor.bytes().iter().map(|&b| b != 0).collect() })
        }
        DType::F32 => tensor::Value::Floats(tensor::RepeatedFloats { values: words(&tensor, f32::from_le_bytes) }),
        DType::F64 => tensor::Value::Doubles(tensor::RepeatedDoubles { values: words(&tensor, f64::from_le_bytes) }),
        DType::I32 => tensor::Value::Ints(tensor::RepeatedInts { values: words(&tensor, i32::from_le_bytes) }),
        DType::I16 => ints(words(&tensor, |b| i16::from_le_bytes(b).into())),
        DType::U16 => ints(words(&tensor, |b| u16::from_le_bytes(b).into())),
        DType::I64 | DType::U64 => {
            tensor::Value::LongInts(tensor::RepeatedLongInts { values: words(&tensor, i64::from_le_bytes) })
        }
        _ => tensor::Value::Bytes(tensor::RepeatedBytes { values: tensor.bytes().clone() }),
    }
}

fn ints(values: Vec<i32>) -> tensor::Value {
    tensor::Value::Ints(tensor::RepeatedInts { values })
}

fn words<const N: usize, T>(tensor: &HostTensor, from: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = tensor.bytes().as_chunks::<N>();
    chunks.iter().map(|&c| from(c)).collect()
}
