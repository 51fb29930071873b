//! The models that requests may name: what the folders hold that were given at the start, and the model in the box.
//!
//! A request's name is looked up here and nowhere else, so no path of a request reaches the disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use smelt::{EmbeddingAsked, LoraAsked, Opened, Opening, Recommended, Source, demo};

use crate::error::ServeError;
use crate::fault::Fault;
use crate::options::ServeOptions;

/// A model that requests may name.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// What it is called: the name of its file without the ending, or of its folder.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    pub(crate) source: Source,
    /// Whether it is packages and not a checkpoint.
    pub(crate) is_packages: bool,
    /// What suits it.
    pub(crate) recommended: Recommended,
    /// Columns and rows of the pictures that it was made for.
    pub(crate) size: Option<[usize; 2]>,
    /// Columns and rows are multiples of this.
    pub(crate) multiple: usize,
    /// AUTOMATIC1111's hash, where it is known without reading all of the files.
    pub(crate) hash: Option<String>,
    /// Bytes of its files.
    pub(crate) bytes: u64,
}

/// A file that a request names: a LoRA, a ControlNet, an upscaler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// What was found, and where to look again.
#[derive(Debug)]
pub(crate) struct Catalogue {
    folders: Vec<PathBuf>,
    cache: Option<PathBuf>,
    /// Whether models of the Hub's cache are there too.
    with_hub: bool,
    lora_dir: Option<PathBuf>,
    embedding_dir: Option<PathBuf>,
    controlnet_dir: Option<PathBuf>,
    upscaler_dir: Option<PathBuf>,
    models: RwLock<Vec<Arc<Model>>>,
    /// The model where a request names none.
    chosen: RwLock<Option<String>>,
}

/// Endings of files that hold models.
const ENDINGS: [&str; 3] = ["safetensors", "ckpt", "pth"];

impl Catalogue {
    /// Looks into the folders.
    pub(crate) fn new(options: &ServeOptions) -> Result<Self, ServeError> {
        let catalogue = Self {
            folders: options.models.clone(),
            cache: options.cache.clone(),
            with_hub: options.allow_downloads,
            lora_dir: options.lora_dir.clone(),
            embedding_dir: options.embedding_dir.clone(),
            controlnet_dir: options.controlnet_dir.clone(),
            upscaler_dir: options.upscaler_dir.clone(),
            models: RwLock::default(),
            chosen: RwLock::default(),
        };
        let dirs = [&options.lora_dir, &options.embedding_dir, &options.controlnet_dir, &options.upscaler_dir];
        for path in options.models.iter().chain(dirs.into_iter().flatten()) {
            std::fs::metadata(path).map_err(|source| ServeError::Folder {
                path: path.clone(),
                what: "models are looked for there, and it cannot be read".to_owned(),
                source,
            })?;
        }
        catalogue.refresh();
        let first =
            match &options.model {
                Some(name) => Some(catalogue.find(name).ok_or_else(|| ServeError::UnknownModel {
                    name: name.clone(),
                    known: catalogue.names().join(", "),
                })?),
                None => catalogue.models().first().cloned(),
            };
        let first = first.ok_or(ServeError::NoModel)?;
        catalogue.choose(&first);
        Ok(catalogue)
    }

    /// Looks into the folders again.
    pub(crate) fn refresh(&self) {
        let mut found: Vec<Model> = self.folders.iter().flat_map(|folder| self.models_of(folder)).collect();
        if let Ok(folder) = demo::directory(self.cache.clone()) {
            let model = smelt::open(folder.clone()).ok().map(|opened| self.model(demo::NAME, &folder, &opened));
            found.extend(model.map(|model| Model {
                recommended: Recommended { guidance: Some(demo::GUIDANCE), ..model.recommended.clone() },
                ..model
            }));
        }
        if self.with_hub {
            found.extend(smelt::cached_models().into_iter().filter_map(|source| {
                let opened = Opening { offline: true, ..Opening::default() }.open(source.clone()).ok()?;
                Some(self.model(&source.to_string(), opened.root(), &opened))
            }));
        }
        // A name means one model: the first that has it.
        let mut models: Vec<Arc<Model>> = Vec::new();
        for model in found {
            if !models.iter().any(|other| other.name == model.name) {
                models.push(Arc::new(model));
            }
        }
        *self.models.write().unwrap_or_else(PoisonError::into_inner) = models;
    }

    /// A folder that is a model, or those in it.
    fn models_of(&self, folder: &Path) -> Vec<Model> {
        let open = |path: &Path| {
            let opened = smelt::open(path.to_owned()).ok()?;
            let name = if path.is_dir() { file_name(path) } else { stem(path) };
            Some(self.model(&name, path, &opened))
        };
        if let Some(model) = open(folder) {
            return vec![model];
        }
        let is_candidate = |path: &PathBuf| path.is_dir() || has_ending(path);
        entries(folder).iter().filter(|path| is_candidate(path)).filter_map(|path| open(path)).collect()
    }

    fn model(&self, name: &str, path: &Path, opened: &Opened) -> Model {
        let (multiple, own) = opened.native_size().unwrap_or((8, None));
        Model {
            name: name.to_owned(),
            path: path.to_owned(),
            source: opened.source().clone(),
            is_packages: opened.is_packages(),
            recommended: opened.recommended().ok().flatten().unwrap_or_default(),
            size: own.map(|size| [size.width * multiple, size.height * multiple]),
            multiple,
            hash: opened.known_model_hash(self.cache.as_deref()).ok().flatten(),
            bytes: n_bytes(path),
        }
    }

