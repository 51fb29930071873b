//! A product with a constant matrix is a `linear`, and an added (or subtracted) constant its bias.
//!
//! ```text
//! %p = matmul(x=%x, y=W[in, out])   ==>   %p = linear(x=%x, weight=Wᵀ[out, in])
//! %y = add(x=%p, y=b[out])          ==>   %y = linear(x=%x, weight=Wᵀ[out, in], bias=b)
//! ```

use super::error::PassError;
use super::rewrite::{Rewriter, rewrite};
use crate::{
    constant::Const,
    ir::{Function, Op, ValueId},
};
use host_tensor::{DType, HostTensor};

/// Turns `matmul` with a constant right operand into `linear`, and folds a following constant addition
/// into its bias.
///
/// # Errors
/// When the fused operation is refused, which validated programs do not cause.
pub fn fuse_linear(function: &mut Function) -> Result<usize, PassError> {
    rewrite("fuse_linear", function, |rw, op| match &*op.kind {
        "matmul" => {
            let Some((x, weight)) = match_matmul(rw, op) else { return Ok(false) };
            rw.replace_with(op, "linear", [("x", x.into()), ("weight", weight.into())])
        }
        "add" | "sub" => {
            let Some((x, weight, bias)) = match_bias(rw, op) else { return Ok(false) };
            rw.replace_with(op, "linear", [("x", x.into()), ("weight", weight.into()), ("bias", bias.into())])
        }
        _ => Ok(false),
    })
}

fn match_matmul(rw: &Rewriter<'_>, op: &Op) -> Option<(ValueId, Const)> {
    let (x, y) = (op.input("x")?, op.input("y")?);
    let flag = |param| rw.view(op).known_bool(param).ok();
    let x_shape = rw.shape(x)?;
    let weight = rw.literal(y)?.as_const()?;
    let two: Const = match weight.shape() {
        [_, _] => weight.clone(),
        [1, i, o] if x_shape.len() == 3 => weight.reshape([*i, *o]).ok()?,
        _ => return None,
    };
    let fits = rw.literal(x).is_none() && !flag("transpose_x")? && (2..=3).contains(&x_shape.len());
    if !fits {
        return None;
    }
    let weight = if flag("transpose_y")? { two } else { two.transpose(&[1, 0]).ok()? };
    Some((x, weight))
}

/// The negative of an f32 vector.
fn negated(c: &Const) -> Option<Const> {
    let values = c.read().to_f32_vec().into_iter().map(|v| -v).collect();
    (c.dtype() == DType::F32).then(|| Const::new(HostTensor::from_f32(c.shape(), values)))
}

fn match_bias(rw: &Rewriter<'_>, op: &Op) -> Option<(ValueId, ValueId, Const)> {
    let (a, b) = (op.input("x")?, op.input("y")?);
    let subtracts = op.kind == "sub";
    let orders = if subtracts { vec![(a, b)] } else { vec![(a, b), (b, a)] };
    orders.into_iter().find_map(|(product, bias)| {
        let inner = rw.def_of(product, "linear")?;
        let free = inner.input("bias").is_none() && rw.single_use(product) && !rw.is_output(product);
        let weight = inner.input("weight")?;
        let out = rw.shape(weight)?[0];
        let bias = rw.literal(bias)?.as_const()?;
        let vector = bias.len() == out && bias.shape().last() == Some(&out);
        let rank_kept = bias.shape().len() <= rw.shape(product)?.len();
        if !(free && vector && rank_kept) {
            return None;
        }
        let bias = bias.reshape([out]).ok()?;
        let bias = if subtracts { negated(&bias)? } else { bias };
        Some((inner.input("x")?, weight, bias))
    })
}
