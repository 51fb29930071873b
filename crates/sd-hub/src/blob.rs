//! One file: fetched from where it broke off to its end, and kept only if it is what the Hub lists.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use host_tensor::Stop;
use safe_files::{Growing, Lock};
use sd_checkpoint::hub::Repository;
use ureq::http::{HeaderMap, Method, StatusCode, header};

use crate::HubError;
use crate::address::shown;
use crate::ask::{About, Again, Ask, Trouble, unreachable};
use crate::client::{Answer, Client};
use crate::hash::{Hash, HashKind};
use crate::listing::address;
use crate::pause::wait;

/// How much is read at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// How often somebody else's lock is tried.
const LOCK_TICK: Duration = Duration::from_millis(200);

/// A file that is wanted, and where it is known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) path: String,
    pub(crate) etag: String,
    /// Its length, where that is known.
    pub(crate) n_bytes: Option<u64>,
}

/// What is heard of a file on its way.
pub(crate) enum Word {
    /// More of it is there, or less where it begins anew.
    Bytes(i64),
    /// What the user should know.
    Note(String),
}

/// A repository at a commit, whose files are fetched.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) client: &'a Client,
    pub(crate) repository: &'a Repository,
    pub(crate) id: &'a str,
    pub(crate) commit: &'a str,
    pub(crate) stop: &'a Stop,
}

/// A file that grows.
struct Task<'a> {
    origin: Origin<'a>,
    blob: &'a Blob,
    url: String,
    file: Growing,
    hash: Hash,
    say: &'a mut dyn FnMut(Word),
}

/// Whether the bytes of a file are in the cache, whole.
pub(crate) fn is_there(repository: &Repository, blob: &Blob) -> bool {
    let found = std::fs::metadata(repository.blob(&blob.etag));
    found.is_ok_and(|meta| meta.is_file() && blob.n_bytes.is_none_or(|n_bytes| n_bytes == meta.len()))
}

/// Makes the blob be there. Of several processes that want it one fetches it, and the others wait.
pub(crate) fn obtain(origin: Origin<'_>, blob: &Blob, say: &mut dyn FnMut(Word)) -> Result<(), HubError> {
    let _lock = locked(origin, blob, say)?;
    if is_there(origin.repository, blob) {
        // Somebody else was faster.
        say(Word::Bytes(blob.n_bytes.unwrap_or_default().cast_signed()));
        return Ok(());
    }
    let mut file = Growing::open(&origin.repository.blob(&blob.etag))?;
    if blob.n_bytes.is_some_and(|n_bytes| file.n_bytes() > n_bytes) {
        file.restart()?;
    }
    let began_at = file.n_bytes();
    let url = address(origin.client, origin.id, origin.commit, &blob.path);
    let hash = Hash::new(&blob.etag, blob.n_bytes);
    let mut task = Task { origin, blob, url, file, hash, say };
    task.take_what_is_there()?;
    if let Err(error) = task.fetch() {
        return Err(task.given_up(error));
    }
    match task.check() {
        Ok(()) => Ok(task.file.finish()?),
        // What was there was not the beginning of this file; nothing of what has come now is to blame.
        Err(_) if began_at > 0 => {
            task.restart()?;
            if let Err(error) = task.fetch().and_then(|()| task.check()) {
                return Err(task.given_up(error));
            }
            Ok(task.file.finish()?)
        }
        Err(error) => Err(task.given_up(error)),
    }
}

fn locked(origin: Origin<'_>, blob: &Blob, say: &mut dyn FnMut(Word)) -> Result<Lock, HubError> {
    let path = origin.repository.lock(&blob.etag);
    let mut is_said = false;
    loop {
        if let Some(lock) = Lock::try_take(&path)? {
            return Ok(lock);
        }
        if !is_said {
            say(Word::Note(format!("another process fetches {} of {}; waiting for it", blob.path, origin.id)));
            is_said = true;
        }
        wait(LOCK_TICK, origin.stop)?;
    }
}

