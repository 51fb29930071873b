//! What goes wrong on networks.

use std::time::Duration;

use super::reply::{self, Reply};
use super::{Request, State};

/// A fault of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// None: a request that goes well between others.
    None,
    /// The connection ends behind so many bytes of the content.
    CutAfter(usize),
    /// It says and sends so many bytes, whatever the file has.
    Length(usize),
    /// A byte is another one.
    Flipped,
    /// The whole comes, though a part was asked for.
    NoRange,
    /// A part comes that was not asked for.
    WrongRange,
    /// Something else is answered: status, headers and content.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Nothing comes for so long.
    Silence(Duration),
}

impl Fault {
    /// A status without anything else.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), String::new())
    }
}

/// The answer to a request, spelt out: its head, and as much of its content as is sent.
pub(super) fn apply(fault: Option<Fault>, request: &Request, state: &State) -> (String, Vec<u8>) {
    let mut request = request.clone();
    if fault == Some(Fault::NoRange) {
        request.headers.remove("range");
    }
    let mut reply = reply::of(&request, state);
    let mut n_bytes = reply.body.len();
    match fault {
        Some(Fault::CutAfter(n)) => reply.body.truncate(n),
        Some(Fault::Length(n)) => {
            reply.body.resize(n, b'?');
            n_bytes = n;
        }
        Some(Fault::Flipped) => {
            if let Some(byte) = reply.body.last_mut() {
                *byte ^= 1;
            }
        }
        Some(Fault::WrongRange) => {
            let range = reply.headers.iter_mut().find(|(name, _)| name == "Content-Range");
            range.into_iter().for_each(|(_, value)| *value = "bytes 1-2/3".to_owned());
        }
        Some(Fault::Answer(status, headers, body)) => {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            reply = Reply::new(status, &headers, body);
            n_bytes = reply.body.len();
        }
        Some(Fault::Silence(pause)) => std::thread::sleep(pause),
        Some(Fault::None | Fault::NoRange) | None => {}
    }
    if request.method == "HEAD" {
        reply.body.clear();
    }
    (reply.spelt(n_bytes), reply.body)
}
