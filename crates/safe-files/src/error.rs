//! Why something is not written, and which errors only say that a reader went away.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

/// Why something cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Whoever makes the file's content failed; the file is as it was.
    #[error("cannot write {}", path.display())]
    Content {
        /// The output.
        path: PathBuf,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The output is there already and may not be replaced.
    #[error("{} exists already", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// Nothing of this kind can be written there.
    #[error("cannot write {}: {reason}", path.display())]
    Target {
        /// The output.
        path: PathBuf,
        /// Why not, and what to do.
        reason: String,
    },
    /// Two outputs of one command are the same, or one is an input too.
    #[error("{message}")]
    Clash {
        /// Both of them, and what to do.
        message: String,
    },
}

impl WriteError {
    pub(crate) fn target(path: &Path, reason: impl Into<String>) -> Self {
        Self::Target { path: path.to_path_buf(), reason: reason.into() }
    }
}

/// Adds to an error of the operating system what was tried.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, WriteError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, WriteError> {
        self.map_err(|source| WriteError::Io { action, path: path.to_path_buf(), source })
    }
}

/// True when the reader of a pipe is gone, as in `smelt … | head`.
#[must_use]
pub fn is_closed_pipe(error: &io::Error) -> bool {
    // ERROR_BROKEN_PIPE, ERROR_NO_DATA and ERROR_PIPE_NOT_CONNECTED: Windows has several, and not all have a kind.
    let is_windows = cfg!(windows) && matches!(error.raw_os_error(), Some(109 | 232 | 233));
    error.kind() == io::ErrorKind::BrokenPipe || is_windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_told_from_other_errors() {
        assert!(is_closed_pipe(&io::ErrorKind::BrokenPipe.into()));
        assert!(!is_closed_pipe(&io::ErrorKind::StorageFull.into()));
        for code in [109, 232, 233] {
            assert_eq!(is_closed_pipe(&io::Error::from_raw_os_error(code)), cfg!(windows), "{code}");
        }
    }
}
