//! The vocabulary of the specification tables, and the checks that follow from a table alone.

use super::{OpError, View, all};
use crate::{ir::Arg, opset::Opset, types::Type};
use host_tensor::DType;

/// What a parameter accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accepts {
    /// A tensor whose element type is one of these; parameters with the same letter share one type.
    /// The letter `_` shares with nobody.
    Tensor(char, &'static [DType]),
    /// A tuple of tensors that share one element type.
    Tuple,
    /// A tuple of any values.
    Values,
    /// One string out of these.
    Text(&'static [&'static str]),
    /// One string that inference interprets.
    FreeText,
    /// A state.
    State,
    /// Anything.
    Any,
}

/// How many dimensions a tensor parameter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Any number; inference checks the rest.
    Any,
    /// None.
    Scalar,
    /// One.
    Vector,
}

/// What an omitted parameter means.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Default {
    /// A boolean scalar.
    Bool(bool),
    /// An integer scalar.
    Int(i64),
    /// A float scalar of the type that the parameter would have.
    Float(f64),
    /// A string.
    Text(&'static str),
    /// As many ones as the operation needs.
    Ones,
    /// As many zeros as the operation needs; for booleans, all false.
    Zeros,
    /// Every axis of the operand, in order.
    AllAxes,
    /// The opposite of another boolean parameter.
    Not(&'static str),
}

impl Default {
    /// The integers of a default that stands for `n` of them.
    #[must_use]
    pub fn ints(self, n: usize) -> Option<Vec<i64>> {
        match self {
            Self::Ones => Some(vec![1; n]),
            Self::Zeros => Some(vec![0; n]),
            #[expect(clippy::cast_possible_wrap, reason = "ranks are small")]
            Self::AllAxes => Some((0..n as i64).collect()),
            _ => None,
        }
    }

    /// An integer.
    #[must_use]
    pub fn int(self) -> Option<i64> {
        if let Self::Int(i) = self { Some(i) } else { None }
    }

    /// A number of either kind.
    #[must_use]
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Float(x) => Some(x),
            #[expect(clippy::cast_precision_loss, reason = "defaults are small")]
            Self::Int(i) => Some(i as f64),
            _ => None,
        }
    }

    /// A boolean that depends on nothing.
    #[must_use]
    pub fn bool(self) -> Option<bool> {
        if let Self::Bool(b) = self { Some(b) } else { None }
    }

    /// A string.
    #[must_use]
    pub fn text(self) -> Option<&'static str> {
        if let Self::Text(s) = self { Some(s) } else { None }
    }
}

/// When an operation is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// While the model is loaded: its operands and results are constants.
    Load,
    /// Whenever the model runs.
    Run,
}

/// One parameter of an operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Param {
    /// Name.
    pub name: &'static str,
    /// Accepted types.
    pub accepts: Accepts,
    /// Accepted rank, for tensors.
    pub rank: Rank,
    /// Must be known at compile time: a constant, or the result of a `constexpr_*` operation.
    pub constant: bool,
    /// May be left out.
    pub optional: bool,
    /// What leaving it out means; an optional parameter without a default is a feature that is off.
    pub default: Option<Default>,
}

impl Param {
    const fn new(name: &'static str, accepts: Accepts) -> Self {
        Self { name, accepts, rank: Rank::Any, constant: false, optional: false, default: None }
    }

    /// A tensor of one of the types of `domain`, which it shares with all parameters of the same `letter`.
    pub(super) const fn tensor(name: &'static str, letter: char, domain: &'static [DType]) -> Self {
        Self::new(name, Accepts::Tensor(letter, domain))
    }

    /// A tuple of tensors of one element type.
    pub(super) const fn tensors(name: &'static str) -> Self {
        Self::new(name, Accepts::Tuple)
    }

    /// Something that only [`Accepts`] can say.
    pub(super) const fn other(name: &'static str, accepts: Accepts) -> Self {
        Self::new(name, accepts)
    }

    /// A constant `int32` scalar.
    pub(super) const fn int(name: &'static str) -> Self {
        Self::tensor(name, '_', &[DType::I32]).scalar().constant()
    }

