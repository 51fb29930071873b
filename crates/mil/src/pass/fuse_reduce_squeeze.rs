//! A reduction whose axes are dropped afterwards drops them itself.
//!
//! ```text
//! %a = reduce_argmax(x=%x, axis=1, keep_dims=true)
//! %y = reshape(x=%a, shape=[2])                      ==>   %y = reduce_argmax(x=%x, axis=1, keep_dims=false)
//! ```

use super::error::PassError;
use super::rewrite::{Rewriter, rewrite};
use crate::{
    builder::Bound,
    ir::{Function, Op, ValueId},
    ops,
};

/// Fuses a `reshape` or `squeeze` that removes exactly the reduced axes into the reduction before it.
///
/// # Errors
/// When the fused operation is refused, which validated programs do not cause.
pub fn fuse_reduce_squeeze(function: &mut Function) -> Result<usize, PassError> {
    rewrite("fuse_reduce_squeeze", function, |rw, op| {
        let Some((kind, args)) = match_squeezed(rw, op) else { return Ok(false) };
        let fused = rw.op_multi(kind, args)?[0];
        rw.replace(op.output(), fused)?;
        Ok(true)
    })
}

type Args = Vec<(&'static str, Bound)>;

fn match_squeezed(rw: &Rewriter<'_>, op: &Op) -> Option<(&'static str, Args)> {
    if !matches!(&*op.kind, "reshape" | "squeeze") {
        return None;
    }
    let x = op.input("x").filter(|&x| rw.single_use(x) && !rw.is_output(x))?;
    let reduction = rw.def(x).filter(|d| d.kind.starts_with("reduce_"))?;
    let view = rw.view(reduction);
    let keeps = view.known_bool("keep_dims").ok()?;
    let source: ValueId = reduction.input("x")?;
    let rank = rw.tensor(source)?.rank();
    let axes = view.known_axes("axes", rank).or_else(|_| view.known_int("axis").map(|axis| vec![axis])).ok()?;
    let axes: Vec<i64> = axes.into_iter().map(|a| if a < 0 { a + rank as i64 } else { a }).collect();
    let kept = rw.shape(source)?.into_iter().enumerate().filter(|(i, _)| !axes.contains(&(*i as i64)));
    let fits = keeps && !axes.is_empty() && rw.shape(op.output())? == kept.map(|(_, d)| d).collect::<Vec<_>>();
    let spec = ops::lookup(&reduction.kind, rw.function().opset).filter(|_| fits)?;
    let mut args: Args = vec![("keep_dims", false.into())];
    for param in spec.params.iter().filter(|p| p.name != "keep_dims") {
        args.extend(reduction.input(param.name).map(|v| (param.name, v.into())));
    }
    Some((spec.kind, args))
}
