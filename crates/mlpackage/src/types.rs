//! Types of values to and from their protobuf messages, and the numbers of element types.

use coremltools_proto::mil_spec as pb;
use mil::{DType, Dim, TensorType, Type};

use crate::error::ModelFault;

/// A tensor with more elements than this is refused: no model has one, and whoever runs a program allocates it.
const MAX_ELEMENTS: u64 = 1 << 40;

/// What elements of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Number(DType),
    String,
}

const fn data_type(dtype: DType) -> pb::DataType {
    match dtype {
        DType::Bool => pb::DataType::Bool,
        DType::F16 => pb::DataType::Float16,
        DType::BF16 => pb::DataType::Bfloat16,
        DType::F32 => pb::DataType::Float32,
        DType::F64 => pb::DataType::Float64,
        DType::I4 => pb::DataType::Int4,
        DType::I8 => pb::DataType::Int8,
        DType::I16 => pb::DataType::Int16,
        DType::I32 => pb::DataType::Int32,
        DType::I64 => pb::DataType::Int64,
        DType::U1 => pb::DataType::Uint1,
        DType::U2 => pb::DataType::Uint2,
        DType::U3 => pb::DataType::Uint3,
        DType::U4 => pb::DataType::Uint4,
        DType::U6 => pb::DataType::Uint6,
        DType::U8 => pb::DataType::Uint8,
        DType::U16 => pb::DataType::Uint16,
        DType::U32 => pb::DataType::Uint32,
        DType::U64 => pb::DataType::Uint64,
    }
}

