//! Group normalisation, as converters spell it.
//!
//! ```text
//! %g = reshape(x=%x, shape=[N, G, …])
//! %m = reduce_mean(x=%g, axes=[2, …])
//! %s = sub(x=%g, y=%m)
//! %v = reduce_mean(x=square(x=%s), axes=[2, …])
//! %n = real_div(x=%s, y=sqrt(x=add(x=%v, y=ε)))
//! %r = reshape(x=%n, shape=[N, C, …])
//! %b = batch_norm(x=%r, …)                            may be missing
//! %y = silu(x=%b)                                     may be missing     ==>   %y = group_norm(x=%x)
//! ```

use super::found::Found;
use crate::{
    cpu::{
        body::Body,
        graph::{GroupNorm, Kind},
    },
    kernel::math::Activation,
};
use mil::{Op, ValueId};

pub(super) fn find(found: &mut Found<'_, '_>, op: usize) {
    if let Some((ops, norm)) = match_norm(found.body, op) {
        found.add(&ops, Kind::GroupNorm(norm));
    }
}

pub(super) fn match_norm(body: &Body<'_>, div: usize) -> Option<(Vec<usize>, GroupNorm)> {
    let ops = body.ops;
    if ops[div].kind != "real_div" {
        return None;
    }
    let sub = body.def_of(ops[div].input("x")?, "sub")?;
    let sqrt = body.def_of(ops[div].input("y")?, "sqrt")?;
    let add = body.def_of(ops[sqrt].input("x")?, "add")?;
    let (variance, epsilon) = value_and_scalar(body, &ops[add])?;
    let outer_mean = body.def_of(variance, "reduce_mean")?;
    let square = body.def_of(ops[outer_mean].input("x")?, "square")?;
    let (centred, grouped) = (ops[sub].output(), ops[sub].input("x")?);
    let mean = body.def_of(ops[sub].input("y")?, "reduce_mean")?;
    let reshape = body.def_of(grouped, "reshape")?;
    let back = body.def_of(ops[body.only_use(ops[div].output())?].output(), "reshape")?;
    let (x, r) = (ops[reshape].input("x")?, ops[back].output());
    let shape = body.floats(x)?;
    let groups = body.shape(grouped)?;
    let [n, c, ..] = shape[..] else { return None };
    let axes: Vec<i64> = (2..groups.len() as i64).collect();
    let uses = |id: ValueId, want: &[usize]| {
        let mut uses = body.inner_uses(id).to_vec();
        uses.dedup();
        let mut want = want.to_vec();
        want.sort_unstable();
        uses == want
    };
    let whole = ops[square].input("x")? == centred
        && ops[mean].input("x")? == grouped
        && reduces(body, mean, &axes, groups.len())
        && reduces(body, outer_mean, &axes, groups.len())
        && body.shape(r)? == shape
        && groups.len() > 2
        && groups[0] == n
        && groups[1] > 0
        && c.is_multiple_of(groups[1])
        && uses(grouped, &[mean, sub])
        && uses(centred, &[square, div])
        && [sqrt, add, outer_mean, square, mean].iter().all(|&i| body.only_use(ops[i].output()).is_some());
    if !whole {
        return None;
    }
    let mut all = vec![reshape, mean, sub, square, outer_mean, add, sqrt, div, back];
    let (gamma, beta, activation) = (None, None, Activation::Identity);
    let mut norm = GroupNorm { x, groups: groups[1], epsilon, gamma, beta, activation, out: r };
    if let Some((op, gamma, beta)) = affine(body, r, c) {
        all.push(op);
        norm = GroupNorm { gamma: Some(gamma), beta: Some(beta), out: ops[op].output(), ..norm };
    }
    if let Some(silu) = body.only_use(norm.out).filter(|&i| ops[i].kind == "silu") {
        all.push(silu);
        norm = GroupNorm { activation: Activation::Silu, out: ops[silu].output(), ..norm };
    }
    Some((all, norm))
}

/// The operand of a sum that is no constant scalar, and the scalar.
fn value_and_scalar(body: &Body<'_>, add: &Op) -> Option<(ValueId, f32)> {
    let (x, y) = (add.input("x")?, add.input("y")?);
    body.scalar(y).map(|s| (x, s)).or_else(|| body.scalar(x).map(|s| (y, s)))
}

fn reduces(body: &Body<'_>, op: usize, want: &[i64], rank: usize) -> bool {
    let op = &body.ops[op];
    let Ok(mut axes) = body.view(op).known_axes("axes", rank) else { return false };
    axes.iter_mut().filter(|a| **a < 0).for_each(|a| *a += rank as i64);
    axes.sort_unstable();
    axes == want && body.view(op).known_bool("keep_dims") == Ok(true)
}

/// A batch norm with constant statistics, as factors and summands.
fn affine(body: &Body<'_>, r: ValueId, channels: usize) -> Option<(usize, Vec<f32>, Vec<f32>)> {
    let at = body.only_use(r).filter(|&i| body.ops[i].kind == "batch_norm")?;
    let op = &body.ops[at];
    let of = |param: &str| body.view(op).known_numbers_of_len(param, channels).ok();
    let (mean, variance, gamma, beta) = (of("mean")?, of("variance")?, of("gamma")?, of("beta")?);
    let epsilon = body.view(op).known_number("epsilon").ok()? as f32;
    let factors: Vec<f32> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let summands = beta.iter().zip(&mean).zip(&factors).map(|((b, m), f)| b - m * f).collect();
    Some((at, factors, summands))
}
