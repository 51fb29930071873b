//! Shape operations on constants are views of those constants, and shape arithmetic is done at once.
//!
//! ```text
//! %w = transpose(x=W[2, 3], perm=[1, 0])
//! %y = matmul(x=%x, y=%w)                  ==>   %y = matmul(x=%x, y=Wᵀ[3, 2])
//! ```

use super::error::PassError;
use super::rewrite::{Rewriter, rewrite};
use crate::{
    constant::{Const, Literal},
    ir::{Function, Op},
    types::Type,
};
use host_tensor::{DType, HostTensor, element_count};

/// Constants of more elements than this are only viewed, never computed.
const MAX_COMPUTED_ELEMENTS: usize = 65_536;

/// Folds `reshape`, `transpose`, `expand_dims`, `squeeze` and `cast` of constants of any size, arithmetic and
/// sums of small ones, and `shape` of tensors whose shape is known.
///
/// # Errors
/// None that a validated program causes.
pub fn fold_constants(function: &mut Function) -> Result<usize, PassError> {
    rewrite("fold_constants", function, |rw, op| {
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

fn constant<'a>(rw: &'a Rewriter<'_>, op: &'a Op, param: &str) -> Option<&'a Const> {
    rw.view(op).literal(param)?.as_const()
}

fn fold_view(rw: &Rewriter<'_>, op: &Op) -> Option<Const> {
    let x = constant(rw, op, "x")?;
    match &*op.kind {
        "reshape" | "expand_dims" | "squeeze" => x.reshape(rw.shape(op.output())?).ok(),
        "transpose" => {
            let rank = x.shape().len() as i64;
            let perm: Option<Vec<usize>> = rw
                .view(op)
                .ints("perm")?
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

/// Arithmetic on small constants, in the type's own precision.
fn fold_arithmetic(rw: &Rewriter<'_>, op: &Op) -> Option<Const> {
    let x = constant(rw, op, "x")?;
    if x.len() > MAX_COMPUTED_ELEMENTS || !matches!(x.dtype(), DType::F32 | DType::I32) {
        return None;
    }
    if let Some(f) = unary(&op.kind).filter(|_| x.dtype() == DType::F32) {
        let values = x.read().to_f32_vec().into_iter().map(f).collect();
        return Some(Const::new(HostTensor::from_f32(x.shape(), values)));
    }
    if op.kind == "clip" {
        let bound = |param| rw.view(op).known_number(param).ok().map(|v| v as f32);
        let (low, high) = (bound("alpha")?, bound("beta")?);
        let values = x.read().to_f32_vec().into_iter().map(|v| v.max(low).min(high)).collect();
        return (x.dtype() == DType::F32).then(|| Const::new(HostTensor::from_f32(x.shape(), values)));
    }
    if matches!(&*op.kind, "reduce_sum" | "reduce_mean") {
        return fold_reduction(rw, op, x);
    }
    let y = constant(rw, op, "y").filter(|y| y.dtype() == x.dtype() && y.len() <= MAX_COMPUTED_ELEMENTS)?;
    let shape = rw.shape(op.output())?;
    if element_count(&shape)? > MAX_COMPUTED_ELEMENTS {
        return None;
    }
    let pairs = broadcast_pairs(x.shape(), y.shape(), &shape)?;
    if x.dtype() == DType::F32 {
        let f: fn(f32, f32) -> f32 = match &*op.kind {
            "add" => |a, b| a + b,
            "sub" => |a, b| a - b,
            "mul" => |a, b| a * b,
            "real_div" => |a, b| a / b,
            "maximum" => f32::max,
            "minimum" => f32::min,
            "pow" => f32::powf,
            _ => return None,
        };
        let (a, b) = (x.read().to_f32_vec(), y.read().to_f32_vec());
        return Some(Const::new(HostTensor::from_f32(shape, pairs.into_iter().map(|(i, j)| f(a[i], b[j])).collect())));
    }
    let f: fn(i64, i64) -> Option<i64> = match &*op.kind {
        "add" => i64::checked_add,
        "sub" => i64::checked_sub,
        "mul" => i64::checked_mul,
        "floor_div" => |a, b| (b != 0).then(|| a.div_euclid(b) - i64::from(b < 0 && a.rem_euclid(b) != 0)),
        _ => return None,
    };
    let (a, b) = (x.read().to_i64_vec(), y.read().to_i64_vec());
    let values: Option<Vec<i32>> =
        pairs.into_iter().map(|(i, j)| f(a[i], b[j]).and_then(|v| i32::try_from(v).ok())).collect();
    Some(Const::new(HostTensor::from_i32(shape, values?)))
}

/// Positions in both operands for each element of their broadcast.
fn broadcast_pairs(x: &[usize], y: &[usize], out: &[usize]) -> Option<Vec<(usize, usize)>> {
    let place = |shape: &[usize], index: &[usize]| {
        let skip = index.len().checked_sub(shape.len())?;
        shape.iter().zip(&index[skip..]).try_fold(0, |at, (&d, &i)| match d {
            1 => Some(at),
            _ if i < d => Some(at * d + i),
            _ => None,
        })
    };
    let mut index = vec![0; out.len()];
    let n = element_count(out)?;
    let mut pairs = Vec::with_capacity(n);
    for _ in 0..n {
        pairs.push((place(x, &index)?, place(y, &index)?));
        for axis in (0..out.len()).rev() {
            index[axis] += 1;
            if index[axis] < out[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Some(pairs)
}

/// Sum or mean of a small f32 constant, accumulated in f64.
fn fold_reduction(rw: &Rewriter<'_>, op: &Op, x: &Const) -> Option<Const> {
    let out = rw.shape(op.output())?;
    let rank = x.shape().len() as i64;
    let axes = rw.view(op).known_axes("axes", x.shape().len()).ok()?;
    let axes: Vec<usize> =
        axes.iter().map(|&a| usize::try_from(if a < 0 { a + rank } else { a }).ok()).collect::<Option<_>>()?;
    if x.dtype() != DType::F32 || x.is_empty() {
        return None;
    }
    let kept: Vec<usize> = x.shape().iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect();
    let mut sums = vec![0f64; element_count(&kept)?];
    let values = x.read().to_f32_vec();
    for (from, to) in broadcast_pairs(x.shape(), &kept, x.shape())? {
        sums[to] += f64::from(values[from]);
    }
    let divisor = if op.kind == "reduce_mean" { (values.len() / sums.len()) as f64 } else { 1.0 };
    let sums: Vec<f32> = sums.into_iter().map(|s| (s / divisor) as f32).collect();
    Const::new(HostTensor::from_f32(kept, sums)).reshape(out).ok()
}

fn unary(kind: &str) -> Option<fn(f32) -> f32> {
    Some(match kind {
        "exp" => f32::exp,
        "sqrt" => f32::sqrt,
        "square" => |v| v * v,
        "abs" => f32::abs,
        "sin" => f32::sin,
        "cos" => f32::cos,
        _ => return None,
    })
}
