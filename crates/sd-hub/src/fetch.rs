//! A model from start to end: its listing, what is needed of it, what of that is not there yet, and where it lies then.

use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};

use host_tensor::Stop;
use safe_files::{OutputFolder, Outputs};
use sd_checkpoint::hub::{Repository, Selection, Unclear, Wanted, files, index_of, inside, is_commit, select};
use sd_checkpoint::{CheckpointError, Source};

use crate::blob::{Blob, Origin, is_there};
use crate::client::Client;
use crate::listing::{Entry, Listing, complete, listing};
use crate::watch::{Event, Watch};
use crate::{HubError, Settings, work};

/// The revision where none is named.
const MAIN: &str = "main";
/// The longest index that is read.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// A model that is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The folder or file that it is opened by.
    pub path: PathBuf,
    /// The commit.
    pub commit: String,
    /// What it needs.
    pub files: Vec<FetchedFile>,
    /// Bytes that were not there before.
    pub n_fetched_bytes: u64,
}

/// One of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchedFile {
    /// Its path in the repository.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub n_bytes: u64,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// The Hub.
pub struct Hub {
    client: Client,
}

impl Hub {
    /// A client for it; nothing is asked yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { client: Client::new(settings) }
    }

    /// Fetches what is needed of a repository `owner/name` and not in the cache yet.
    ///
    /// # Errors
    /// [`HubError`], which says what answered what and what to do.
    pub fn fetch(
        &self,
        id: &str,
        revision: Option<&str>,
        wanted: &Wanted,
        watch: &mut dyn Watch,
    ) -> Result<Fetched, HubError> {
        let (stop, reference) = (Stop::new(), reference(id, revision, wanted));
        check_id(id)?;
        if watch.event(Event::Asking).is_break() {
            return Err(HubError::Stopped);
        }
        let revision = revision.unwrap_or(MAIN);
        check_revision(revision, &reference)?;
        let Listing { commit, entries } =
            listing(&self.client, id, revision, &stop, &mut |words| note(watch, &stop, &words))?;
        let repository = self.client.settings.cache.repository(id);
        let origin = Origin { client: &self.client, repository: &repository, id, commit: &commit, stop: &stop };
        let mut place = Place { origin, entries: &entries, folders: Vec::new() };
        let names: Vec<String> = entries.iter().map(|entry| entry.path.clone()).collect();
        let index = match index_of(&names, wanted) {
            Some(name) => {
                let blobs = place.blobs(std::slice::from_ref(&name), watch)?;
                place.obtain(&blobs, &mut |_: Event<'_>| ControlFlow::Continue(()))?;
                Some(safe_files::read(&place.pointer(&name), MAX_INDEX_BYTES)?)
            }
            None => None,
        };
        let selection = select(&names, wanted, index.as_deref());
        let selection = selection.map_err(|unclear| self::unclear(&reference, unclear))?;
        let blobs = place.blobs(&selection.files, watch)?;
        let (files, n_fetched_bytes) = place.obtain(&blobs, watch)?;
        place.refer(revision)?;
        let path = inside(repository.snapshot(&commit), &selection.root);
        Ok(Fetched { path, commit, files, n_fetched_bytes })
    }

    /// The same out of the cache alone.
    ///
    /// # Errors
    /// [`HubError::Offline`] and [`HubError::Unclear`], which say what is missing.
    pub fn find(settings: &Settings, id: &str, revision: Option<&str>, wanted: &Wanted) -> Result<Fetched, HubError> {
        check_id(id)?;
        let source = Source::Hub {
            id: id.to_owned(),
            revision: revision.map(str::to_owned),
            path: wanted.path.as_ref().map(PathBuf::from),
        };
        let path = settings.cache.locate(&source).map_err(not_found)?;
        let repository = settings.cache.repository(id);
        let commit = repository.commit(revision).unwrap_or_default();
        let snapshot = repository.snapshot(&commit);
        let names = files(&snapshot);
        let index = index_of(&names, wanted).map(|name| safe_files::read(&snapshot.join(name), MAX_INDEX_BYTES));
        let reference = reference(id, revision, wanted);
        let found = select(&names, wanted, index.transpose()?.as_deref());
        let Selection { files, absent, .. } = found.map_err(|unclear| self::unclear(&reference, unclear))?;
        // Pipelines do without it, so a repository may list it and not have it.
        let optional = sd_checkpoint::hub::optional_folders();
        let missing: Vec<&str> = absent.iter().map(String::as_str).filter(|name| !optional.contains(name)).collect();
        if !missing.is_empty() {
            let what = format!("the cache has no weights of {}", missing.join(", "));
            let next = format!("fetch them, without --offline and HF_HUB_OFFLINE: smelt download {reference}");
            return Err(HubError::Unclear { reference, what, next });
        }
        let files = files.into_iter().map(|name| file(&snapshot, name, false)).collect();
        Ok(Fetched { path, commit, files, n_fetched_bytes: 0 })
    }
}

