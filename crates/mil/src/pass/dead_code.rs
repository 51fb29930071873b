//! Removes operations whose results nothing reads.

use super::error::PassError;
use crate::ir::{Function, Op, ValueId};
use std::collections::HashSet;

/// Removes every operation without a live result; `write_state` always lives, and what holds one.
///
/// ```text
/// %a = relu(x=%x)
/// %b = relu(x=%y)      ==>   %b = relu(x=%y)
/// return %b
/// ```
///
/// # Errors
/// None; the signature is that of every pass.
pub fn eliminate_dead_code(function: &mut Function) -> Result<usize, PassError> {
    Ok(remove_dead(function))
}

/// The pass without the form of one: it cannot fail.
pub(super) fn remove_dead(function: &mut Function) -> usize {
    let mut live: HashSet<ValueId> = function.body.outputs.iter().copied().collect();
    let before = function.body.ops.len();
    let mut kept = Vec::with_capacity(before);
    for op in std::mem::take(&mut function.body.ops).into_iter().rev() {
        if has_effect(&op) || op.outputs.iter().any(|v| live.contains(v)) {
            op.for_each_use(&mut |v| {
                live.insert(v);
            });
            kept.push(op);
        }
    }
    kept.reverse();
    function.body.ops = kept;
    before - function.body.ops.len()
}

/// True for operations without results, and those that hold such a one in a block.
fn has_effect(op: &Op) -> bool {
    op.outputs.is_empty() || op.blocks.iter().any(|b| b.ops.iter().any(has_effect))
}
