//! Shape operations on constants are views of those constants, and shape arithmetic is done at once.
//!
//! ```text
//! %w = transpose(x=W[2, 3], perm=[1, 0])
//! %y = matmul(x=%x, y=%w)                  ==>   %y = matmul(x=%x, y=Wᵀ[3, 2])
//! ```

use super::rewrite::{Rewriter, rewrite};
use crate::{
    constant::{Const, Literal},
    ir::{Function, Op},
    ops::OpError,
    types::Type,
};
use host_tensor::{DType, HostTensor};

/// Constants of more elements than this are only viewed, never computed.
const MAX_COMPUTED_ELEMENTS: usize = 65_536;

/// Folds `reshape`, `transpose`, `expand_dims`, `squeeze` and `cast` of constants of any size, arithmetic
/// and `concat` of small ones, and `shape` of tensors whose shape is known.
///
/// # Errors
/// None that a validated program causes.
pub fn fold_constants(function: &mut Function) -> Result<usize, OpError> {
    rewrite(function, |rw, op| {
        if op.outputs.len() != 1 || rw.is_output(op.output()) {
            return Ok(false);
        }
        let folded = fold_view(rw, op).or_else(|| fold_arithmetic(rw, op)).or_else(|| fold_shape(rw, op));
        let Some(c) = folded.filter(|c| Type::Tensor(c.ty()).agrees(rw.ty(op.output()))) else { return Ok(false) };
        let name = op.name.clone();
        let id = rw.constant(&name, Literal::Tensor(c));
        rw.replace(op.output(), id)?;
        Ok(true)
    })
}

fn constant<'a>(rw: &'a Rewriter<'_>, op: &Op, param: &str) -> Option<&'a Const> {
    rw.literal_of(op, param)?.as_const()
}

fn fold_view(rw: &Rewriter<'_>, op: &Op) -> Option<Const> {
    let x = constant(rw, op, "x")?;
    match &*op.kind {
        "reshape" | "expand_dims" | "squeeze" => x.reshape(rw.shape(op.output())?).ok(),
        "transpose" => {
            let rank = x.shape().len() as i64;
            let perm: Option<Vec<usize>> = rw
                .ints_of(op, "perm")?
                .iter()
                .map(|&p| usize::try_from(if p < 0 { p + rank } else { p }).ok())
                .collect();
            x.transpose(&perm?).ok()
        }
        "cast" => Some(x.cast(rw.tensor(op.output())?.dtype)),
        _ => None,
    }
}

fn fold_shape(rw: &Rewriter<'_>, op: &Op) -> Option<Const> {
    if op.kind != "shape" {
        return None;
    }
    let dims: Option<Vec<i32>> = rw.shape(op.input("x")?)?.iter().map(|&d| i32::try_from(d).ok()).collect();
    let dims = dims?;
    Some(Const::new(HostTensor::from_i32([dims.len()], dims)))
}

/// Arithmetic on constants of equal shape, or with one scalar, in the type's own precision.
fn fold_arithmetic(rw: &Rewriter<'_>, op: &Op) -> Option<Const> {
    let x = constant(rw, op, "x")?;
    if x.len() > MAX_COMPUTED_ELEMENTS || !matches!(x.dtype(), DType::F32 | DType::I32) {
        return None;
    }
    let a = x.read();
    if let Some(f) = unary(&op.kind) {
        return (x.dtype() == DType::F32)
            .then(|| Const::new(HostTensor::from_f32(x.shape(), a.to_f32_vec().into_iter().map(f).collect())));
    }
    let y = constant(rw, op, "y")?;
    if y.dtype() != x.dtype() || y.len() > MAX_COMPUTED_ELEMENTS {
        return None;
    }
    let shape = match (x.len(), y.len()) {
        (_, 1) if x.shape().len() >= y.shape().len() => x.shape(),
        (1, _) if y.shape().len() >= x.shape().len() => y.shape(),
        _ if x.shape() == y.shape() => x.shape(),
        _ => return None,
    };
    let (b, n) = (y.read(), x.len().max(y.len()));
    if x.dtype() == DType::F32 {
        let f: fn(f32, f32) -> f32 = match &*op.kind {
            "add" => |a, b| a + b,
            "sub" => |a, b| a - b,
            "mul" => |a, b| a * b,
            "real_div" => |a, b| a / b,
            "pow" => f32::powf,
            _ => return None,
        };
        let (a, b) = (a.to_f32_vec(), b.to_f32_vec());
        let values = (0..n).map(|i| f(a[i % a.len()], b[i % b.len()])).collect();
        return Some(Const::new(HostTensor::from_f32(shape, values)));
    }
    let f: fn(i64, i64) -> Option<i64> = match &*op.kind {
        "add" => i64::checked_add,
        "sub" => i64::checked_sub,
        "mul" => i64::checked_mul,
        "floor_div" => |a, b| (b != 0).then(|| a.div_euclid(b) - i64::from(b < 0 && a.rem_euclid(b) != 0)),
        _ => return None,
    };
    let (a, b) = (a.to_i64_vec(), b.to_i64_vec());
    let values: Option<Vec<i32>> =
        (0..n).map(|i| f(a[i % a.len()], b[i % b.len()]).and_then(|v| i32::try_from(v).ok())).collect();
    Some(Const::new(HostTensor::from_i32(shape, values?)))
}

fn unary(kind: &str) -> Option<fn(f32) -> f32> {
    Some(match kind {
        "exp" => f32::exp,
        "sqrt" => f32::sqrt,
        "abs" => f32::abs,
        "sin" => f32::sin,
        "cos" => f32::cos,
        _ => return None,
    })
}
