//! A server on this machine that speaks the Hub's interface, with the faults that networks have.
//!
//! As the Hub does, it lists repositories, leads from small files to another path of its own, and from large ones to
//! another server, which must not be told who asks. It has one repository, `someone/model`, whose branch is `main`.

mod faults;
mod reply;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use sha1::{Digest, Sha1};

use crate::hash::{hex, sha256};

pub use faults::Fault;

/// The repository.
pub const ID: &str = "someone/model";
/// Its commit.
pub const COMMIT: &str = "39593d5650112b4cc580433f6b0435385882d819";
/// The token that opens it, where one is needed.
pub const TOKEN: &str = "hf_of_this_test";

/// Both servers.
pub struct HubServer {
    hub: SocketAddr,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

/// A file of the repository.
#[derive(Debug, Clone)]
struct Stored {
    bytes: Vec<u8>,
    is_large: bool,
    /// SHA-256 of a large file, Git's hash of a small one.
    etag: String,
}

impl Stored {
    fn new(bytes: Vec<u8>) -> Self {
        let is_large = bytes.len() > 100;
        let etag = match is_large {
            true => sha256(&bytes),
            false => {
                let mut hash = Sha1::new();
                hash.update(format!("blob {}\0", bytes.len()));
                hash.update(&bytes);
                hex(&hash.finalize())
            }
        };
        Self { bytes, is_large, etag }
    }
}

struct State {
    files: BTreeMap<String, Stored>,
    /// Where large files are.
    elsewhere: SocketAddr,
    access: Mutex<Access>,
    rules: Mutex<Vec<(String, Fault)>>,
    requests: Mutex<Vec<Request>>,
    is_over: AtomicBool,
}

/// Who may read the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Who has the token.
    Private,
    /// Who has accepted a licence, which nobody has.
    Gated,
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whether it came to the server that large files are on.
    pub is_elsewhere: bool,
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names, in lower case, and values.
    pub headers: BTreeMap<String, String>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HubServer {
    /// Serves these files; those of more than 100 bytes are large ones.
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
        let [hub, elsewhere] = [bind(), bind()];
        let address = |listener: &TcpListener| listener.local_addr().expect("an address of a listener");
        let state = Arc::new(State {
            files: files.into_iter().map(|(name, bytes)| (name, Stored::new(bytes))).collect(),
            elsewhere: address(&elsewhere),
            access: Mutex::new(Access::Public),
            rules: Mutex::default(),
            requests: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let address = address(&hub);
        let threads = vec![serve(hub, Arc::clone(&state), false), serve(elsewhere, Arc::clone(&state), true)];
        Self { hub: address, state, threads }
    }

    /// What stands for `https://huggingface.co`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.hub)
    }

    /// Changes who may read the repository.
    pub fn set_access(&self, access: Access) {
        *held(&self.state.access) = access;
    }

    /// Lets the next request whose path or query has this text meet a fault; several such faults are met in their order.
    pub fn fail(&self, text: &str, fault: Fault) {
        held(&self.state.rules).push((text.to_owned(), fault));
    }

    /// Lets no more requests meet a fault.
    pub fn clear_faults(&self) {
        held(&self.state.rules).clear();
    }

    /// The requests since this was asked last.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *held(&self.state.requests))
    }

    /// The tag of a file.
    ///
    /// # Panics
    /// When there is no such file.
    #[must_use]
    pub fn etag(&self, name: &str) -> String {
        self.state.files.get(name).expect("a file of the server").etag.clone()
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        for address in [self.hub, self.state.elsewhere] {
            drop(TcpStream::connect(address));
        }
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn serve(listener: TcpListener, state: Arc<State>, is_elsewhere: bool) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if state.is_over.load(Ordering::SeqCst) {
                return;
            }
            let state = Arc::clone(&state);
            // A client that goes away is a part of the tests.
            std::thread::spawn(move || drop(answer(&stream, &state, is_elsewhere)));
        }
    })
}

fn answer(stream: &TcpStream, state: &State, is_elsewhere: bool) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let request = Request { is_elsewhere, method, target, headers };
    held(&state.requests).push(request.clone());
    let fault = {
        let mut rules = held(&state.rules);
        let at = rules.iter().position(|(text, _)| request.target.contains(text.as_str()));
        at.map(|at| rules.remove(at).1)
    };
    let (head, body) = faults::apply(fault, &request, state);
    let mut out = stream;
    out.write_all(head.as_bytes())?;
    out.write_all(&body)?;
    out.flush()
}
