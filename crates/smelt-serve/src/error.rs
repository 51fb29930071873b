//! Why a server does not start, or ends.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server does not start, or ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; choose another with --listen, or end what listens there")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Other machines could send requests without a key.
    #[error(
        "{address} can be reached from other machines, and no key is asked for; give one with --api-key or in \
         SMELT_API_KEY, or say --no-auth"
    )]
    Unprotected {
        /// The address.
        address: SocketAddr,
    },
    /// A folder cannot be read or written.
    #[error("{}: {what}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What it is for, and what to do.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Pictures cannot be kept where they shall be.
    #[error("pictures cannot be kept (--keep)")]
    Keep(#[from] safe_files::WriteError),
    /// No model is called so.
    #[error("no model is called {name:?}; there are {known}")]
    UnknownModel {
        /// The name.
        name: String,
        /// Names of those that are there.
        known: String,
    },
    /// There is nothing to draw with.
    #[error("there is no model: give folders that hold some with --models")]
    NoModel,
    /// An option that means nothing.
    #[error("{0}")]
    Option(String),
    /// The library refuses.
    #[error(transparent)]
    Library(#[from] smelt::Error),
    /// The server broke off.
    #[error("the server broke off")]
    Broken(#[source] io::Error),
}
