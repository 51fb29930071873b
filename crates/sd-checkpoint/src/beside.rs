//! The small files of a checkpoint, by name: of its folder, or made where it is one file, with those of another folder before
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safe_files::{NamedFiles, ReadError};
use sd_spec::clip_tokenizer::{self, Padding};

/// A file that is nowhere.
#[derive(Debug, Clone)]
pub(crate) enum Made {
    Json(serde_json::Value),
    /// One of CLIP's tokenizer files, made when it is read.
    Tokenizer(&'static str, Padding),
}

/// Where files are looked for.
#[derive(Debug, Clone)]
enum Layer {
    /// In a folder, under their names.
    Folder(PathBuf),
    /// Those of one component, in a folder of its own.
    Component { name: String, folder: PathBuf },
    /// Nowhere: they follow from a file of weights, which is named instead.
    Made { files: Arc<BTreeMap<String, Made>>, of: PathBuf },
}

/// The small files of a checkpoint; names have `/` between folders.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    /// The first that has a file counts.
    layers: Vec<Layer>,
}

impl Beside {
    pub(crate) fn folder(root: &Path) -> Self {
        Self { layers: vec![Layer::Folder(root.to_owned())] }
    }

    pub(crate) fn made(files: BTreeMap<String, Made>, of: &Path) -> Self {
        Self { layers: vec![Layer::Made { files: Arc::new(files), of: of.to_owned() }] }
    }

    /// The same with those of a folder before them.
    pub(crate) fn over(mut self, folder: &Path) -> Self {
        self.layers.insert(0, Layer::Folder(folder.to_owned()));
        self
    }

    /// The same with those of a folder before them that holds one component.
    pub(crate) fn over_component(mut self, name: &str, folder: &Path) -> Self {
        self.layers.insert(0, Layer::Component { name: name.to_owned(), folder: folder.to_owned() });
        self
    }

    /// The same with others before them that are made.
    pub(crate) fn over_made(mut self, files: BTreeMap<String, Made>, of: &Path) -> Self {
        self.layers.insert(0, Layer::Made { files: Arc::new(files), of: of.to_owned() });
        self
    }

    /// The checkpoint's own, without those before them.
    pub(crate) fn own(&self) -> Self {
        Self { layers: self.layers.last().cloned().into_iter().collect() }
    }

    /// Whether a file of this name, or a folder, is the checkpoint's own or nowhere, and not of what stands before.
    pub(crate) fn is_own(&self, name: &str) -> bool {
        self.layers.iter().rev().skip(1).all(|layer| !layer.has(name))
    }

    /// Whether there is a file of this name.
    pub(crate) fn is_file(&self, name: &str) -> bool {
        self.layers.iter().any(|layer| match layer {
            Layer::Made { files, .. } => files.contains_key(name),
            _ => layer.path(name).is_some_and(|path| path.is_file()),
        })
    }
}

impl NamedFiles for Beside {
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        for layer in &self.layers {
            let found = match layer {
                Layer::Made { files, .. } => files.get(name).map(Made::bytes),
                _ => match layer.path(name) {
                    Some(path) => safe_files::read_if_present(&path, limit)?,
                    None => None,
                },
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn has(&self, name: &str) -> bool {
        self.layers.iter().any(|layer| layer.has(name))
    }

    fn place(&self, name: &str) -> PathBuf {
        let there = self.layers.iter().find(|layer| layer.has(name)).or(self.layers.last());
        match there {
            Some(Layer::Made { of, .. }) => format!("{} ({name})", of.display()).into(),
            Some(layer) => layer.path(name).unwrap_or_else(|| name.into()),
            None => name.into(),
        }
    }
}

impl Layer {
    fn path(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder.join(name)),
            Self::Component { name: component, folder } => {
                let rest = name.strip_prefix(component.as_str())?;
                Some(folder.join(rest.strip_prefix('/')?))
            }
            Self::Made { .. } => None,
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::Made { files, .. } => {
                files.contains_key(name) || files.keys().any(|file| file.starts_with(&format!("{name}/")))
            }
            _ => self.path(name).is_some_and(|path| path.exists()),
        }
    }
}

impl Made {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Json(value) => format!("{value:#}\n").into_bytes(),
            Self::Tokenizer(name, padding) => clip_tokenizer::file(name, *padding).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_before_what_is_made_and_one_component_before_both() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("unet")).unwrap();
        std::fs::write(dir.path().join("unet/config.json"), "folder").unwrap();
        std::fs::write(dir.path().join("config.json"), "component").unwrap();
        let files = ["unet/config.json", "vae/config.json"].map(|name| (name.to_owned(), Made::Json("made".into())));
        let made = Beside::made(files.into_iter().collect(), Path::new("x.safetensors"));
        let read = |beside: &Beside, name: &str| beside.read(name, 99).unwrap().map(|b| String::from_utf8(b).unwrap());
        let over = made.clone().over(dir.path());
        assert_eq!(read(&over, "unet/config.json").as_deref(), Some("folder"));
        assert_eq!(read(&over, "vae/config.json").as_deref(), Some("\"made\"\n"));
        assert_eq!(read(&over, "scheduler/scheduler_config.json"), None);
        let component = made.over_component("vae", dir.path());
        assert_eq!(read(&component, "vae/config.json").as_deref(), Some("component"));
        assert_eq!(read(&component, "unet/config.json").as_deref(), Some("\"made\"\n"));
        assert_eq!(component.place("vae/config.json"), dir.path().join("config.json"));
        assert_eq!(component.place("unet/config.json"), Path::new("x.safetensors (unet/config.json)"));
        assert!(over.has("vae") && !over.has("tokenizer"));
        assert!(over.own().read("unet/config.json", 99).unwrap().is_some_and(|bytes| bytes == b"\"made\"\n"));
    }
}
