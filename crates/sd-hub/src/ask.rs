//! What is asked, and a try that failed.

use std::io::ErrorKind;
use std::time::Duration;

use ureq::Error;
use ureq::http::Method;

use crate::HubError;
use crate::address::shown;

/// What is asked for, as far as messages need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) id: &'a str,
    pub(crate) revision: &'a str,
    pub(crate) file: Option<&'a str>,
}

/// A request.
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a str,
    pub(crate) method: Method,
    /// The first byte that is wanted.
    pub(crate) from: u64,
    pub(crate) about: About<'a>,
}

/// A try that failed.
pub(crate) struct Trouble {
    pub(crate) error: Box<HubError>,
    pub(crate) again: Again,
}

/// Whether a try is worth another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    Never,
    /// The server cannot be reached.
    Reach,
    /// After a pause, of this length where the server asks for one.
    After(Option<Duration>),
}

impl From<HubError> for Trouble {
    fn from(error: HubError) -> Self {
        Self { error: Box::new(error), again: Again::Never }
    }
}

impl Trouble {
    /// Whether it is an answer with this status.
    pub(crate) fn is_status(&self, expected: u16) -> bool {
        matches!(*self.error, HubError::Answer { status, .. } if status == expected)
    }
}

/// Whether somebody was there, and went away.
fn is_cut(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof | WouldBlock)
}

/// Why no answer came, and whether one may come later.
pub(crate) fn unreachable(url: &str, error: &Error) -> Trouble {
    let again = match error {
        Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)
        | Error::HostNotFound
        | Error::ConnectionFailed => Again::Reach,
        // Certificates that are not trusted come as this kind.
        Error::Io(e) if e.kind() == ErrorKind::InvalidData => Again::Never,
        Error::Io(e) if is_cut(e.kind()) => Again::After(None),
        // Refused, no way there, or a name that is not resolved, which has no kind of its own.
        Error::Io(_) => Again::Reach,
        Error::Timeout(_) | Error::Protocol(_) => Again::After(None),
        _ => Again::Never,
    };
    let what = match error {
        Error::HostNotFound => "the name of the server is not known".to_owned(),
        Error::Timeout(_) => "it does not answer".to_owned(),
        Error::Io(e) => e.to_string(),
        other => other.to_string(),
    };
    let next = match again {
        Again::Never => {
            "check HTTPS_PROXY, the system's certificates (SSL_CERT_FILE names others) and HF_ENDPOINT".to_owned()
        }
        _ => "check the connection, HTTPS_PROXY and HF_ENDPOINT; --offline takes what is in the cache".to_owned(),
    };
    Trouble { error: Box::new(HubError::Unreachable { url: shown(url).to_owned(), what, next }), again }
}
