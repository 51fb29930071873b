//! What can go wrong, and how a message gets its context.
//!
//! Messages name options as the command line spells them; the fields of the library have the same names.

use std::borrow::Cow;

/// What a function of this crate returns.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for cannot be done, or would have no effect: why, and what to do.
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// Something is there already, and may not be replaced.
    #[error("{0}")]
    Exists(String),
    /// The watcher broke off; nothing is left half written.
    #[error("stopped")]
    Stopped,
    /// What was tried when another error came up.
    #[error("{what}")]
    Context {
        /// What was tried, or what to do.
        what: String,
        /// Why it failed.
        source: Box<Error>,
    },
    /// A checkpoint could not be converted.
    #[error(transparent)]
    Convert(#[from] sd_convert::ConvertError),
    /// A checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] sd_checkpoint::CheckpointError),
    /// A pipeline could not be made, or broke off.
    #[error(transparent)]
    Runtime(#[from] sd_runtime::RuntimeError),
    /// A model could not be run.
    #[error(transparent)]
    Engine(#[from] sd_engines::EngineError),
    /// A model could not be run by Core ML.
    #[error(transparent)]
    CoreMl(#[from] sd_engines::CoreMlError),
    /// A network could not be run by Burn.
    #[cfg(feature = "burn")]
    #[error(transparent)]
    Burn(#[from] sd_engines::BurnError),
    /// A package could not be read or written.
    #[error(transparent)]
    Package(#[from] mlpackage::Error),
    /// Weights could not be compressed as asked.
    #[error(transparent)]
    Compress(#[from] mil_compress::CompressError),
    /// A model could not be analysed.
    #[error(transparent)]
    Sensitivity(#[from] mil_sensitivity::SensitivityError),
    /// A model of the Hub could not be fetched.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] sd_hub::HubError),
    /// A file carries no settings, because it is no picture of a format that can.
    #[error(transparent)]
    Metadata(#[from] sd_metadata::MetadataError),
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] safe_files::ReadError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] safe_files::WriteError),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Text is not the JSON that it should be.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A file is no usable safetensors file.
    #[error(transparent)]
    Safetensors(#[from] safetensors::SafeTensorError),
    /// Bytes do not make the tensor.
    #[error(transparent)]
    Tensor(#[from] host_tensor::TensorError),
    /// A program is not valid.
    #[error(transparent)]
    Program(#[from] mil::Faults),
    /// An operation could not be built.
    #[error(transparent)]
    Operation(#[from] mil::OpError),
}

impl Error {
    /// The message and every cause in one line: `a: b: c`.
    #[must_use]
    pub fn chain(&self) -> String {
        let first: &dyn std::error::Error = self;
        let all = std::iter::successors(Some(first), |error| error.source()).map(ToString::to_string);
        all.collect::<Vec<_>>().join(": ")
    }

    /// The error with what was tried before it.
    #[must_use]
    pub(crate) fn context(self, what: impl Into<String>) -> Self {
        Self::Context { what: what.into(), source: Box::new(self) }
    }
}

/// Adds to an error what was tried; a value that is missing becomes an error of these words.
pub(crate) trait Context<T> {
    fn context(self, what: impl Into<String>) -> Result<T>;
    fn with_context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().context(what))
    }

    fn with_context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().context(what()))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.ok_or_else(|| Error::Refused(what.into().into()))
    }

    fn with_context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.ok_or_else(|| Error::Refused(what().into().into()))
    }
}

/// An [`Error::Refused`] with these words.
macro_rules! refusal {
    ($($words:tt)*) => { $crate::error::Error::Refused(format!($($words)*).into()) };
}

/// Returns a [`refusal`].
macro_rules! refuse {
    ($($words:tt)*) => { return Err($crate::error::refusal!($($words)*)) };
}

pub(crate) use {refusal, refuse};
