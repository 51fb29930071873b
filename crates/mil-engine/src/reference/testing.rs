//! Helpers of this module's tests: one kernel on literal operands.

use super::{
    call::{Call, Slot},
    constants::Constants,
    families,
};
use crate::OpFault;
use host_tensor::{DType, HostTensor, Stop};
use mil::{Function, Literal, Opset};

/// A literal operand, or a tuple of them.
pub(super) enum Given {
    One(Literal),
    Many(Vec<HostTensor>),
}

macro_rules! given_from {
    ($($from:ty => |$x:ident| $to:expr),* $(,)?) => {$(
        impl From<$from> for Given {
            fn from($x: $from) -> Self { $to }
        }
    )*};
}
given_from! {
    HostTensor => |t| Self::One(t.into()),
    Vec<HostTensor> => |ts| Self::Many(ts),
    &str => |s| Self::One(Literal::string(s)),
    i32 => |i| Self::One(Literal::int(i)),
    f32 => |x| Self::One(Literal::float(x)),
    bool => |b| Self::One(Literal::bool(b)),
    Vec<i32> => |v| Self::One(Literal::ints(&v)),
}
impl<const N: usize> From<[i32; N]> for Given {
    fn from(v: [i32; N]) -> Self {
        Self::One(Literal::ints(&v))
    }
}
impl<const N: usize> From<[bool; N]> for Given {
    fn from(v: [bool; N]) -> Self {
        Self::One(HostTensor::from_bool([N], &v).into())
    }
}

/// Evaluates one operation: `eval!("concat", values = vec![a, b], axis = 1)`; the result is a `Result`.
macro_rules! eval {
    ($kind:literal $(, $param:ident = $value:expr)* $(,)?) => {
        $crate::reference::testing::evaluate($kind, vec![$((stringify!($param), $value.into())),*])
    };
}
pub(super) use eval;

/// The single result of an operation that must succeed, as `f32`.
macro_rules! floats {
    ($($args:tt)*) => {{
        let result = $crate::reference::testing::eval!($($args)*).unwrap().remove(0);
        (result.shape().to_vec(), result.to_f32_vec())
    }};
}
pub(super) use floats;

/// The single result of an operation that must succeed, as integers.
macro_rules! ints {
    ($($args:tt)*) => {{
        let result = $crate::reference::testing::eval!($($args)*).unwrap().remove(0);
        (result.shape().to_vec(), result.to_i64_vec())
    }};
}
pub(super) use ints;

/// The kernel's results; floats come as fp32, integers as int64.
pub(super) fn evaluate(kind: &str, operands: Vec<(&str, Given)>) -> Result<Vec<HostTensor>, OpFault> {
    let kernel = families::all().find(|k| k.kind == kind).expect("the kind has a kernel");
    let mut function = Function::new("main", Opset::CoreML8);
    let mut bound = Vec::new();
    for (param, given) in operands {
        let literals = match given {
            Given::One(l) => vec![l],
            Given::Many(ts) => ts.into_iter().map(Literal::from).collect(),
        };
        bound.push((param, literals.into_iter().map(|l| function.add_constant(param, l)).collect::<Vec<_>>()));
    }
    let slots = |ids: &[mil::ValueId]| ids.iter().map(|&id| Slot::constant(function.value(id), id)).collect();
    let (constants, stop) = (Constants::new(function.values().len()), Stop::never());
    let mut call = Call {
        spec: mil::ops::lookup(kind, function.opset),
        slots: bound.iter().map(|(param, ids)| (*param, slots(ids))).collect(),
        constants: &constants,
        limit: 1 << 24,
        stop: &stop,
    };
    let results = (kernel.eval)(&mut call)?;
    let dtype = |kind| match kind {
        "float" => DType::F32,
        "int" => DType::I64,
        _ => DType::Bool,
    };
    Ok(results.iter().map(|t| t.to_host(dtype(t.kind()))).collect())
}

/// A float tensor.
pub(super) fn f(shape: impl Into<Vec<usize>>, values: &[f32]) -> HostTensor {
    HostTensor::from_f32(shape, values.to_vec())
}

/// An integer tensor.
pub(super) fn i(shape: impl Into<Vec<usize>>, values: &[i32]) -> HostTensor {
    HostTensor::from_i32(shape, values.to_vec())
}

/// A float tensor that counts from zero.
pub(super) fn counting(shape: impl Into<Vec<usize>>) -> HostTensor {
    let shape = shape.into();
    let n: usize = shape.iter().product();
    HostTensor::from_f32(shape, (0..n).map(|i| i as f32).collect())
}
