//! An operation's operands as inference sees them.

use super::OpError;
use crate::{
    constant::Literal,
    ir::{Arg, Function, Inputs, ValueId},
    types::{TensorType, Type},
};

/// Bound parameters with their types and, where known, their values.
#[derive(Debug, Clone, Copy)]
pub struct Operands<'a> {
    function: &'a Function,
    inputs: &'a Inputs,
}

impl<'a> Operands<'a> {
    /// The operands `inputs` of an operation of `function`.
    #[must_use]
    pub fn new(function: &'a Function, inputs: &'a Inputs) -> Self {
        Self { function, inputs }
    }

    /// Names of the bound parameters.
    pub fn bound(&self) -> impl Iterator<Item = &'a str> {
        self.inputs.keys().map(AsRef::as_ref)
    }

    /// What is bound to `param`.
    #[must_use]
    pub fn arg(&self, param: &str) -> Option<&'a Arg> {
        self.inputs.get(param)
    }

    /// The single value bound to `param`.
    #[must_use]
    pub fn value(&self, param: &str) -> Option<ValueId> {
        match self.inputs.get(param) {
            Some(Arg::One(v)) => Some(*v),
            _ => None,
        }
    }

    /// The type of the single value bound to `param`.
    #[must_use]
    pub fn ty(&self, param: &str) -> Option<&'a Type> {
        self.value(param).map(|v| self.function.ty(v))
    }

    /// The types of all values bound to `param`.
    #[must_use]
    pub fn types(&self, param: &str) -> Vec<&'a Type> {
        self.inputs.get(param).map_or(&[][..], Arg::values).iter().map(|&v| self.function.ty(v)).collect()
    }

    /// The tensor type of a required parameter.
    ///
    /// # Errors
    /// When it is not bound to one tensor.
    pub fn tensor(&self, param: &str) -> Result<&'a TensorType, OpError> {
        self.ty(param).and_then(Type::as_tensor).ok_or_else(|| OpError::new(format!("{param} must be a tensor")))
    }

    /// The tensor type of an optional parameter.
    #[must_use]
    pub fn optional_tensor(&self, param: &str) -> Option<&'a TensorType> {
        self.ty(param).and_then(Type::as_tensor)
    }

    /// The compile-time value of `param`, when it is bound to a constant.
    #[must_use]
    pub fn literal(&self, param: &str) -> Option<&'a Literal> {
        self.function.literal(self.value(param)?)
    }

    /// All integers of a constant parameter.
    #[must_use]
    pub fn ints(&self, param: &str) -> Option<Vec<i64>> {
        self.literal(param)?.as_ints()
    }

    /// The integer of a constant scalar parameter.
    #[must_use]
    pub fn int(&self, param: &str) -> Option<i64> {
        self.ints(param)?.first().copied()
    }

    /// The boolean of a constant scalar parameter.
    #[must_use]
    pub fn boolean(&self, param: &str) -> Option<bool> {
        self.literal(param)?.as_bool()
    }

    /// The string of a constant parameter.
    #[must_use]
    pub fn string(&self, param: &str) -> Option<&'a str> {
        self.literal(param)?.as_str()
    }
}
