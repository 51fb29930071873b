//! What can go wrong when a program is compressed.

/// Why a program cannot be compressed as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// A scheme cannot be applied to a weight that was named for it.
    #[error("{weight}: {reason}")]
    Weight {
        /// Name of the weight.
        weight: String,
        /// What does not fit, and what would.
        reason: String,
    },
    /// No weight or operation has a name that was given.
    #[error("{role} {name:?} is not the name of a weight, an operation or an operation type{}", near_text(.near))]
    UnknownName {
        /// Where the name was given, for example `--only`.
        role: &'static str,
        /// The name.
        name: String,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// Weights are compressed already.
    #[error(
        "{n} of the weights are compressed already, for example {example} by {encoding}; \
         compressing again loses more: start from the uncompressed model, or ask for it (--recompress)"
    )]
    AlreadyCompressed {
        /// How many.
        n: usize,
        /// Name of the first.
        example: String,
        /// Operation that decodes it.
        encoding: String,
    },
    /// A scheme needs a later opset.
    #[error(
        "{what} needs {needed} (macOS 15, iOS 18), and function {function} is for {opset}: \
         raise it (--target macOS15), or choose 1, 2, 4, 6 or 8 bits with one palette per tensor, \
         or 8-bit integers per tensor or channel"
    )]
    Opset {
        /// What was asked for.
        what: String,
        /// The opset that has it.
        needed: mil::Opset,
        /// Name of the function.
        function: String,
        /// Its opset.
        opset: mil::Opset,
    },
    /// Operations that share a weight were given different schemes.
    #[error("{weight} is read by {users}, which were given different schemes; name the weight itself")]
    Disagree {
        /// Name of the weight.
        weight: String,
        /// Names of the operations.
        users: String,
    },
    /// A parameter has no meaning.
    #[error("{parameter} {value} is not possible: {rule}")]
    Parameter {
        /// Name of the parameter.
        parameter: &'static str,
        /// Its value.
        value: String,
        /// What is possible.
        rule: &'static str,
    },
    /// A configuration file is not understood.
    #[error("the configuration is not understood: {0}")]
    Config(String),
    /// The program is not valid in the opset that it was raised to.
    #[error("the program cannot be raised to {opset}: {faults}")]
    Raise {
        /// The opset.
        opset: mil::Opset,
        /// What is wrong then.
        faults: String,
    },
    /// A compressed weight that the program holds is not understood.
    #[error("{weight}: {reason}")]
    Decode {
        /// Name of the weight.
        weight: String,
        /// What is wrong.
        reason: String,
    },
    /// An operation could not be added.
    #[error("{weight}: {source}")]
    Rewrite {
        /// Name of the weight.
        weight: String,
        /// What is wrong.
        source: mil::OpError,
    },
    /// What an operation reads cannot be quantized.
    #[error("operation {op}: {reason}")]
    Activation {
        /// Name of the operation.
        op: String,
        /// What is missing.
        reason: String,
    },
    /// It is not known what a weight is multiplied by.
    #[error("{weight}: what it is multiplied by cannot be computed: {reason}")]
    Calibration {
        /// Name of the weight.
        weight: String,
        /// What went wrong.
        reason: String,
    },
    /// The caller broke off.
    #[error("stopped")]
    Stopped,
    /// Several of these.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<CompressError>),
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; near matches are {}", near.join(", ")) }
}

impl CompressError {
    /// One error from all that were found.
    pub(crate) fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}
