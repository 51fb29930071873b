//! Why a pass failed, and the way back.

use crate::{ir::Function, ops::OpError};
use std::{fmt, sync::Arc};

/// Why a pass failed; the function is what it was before that pass.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassError {
    /// Name of the pass.
    pub pass: String,
    /// The operation that it was at, where it was at one.
    pub op: Option<Arc<str>>,
    /// What is wrong.
    pub message: String,
}

impl PassError {
    /// An error of a pass that is at no operation.
    #[must_use]
    pub fn new(pass: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pass: pass.into(), op: None, message: message.into() }
    }
}

impl fmt::Display for PassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pass {}", self.pass)?;
        if let Some(op) = &self.op {
            write!(f, ", op {op}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for PassError {}

/// An error on its way out of a pass.
pub(super) struct Failure {
    pub(super) op: Option<Arc<str>>,
    pub(super) error: OpError,
}

impl From<OpError> for Failure {
    fn from(error: OpError) -> Self {
        Self { op: None, error }
    }
}

/// Runs the body of a pass; should it fail, the function becomes what it was.
///
/// The copy that is kept meanwhile shares all constants, so it costs about what a pass does anyway.
pub(super) fn atomically<T>(
    pass: &'static str,
    function: &mut Function,
    body: impl FnOnce(&mut Function) -> Result<T, Failure>,
) -> Result<T, PassError> {
    let before = function.clone();
    body(function).map_err(|Failure { op, error }| {
        *function = before;
        PassError { pass: pass.to_owned(), op, message: error.to_string() }
    })
}
