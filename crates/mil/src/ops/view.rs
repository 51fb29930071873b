//! The reader of an operation's operands: for inference, validation, passes and engines.
//!
//! Nobody else says what leaving out a parameter means; that stands in the tables.

use super::{Default, OpError, OpSpec, lookup};
use crate::{
    constant::Literal,
    ir::{Arg, Function, Inputs, Op, ValueId},
    opset::Opset,
    types::{TensorType, Type},
};

/// Constant parameters that inference reads element by element have at most this many elements; they are
/// axes, shapes and the like, and a longer one is a mistake or an attack.
const MAX_PARAM_ELEMENTS: usize = 1 << 14;

/// An operation's parameters: what is bound, with types and, where known, values, and what leaving one out means.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    function: &'a Function,
    inputs: &'a Inputs,
    spec: Option<&'static OpSpec>,
    constexpr: Option<&'a [bool]>,
}

impl<'a> View<'a> {
    /// The parameters of an operation of `function`, with the defaults of its specification.
    ///
    /// What no table describes has no defaults.
    #[must_use]
    pub fn of(function: &'a Function, op: &'a Op) -> Self {
        Self { spec: lookup(&op.kind, function.opset), ..Self::new(function, &op.inputs) }
    }

    /// The operands `inputs` of an operation of `function` that may not exist yet, without defaults.
    #[must_use]
    pub fn new(function: &'a Function, inputs: &'a Inputs) -> Self {
        Self { function, inputs, spec: None, constexpr: None }
    }

    /// The same, with the knowledge which values (by index) `constexpr_*` operations make.
    #[must_use]
    pub fn with_constexpr(self, constexpr: &'a [bool]) -> Self {
        Self { constexpr: Some(constexpr), ..self }
    }

    /// The same, with the specification whose defaults stand in for omitted parameters.
    #[must_use]
    pub fn with_spec(self, spec: &'static OpSpec) -> Self {
        Self { spec: Some(spec), ..self }
    }

