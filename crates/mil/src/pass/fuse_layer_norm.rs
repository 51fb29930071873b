//! The spelt-out layer normalisation is one operation.
//!
//! ```text
//! %m = reduce_mean(x=%x, axes=[2], keep_dims=true)
//! %s = sub(x=%x, y=%m)
//! %v = reduce_mean(x=square(%s), axes=[2], keep_dims=true)
//! %n = real_div(x=%s, y=sqrt(%v + ε))
//! %y = add(x=mul(x=%n, y=γ), y=β)   ==>   %y = layer_norm(x=%x, axes=[2], gamma=γ, beta=β, epsilon=ε)
//! ```

use super::error::PassError;
use super::rewrite::{Rewriter, rewrite};
use crate::{
    constant::Const,
    ir::{Function, Op, ValueId},
};

/// Fuses normalisation over trailing axes with an affine map of that shape into `layer_norm`.
///
/// # Errors
/// When the fused operation is refused, which validated programs do not cause.
pub fn fuse_layer_norm(function: &mut Function) -> Result<usize, PassError> {
    rewrite("fuse_layer_norm", function, |rw, op| {
        let Some((n, [gamma, beta, epsilon])) = match_affine(rw, op) else { return Ok(false) };
        let args = [
            ("x", n.x.into()),
            ("axes", n.axes.clone().into()),
            ("gamma", gamma.into()),
            ("beta", beta.into()),
            ("epsilon", epsilon.into()),
        ];
        rw.replace_with(op, "layer_norm", args)
    })
}

/// A matched `(x − mean) / sqrt(variance + ε)`.
pub(crate) struct Normalized {
    pub(crate) x: ValueId,
    /// Non-negative axes.
    pub(crate) axes: Vec<i32>,
    /// The constant ε, of one element.
    pub(crate) epsilon: ValueId,
}

/// Recognises the normalisation that ends in `v`; the variance is biased.
pub(crate) fn match_normalized(rw: &Rewriter<'_>, v: ValueId) -> Option<Normalized> {
    let div = rw.def_of(v, "real_div")?;
    let (centred, deviation) = (div.input("x")?, div.input("y")?);
    let sum = rw.def_of(rw.def_of(deviation, "sqrt")?.input("x")?, "add")?;
    let epsilon = sum.input("y").filter(|&e| rw.scalar(e).is_some())?;
    let (square, axes) = mean(rw, sum.input("x")?)?;
    let difference = rw.def_of(centred, "sub")?;
    let (x, mean_axes) = (difference.input("x")?, mean(rw, difference.input("y")?)?);
    (is_square(rw, square, centred) && mean_axes == (x, axes.clone())).then_some(Normalized { x, axes, epsilon })
}

/// Whether `v` is the square of `x`, in whichever spelling.
pub(super) fn is_square(rw: &Rewriter<'_>, v: ValueId, x: ValueId) -> bool {
    let Some(op) = rw.def(v).filter(|op| op.input("x") == Some(x)) else { return false };
    match &*op.kind {
        "square" => true,
        "mul" => op.input("y") == Some(x),
        "pow" => op.input("y").and_then(|y| rw.scalar(y)) == Some(2.0),
        _ => false,
    }
}

/// Operand and non-negative axes of a `reduce_mean` that keeps its dimensions.
pub(super) fn mean(rw: &Rewriter<'_>, v: ValueId) -> Option<(ValueId, Vec<i32>)> {
    let op = rw.def_of(v, "reduce_mean")?;
    let x = op.input("x")?;
    let rank = rw.tensor(x)?.rank() as i64;
    let keep = rw.view(op).known_bool("keep_dims").ok()?;
    let given = rw.view(op).known_axes("axes", rank as usize).ok()?;
    let axes = given.iter().map(|&a| (if a < 0 { a + rank } else { a }) as i32).collect();
    keep.then_some((x, axes))
}

/// The normalisation with its γ, β and ε, in the shapes that `layer_norm` takes.
fn match_affine(rw: &Rewriter<'_>, op: &Op) -> Option<(Normalized, [Const; 3])> {
    if op.kind != "add" {
        return None;
    }
    let product = rw.def_of(op.input("x")?, "mul").filter(|p| rw.single_use(p.output()))?;
    let n = match_normalized(rw, product.input("x")?)?;
    let shape = rw.shape(n.x)?;
    let axes = n.axes.iter().map(|&a| usize::try_from(a)).collect::<Result<Vec<_>, _>>().ok()?;
    if axes.is_empty() || !axes.iter().copied().eq(shape.len() - axes.len().min(shape.len())..shape.len()) {
        return None;
    }
    let normed = &shape[axes[0]..];
    // As many elements are not enough: [S, 1] is a factor for each row, even where S equals C.
    let affine = |v: ValueId| {
        let c = rw.literal(v)?.as_const()?;
        let leading = c.shape().strip_suffix(normed)?;
        (leading.len() + normed.len() <= shape.len()).then(|| c.reshape(normed).ok()).flatten()
    };
    let (gamma, beta) = (affine(product.input("y")?)?, affine(op.input("y")?)?);
    let epsilon = rw.literal(n.epsilon)?.as_const()?.reshape([]).ok()?;
    Some((n, [gamma, beta, epsilon]))
}