/// The message of a type.
pub(crate) fn encode(ty: &Type) -> pb::ValueType {
    use pb::value_type::Type as T;
    let boxed = |t: &Type| Some(Box::new(encode(t)));
    let ty = match ty {
        Type::Tensor(t) => T::TensorType(tensor(data_type(t.dtype), &t.shape)),
        Type::Strings(shape) => T::TensorType(tensor(pb::DataType::String, shape)),
        Type::List(element, length) => {
            T::ListType(Box::new(pb::ListType { r#type: boxed(element), length: Some(dimension(*length)) }))
        }
        Type::Tuple(types) => T::TupleType(pb::TupleType { types: types.iter().map(encode).collect() }),
        Type::Dict(key, value) => {
            T::DictionaryType(Box::new(pb::DictionaryType { key_type: boxed(key), value_type: boxed(value) }))
        }
        Type::State(t) => T::StateType(Box::new(pb::StateType { wrapped_type: boxed(&Type::Tensor(t.clone())) })),
    };
    pb::ValueType { r#type: Some(ty) }
}

fn tensor(dtype: pb::DataType, shape: &[Dim]) -> pb::TensorType {
    pb::TensorType {
        data_type: dtype.into(),
        rank: shape.len() as i64,
        dimensions: shape.iter().map(|&d| dimension(d)).collect(),
        attributes: std::collections::BTreeMap::new(),
    }
}

fn dimension(dim: Dim) -> pb::Dimension {
    use pb::dimension::{ConstantDimension, Dimension, UnknownDimension};
    let dim = match dim {
        Dim::Size(n) => Dimension::Constant(ConstantDimension { size: n as u64 }),
        Dim::Unknown => Dimension::Unknown(UnknownDimension { variadic: false }),
    };
    pb::Dimension { dimension: Some(dim) }
}

/// The type in a message that may be absent.
pub(crate) fn decode(ty: Option<&pb::ValueType>) -> Result<Type, ModelFault> {
    use pb::value_type::Type as T;
    let ty = ty.and_then(|t| t.r#type.as_ref()).ok_or(ModelFault::Missing("a type"))?;
    let boxed = |t: &Option<Box<pb::ValueType>>| decode(t.as_deref()).map(Box::new);
    Ok(match ty {
        T::TensorType(t) => decode_tensor(t)?,
        T::ListType(t) => {
            let length = t.length.as_ref().map_or(Ok(Dim::Unknown), decode_dimension)?;
            Type::List(boxed(&t.r#type)?, length)
        }
        T::TupleType(t) => Type::Tuple(t.types.iter().map(|t| decode(Some(t))).collect::<Result<_, _>>()?),
        T::DictionaryType(t) => Type::Dict(boxed(&t.key_type)?, boxed(&t.value_type)?),
        T::StateType(t) => match decode(t.wrapped_type.as_deref())? {
            Type::Tensor(t) => Type::State(t),
            other => {
                return Err(ModelFault::TypeMismatch {
                    declared: "a state of a tensor".into(),
                    found: other.to_string(),
                });
            }
        },
    })
}

fn decode_tensor(t: &pb::TensorType) -> Result<Type, ModelFault> {
    if let Some(name) = t.attributes.keys().next() {
        return Err(ModelFault::Attribute(name.clone()));
    }
    let element = decode_element(t.data_type)?;
    if usize::try_from(t.rank) != Ok(t.dimensions.len()) {
        return Err(ModelFault::Rank { rank: t.rank, n_dims: t.dimensions.len() });
    }
    let shape = t.dimensions.iter().map(decode_dimension).collect::<Result<Vec<_>, _>>()?;
    // An unknown dimension counts as one. A zero does not hide what stands beside it: views drop and add axes.
    let mut sizes = shape.iter().filter_map(|d| d.size()).map(|n| (n as u64).max(1));
    let n_elements = sizes.try_fold(1u64, u64::checked_mul);
    if n_elements.is_none_or(|n| n > MAX_ELEMENTS) {
        return Err(ModelFault::TooLarge(format!("[{}]", join(&shape))));
    }
    Ok(match element {
        Element::Number(dtype) => Type::Tensor(TensorType { dtype, shape }),
        Element::String => Type::Strings(shape),
    })
}

fn decode_element(number: i32) -> Result<Element, ModelFault> {
    if number == i32::from(pb::DataType::String) {
        return Ok(Element::String);
    }
    let dtype = DType::ALL.into_iter().find(|&d| i32::from(data_type(d)) == number);
    dtype.map(Element::Number).ok_or(ModelFault::Dtype(number))
}

fn decode_dimension(dim: &pb::Dimension) -> Result<Dim, ModelFault> {
    use pb::dimension::Dimension;
    match &dim.dimension {
        Some(Dimension::Constant(c)) => {
            usize::try_from(c.size).map(Dim::Size).map_err(|_| ModelFault::TooLarge(format!("[{}]", c.size)))
        }
        Some(Dimension::Unknown(u)) if u.variadic => Err(ModelFault::Missing("the rank (a dimension is variadic)")),
        Some(Dimension::Unknown(_)) => Ok(Dim::Unknown),
        None => Err(ModelFault::Missing("a dimension's size")),
    }
}

fn join(shape: &[Dim]) -> String {
    // A hostile rank must not make a message of megabytes.
    let shown: Vec<String> = shape.iter().take(8).map(ToString::to_string).collect();
    format!("{}{}", shown.join(", "), if shape.len() > 8 { ", …" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_the_way_through_its_message() {
        let scalar = Type::tensor(DType::F16, &[]);
        let mut types: Vec<Type> = DType::ALL.into_iter().map(|d| Type::tensor(d, &[2, 3])).collect();
        types.extend([
            scalar.clone(),
            Type::string(),
            Type::Strings(vec![Dim::Size(3), Dim::Unknown]),
            Type::Tensor(TensorType { dtype: DType::I32, shape: vec![Dim::Unknown, Dim::Size(0)] }),
            Type::List(Box::new(Type::string()), Dim::Unknown),
            Type::List(Box::new(scalar.clone()), Dim::Size(4)),
            Type::Tuple(vec![scalar.clone(), Type::Tuple(Vec::new())]),
            Type::Dict(Box::new(Type::string()), Box::new(scalar)),
            Type::State(TensorType::fixed(DType::F16, &[1, 4])),
        ]);
        for ty in types {
            assert_eq!(decode(Some(&encode(&ty))), Ok(ty));
        }
    }

    #[test]
    fn unknown_element_types_ranks_and_giant_shapes_are_refused_by_name() {
        let with = |edit: fn(&mut pb::TensorType)| {
            let mut t = tensor(pb::DataType::Float16, &[Dim::Size(2), Dim::Size(3)]);
            edit(&mut t);
            decode(Some(&pb::ValueType { r#type: Some(pb::value_type::Type::TensorType(t)) })).unwrap_err()
        };
        assert_eq!(with(|t| t.data_type = 40), ModelFault::Dtype(40));
        assert_eq!(with(|t| t.data_type = 0), ModelFault::Dtype(0));
        assert_eq!(with(|t| t.data_type = -7), ModelFault::Dtype(-7));
        assert_eq!(with(|t| t.rank = -1), ModelFault::Rank { rank: -1, n_dims: 2 });
        assert_eq!(with(|t| t.rank = 3), ModelFault::Rank { rank: 3, n_dims: 2 });
        assert_eq!(
            with(|t| t.dimensions[0] = dimension(Dim::Size(1 << 60))),
            ModelFault::TooLarge("[1152921504606846976, 3]".into())
        );
        assert!(matches!(with(|t| t.dimensions = vec![dimension(Dim::Size(1 << 39)); 2]), ModelFault::TooLarge(_)));
        assert_eq!(with(|t| t.dimensions[1].dimension = None), ModelFault::Missing("a dimension's size"));
        assert!(matches!(
            with(|t| {
                t.attributes.insert("x".into(), pb::Value::default());
            }),
            ModelFault::Attribute(_)
        ));
        assert_eq!(decode(None), Err(ModelFault::Missing("a type")));
        let empty = pb::ValueType { r#type: None };
        assert_eq!(decode(Some(&empty)), Err(ModelFault::Missing("a type")));
    }
}