    /// The opset of the function.
    #[must_use]
    pub fn opset(&self) -> Opset {
        self.function.opset
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

    /// True when something is bound to `param`.
    #[must_use]
    pub fn has(&self, param: &str) -> bool {
        self.inputs.contains_key(param)
    }

    /// The single value bound to `param`.
    #[must_use]
    pub fn value(&self, param: &str) -> Option<ValueId> {
        match self.inputs.get(param) {
            Some(Arg::One(v)) => Some(*v),
            _ => None,
        }
    }

    /// Whether `v` is known at compile time; `None` when that cannot be told.
    #[must_use]
    pub fn is_constant(&self, v: ValueId) -> Option<bool> {
        if self.function.literal(v).is_some() {
            return Some(true);
        }
        self.constexpr.map(|made| made.get(v.index()).copied().unwrap_or(false))
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

    /// The tensor types of all values bound to `param`.
    ///
    /// # Errors
    /// When one of them is no tensor.
    pub fn tensors(&self, param: &str) -> Result<Vec<&'a TensorType>, OpError> {
        let tensor = |(i, ty): (usize, &'a Type)| {
            ty.as_tensor().ok_or_else(|| OpError::new(format!("{param}[{i}] must be a tensor, not {ty}")))
        };
        self.types(param).into_iter().enumerate().map(tensor).collect()
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

    /// All integers of a parameter that is bound to a constant.
    #[must_use]
    pub fn ints(&self, param: &str) -> Option<Vec<i64>> {
        let literal = self.literal(param)?;
        if literal.as_const()?.len() > MAX_PARAM_ELEMENTS {
            return None;
        }
        literal.as_ints()
    }

    /// The integer of a parameter that is bound to a constant scalar.
    #[must_use]
    pub fn int(&self, param: &str) -> Option<i64> {
        self.ints(param)?.first().copied()
    }

    /// The boolean of a parameter that is bound to a constant scalar.
    #[must_use]
    pub fn boolean(&self, param: &str) -> Option<bool> {
        self.literal(param)?.as_bool()
    }

    /// The string of a parameter that is bound to a constant.
    #[must_use]
    pub fn string(&self, param: &str) -> Option<&'a str> {
        self.literal(param)?.as_str()
    }

    /// What leaving out `param` means.
    fn default(&self, param: &str) -> Option<Default> {
        if self.has(param) { None } else { self.spec?.default_of(param) }
    }

    /// The integers of a constant vector.
    ///
    /// # Errors
    /// When they are not known at compile time.
    pub fn known_ints(&self, param: &str) -> Result<Vec<i64>, OpError> {
        self.ints(param).ok_or_else(|| unknown(param))
    }

    /// The `n` integers of a constant vector, or of its default.
    ///
    /// # Errors
    /// When they are not known at compile time, or not `n`.
    pub fn known_ints_of_len(&self, param: &str, n: usize) -> Result<Vec<i64>, OpError> {
        let values = match self.default(param).and_then(|d| d.ints(n)) {
            Some(values) => values,
            None => self.known_ints(param)?,
        };
        if values.len() != n {
            return Err(OpError::new(format!("{param} has {} elements, but must have {n}", values.len())));
        }
        Ok(values)
    }

    /// The axes of a constant vector for a tensor of this rank, as they stand there, or those of its default.
    ///
    /// # Errors
    /// When they are not known at compile time.
    pub fn known_axes(&self, param: &str, rank: usize) -> Result<Vec<i64>, OpError> {
        match self.default(param).and_then(|d| d.ints(rank)) {
            Some(all) => Ok(all),
            None => self.known_ints(param),
        }
    }

    /// The `n` numbers of a constant vector, or of its default.
    ///
    /// # Errors
    /// When they are not known at compile time, or not `n`.
    pub fn known_numbers_of_len(&self, param: &str, n: usize) -> Result<Vec<f32>, OpError> {
        #[expect(clippy::cast_precision_loss, reason = "defaults are small")]
        let default = |d: Default| d.ints(n).map(|all| all.into_iter().map(|i| i as f32).collect());
        let values: Vec<f32> = match self.default(param).and_then(default) {
            Some(values) => values,
            None => self.literal(param).and_then(Literal::as_floats).ok_or_else(|| unknown(param))?,
        };
        if values.len() != n {
            return Err(OpError::new(format!("{param} has {} elements, but must have {n}", values.len())));
        }
        Ok(values)
    }

    /// The booleans of a constant vector of length `n`, or of its default.
    ///
    /// # Errors
    /// When they are not known at compile time, or not `n`.
    pub fn known_flags(&self, param: &str, n: usize) -> Result<Vec<bool>, OpError> {
        Ok(self.known_ints_of_len(param, n)?.into_iter().map(|b| b != 0).collect())
    }

    /// The integer of a constant scalar, or of its default.
    ///
    /// # Errors
    /// When it is not known at compile time.
    pub fn known_int(&self, param: &str) -> Result<i64, OpError> {
        let default = self.default(param).and_then(Default::int);
        default.or_else(|| self.int(param)).ok_or_else(|| unknown(param))
    }

    /// The boolean of a constant scalar, or of its default.
    ///
    /// # Errors
    /// When it is not known at compile time.
    pub fn known_bool(&self, param: &str) -> Result<bool, OpError> {
        match self.default(param) {
            Some(Default::Not(other)) => self.known_bool(other).map(|b| !b),
            default => default.and_then(Default::bool).or_else(|| self.boolean(param)).ok_or_else(|| unknown(param)),
        }
    }

    /// The string of a constant, or of its default.
    ///
    /// # Errors
    /// When it is not known at compile time.
    pub fn known_text(&self, param: &str) -> Result<&'a str, OpError> {
        let default = self.default(param).and_then(Default::text);
        default.or_else(|| self.string(param)).ok_or_else(|| unknown(param))
    }

    /// The number of a constant scalar of any numeric type, or of its default.
    ///
    /// # Errors
    /// When it is not known at compile time.
    pub fn known_number(&self, param: &str) -> Result<f64, OpError> {
        if let Some(number) = self.default(param).and_then(Default::number) {
            return Ok(number);
        }
        let literal = self.literal(param).ok_or_else(|| unknown(param))?;
        let floats = literal.as_const().filter(|c| c.len() == 1).map(|c| c.read().to_f32_vec());
        floats.and_then(|v| v.first().copied()).map(f64::from).ok_or_else(|| unknown(param))
    }
}

fn unknown(param: &str) -> OpError {
    OpError::new(format!("{param} must be known at compile time"))
}
