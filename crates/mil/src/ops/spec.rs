//! What a specification says.

use super::{OpError, Operands};
use crate::{opset::Opset, types::Type};
use host_tensor::DType;

/// What a parameter accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// A tensor whose element type is one of these; parameters with the same letter share one type.
    Tensor(char, &'static [DType]),
    /// A single string.
    String,
    /// A tuple of tensors.
    Tuple,
    /// Anything.
    Any,
}

/// One parameter of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Name.
    pub name: &'static str,
    /// Accepted types.
    pub accepts: Accepts,
    /// Must be known at compile time: a constant, or the result of a `constexpr_*` operation.
    pub constant: bool,
    /// May be left out.
    pub optional: bool,
}

/// One version of one operation.
#[derive(Debug, Clone, Copy)]
pub struct OpSpec {
    /// Operation type.
    pub kind: &'static str,
    /// First opset that has this version.
    pub since: Opset,
    /// Parameters.
    pub params: &'static [Param],
    /// Result types from checked operands.
    pub infer: fn(&Operands<'_>) -> Result<Vec<Type>, OpError>,
}

impl OpSpec {
    /// The parameter with this name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'static Param> {
        self.params.iter().find(|p| p.name == name)
    }

    /// Checks that every required parameter is bound, none is superfluous, and each has an accepted type.
    ///
    /// # Errors
    /// The first breach found.
    pub fn check(&self, operands: &Operands<'_>) -> Result<(), OpError> {
        for name in operands.bound() {
            if self.param(name).is_none() {
                return Err(OpError::new(format!("{} has no parameter {name}", self.kind)));
            }
        }
        Ok(())
    }
}
