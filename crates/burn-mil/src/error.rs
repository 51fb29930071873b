//! Why a module cannot be lowered.

/// Why a Burn module has no MIL program.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// Burn could not record the module.
    #[error("the module could not be captured: {reason}")]
    Capture {
        /// What Burn says.
        reason: String,
    },
    /// `forward` asked for an input that was not declared.
    #[error("forward takes an input {name:?} that is not declared; declared: {declared}")]
    UnknownInput {
        /// The name asked for.
        name: String,
        /// The declared names.
        declared: String,
    },
    /// `forward` asked for an input with another rank or kind than declared.
    #[error("input {name:?} is declared as {declared}, but forward takes it as {taken}")]
    InputKind {
        /// The input.
        name: String,
        /// Kind and rank as declared.
        declared: String,
        /// Kind and rank as taken.
        taken: String,
    },
    /// A declared input is taken twice or not at all.
    #[error("input {name:?} is taken {times} times by forward, expected once")]
    InputUse {
        /// The input.
        name: String,
        /// How often.
        times: usize,
    },
    /// A name that is not an identifier of MIL, or stands twice.
    #[error("{name:?} cannot be the name of an input or output: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A shape that no tensor has.
    #[error("input {name:?} has the shape {shape:?}, whose element count overflows or is zero")]
    InputShape {
        /// The input.
        name: String,
        /// Its declared shape.
        shape: Vec<usize>,
    },
    /// The resolver has no bytes for a parameter that the program needs.
    #[error("no tensor is given for parameter {path:?}")]
    MissingParameter {
        /// Path in the module.
        path: String,
    },
    /// The resolver gave a tensor of another shape.
    #[error("parameter {path:?} has the shape {expected:?}, but the tensor given for it {found:?}")]
    ParameterShape {
        /// Path in the module.
        path: String,
        /// Shape in the module.
        expected: Vec<usize>,
        /// Shape of the constant.
        found: Vec<usize>,
    },
    /// An operation without a MIL counterpart here.
    #[error("{op} after {origin} has no MIL form; nearest supported: {nearest}")]
    Unsupported {
        /// Burn's name of the operation.
        op: String,
        /// Path of the nearest parameter.
        origin: String,
        /// What to write instead.
        nearest: String,
    },
    /// A value that MIL cannot hold.
    #[error("{op} after {origin}: {value} does not fit {dtype}")]
    OutOfRange {
        /// Burn's name of the operation.
        op: String,
        /// Path of the nearest parameter.
        origin: String,
        /// The value.
        value: String,
        /// The MIL element type.
        dtype: &'static str,
    },
    /// MIL's builder refused the lowered operation.
    #[error("{op} after {origin}: {source}")]
    Build {
        /// Burn's name of the operation.
        op: String,
        /// Path of the nearest parameter.
        origin: String,
        /// What MIL says.
        source: mil::OpError,
    },
    /// The lowered operation has another type than the recorded one: a defect of this crate.
    #[error("{op} after {origin} was lowered to {lowered}, but Burn recorded {recorded}")]
    TypeMismatch {
        /// Burn's name of the operation.
        op: String,
        /// Path of the nearest parameter.
        origin: String,
        /// The type that MIL infers.
        lowered: String,
        /// The type that Burn recorded.
        recorded: String,
    },
}
