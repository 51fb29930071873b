//! Result types of operations, those that follow from nested blocks included.

use crate::{
    ir::{Function, Op},
    ops::{OpError, OpSpec, Operands},
    types::Type,
};

/// The result types of `op`, whose operands have been checked against `spec`.
pub(super) fn infer(_f: &Function, _op: &Op, spec: &OpSpec, operands: &Operands<'_>) -> Result<Vec<Type>, OpError> {
    (spec.infer)(operands).map_err(|e| OpError::new(format!("{}: {e}", spec.kind)))
}