    /// A constant `int32` vector.
    pub(super) const fn ints(name: &'static str) -> Self {
        Self::tensor(name, '_', &[DType::I32]).vector().constant()
    }

    /// A constant boolean scalar.
    pub(super) const fn flag(name: &'static str) -> Self {
        Self::tensor(name, '_', &[DType::Bool]).scalar().constant()
    }

    /// A constant boolean vector.
    pub(super) const fn flags(name: &'static str) -> Self {
        Self::tensor(name, '_', &[DType::Bool]).vector().constant()
    }

    /// A constant string out of `choices`.
    pub(super) const fn text(name: &'static str, choices: &'static [&'static str]) -> Self {
        Self::new(name, Accepts::Text(choices)).constant()
    }

    /// Known at compile time.
    pub(super) const fn constant(mut self) -> Self {
        self.constant = true;
        self
    }

    /// A feature that is off when the parameter is left out.
    pub(super) const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Means `default` when it is left out.
    pub(super) const fn or(mut self, default: Default) -> Self {
        self.default = Some(default);
        self.optional()
    }

    pub(super) const fn scalar(mut self) -> Self {
        self.rank = Rank::Scalar;
        self
    }

    pub(super) const fn vector(mut self) -> Self {
        self.rank = Rank::Vector;
        self
    }
}

/// Result types from operands that passed [`OpSpec::check`].
pub type Infer = fn(&View<'_>) -> Result<Vec<Type>, OpError>;

/// One version of one operation.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct OpSpec {
    /// Operation type.
    pub kind: &'static str,
    /// First opset that has this version.
    pub since: Opset,
    /// Parameters.
    pub params: &'static [Param],
    /// Result types from checked operands.
    pub infer: Infer,
    /// True when builders and passes may use it in older opsets as well, as an abstraction that a pass
    /// replaces before validation.
    pub is_abstract_before: bool,
    /// Nested blocks that it has.
    pub n_blocks: usize,
    /// When it is computed.
    pub stage: Stage,
}

impl OpSpec {
    pub(super) const fn new(kind: &'static str, since: Opset, params: &'static [Param], infer: Infer) -> Self {
        Self { kind, since, params, infer, is_abstract_before: false, n_blocks: 0, stage: Stage::Run }
    }

    pub(super) const fn abstract_before(mut self) -> Self {
        self.is_abstract_before = true;
        self
    }

    pub(super) const fn at_load(mut self) -> Self {
        self.stage = Stage::Load;
        self
    }

    pub(super) const fn blocks(mut self, n: usize) -> Self {
        self.n_blocks = n;
        self
    }

    /// The parameter with this name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'static Param> {
        self.params.iter().find(|p| p.name == name)
    }

    /// What leaving out a parameter means.
    ///
    /// A parameter that only a later version has means its default in this one, where it cannot be given.
    #[must_use]
    pub fn default_of(&self, param: &str) -> Option<Default> {
        let later = || all().iter().filter(|s| s.kind == self.kind).find_map(|s| s.param(param));
        self.param(param).or_else(later)?.default
    }

    /// Checks what the table says: every required parameter is bound, none is superfluous, and each has an
    /// accepted type, rank, choice, and is known at compile time where it must be.
    ///
    /// Whether a value that is no literal comes from a `constexpr_*` operation is checked only if the operands
    /// know it ([`View::with_constexpr`]).
    ///
    /// # Errors
    /// The first breach found.
    pub fn check(&self, operands: &View<'_>) -> Result<(), OpError> {
        self.check_table(operands).map_err(|e| OpError::new(format!("{}: {e}", self.kind)))
    }

    /// The result types: checks the table, then infers with its defaults.
    ///
    /// # Errors
    /// When the operands break the specification.
    pub fn result_types(&'static self, operands: &View<'_>) -> Result<Vec<Type>, OpError> {
        self.check(operands)?;
        (self.infer)(&operands.with_spec(self)).map_err(|e| OpError::new(format!("{}: {e}", self.kind)))
    }

