//! Literals: constants of every type.

use super::Const;
use crate::types::{Dim, Type};
use host_tensor::{DType, HostTensor};
use std::sync::Arc;

/// A compile-time value of any type.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// A tensor.
    Tensor(Const),
    /// A tensor of strings, row major; a single string has an empty shape.
    Strings {
        /// Shape.
        shape: Vec<usize>,
        /// As many strings as the shape has elements.
        values: Vec<Arc<str>>,
    },
    /// A tuple.
    Tuple(Vec<Literal>),
    /// A list; the element type is kept for empty lists.
    List(Type, Vec<Literal>),
    /// A map in its stored order: key type, value type, entries.
    Dict(Type, Type, Vec<(Literal, Literal)>),
}

impl Literal {
    /// A single string.
    #[must_use]
    pub fn string(s: impl Into<Arc<str>>) -> Self {
        Self::Strings { shape: Vec::new(), values: vec![s.into()] }
    }

    /// A boolean scalar.
    #[must_use]
    pub fn bool(b: bool) -> Self {
        Self::Tensor(Const::new(HostTensor::from_bool([], &[b])))
    }

    /// An `int32` scalar.
    #[must_use]
    pub fn int(i: i32) -> Self {
        Self::Tensor(Const::new(HostTensor::from_i32([], vec![i])))
    }

    /// An `int32` vector.
    #[must_use]
    pub fn ints(values: &[i32]) -> Self {
        Self::Tensor(Const::new(HostTensor::from_i32([values.len()], values.to_vec())))
    }

    /// An `fp32` scalar.
    #[must_use]
    pub fn float(x: f32) -> Self {
        Self::Tensor(Const::new(HostTensor::from_f32([], vec![x])))
    }

    /// The type.
    #[must_use]
    pub fn ty(&self) -> Type {
        match self {
            Self::Tensor(c) => Type::Tensor(c.ty()),
            Self::Strings { shape, .. } => Type::Strings(shape.iter().map(|&d| Dim::Size(d)).collect()),
            Self::Tuple(items) => Type::Tuple(items.iter().map(Self::ty).collect()),
            Self::List(t, items) => Type::List(Box::new(t.clone()), Dim::Size(items.len())),
            Self::Dict(k, v, _) => Type::Dict(Box::new(k.clone()), Box::new(v.clone())),
        }
    }

    /// The tensor constant, when it is one.
    #[must_use]
    pub const fn as_const(&self) -> Option<&Const> {
        match self {
            Self::Tensor(c) => Some(c),
            _ => None,
        }
    }

    /// The string, when it is a single one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Strings { shape, values } if shape.is_empty() => values.first().map(|s| &**s),
            _ => None,
        }
    }

    /// All elements of an integer (or boolean) tensor.
    #[must_use]
    pub fn as_ints(&self) -> Option<Vec<i64>> {
        self.as_const().filter(|c| !c.dtype().is_float()).map(|c| c.read().to_i64_vec())
    }

    /// All elements of a numeric tensor, as `f32`.
    #[must_use]
    pub fn as_floats(&self) -> Option<Vec<f32>> {
        self.as_const().map(|c| c.read().to_f32_vec())
    }

    /// The value of a boolean scalar.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        self.as_const().filter(|c| c.len() == 1 && c.dtype() == DType::Bool).map(|c| c.read().bytes()[0] != 0)
    }
}

impl From<Const> for Literal {
    fn from(c: Const) -> Self {
        Self::Tensor(c)
    }
}

impl From<HostTensor> for Literal {
    fn from(t: HostTensor) -> Self {
        Self::Tensor(Const::new(t))
    }
}
