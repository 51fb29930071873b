//! What can go wrong when a program is compiled or run.

use std::fmt;

/// Why a program cannot be compiled or run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no function of this name.
    #[error("the program has no function {name}; it has {known:?}")]
    NoFunction {
        /// Wanted name.
        name: String,
        /// Names of the program's functions.
        known: Vec<String>,
    },
    /// The engine does not implement the operation.
    #[error("{site}: the engine has no such operation")]
    UnknownOp {
        /// Where.
        site: Box<OpSite>,
    },
    /// Blocks are nested too deeply.
    #[error("{site}: blocks are nested more than {limit} deep")]
    TooDeep {
        /// Where.
        site: Box<OpSite>,
        /// Deepest nesting that is allowed.
        limit: usize,
    },
    /// An input or output has a type that tensors from outside cannot have.
    #[error("{role} {name} is a {ty}; the engine passes tensors only")]
    BoundaryType {
        /// `input` or `output`.
        role: &'static str,
        /// Feature name.
        name: String,
        /// Its type in MIL's spelling.
        ty: String,
    },
    /// An input was not given.
    #[error("input {name} is missing; the function takes {expected:?}")]
    MissingInput {
        /// Name of the input.
        name: String,
        /// Names of all inputs.
        expected: Vec<String>,
    },
    /// An input was given that the function does not have.
    #[error("there is no input {name}; the function takes {expected:?}")]
    UnexpectedInput {
        /// Given name.
        name: String,
        /// Names of all inputs.
        expected: Vec<String>,
    },
    /// An input has another shape than declared.
    #[error("input {name} has shape {actual:?}, declared is {declared}")]
    InputShape {
        /// Name of the input.
        name: String,
        /// Declared type in MIL's spelling.
        declared: String,
        /// Given shape.
        actual: Vec<usize>,
    },
    /// The machine has no memory for a program's results.
    #[error("there is no memory for the {bytes} bytes that the program's results need")]
    OutOfMemory {
        /// Bytes wanted.
        bytes: usize,
    },
    /// An operation failed.
    #[error("{site}: {fault}")]
    Op {
        /// Where.
        site: Box<OpSite>,
        /// What.
        fault: OpFault,
    },
    /// The fast engine's plan does not hold together; that is a mistake of the engine, whatever the program is.
    #[error("{name}: no plan for the fast engine: {fault}; run the program with the reference engine, and report this")]
    Plan {
        /// The operation that was being planned.
        name: String,
        /// What is wrong with its plan.
        fault: String,
    },
    /// The run was asked to stop, and did.
    #[error("the run was stopped before its end, as asked")]
    Stopped,
    /// A value is read that nothing has defined; a valid program has none.
    #[error("value {name} is used before it is defined")]
    Undefined {
        /// Name of the value.
        name: String,
    },
}

/// An operation in its program, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpSite {
    /// Position in execution order; operations of nested blocks count after the one that holds them.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its operands with their types or, once they are known, their shapes.
    pub operands: String,
}

impl fmt::Display for OpSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op #{} {}: {}({})", self.index, self.name, self.kind, self.operands)
    }
}

/// Why one operation cannot be executed on its operands.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpFault {
    /// A required parameter is not bound.
    #[error("{param} is not bound")]
    Missing {
        /// Parameter.
        param: String,
    },
    /// An operand is of the wrong kind.
    #[error("{param} must be {expected}, not {actual}")]
    Kind {
        /// Parameter.
        param: String,
        /// What the operation takes.
        expected: &'static str,
        /// What it got.
        actual: String,
    },
    /// An axis is outside of the operand's rank.
    #[error("{param} {axis} is outside of rank {rank}")]
    Axis {
        /// Parameter.
        param: String,
        /// The axis.
        axis: i64,
        /// Rank of the operand.
        rank: usize,
    },
    /// An index is outside of its dimension.
    #[error("index {index} is outside of a dimension of {size}")]
    Index {
        /// The index.
        index: i64,
        /// The dimension.
        size: usize,
    },
    /// A parameter has a value that the operation does not take.
    #[error("{param} {value} is not acceptable: {rule}")]
    Value {
        /// Parameter.
        param: String,
        /// Its value.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// Shapes of operands do not fit together.
    #[error("{rule}: {shapes:?}")]
    Shapes {
        /// What they must fulfil.
        rule: &'static str,
        /// The shapes at fault.
        shapes: Vec<Vec<usize>>,
    },
    /// A tensor would exceed the limit of [`Options::max_elements`](crate::reference::Options::max_elements).
    #[error("a tensor of shape {shape:?} exceeds the limit of {limit} elements")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
        /// The limit.
        limit: usize,
    },
    /// The machine has no memory for a tensor.
    #[error("there is no memory for {elements} elements")]
    OutOfMemory {
        /// Elements wanted.
        elements: usize,
    },
    /// A loop went round too often.
    #[error("the loop did not end within {limit} rounds")]
    Endless {
        /// The limit.
        limit: usize,
    },
    /// A result is not of the declared type.
    #[error("result {position} is {actual}, declared is {declared}")]
    Result {
        /// Which result.
        position: usize,
        /// Declared type in MIL's spelling.
        declared: String,
        /// Computed kind and shape.
        actual: String,
    },
}

impl OpFault {
    /// A value that the operation does not take.
    pub(crate) fn value(param: &str, value: impl fmt::Debug, rule: &'static str) -> Self {
        Self::Value { param: param.into(), value: format!("{value:?}"), rule }
    }

    /// Shapes that do not fit together.
    pub(crate) fn shapes(rule: &'static str, shapes: &[&[usize]]) -> Self {
        Self::Shapes { rule, shapes: shapes.iter().map(|s| s.to_vec()).collect() }
    }
}
