//! What the Hub, and the server that its large files are on, answer.

use super::{Access, COMMIT, ID, Request, State, Stored, TOKEN, held};

/// An answer before it is spelt out.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { status, headers, body: body.into() }
    }

    fn error(status: u16, code: &str) -> Self {
        Self::new(status, &[("X-Error-Code", code), ("X-Error-Message", "said by the server")], "")
    }

    pub(super) fn spelt(&self, n_bytes: usize) -> String {
        let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\nContent-Length: {n_bytes}\r\n", self.status);
        self.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head + "\r\n"
    }
}

/// The answer without any fault.
pub(super) fn of(request: &Request, state: &State) -> Reply {
    let (path, _) = request.target.split_once('?').unwrap_or((&request.target, ""));
    if request.is_elsewhere {
        return elsewhere(request, path, state);
    }
    if let Some(rest) = path.strip_prefix("/api/resolve-cache/") {
        return state
            .files
            .get(&unescaped(rest))
            .map_or(Reply::error(404, "EntryNotFound"), |file| sent(request, file));
    }
    if let Some(refusal) = refusal(request, path, state) {
        return refusal;
    }
    if let Some(revision) = path.strip_prefix(&format!("/api/models/{ID}/revision/")) {
        return match revision {
            "main" | COMMIT => Reply::new(200, &[("Content-Type", "application/json")], listing(state)),
            _ => Reply::error(404, "RevisionNotFound"),
        };
    }
    let resolved = path.strip_prefix(&format!("/{ID}/resolve/")).and_then(|rest| rest.split_once('/'));
    match resolved.map(|(_, name)| unescaped(name)) {
        Some(name) => resolve(&name, state),
        None => Reply::error(404, "RepoNotFound"),
    }
}

/// Who asks is told to the Hub only; a repository that one may not see is not there.
fn refusal(request: &Request, path: &str, state: &State) -> Option<Reply> {
    let given = request.headers.get("authorization").map(String::as_str);
    let has_token = given == Some(&format!("Bearer {TOKEN}"));
    if given.is_some() && !has_token {
        let words = [("X-Error-Message", "Invalid credentials in Authorization header")];
        return Some(Reply::new(401, &words, ""));
    }
    if !path.contains(ID) {
        return Some(if has_token { Reply::error(404, "RepoNotFound") } else { Reply::error(401, "RepoNotFound") });
    }
    match *held(&state.access) {
        Access::Public => None,
        Access::Private if has_token => None,
        Access::Private => Some(Reply::error(401, "RepoNotFound")),
        // What a gated repository holds is no secret.
        Access::Gated if path.starts_with("/api/") => None,
        Access::Gated if has_token => Some(Reply::error(403, "GatedRepo")),
        Access::Gated => Some(Reply::error(401, "GatedRepo")),
    }
}

fn listing(state: &State) -> String {
    let file = |(name, file): (&String, &Stored)| {
        let (etag, n) = (&file.etag, file.bytes.len());
        match file.is_large {
            true => format!(
                r#"{{"rfilename":"{name}","size":{n},"blobId":"{}","lfs":{{"sha256":"{etag}","size":{n},"pointerSize":134}}}}"#,
                "0".repeat(40)
            ),
            false => format!(r#"{{"rfilename":"{name}","size":{n},"blobId":"{etag}"}}"#),
        }
    };
    let files: Vec<String> = state.files.iter().map(file).collect();
    format!(r#"{{"id":"{ID}","sha":"{COMMIT}","private":false,"gated":false,"siblings":[{}]}}"#, files.join(","))
}

fn resolve(name: &str, state: &State) -> Reply {
    let Some(file) = state.files.get(name) else { return Reply::error(404, "EntryNotFound") };
    let (etag, n_bytes) = (format!("\"{}\"", file.etag), file.bytes.len().to_string());
    if !file.is_large {
        let location = format!("/api/resolve-cache/{}", escaped(name));
        return Reply::new(307, &[("Location", &location), ("X-Repo-Commit", COMMIT), ("ETag", &etag)], "");
    }
    let location = format!("http://{}/{}?signature=secret", state.elsewhere, file.etag);
    let headers = [
        ("Location", location.as_str()),
        ("X-Repo-Commit", COMMIT),
        ("X-Linked-ETag", &etag),
        ("X-Linked-Size", &n_bytes),
    ];
    Reply::new(302, &headers, "")
}

fn elsewhere(request: &Request, path: &str, state: &State) -> Reply {
    if request.headers.contains_key("authorization") {
        return Reply::new(400, &[], "signed addresses take no token");
    }
    match state.files.values().find(|file| path.trim_start_matches('/') == file.etag) {
        Some(file) if request.target.ends_with("?signature=secret") => sent(request, file),
        _ => Reply::new(403, &[], ""),
    }
}

/// A file, or what of it is asked for.
fn sent(request: &Request, file: &Stored) -> Reply {
    let etag = format!("\"{}\"", file.etag);
    let from =
        request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let whole = file.bytes.len();
    match from {
        None => Reply::new(200, &[("ETag", &etag), ("X-Repo-Commit", COMMIT)], file.bytes.clone()),
        Some(from) if from < whole => {
            let range = format!("bytes {from}-{}/{whole}", whole - 1);
            Reply::new(206, &[("ETag", &etag), ("Content-Range", &range)], &file.bytes[from..])
        }
        Some(_) => Reply::new(416, &[("Content-Range", &format!("bytes */{whole}"))], ""),
    }
}

fn escaped(name: &str) -> String {
    name.replace(' ', "%20")
}

fn unescaped(name: &str) -> String {
    name.replace("%20", " ")
}
