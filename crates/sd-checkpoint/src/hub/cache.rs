//! Where the cache lies, and what its files are called: huggingface_hub's, so that each finds what the other fetched.
//!
//! ```text
//! CACHE/.locks/models--OWNER--NAME/ETAG.lock         held while a blob is fetched
//! CACHE/models--OWNER--NAME/blobs/ETAG               a file's bytes; ETAG is SHA-256 or Git's hash
//! CACHE/models--OWNER--NAME/refs/REVISION            the commit of a branch or tag
//! CACHE/models--OWNER--NAME/snapshots/COMMIT/unet/…  links to blobs, or copies where there are no links
//! ```

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::{MAX_REF_BYTES, PREFIX, Wanted, select};
use crate::{CheckpointError, Source};

/// Length of a commit's hash in hexadecimal digits.
const COMMIT_LEN: usize = 40;
/// The revision where none is named.
const MAIN: &str = "main";
/// The most files of a snapshot that are looked at.
const MAX_FILES: usize = 100_000;

/// The folder that holds all repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// One repository of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    folder: PathBuf,
    locks: PathBuf,
}

/// Reads a variable of the environment; one that is empty counts as not set.
#[must_use]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The folder of everything that belongs to the Hub: `HF_HOME`, else `huggingface` in the user's cache.
#[must_use]
pub fn home() -> PathBuf {
    home_of(&variable)
}

fn home_of(variable: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    let cache = || match variable("XDG_CACHE_HOME") {
        Some(folder) => expand(folder),
        None => expand("~/.cache".into()),
    };
    variable("HF_HOME").map_or_else(|| cache().join("huggingface"), expand)
}

