//! The cache of huggingface_hub on the disk: `models--OWNER--NAME/{blobs, refs, snapshots/HASH}`.
//!
//! Snapshots hold links to blobs. Nothing is downloaded here; [`select()`] says what would have to be.

mod cache;
mod select;

use std::path::{Component, Path, PathBuf};

use crate::CheckpointError;
pub use cache::{Cache, Repository, files, home, inside, is_commit, slashed, variable};
pub use select::{Extent, Selection, Unclear, Wanted, index_of, optional_folders, select};

const PREFIX: &str = "models--";
/// Length of a reference file that is read: a commit's hash.
const MAX_REF_BYTES: u64 = 256;

/// The folder that is meant by a path: a repository of the cache stands for the snapshot of its `main`, or its only one.
///
/// # Errors
/// [`CheckpointError::Place`] when the repository has no snapshot, or several and no `refs/main`; [`CheckpointError::Read`].
pub fn resolve(path: &Path) -> Result<PathBuf, CheckpointError> {
    let Some(name) = repository_name(path) else { return Ok(path.to_owned()) };
    let snapshots = path.join("snapshots");
    if !snapshots.is_dir() {
        return Ok(path.to_owned());
    }
    if let Some(hash) = safe_files::read_text_if_present(&path.join("refs/main"), MAX_REF_BYTES)? {
        let snapshot = snapshots.join(hash.trim());
        let is_inside = Path::new(hash.trim()).components().all(|c| matches!(c, Component::Normal(_)));
        if is_inside && snapshot.is_dir() {
            return Ok(snapshot);
        }
    }
    let mut found = subfolders(&snapshots);
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (last, _) => {
            let all: Vec<String> = found.iter().chain(&last).map(|p| p.display().to_string()).collect();
            let next = match all[..] {
                [] => format!("fetch the model first: smelt download hf:{name}"),
                _ => format!("give one of them: {}", all.join(", ")),
            };
            let what = format!("the cache of {name}, with {} snapshots and no refs/main that is there", all.len());
            Err(CheckpointError::Place { path: path.to_owned(), what, next })
        }
    }
}

/// `owner/name` of the repository that a folder of the cache belongs to: of `models--owner--name` itself, or of what lies in
/// one of its snapshots.
#[must_use]
pub fn name_of(path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let snapshot = real.ancestors().skip(1).find(|folder| folder.file_name().is_some_and(|n| n == "snapshots"))?;
    repository_name(snapshot.parent()?)
}

/// `owner/name` of the repository whose snapshot a folder is.
pub(crate) fn repository_of_snapshot(folder: &Path) -> Option<String> {
    let snapshots = folder.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"))?;
    repository_name(snapshots.parent()?)
}

/// `owner/name` of a folder `models--owner--name`.
pub(crate) fn repository_name(path: &Path) -> Option<String> {
    let absolute = std::path::absolute(path).ok()?;
    let name = absolute.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    (!name.is_empty()).then(|| name.replacen("--", "/", 1))
}

/// The folders in a folder that are no links out of it and not hidden, sorted.
pub(crate) fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let is_hidden = |path: &Path| path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
    let mut found: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.is_dir() && !is_hidden(p)).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "39593d5650112b4cc580433f6b0435385882d819";

    fn cache(snapshots: &[&str], main: Option<&str>) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let repository = dir.path().join("models--someone--emoji-model");
        for hash in snapshots {
            std::fs::create_dir_all(repository.join("snapshots").join(hash).join("unet")).unwrap();
        }
        if let Some(main) = main {
            std::fs::create_dir_all(repository.join("refs")).unwrap();
            std::fs::write(repository.join("refs/main"), main).unwrap();
        }
        (dir, repository)
    }

    #[test]
    fn a_repository_stands_for_the_snapshot_of_main_or_its_only_one() {
        for (snapshots, main) in [(&[HASH, "0000"][..], Some(HASH)), (&[HASH][..], None), (&[HASH][..], Some("gone\n"))]
        {
            let (_dir, repository) = cache(snapshots, main);
            assert_eq!(resolve(&repository).unwrap(), repository.join("snapshots").join(HASH));
        }
    }

    #[test]
    fn several_snapshots_without_main_are_listed_and_none_is_said() {
        let (_dir, repository) = cache(&[HASH, "0000"], Some("../../.."));
        let error = resolve(&repository).unwrap_err().to_string();
        assert!(error.contains("2 snapshots") && error.contains(HASH) && error.contains("0000"), "{error}");
        let (_dir, repository) = cache(&[], Some(HASH));
        std::fs::create_dir_all(repository.join("snapshots")).unwrap();
        let error = resolve(&repository).unwrap_err().to_string();
        assert!(error.contains("smelt download hf:someone/emoji-model"), "{error}");
    }

    #[test]
    fn the_name_of_a_snapshot_is_its_repository() {
        let (_dir, repository) = cache(&[HASH], None);
        let snapshot = repository.join("snapshots").join(HASH);
        assert_eq!(name_of(&snapshot).as_deref(), Some("someone/emoji-model"));
        assert_eq!(name_of(&snapshot.join("unet")).as_deref(), Some("someone/emoji-model"));
        assert_eq!(name_of(&repository), None);
        assert_eq!(repository_name(&repository).as_deref(), Some("someone/emoji-model"));
        assert_eq!(repository_name(Path::new("models--gpt2")).as_deref(), Some("gpt2"));
    }

    #[test]
    fn other_folders_stand_for_themselves() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(resolve(dir.path()).unwrap(), dir.path());
        assert_eq!(resolve(Path::new("none/models--a--b")).unwrap(), Path::new("none/models--a--b"));
    }
}
