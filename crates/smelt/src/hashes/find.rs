//! Where the files are that packages were made of.

use std::path::{Path, PathBuf};

use sd_checkpoint::hub::{self, Cache};

use super::{Hashing, SourceFile, SourcePart};
use crate::error::{Result, refuse};
use crate::open::Source;
use crate::settings::Settings;

/// Folders of a checkpoint in which a VAE's file lies.
const VAE_FOLDER: &str = "vae";

/// Files and folders in which they are looked for.
pub(super) struct Places {
    given: Vec<PathBuf>,
    /// Where the Hub's cache has the model, if it is called so.
    hub: Option<PathBuf>,
}

impl Places {
    /// Refuses sources that hold none of the files, or others under their names.
    pub(super) fn new(settings: &Settings, hashing: &Hashing) -> Result<Self> {
        let mut given = Vec::new();
        for source in &hashing.sources {
            let path = hub::resolve(&Cache::standard().locate(source)?)?;
            let found: Vec<(&SourceFile, PathBuf)> =
                settings.sources.iter().filter_map(|file| Some((file, named_in(&path, file)?))).collect();
            if found.is_empty() {
                let names: Vec<&str> = settings.sources.iter().map(|file| file.file.as_str()).collect();
                refuse!("--source {source} holds none of the files that smelt.json names: {}", names.join(", "));
            }
            if let Some((file, other)) = found.iter().find(|(file, path)| length(path) != Some(file.bytes)) {
                refuse!(
                    "{} has {} bytes, and the one that the packages were made of {}: it is another file",
                    other.display(),
                    length(other).unwrap_or_default(),
                    file.bytes
                );
            }
            given.push(path);
        }
        let of_hub = format!("hf:{}", settings.model_version).parse::<Source>().ok();
        let hub = of_hub.and_then(|source| Cache::standard().locate(&source).ok());
        Ok(Self { given, hub })
    }

    /// The file with this name and length.
    pub(super) fn find(&self, file: &SourceFile) -> Option<PathBuf> {
        let found = self.given.iter().chain(&self.hub).filter_map(|place| named_in(place, file));
        found.into_iter().find(|path| length(path) == Some(file.bytes))
    }
}

fn length(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|facts| facts.len())
}

/// The file with this name in a folder, or the one that it is.
fn named_in(place: &Path, file: &SourceFile) -> Option<PathBuf> {
    if place.is_file() {
        return place.file_name().is_some_and(|name| name == file.file.as_str()).then(|| place.to_owned());
    }
    let below = place.join(&file.file);
    let in_vae = (file.part == SourcePart::Vae).then(|| place.join(VAE_FOLDER).join(&file.file));
    std::iter::once(below).chain(in_vae).find(|path| path.is_file())
}
