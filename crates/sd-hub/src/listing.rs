//! What a repository holds at a revision: its commit, and its files with their lengths and hashes.

use host_tensor::Stop;
use sd_checkpoint::hub::is_commit;
use serde::Deserialize;
use ureq::http::{HeaderMap, Method, header};

use crate::HubError;
use crate::address::{escaped, escaped_name, shown};
use crate::ask::{About, Ask, unreachable};
use crate::client::Client;

/// The longest listing that is read; that of a large repository has a few hundred kilobytes.
const MAX_LISTING_BYTES: u64 = 32 << 20;
/// The longest path of a file, and the longest tag.
const MAX_NAME_BYTES: usize = 1024;
const MAX_ETAG_BYTES: usize = 128;

/// A repository at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) entries: Vec<Entry>,
}

/// A file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: String,
    /// Length and tag, where the listing has them.
    pub(crate) n_bytes: Option<u64>,
    pub(crate) etag: Option<String>,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Option<Vec<Sibling>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: Option<String>,
    size: Option<u64>,
}

/// Asks for the files of a repository.
pub(crate) fn listing(
    client: &Client,
    id: &str,
    revision: &str,
    stop: &Stop,
    note: &mut dyn FnMut(String),
) -> Result<Listing, HubError> {
    let endpoint = &client.settings.endpoint;
    let url = format!("{endpoint}/api/models/{}/revision/{}?blobs=true", escaped(id), escaped_name(revision));
    let ask = Ask { url: &url, method: Method::GET, from: 0, about: About { id, revision, file: None } };
    let json = client.patiently(stop, note, || {
        let mut answer = client.ask(&ask)?;
        let body = answer.response.body_mut().with_config().limit(MAX_LISTING_BYTES);
        body.read_to_vec().map_err(|error| unreachable(&answer.url, &error))
    })?;
    let wrong = |what: String| HubError::Listing { url: shown(&url).to_owned(), what };
    let info: Info =
        serde_json::from_slice(&json).map_err(|error| wrong(format!("its answer is not the Hub's: {error}")))?;
    if !is_commit(&info.sha) {
        return Err(wrong(format!("{:?} is no commit", info.sha)));
    }
    let entries = info.siblings.unwrap_or_default().into_iter().map(|sibling| entry(sibling).map_err(wrong));
    let mut entries = entries.collect::<Result<Vec<Entry>, HubError>>()?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries.dedup_by(|a, b| a.path == b.path);
    Ok(Listing { commit: info.sha, entries })
}

fn entry(sibling: Sibling) -> Result<Entry, String> {
    let Sibling { rfilename: path, size, blob_id, lfs } = sibling;
    if !is_inside(&path) {
        return Err(format!("it lists a file {path:?}, which would lie outside of the cache"));
    }
    let (n_bytes, etag) = match lfs {
        Some(lfs) => (lfs.size.or(size), lfs.sha256),
        None => (size, blob_id),
    };
    match etag {
        Some(etag) if !is_etag(&etag) => Err(format!("the tag of {path}, {etag:?}, cannot be a file's name")),
        etag => Ok(Entry { path, n_bytes, etag }),
    }
}

/// Whether a path stays in the folder that it is taken from, on any system.
fn is_inside(path: &str) -> bool {
    let is_plain = |part: &str| {
        let is_said = !part.is_empty() && part != "." && part != "..";
        is_said && !part.contains(['\\', ':']) && !part.chars().any(char::is_control)
    };
    path.len() <= MAX_NAME_BYTES && path.split('/').all(is_plain)
}

/// Whether a tag can be the name of a blob.
fn is_etag(etag: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !etag.is_empty() && etag.len() <= MAX_ETAG_BYTES && etag.chars().all(is_plain)
}

/// Length and tag of a file that the listing has without them: mirrors may leave them out.
pub(crate) fn complete(
    client: &Client,
    (id, commit): (&str, &str),
    entry: &Entry,
    stop: &Stop,
    note: &mut dyn FnMut(String),
) -> Result<(Option<u64>, String), HubError> {
    if let (n_bytes @ Some(_), Some(etag)) = (entry.n_bytes, &entry.etag) {
        return Ok((n_bytes, etag.clone()));
    }
    let url = address(client, id, commit, &entry.path);
    let about = About { id, revision: commit, file: Some(&entry.path) };
    let ask = Ask { url: &url, method: Method::HEAD, from: 0, about };
    client.patiently(stop, note, || {
        let answer = client.ask(&ask)?;
        let last = answer.response.headers();
        // The Hub says it itself, or leads to another address of its own, which does.
        let said = |name: &str| text(last, name).or_else(|| text(&answer.first, name));
        let etag = said("x-linked-etag").or_else(|| said("etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        let length = text(last, header::CONTENT_LENGTH.as_str()).filter(|_| answer.response.status().is_success());
        let n_bytes = said("x-linked-size").or(length).and_then(|size| size.parse().ok());
        match etag.filter(|etag| is_etag(etag)) {
            Some(etag) => Ok((n_bytes, etag)),
            None => {
                let what = "its answer has no ETag that names the file's content".to_owned();
                Err(HubError::Listing { url: shown(&url).to_owned(), what }.into())
            }
        }
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Where a file of a commit is.
pub(crate) fn address(client: &Client, id: &str, commit: &str, path: &str) -> String {
    format!("{}/{}/resolve/{commit}/{}", client.settings.endpoint, escaped(id), escaped(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_told() {
        for good in ["a", "unet/config.json", "a b/ü.bin", ".gitattributes"] {
            assert!(is_inside(good), "{good}");
        }
        for bad in
            ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a\\..\\b", "C:a", "a:b", "a\nb", &"x".repeat(2000)]
        {
            assert!(!is_inside(bad), "{bad}");
        }
        for bad in ["", "..", "a/b", "a.b", &"x".repeat(200)] {
            assert!(!is_etag(bad), "{bad}");
        }
    }

    #[test]
    fn large_files_have_their_own_length_and_hash() {
        let json = r#"{"rfilename": "a", "size": 10, "blobId": "cafe", "lfs": {"sha256": "beef", "size": 1000, "pointerSize": 130}}"#;
        let found = entry(serde_json::from_str(json).unwrap()).unwrap();
        assert_eq!(found, Entry { path: "a".into(), n_bytes: Some(1000), etag: Some("beef".into()) });
        let found = entry(serde_json::from_str(r#"{"rfilename": "a"}"#).unwrap()).unwrap();
        assert_eq!(found, Entry { path: "a".into(), n_bytes: None, etag: None });
    }
}