    fn check_table(&self, operands: &View<'_>) -> Result<(), OpError> {
        for name in operands.bound() {
            if self.param(name).is_none() {
                let known: Vec<_> = self.params.iter().map(|p| p.name).collect();
                return Err(OpError::new(format!("no parameter {name}, only {}", known.join(", "))));
            }
        }
        let mut letters = Vec::new();
        for param in self.params {
            match operands.arg(param.name) {
                None if param.optional => {}
                None => return Err(OpError::new(format!("{} is missing", param.name))),
                Some(arg) => {
                    param.check(arg, operands)?;
                    share_type(param, operands, &mut letters)?;
                }
            }
        }
        Ok(())
    }
}

/// Parameters under one letter, and the element type of the first of them.
fn share_type(
    param: &Param,
    operands: &View<'_>,
    letters: &mut Vec<(char, &'static str, DType)>,
) -> Result<(), OpError> {
    let Accepts::Tensor(letter, _) = param.accepts else { return Ok(()) };
    let Some(dtype) = operands.optional_tensor(param.name).map(|t| t.dtype) else { return Ok(()) };
    match letters.iter().find(|(l, ..)| *l == letter && letter != '_') {
        Some((_, first, expected)) if *expected != dtype => {
            Err(OpError::new(format!("{} is {dtype}, but {first} is {expected}: they must be equal", param.name)))
        }
        Some(_) => Ok(()),
        None => {
            letters.push((letter, param.name, dtype));
            Ok(())
        }
    }
}

impl Param {
    fn check(&self, arg: &Arg, operands: &View<'_>) -> Result<(), OpError> {
        let name = self.name;
        if let (Arg::Many(_), false) = (arg, matches!(self.accepts, Accepts::Tuple | Accepts::Values)) {
            return Err(OpError::new(format!("{name} takes one value, not a tuple")));
        }
        if self.constant && arg.values().iter().any(|&v| operands.is_constant(v) == Some(false)) {
            return Err(OpError::new(format!("{name} must be known at compile time")));
        }
        match self.accepts {
            Accepts::Tensor(_, domain) => self.check_tensor(domain, operands),
            Accepts::Tuple => check_tuple(name, operands),
            Accepts::Text(choices) => self.check_text(choices, operands),
            Accepts::FreeText => self.check_text(&[], operands),
            Accepts::State if !matches!(operands.ty(name), Some(Type::State(_))) => {
                Err(OpError::new(format!("{name} must be a state")))
            }
            Accepts::State | Accepts::Values | Accepts::Any => Ok(()),
        }
    }

    fn check_tensor(&self, domain: &[DType], operands: &View<'_>) -> Result<(), OpError> {
        let t = operands.tensor(self.name)?;
        if !domain.contains(&t.dtype) {
            let allowed: Vec<_> = domain.iter().map(|d| d.name()).collect();
            return Err(OpError::new(format!("{} is {t}, but must be of {}", self.name, allowed.join(", "))));
        }
        match self.rank {
            Rank::Scalar if t.rank() != 0 => Err(OpError::new(format!("{} must be a scalar, not {t}", self.name))),
            Rank::Vector if t.rank() != 1 => Err(OpError::new(format!("{} must be a vector, not {t}", self.name))),
            _ => Ok(()),
        }
    }

    fn check_text(&self, choices: &[&str], operands: &View<'_>) -> Result<(), OpError> {
        if operands.ty(self.name) != Some(&Type::string()) {
            return Err(OpError::new(format!("{} must be a string", self.name)));
        }
        match operands.string(self.name) {
            None => Err(OpError::new(format!("{} must be known at compile time", self.name))),
            Some(s) if !choices.is_empty() && !choices.contains(&s) => {
                Err(OpError::new(format!("{} is {s:?}, but must be one of {}", self.name, choices.join(", "))))
            }
            Some(_) => Ok(()),
        }
    }
}

fn check_tuple(name: &str, operands: &View<'_>) -> Result<(), OpError> {
    let tensors = operands.tensors(name)?;
    let Some(first) = tensors.first() else { return Err(OpError::new(format!("{name} is empty"))) };
    match tensors.iter().position(|t| t.dtype != first.dtype) {
        Some(i) => Err(OpError::new(format!(
            "{name}[{i}] is {}, but {name}[0] is {}: they must be equal",
            tensors[i].dtype, first.dtype
        ))),
        None => Ok(()),
    }
}