    /// All of them, in the order of the folders.
    pub(crate) fn models(&self) -> Vec<Arc<Model>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.models().iter().map(|model| model.name.clone()).collect()
    }

    /// The model of a name: its own, the name of its file, AUTOMATIC1111's title or its hash.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Model>> {
        let name = name.trim();
        self.models().into_iter().find(|model| {
            let hash = model.hash.as_deref().unwrap_or("-");
            name == model.name || name == file_name(&model.path) || name == model.title() || name == hash
        })
    }

    /// The model of a name, or where there is none the chosen one.
    pub(crate) fn model_of(&self, name: Option<&str>) -> Result<Arc<Model>, Fault> {
        match name.filter(|name| !name.is_empty()) {
            Some(name) => self.find(name).ok_or_else(|| Fault {
                status: axum::http::StatusCode::NOT_FOUND,
                code: "model_not_found",
                ..Fault::field("model", format!("no model is called {name:?}; there are {}", self.names().join(", ")))
            }),
            None => self.chosen().ok_or_else(|| Fault::internal("there is no model any more; look at --models")),
        }
    }

    /// The model that is used where a request names none.
    pub(crate) fn chosen(&self) -> Option<Arc<Model>> {
        let name = self.chosen.read().unwrap_or_else(PoisonError::into_inner).clone();
        name.and_then(|name| self.find(&name)).or_else(|| self.models().first().cloned())
    }

    /// Chooses the model that is used where a request names none.
    pub(crate) fn choose(&self, model: &Model) {
        *self.chosen.write().unwrap_or_else(PoisonError::into_inner) = Some(model.name.clone());
    }

    /// Where LoRAs are looked up.
    pub(crate) fn lora_dir(&self) -> Option<&Path> {
        self.lora_dir.as_deref()
    }

    /// Where new words are looked up.
    pub(crate) fn embedding_dir(&self) -> Option<&Path> {
        self.embedding_dir.as_deref()
    }

    /// The LoRAs: what the library looks names up among.
    pub(crate) fn loras(&self) -> Vec<Named> {
        let files = self.lora_dir.as_deref().and_then(|folder| LoraAsked::files_in(folder).ok()).unwrap_or_default();
        let shown = files.into_iter().filter(|path| !file_name(path).starts_with('.'));
        shown.map(|path| Named { name: stem(&path), path }).collect()
    }

    /// Words that files are named by.
    pub(crate) fn embeddings(&self) -> Vec<String> {
        let all = self.embedding_dir.as_deref().and_then(|folder| EmbeddingAsked::all_in(folder).ok());
        all.unwrap_or_default().into_iter().map(|(word, _)| word).collect()
    }

    /// The ControlNets: files and folders.
    pub(crate) fn controlnets(&self) -> Vec<Named> {
        files(self.controlnet_dir.as_deref(), &["safetensors", "pth", "mlpackage", "mlmodelc", ""])
    }

    /// The upscalers.
    pub(crate) fn upscalers(&self) -> Vec<Named> {
        files(self.upscaler_dir.as_deref(), &["safetensors", "pth", "mlpackage"])
    }
}

/// The one of a name, with or without what A1111's titles have behind it.
pub(crate) fn named<'n>(all: &'n [Named], name: &str) -> Option<&'n Named> {
    let wanted = name.split(" [").next().unwrap_or(name).trim();
    all.iter().find(|one| one.name == wanted || file_name(&one.path) == wanted)
}

impl Model {
    /// AUTOMATIC1111's title: the file's name, with the hash where it is known.
    pub(crate) fn title(&self) -> String {
        let file = file_name(&self.path);
        let name = if self.path.is_dir() { &self.name } else { &file };
        self.hash.as_ref().map_or_else(|| name.clone(), |hash| format!("{name} [{hash}]"))
    }
}

/// Files of a folder with one of these endings (folders have none), by name.
fn files(folder: Option<&Path>, endings: &[&str]) -> Vec<Named> {
    let ending = |path: &Path| path.extension().map_or_else(String::new, |e| e.to_string_lossy().to_lowercase());
    let is_wanted =
        |path: &PathBuf| endings.contains(&ending(path).as_str()) && (path.is_dir() || !ending(path).is_empty());
    let all = folder.map(entries).unwrap_or_default();
    all.into_iter().filter(is_wanted).map(|path| Named { name: stem(&path), path }).collect()
}

/// What a folder holds and is not hidden, in the order of names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = found.filter(|path| !file_name(path).starts_with('.')).collect();
    found.sort();
    found
}

fn has_ending(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// A file's name.
pub(crate) fn file_name(path: &Path) -> String {
    let absolute = if path.file_name().is_none() { path.canonicalize().ok() } else { None };
    let path = absolute.as_deref().unwrap_or(path);
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Bytes of a file, or of all below a folder; links to files are followed, those to folders are not.
fn n_bytes(path: &Path) -> u64 {
    let Ok(about) = std::fs::metadata(path) else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    let all = std::fs::read_dir(path).into_iter().flatten().flatten();
    let is_folder_by_link =
        |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_symlink()) && entry.path().is_dir();
    all.filter(|entry| !is_folder_by_link(entry)).map(|entry| n_bytes(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_found_with_titles_and_nothing_beside_the_folder_is() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.safetensors", "b.txt", ".c.safetensors"] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        let all = files(Some(dir.path()), &["safetensors"]);
        assert_eq!(all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a"]);
        assert!(named(&all, "a [0123abcd]").is_some() && named(&all, "a.safetensors").is_some());
        for name in ["../a", "/etc/passwd", "b", ".c", ""] {
            assert!(named(&all, name).is_none(), "{name}");
        }
    }
}
