//! Types of values.

use host_tensor::DType;
use std::fmt;

/// One dimension of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known when the program is built.
    Size(usize),
    /// Known only when the program runs.
    Unknown,
}

impl Dim {
    /// The size, when it is known.
    #[must_use]
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::Size(n) => Some(n),
            Self::Unknown => None,
        }
    }

    /// True when the two sizes are equal or one is unknown.
    #[must_use]
    pub fn agrees(self, other: Self) -> bool {
        self == other || self == Self::Unknown || other == Self::Unknown
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Self {
        Self::Size(n)
    }
}

/// Element type and shape of a tensor; a scalar has no dimensions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<Dim>,
}

impl TensorType {
    /// A tensor type with all dimensions known.
    #[must_use]
    pub fn fixed(dtype: DType, shape: &[usize]) -> Self {
        Self { dtype, shape: shape.iter().map(|&d| Dim::Size(d)).collect() }
    }

    /// Number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The shape, when every dimension is known.
    #[must_use]
    pub fn static_shape(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(|d| d.size()).collect()
    }

    /// True when element types and ranks are equal and no known dimension differs.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        self.dtype == other.dtype
            && self.rank() == other.rank()
            && self.shape.iter().zip(&other.shape).all(|(a, b)| a.agrees(*b))
    }
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// A tensor of numbers or booleans.
    Tensor(TensorType),
    /// A tensor of strings; almost always a scalar, such as a `pad_type`.
    Strings(Vec<Dim>),
    /// A list of equally typed elements; its length may be unknown.
    List(Box<Type>, Dim),
    /// A fixed sequence of values.
    Tuple(Vec<Type>),
    /// A map.
    Dict(Box<Type>, Box<Type>),
    /// A tensor that persists between runs (iOS 18).
    State(TensorType),
}

impl Type {
    /// A tensor type with all dimensions known.
    #[must_use]
    pub fn tensor(dtype: DType, shape: &[usize]) -> Self {
        Self::Tensor(TensorType::fixed(dtype, shape))
    }

    /// The type of a single string.
    #[must_use]
    pub const fn string() -> Self {
        Self::Strings(Vec::new())
    }

    /// The tensor type, when it is a tensor.
    #[must_use]
    pub const fn as_tensor(&self) -> Option<&TensorType> {
        match self {
            Self::Tensor(t) => Some(t),
            _ => None,
        }
    }

    /// True when the types are equal but for dimensions that one of them leaves open.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tensor(a), Self::Tensor(b)) | (Self::State(a), Self::State(b)) => a.agrees(b),
            (Self::Strings(a), Self::Strings(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.agrees(*b)),
            (Self::List(a, n), Self::List(b, m)) => a.agrees(b) && n.agrees(*m),
            (Self::Tuple(a), Self::Tuple(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.agrees(b)),
            (Self::Dict(a, b), Self::Dict(c, d)) => a.agrees(c) && b.agrees(d),
            _ => false,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(n) => write!(f, "{n}"),
            Self::Unknown => f.write_str("?"),
        }
    }
}

fn write_tensor(f: &mut fmt::Formatter<'_>, element: &str, shape: &[Dim]) -> fmt::Result {
    write!(f, "tensor<{element}, [")?;
    for (i, d) in shape.iter().enumerate() {
        write!(f, "{}{d}", if i > 0 { ", " } else { "" })?;
    }
    f.write_str("]>")
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_tensor(f, self.dtype.name(), &self.shape)
    }
}

/// MIL's verbose spelling, in which a scalar is `tensor<fp16, []>`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(t) => t.fmt(f),
            Self::Strings(shape) => write_tensor(f, "string", shape),
            Self::List(t, n) => write!(f, "list<{t}, {n}>"),
            Self::Tuple(ts) => {
                f.write_str("tuple<")?;
                for (i, t) in ts.iter().enumerate() {
                    write!(f, "{}{t}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(">")
            }
            Self::Dict(k, v) => write!(f, "dict<{k}, {v}>"),
            Self::State(t) => write!(f, "state<{t}>"),
        }
    }
}