/// A path whose `~` at the beginning is the user's folder, as Python reads such variables.
fn expand(path: OsString) -> PathBuf {
    let path = PathBuf::from(path);
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

impl Cache {
    /// `HF_HUB_CACHE`, or its older name, else `hub` in [`home`].
    #[must_use]
    pub fn standard() -> Self {
        Self::of(&variable)
    }

    fn of(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let named = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
        Self::at(named.map_or_else(|| home_of(variable).join("hub"), expand))
    }

    /// A cache in this folder, which need not be there yet.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root: std::path::absolute(&root).unwrap_or(root) }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A repository by `owner/name`.
    #[must_use]
    pub fn repository(&self, id: &str) -> Repository {
        let name = format!("{PREFIX}{}", id.replace('/', "--"));
        Repository { folder: self.root.join(&name), locks: self.root.join(".locks").join(name) }
    }

    /// Where what a source names is: a path is there itself, and a reference to the Hub stands for a file, or a folder of a
    /// snapshot, of the cache.
    ///
    /// # Errors
    /// [`CheckpointError::NotCached`], and [`CheckpointError::Hub`] when it does not say which of several files is meant.
    pub fn locate(&self, source: &Source) -> Result<PathBuf, CheckpointError> {
        let (id, revision, path) = match source {
            Source::Folder(path) | Source::File(path) => return Ok(path.clone()),
            Source::Hub { id, revision, path } => (id, revision, path),
        };
        let repository = self.repository(id);
        let commit = repository.commit(revision.as_deref());
        let snapshot = commit.map(|commit| repository.snapshot(&commit)).filter(|folder| folder.is_dir());
        let Some(snapshot) = snapshot else {
            let is_known = repository.folder.is_dir();
            let what = match (revision, is_known) {
                (Some(revision), true) => format!("its cache has no revision {revision}"),
                _ => "it is not in the cache".to_owned(),
            };
            return Err(absent(source, format!("{what} ({})", repository.folder.display())));
        };
        let wanted = Wanted { path: path.as_deref().map(slashed), ..Wanted::default() };
        let names = files(&snapshot);
        let is_there = |path: &str| {
            let folder = format!("{path}/");
            names.iter().any(|name| name == path || name.starts_with(&folder))
        };
        if let Some(path) = wanted.path.as_deref().filter(|path| !is_there(path)) {
            return Err(absent(source, format!("{path} is not in the cache ({})", snapshot.display())));
        }
        let root = select::root(&names, &wanted).map_err(|what| refused(source, what))?;
        Ok(inside(snapshot, &root))
    }
}

/// A folder or file of a snapshot, or all of it.
#[must_use]
pub fn inside(snapshot: PathBuf, root: &str) -> PathBuf {
    // Joined with nothing, a path would end with a slash.
    if root.is_empty() { snapshot } else { snapshot.join(root) }
}

/// That something is not in the cache.
fn absent(source: &Source, what: String) -> CheckpointError {
    CheckpointError::NotCached { reference: source.to_string(), what }
}

/// That a reference does not say what is meant.
fn refused(source: &Source, select::Unclear { what, next }: select::Unclear) -> CheckpointError {
    CheckpointError::Hub { reference: source.to_string(), what, next }
}

impl Repository {
    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the bytes with this tag are.
    #[must_use]
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// What is held while the bytes with this tag are fetched.
    #[must_use]
    pub fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    /// The folder of a commit's files.
    #[must_use]
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The file that names the commit of a branch or tag.
    #[must_use]
    pub fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// The commit that a revision stands for, as far as the cache knows; `None` stands for the main branch.
    #[must_use]
    pub fn commit(&self, revision: Option<&str>) -> Option<String> {
        let revision = revision.unwrap_or(MAIN);
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let is_inside = Path::new(revision).components().all(|c| matches!(c, Component::Normal(_)));
        let reference = self.reference(revision);
        let text =
            if is_inside { safe_files::read_text_if_present(&reference, MAX_REF_BYTES).ok()?? } else { return None };
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }
}

/// Whether a revision is the hash of a commit, which never stands for anything else.
#[must_use]
pub fn is_commit(revision: &str) -> bool {
    revision.len() == COMMIT_LEN && revision.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A path within a repository, as the Hub spells it.
#[must_use]
pub fn slashed(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Every file of a snapshot by its path, sorted; links to blobs that are gone are no files.
#[must_use]
pub fn files(snapshot: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![(snapshot.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, Ok(name)) = (entry.path(), entry.file_name().into_string()) else { continue };
            let name = format!("{prefix}{name}");
            // A linked folder could lead round in a circle; snapshots link files only.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push((path, name + "/")),
                Ok(_) if path.is_file() => found.push(name),
                _ => {}
            }
        }
        if found.len() > MAX_FILES {
            break;
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "39593d5650112b4cc580433f6b0435385882d819";

    #[test]
    fn the_cache_lies_where_the_environment_says() {
        let check = |set: &[(&str, &str)], expected: &str| {
            let variable =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            let home = std::env::home_dir().unwrap();
            let expected = expected.replace('~', &home.to_string_lossy());
            assert_eq!(Cache::of(&variable).root(), Path::new(&expected), "{set:?}");
        };
        check(&[], "~/.cache/huggingface/hub");
        check(&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub");
        check(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/y")], "/y/hub");
        check(&[("HF_HOME", "~/y")], "~/y/hub");
        check(&[("HF_HOME", "/y"), ("HUGGINGFACE_HUB_CACHE", "/z")], "/z");
        check(&[("HF_HUB_CACHE", "/w"), ("HUGGINGFACE_HUB_CACHE", "/z")], "/w");
    }

    /// A cache with one snapshot of these files.
    fn made(names: &[&str]) -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned());
        let repository = cache.repository("someone/model");
        for name in names {
            let path = repository.snapshot(HASH).join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}").unwrap();
        }
        std::fs::create_dir_all(repository.folder().join("refs")).unwrap();
        std::fs::write(repository.reference("main"), HASH).unwrap();
        (dir, cache)
    }

    #[test]
    fn a_reference_stands_for_a_folder_or_a_file_of_a_snapshot() {
        let (_dir, cache) = made(&["model_index.json", "unet/config.json", "v1.ckpt"]);
        let snapshot = cache.repository("someone/model").snapshot(HASH);
        let at = |text: &str| Source::from(cache.locate(&text.parse().unwrap()).unwrap());
        assert_eq!(at("hf:someone/model"), Source::Folder(snapshot.clone()));
        assert_eq!(at("hf:someone/model@main/unet"), Source::Folder(snapshot.join("unet")));
        assert_eq!(at(&format!("hf:someone/model@{HASH}/v1.ckpt")), Source::File(snapshot.join("v1.ckpt")));
        let (_dir, cache) = made(&["README.md", "only.safetensors"]);
        let snapshot = cache.repository("someone/model").snapshot(HASH);
        assert_eq!(
            Source::from(cache.locate(&"hf:someone/model".parse().unwrap()).unwrap()),
            Source::File(snapshot.join("only.safetensors"))
        );
    }

    #[test]
    fn what_is_not_in_the_cache_is_said() {
        let (_dir, cache) = made(&["a.safetensors", "b.safetensors"]);
        let error = |text: &str| cache.locate(&text.parse().unwrap()).unwrap_err().to_string();
        for (text, part) in [
            ("hf:someone/other", "it is not in the cache"),
            ("hf:someone/model@v2", "its cache has no revision v2"),
            ("hf:someone/model@..", "reference"),
            ("hf:someone/model/c.ckpt", "c.ckpt is not in the cache"),
        ] {
            match text.parse::<Source>() {
                Ok(source) => {
                    let error = cache.locate(&source).unwrap_err().to_string();
                    assert!(error.contains(part) && error.contains(&format!("smelt download {text}")), "{error}");
                }
                Err(error) => assert!(error.contains(part), "{error}"),
            }
        }
        let several = error("hf:someone/model");
        assert!(several.contains("a.safetensors, b.safetensors"), "{several}");
    }

    #[test]
    fn commits_are_told_from_branches() {
        assert!(is_commit(HASH) && !is_commit("main") && !is_commit(&HASH.to_uppercase()));
    }
}
