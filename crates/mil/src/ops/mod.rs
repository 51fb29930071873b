//! Operations: one declarative specification each, and type inference.
//!
//! A specification says what an operation takes, in which opset it appeared, and how its result types
//! follow. Builder, validator, printer and engines read it; nothing else in the workspace lists operations.
//! Source of the rules: coremltools 9.0, `converters/mil/mil/ops/defs` (iOS 15 to iOS 18).

mod operands;
mod spec;

pub use operands::Operands;
pub use spec::{Accepts, OpSpec, Param};

use crate::{opset::Opset, types::Type};

/// Why an operation is not acceptable; names the parameter and the types at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OpError {
    message: String,
}

impl OpError {
    /// An error with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// Every specification, in every version.
#[must_use]
pub fn all() -> &'static [OpSpec] {
    &[]
}

/// The version of `kind` that is valid in `opset`: the newest that is not newer.
#[must_use]
pub fn lookup(kind: &str, opset: Opset) -> Option<&'static OpSpec> {
    all().iter().filter(|s| s.kind == kind && s.since <= opset).max_by_key(|s| s.since)
}

/// The result types of an operation.
///
/// # Errors
/// When the operation is unknown in this opset, or its operands break its specification.
pub fn infer(kind: &str, operands: &Operands<'_>, opset: Opset) -> Result<Vec<Type>, OpError> {
    let spec = lookup(kind, opset).ok_or_else(|| OpError::new(format!("{kind} is not an operation of {opset}")))?;
    spec.check(operands)?;
    (spec.infer)(operands).map_err(|e| OpError::new(format!("{kind}: {e}")))
}