/// The files of a commit in the cache, and the folders that were made for them.
struct Place<'a> {
    origin: Origin<'a>,
    entries: &'a [Entry],
    /// Removed where nothing came into them.
    folders: Vec<OutputFolder>,
}

impl Place<'_> {
    /// Lengths and tags of files of the listing.
    fn blobs(&self, names: &[String], watch: &mut dyn Watch) -> Result<Vec<Blob>, HubError> {
        let Origin { client, id, commit, stop, .. } = self.origin;
        let listed = self.entries.iter().filter(|entry| names.contains(&entry.path));
        let blob = |entry: &Entry| {
            let (n_bytes, etag) = complete(client, (id, commit), entry, stop, &mut |words| note(watch, stop, &words))?;
            Ok(Blob { path: entry.path.clone(), etag, n_bytes })
        };
        listed.map(blob).collect()
    }

    fn pointer(&self, name: &str) -> PathBuf {
        self.origin.repository.snapshot(self.origin.commit).join(name)
    }

    /// Whether a file is there, whole: where there are no links it may be there without a blob.
    fn has(&self, blob: &Blob) -> bool {
        let found = std::fs::metadata(self.pointer(&blob.path));
        found.is_ok_and(|meta| meta.is_file() && blob.n_bytes.is_none_or(|n_bytes| n_bytes == meta.len()))
    }

    /// Makes files be there: fetches what is missing, then names it.
    fn obtain(&mut self, blobs: &[Blob], watch: &mut dyn Watch) -> Result<(Vec<FetchedFile>, u64), HubError> {
        let unnamed: Vec<&Blob> = blobs.iter().filter(|blob| !self.has(blob)).collect();
        let is_new: Vec<&Blob> =
            unnamed.iter().copied().filter(|blob| !is_there(self.origin.repository, blob)).collect();
        // Files with the same content are fetched once.
        let mut missing = is_new.clone();
        missing.sort_by(|a, b| a.etag.cmp(&b.etag));
        missing.dedup_by(|a, b| a.etag == b.etag);
        let n_bytes: u64 = missing.iter().filter_map(|blob| blob.n_bytes).fold(0, u64::saturating_add);
        let found = Event::Found { n_files: blobs.len(), n_missing: missing.len(), n_bytes };
        if watch.event(found).is_break() {
            return Err(HubError::Stopped);
        }
        if let Some(first) = missing.first() {
            self.check_room(&missing)?;
            self.make_folder_of(&self.origin.repository.blob(&first.etag))?;
            self.make_folder_of(&self.origin.repository.lock(&first.etag))?;
            work::fetch(self.origin, &missing, n_bytes, watch)?;
        }
        for blob in &unnamed {
            let pointer = self.pointer(&blob.path);
            self.make_folder_of(&pointer)?;
            safe_files::point_to(&self.origin.repository.blob(&blob.etag), &pointer)?;
        }
        let snapshot = self.origin.repository.snapshot(self.origin.commit);
        let file = |blob: &Blob| file(&snapshot, blob.path.clone(), is_new.contains(&blob));
        Ok((blobs.iter().map(file).collect(), n_bytes))
    }

    fn make_folder_of(&mut self, path: &Path) -> Result<(), HubError> {
        let folder = path.parent().unwrap_or(path);
        if !folder.is_dir() {
            let mut folder = Outputs::new().folder("HF_HUB_CACHE", folder)?;
            folder.make()?;
            self.folders.push(folder);
        }
        Ok(())
    }

    /// Refuses what will not fit, where the system tells how much will.
    fn check_room(&self, missing: &[&Blob]) -> Result<(), HubError> {
        let of = |blob: &&Blob| {
            let incomplete = self.origin.repository.blob(&format!("{}.incomplete", blob.etag));
            let begun = std::fs::metadata(incomplete).map_or(0, |meta| meta.len());
            blob.n_bytes.unwrap_or_default().saturating_sub(begun)
        };
        let needed = missing.iter().map(of).fold(0, u64::saturating_add);
        let cache = self.origin.client.settings.cache.root();
        match safe_files::free_bytes(cache) {
            Some(free) if free < needed => {
                Err(HubError::Room { id: self.origin.id.to_owned(), needed, free, cache: cache.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Notes which commit a branch or tag stands for; a commit stands for itself.
    fn refer(&mut self, revision: &str) -> Result<(), HubError> {
        let repository: &Repository = self.origin.repository;
        if is_commit(revision) || repository.commit(Some(revision)).as_deref() == Some(self.origin.commit) {
            return Ok(());
        }
        let path = repository.reference(revision);
        self.make_folder_of(&path)?;
        let output = Outputs::new().file("HF_HUB_CACHE", &path)?;
        Ok(output.write(|out| out.write_all(self.origin.commit.as_bytes()))?)
    }
}

fn file(snapshot: &Path, name: String, is_new: bool) -> FetchedFile {
    let path = snapshot.join(&name);
    let n_bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
    FetchedFile { name, path, n_bytes, is_new }
}

/// Refuses what could not be a file's name below `refs`.
fn check_revision(revision: &str, reference: &str) -> Result<(), HubError> {
    let is_inside = Path::new(revision).components().all(|part| matches!(part, Component::Normal(_)));
    if is_inside && !revision.is_empty() {
        return Ok(());
    }
    let (what, next) = (format!("{revision:?} is no revision"), "give a branch, a tag or a commit".to_owned());
    Err(HubError::Unclear { reference: reference.to_owned(), what, next })
}

fn not_found(error: CheckpointError) -> HubError {
    match error {
        CheckpointError::NotCached { .. } => HubError::Offline(error),
        other => HubError::Cache(other),
    }
}

fn unclear(reference: &str, Unclear { what, next }: Unclear) -> HubError {
    HubError::Unclear { reference: reference.to_owned(), what, next }
}

/// Tells the watcher of something, which may say that it is enough.
fn note(watch: &mut dyn Watch, stop: &Stop, words: &str) {
    if watch.event(Event::Note(words)).is_break() {
        stop.set();
    }
}

/// What is wanted, as people write it.
fn reference(id: &str, revision: Option<&str>, wanted: &Wanted) -> String {
    let path = wanted.path.as_ref().map(PathBuf::from);
    Source::Hub { id: id.to_owned(), revision: revision.map(str::to_owned), path }.to_string()
}

/// Refuses names that no repository has, which would lead elsewhere in the cache or on the server.
fn check_id(id: &str) -> Result<(), HubError> {
    let is_plain = |part: &str| {
        let is_named =
            !part.is_empty() && !part.starts_with(['.', '-']) && !part.contains("..") && !part.contains("--");
        is_named && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let parts = id.split_once('/');
    if parts.is_some_and(|(owner, name)| is_plain(owner) && is_plain(name)) {
        return Ok(());
    }
    Err(HubError::Unclear {
        reference: format!("hf:{id}"),
        what: "no repository has such a name".to_owned(),
        next: "it is owner/name, of letters, digits, -, _ and .".to_owned(),
    })
}
