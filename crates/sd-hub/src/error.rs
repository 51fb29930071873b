//! What can go wrong on the way.

use std::path::PathBuf;

use sd_checkpoint::CheckpointError;

/// Why something is not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A server answered, and not with what was asked for.
    #[error("{url} answered {status}: {what}; {next}")]
    Answer {
        /// What was asked, without its query.
        url: String,
        /// The status.
        status: u16,
        /// What it means here, with the server's own words.
        what: String,
        /// What to do.
        next: String,
    },
    /// No answer came.
    #[error("cannot reach {url}: {what}; {next}")]
    Unreachable {
        /// What was asked, without its query.
        url: String,
        /// Why not.
        what: String,
        /// What to do.
        next: String,
    },
    /// A server leads to where nothing is fetched from.
    #[error("{url} leads to {to}: {what}")]
    Redirect {
        /// What was asked, without its query.
        url: String,
        /// Where it leads.
        to: String,
        /// Why that is not followed.
        what: String,
    },
    /// What answers is not what the Hub says of a repository.
    #[error("{url}: {what}; is HF_ENDPOINT a server with the Hub's interface?")]
    Listing {
        /// What was asked.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// A file is not what the Hub lists; nothing of it is kept.
    #[error("{file} of {id}, from {url}: {what}; {next}")]
    Content {
        /// The file in the repository.
        file: String,
        /// The repository.
        id: String,
        /// Where it came from.
        url: String,
        /// What is wrong.
        what: String,
        /// What to do.
        next: String,
    },
    /// There is less room than the files need.
    #[error(
        "{id} needs {} more, and {} has {} free; make room, or let HF_HUB_CACHE name a folder elsewhere",
        gigabytes(*needed), cache.display(), gigabytes(*free)
    )]
    Room {
        /// The repository.
        id: String,
        /// Bytes that are yet to be fetched.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// Where it would go.
        cache: PathBuf,
    },
    /// A repository does not say what is meant, or has not got it.
    #[error("{reference}: {what}; {next}")]
    Unclear {
        /// The reference.
        reference: String,
        /// What is there.
        what: String,
        /// What to do.
        next: String,
    },
    /// A setting cannot be used.
    #[error("{name}: {what}")]
    Setting {
        /// The variable or file that says so.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// It is not in the cache, and nothing is fetched.
    #[error("{0}, without --offline and HF_HUB_OFFLINE")]
    Offline(CheckpointError),
    /// It is not clear what of the cache is meant.
    #[error(transparent)]
    Cache(CheckpointError),
    /// A file of the cache cannot be read.
    #[error(transparent)]
    Read(#[from] safe_files::ReadError),
    /// The cache cannot be written.
    #[error("{source}{}", room(source))]
    Write {
        /// Why.
        #[from]
        source: safe_files::WriteError,
    },
    /// The watcher broke off; what was fetched is gone on with the next time.
    #[error("stopped")]
    Stopped,
}

/// A size as people have it in mind where there is little room.
fn gigabytes(n_bytes: u64) -> String {
    format!("{:.1} GB", n_bytes as f64 / 1e9)
}

/// What to do about a disk that is full.
fn room(error: &safe_files::WriteError) -> &'static str {
    match error {
        safe_files::WriteError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            "; make room and run it again, which goes on where this broke off, or let HF_HUB_CACHE name a folder elsewhere"
        }
        _ => "",
    }
}