impl Task<'_> {
    fn said(&mut self, n_bytes: i64) {
        (self.say)(Word::Bytes(n_bytes));
    }

    fn restart(&mut self) -> Result<(), HubError> {
        self.said(-self.file.n_bytes().cast_signed());
        self.hash = Hash::new(&self.blob.etag, self.blob.n_bytes);
        Ok(self.file.restart()?)
    }

    fn take_what_is_there(&mut self) -> Result<(), HubError> {
        let n_bytes = self.file.n_bytes();
        if n_bytes > 0 {
            let path = self.file.path().to_owned();
            let stop = self.origin.stop;
            let added = self.hash.add_file(self.file.written()?, || !stop.is_set());
            added.map_err(|source| safe_files::ReadError::Io { path, source })?;
            if stop.is_set() {
                return Err(HubError::Stopped);
            }
            self.said(n_bytes.cast_signed());
        }
        Ok(())
    }

    /// An error's file is kept for the next run, unless it is wrong itself.
    fn given_up(self, error: HubError) -> HubError {
        match error {
            HubError::Content { .. } => self.file.discard().err().map_or(error, HubError::from),
            _ => error,
        }
    }

    /// Fetches to the end, as often as it takes while there is progress.
    fn fetch(&mut self) -> Result<(), HubError> {
        let mut n_failed = 0;
        while self.blob.n_bytes.is_none_or(|n_bytes| self.file.n_bytes() < n_bytes) {
            let before = self.file.n_bytes();
            match self.stream() {
                Ok(()) => return Ok(()),
                Err(trouble) => {
                    n_failed = if self.file.n_bytes() > before { 1 } else { n_failed + 1 };
                    let say = &mut *self.say;
                    self.origin
                        .client
                        .pause(trouble, n_failed, self.origin.stop, &mut |words| say(Word::Note(words)))?;
                }
            }
        }
        Ok(())
    }

    /// One request: appends what comes; whole where it returns.
    fn stream(&mut self) -> Result<(), Trouble> {
        let from = self.file.n_bytes();
        let about = About { id: self.origin.id, revision: self.origin.commit, file: Some(&self.blob.path) };
        let ask = Ask { url: &self.url, method: Method::GET, from, about };
        let answer = match self.origin.client.ask(&ask) {
            // What is there is longer than the file is said to be now; asked from its beginning, the server says how long.
            Err(trouble) if from > 0 && trouble.is_status(416) => {
                self.restart()?;
                return self.stream();
            }
            answer => answer?,
        };
        self.check_lengths(&answer)?;
        self.append(answer)
    }

    /// Compares what an answer says of its length with what the Hub lists, before anything of it is kept.
    fn check_lengths(&mut self, answer: &Answer) -> Result<(), HubError> {
        let headers = answer.response.headers();
        let from = self.file.n_bytes();
        if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(self.wrong(&answer.url, "it comes compressed, which was not asked for"));
        }
        let whole = match (answer.response.status(), range(headers)) {
            (StatusCode::PARTIAL_CONTENT, Some((start, whole))) if start == from => whole,
            (StatusCode::PARTIAL_CONTENT, _) => {
                return Err(self.wrong(&answer.url, &format!("what comes does not begin at byte {from}, as was asked")));
            }
            _ => {
                // The server cannot go on in the middle.
                if from > 0 {
                    self.restart()?;
                }
                headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
            }
        };
        match (self.blob.n_bytes, whole) {
            (Some(listed), Some(whole)) if whole != listed => {
                Err(self.wrong(&answer.url, &format!("it is {whole} bytes long there, and {listed} in the listing")))
            }
            _ => Ok(()),
        }
    }

    fn append(&mut self, answer: Answer) -> Result<(), Trouble> {
        let Answer { response, url, .. } = answer;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            if self.origin.stop.is_set() {
                return Err(HubError::Stopped.into());
            }
            let n = match body.read(&mut buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.cut(&url, e)),
            };
            if n == 0 {
                break;
            }
            if self.blob.n_bytes.is_some_and(|listed| self.file.n_bytes() + n as u64 > listed) {
                let listed = self.blob.n_bytes.unwrap_or_default();
                return Err(self
                    .wrong(&url, &format!("it does not end after the {listed} bytes of the listing"))
                    .into());
            }
            self.file.append(&buffer[..n]).map_err(HubError::from)?;
            self.hash.add(&buffer[..n]);
            self.said(n as i64);
        }
        match self.blob.n_bytes {
            Some(listed) if self.file.n_bytes() < listed => {
                Err(self.cut(&url, std::io::Error::other("the connection ended")))
            }
            _ => Ok(()),
        }
    }

    /// A connection that ended before the file did.
    fn cut(&self, url: &str, source: std::io::Error) -> Trouble {
        let mut trouble = unreachable(url, &ureq::Error::Io(source));
        trouble.again = Again::After(None);
        if let HubError::Unreachable { what, .. } = &mut *trouble.error {
            let listed = self.blob.n_bytes.map_or_else(String::new, |listed| format!(" of {listed}"));
            what.push_str(&format!(", after {}{listed} bytes of {}", self.file.n_bytes(), self.blob.path));
        }
        trouble
    }

    fn check(&mut self) -> Result<(), HubError> {
        let hash = std::mem::replace(&mut self.hash, Hash::Unknown);
        match hash.finish() {
            Some(found) if found != self.blob.etag => {
                let kind = HashKind::of(&self.blob.etag).name();
                let what = format!("its {kind} is {found}, and {} in the listing", self.blob.etag);
                Err(self.wrong(&self.url, &what))
            }
            _ => Ok(()),
        }
    }

    fn wrong(&self, url: &str, what: &str) -> HubError {
        HubError::Content {
            file: self.blob.path.clone(),
            id: self.origin.id.to_owned(),
            url: shown(url).to_owned(),
            what: what.to_owned(),
            next: "nothing of it is kept; try again, and another mirror or network if it stays so".to_owned(),
        }
    }
}

/// First byte and length of the whole, of a `Content-Range`.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?;
    let (range, whole) = text.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, whole.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_say_where_they_begin_and_how_long_the_whole_is() {
        let check = |text: &'static str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, text.parse().unwrap());
            assert_eq!(range(&headers), expected, "{text}");
        };
        check("bytes 5-9/10", Some((5, Some(10))));
        check("bytes 5-9/*", Some((5, None)));
        check("bytes */10", None);
        check("items 5-9/10", None);
    }
}
