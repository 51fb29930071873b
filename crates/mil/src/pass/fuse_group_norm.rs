//! Group normalisation as Apple's converter writes it: rank 5, so that no dimension grows beyond what the
//! Neural Engine takes (16 384).
//!
//! ```text
//! %r = reshape(x=%x, shape=[N, G, C/G·H·W])        %r = reshape(x=%x, shape=[N, G, C/G, H, W])
//! %m = reduce_mean(x=%r, axes=[2])                 %m = reduce_mean(x=%r, axes=[2, 3, 4])
//! %s = sub(x=%r, y=%m)                             %s = sub(x=%r, y=%m)
//! %q = mul(x=%s, y=%s)                             %q = square(x=%s)
//! %v = reduce_mean(x=%q, axes=[2])          ==>    %v = reduce_mean(x=%q, axes=[2, 3, 4])
//! %d = sqrt(x=add(x=%v, y=ε))                      %d = sqrt(x=add(x=%v, y=ε))
//! %n = real_div(x=%s, y=%d)                        %n = real_div(x=%s, y=%d)
//! %y = reshape(x=%n, shape=[N, C, H, W])           %y = reshape(x=%n, shape=[N, C, H, W])
//! ```

use super::error::PassError;
use super::{
    fuse_layer_norm::match_normalized,
    rewrite::{Rewriter, rewrite},
};
use crate::ir::{Function, Op, ValueId};

/// Brings group normalisation of a rank-4 tensor into the rank-5 form.
///
/// # Errors
/// When an operation of the new form is refused, which validated programs do not cause.
pub fn fuse_group_norm(function: &mut Function) -> Result<usize, PassError> {
    rewrite("fuse_group_norm", function, |rw, op| {
        let Some(m) = match_group_norm(rw, op) else { return Ok(false) };
        let [n, c, h, w] = m.shape.map(|d| d as i32);
        let groups = m.groups as i32;
        let grouped = rw.op("reshape", [("x", m.x.into()), ("shape", [n, groups, c / groups, h, w].into())])?;
        let mean =
            rw.op("reduce_mean", [("x", grouped.into()), ("axes", [2, 3, 4].into()), ("keep_dims", true.into())])?;
        let centred = rw.op("sub", [("x", grouped.into()), ("y", mean.into())])?;
        let square = rw.op("square", [("x", centred.into())])?;
        let variance =
            rw.op("reduce_mean", [("x", square.into()), ("axes", [2, 3, 4].into()), ("keep_dims", true.into())])?;
        let shifted = rw.op("add", [("x", variance.into()), ("y", m.epsilon.into())])?;
        let deviation = rw.op("sqrt", [("x", shifted.into())])?;
        let normed = rw.op("real_div", [("x", centred.into()), ("y", deviation.into())])?;
        rw.replace_with(op, "reshape", [("x", normed.into()), ("shape", [n, c, h, w].into())])
    })
}

struct GroupNorm {
    x: ValueId,
    epsilon: ValueId,
    shape: [usize; 4],
    groups: usize,
}

fn match_group_norm(rw: &Rewriter<'_>, op: &Op) -> Option<GroupNorm> {
    if op.kind != "reshape" {
        return None;
    }
    let shape: [usize; 4] = rw.shape(op.output())?.try_into().ok()?;
    let n = match_normalized(rw, op.input("x")?)?;
    let grouped = rw.def_of(n.x, "reshape")?;
    let x = grouped.input("x")?;
    let (inner, outer) = (rw.shape(n.x)?, rw.shape(x)?);
    let groups = inner.get(1).copied().filter(|&g| g > 0)?;
    // Everything behind the group axis is normalised at once; the rank-5 form itself does not match.
    let fits =
        outer == shape && inner.len() == 3 && inner[0] == shape[0] && n.axes == [2] && shape[1].is_multiple_of(groups);
    fits.then_some(GroupNorm { x, epsilon: n.epsilon, shape, groups })
}
