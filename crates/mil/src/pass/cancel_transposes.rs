//! Transpositions in a row are one, and those of the last two axes vanish into `matmul`.
//!
//! ```text
//! %a = transpose(x=%x, perm=[0, 2, 1])
//! %b = transpose(x=%a, perm=[0, 2, 1])
//! %y = relu(x=%b)                          ==>   %y = relu(x=%x)
//!
//! %t = transpose(x=%k, perm=[0, 1, 3, 2])
//! %y = matmul(x=%q, y=%t)                  ==>   %y = matmul(x=%q, y=%k, transpose_y=true)
//! ```

use super::error::PassError;
use super::rewrite::{Rewriter, rewrite};
use crate::{
    ir::{Function, Op, ValueId},
    ops::OpError,
};

/// Merges consecutive transpositions and folds them into the flags of `matmul`.
///
/// # Errors
/// When the merged operation is refused, which validated programs do not cause.
pub fn cancel_transposes(function: &mut Function) -> Result<usize, PassError> {
    rewrite("cancel_transposes", function, |rw, op| match &*op.kind {
        "transpose" => merge(rw, op),
        "matmul" => fold_into_matmul(rw, op),
        _ => Ok(false),
    })
}

fn merge(rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
    let Some((source, perm)) = op.input("x").and_then(|x| transposed(rw, x)) else { return Ok(false) };
    let Some(outer) = permutation(rw, op) else { return Ok(false) };
    let composed: Vec<i32> = outer.iter().map(|&p| perm[p] as i32).collect();
    if composed.iter().enumerate().all(|(i, &p)| i as i32 == p) {
        if rw.is_output(op.output()) && (rw.def(source).is_none() || rw.is_output(source)) {
            return Ok(false);
        }
        rw.replace(op.output(), source)?;
        return Ok(true);
    }
    rw.replace_with(op, "transpose", [("x", source.into()), ("perm", composed.into())])
}

fn fold_into_matmul(rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
    let (Some(x), Some(y)) = (op.input("x"), op.input("y")) else { return Ok(false) };
    let flag = |param| rw.view(op).known_bool(param);
    let (mut flags, mut operands, mut found) = ([flag("transpose_x")?, flag("transpose_y")?], [x, y], false);
    for (operand, flag) in operands.iter_mut().zip(&mut flags) {
        let Some((source, perm)) = transposed(rw, *operand) else { continue };
        let n = perm.len();
        let last_two = n >= 2
            && perm[n - 2] == n - 1
            && perm[n - 1] == n - 2
            && perm[..n - 2].iter().enumerate().all(|(i, &p)| i == p);
        if last_two {
            (*operand, *flag, found) = (source, !*flag, true);
        }
    }
    if !found {
        return Ok(false);
    }
    let args = [
        ("x", operands[0].into()),
        ("y", operands[1].into()),
        ("transpose_x", flags[0].into()),
        ("transpose_y", flags[1].into()),
    ];
    rw.replace_with(op, "matmul", args)
}

/// The operand and permutation of the transposition that made `v`.
fn transposed(rw: &Rewriter<'_>, v: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let op = rw.def_of(v, "transpose")?;
    Some((op.input("x")?, permutation(rw, op)?))
}

/// The permutation of a `transpose`, with negative axes resolved.
pub(crate) fn permutation(rw: &Rewriter<'_>, op: &Op) -> Option<Vec<usize>> {
    let perm = rw.view(op).ints("perm")?;
    let rank = perm.len() as i64;
    perm.iter().map(|&p| usize::try_from(if p < 0 { p + rank } else { p }).ok()).collect()
}
