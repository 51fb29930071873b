//! Branches and loops.
//!
//! Their results follow from their nested blocks, which operands do not show; validation checks those.

use super::{
    Accepts, OpError, OpSpec, Param, View,
    domain::{BOOL, IOS15},
};
use crate::types::Type;

pub(super) const SPECS: &[OpSpec] = &[
    // Blocks: what a true and what a false predicate runs, without arguments and with results of equal types.
    OpSpec::new("cond", IOS15, &[Param::tensor("pred", '_', BOOL).scalar()], cond).blocks(2),
    // Blocks: the condition, from the loop's variables to a boolean, and the body, from them to their next values.
    OpSpec::new("while_loop", IOS15, &[Param::other("loop_vars", Accepts::Values)], while_loop).blocks(2),
];

fn cond(_: &View<'_>) -> Result<Vec<Type>, OpError> {
    fail!("the result types follow from the blocks, not from the operands")
}

fn while_loop(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    Ok(o.types("loop_vars").into_iter().cloned().collect())
}
