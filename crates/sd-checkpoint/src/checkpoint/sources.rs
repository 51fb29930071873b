//! The files that a checkpoint's weights are read from: which they are, and how long. Nothing of them is read here.

use std::path::{Path, PathBuf};

use sd_spec::Role;
use serde::{Deserialize, Serialize};

use super::{Checkpoint, Stored};
use crate::Variant;

/// What a file is to the checkpoint that has weights of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourcePart {
    /// The checkpoint itself, or a network of it.
    Checkpoint,
    /// The autoencoder in the place of its own.
    Vae,
    /// A LoRA that is added to its weights.
    Lora,
    /// New words.
    Embedding,
}

impl SourcePart {
    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Vae => "vae",
            Self::Lora => "lora",
            Self::Embedding => "embedding",
        }
    }
}

/// A file that weights are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightFile {
    /// What it is.
    pub part: SourcePart,
    /// Its name; within a checkpoint that is a folder, its path there (`unet/diffusion_pytorch_model.safetensors`).
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

impl WeightFile {
    fn new(part: SourcePart, name: String, path: PathBuf) -> Option<Self> {
        let facts = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Self { part, name, path, bytes: facts.len() })
    }

    /// A file that is called by its name alone.
    fn alone(part: SourcePart, path: &Path) -> Option<Self> {
        Self::new(part, file_name(path), path.to_owned())
    }
}

impl Checkpoint {
    /// The files that its weights are read from, each once: those of its own networks in the order of [`Role::ALL`], then the
    /// autoencoder's, LoRAs' and embeddings'. A network whose files are not there, or do not say which is meant, has none
    /// here; whoever reads its weights is told why.
    #[must_use]
    pub fn sources(&self) -> Vec<WeightFile> {
        let mut found = self.own_sources();
        let vae = self.vae.iter().flat_map(|vae| vae.files());
        found.extend(vae.filter_map(|path| WeightFile::alone(SourcePart::Vae, &path)));
        let loras = self.adapters.iter().filter_map(|adapter| adapter.file());
        found.extend(loras.filter_map(|path| WeightFile::alone(SourcePart::Lora, path)));
        let words = self.words.iter().map(|word| word.file.as_path());
        found.extend(words.filter_map(|path| WeightFile::alone(SourcePart::Embedding, path)));
        let mut each: Vec<WeightFile> = Vec::with_capacity(found.len());
        for file in found {
            if !each.contains(&file) {
                each.push(file);
            }
        }
        each
    }

    fn own_sources(&self) -> Vec<WeightFile> {
        let part = SourcePart::Checkpoint;
        if !matches!(self.stored, Stored::Folder) {
            return WeightFile::alone(part, &self.root).into_iter().collect();
        }
        let (mut folders, mut found) = (Vec::new(), Vec::new());
        for role in Role::ALL.into_iter().filter(|&role| self.given_vae(role).is_none() && self.has(role)) {
            let folder = self.folder(role);
            if folders.contains(&folder) {
                continue;
            }
            let files =
                Variant::choose(&folder, self.variant.as_deref()).map_or_else(|_| Vec::new(), |(_, files)| files);
            let name = |path: &Path| match self.alone {
                Some(_) => file_name(path),
                None => format!("{}/{}", role.spec().folder, file_name(path)),
            };
            found.extend(files.into_iter().filter_map(|path| WeightFile::new(part, name(&path), path)));
            folders.push(folder);
        }
        found
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reading, Source, place::Wanted};

    fn names(checkpoint: &Checkpoint) -> Vec<(SourcePart, String)> {
        checkpoint.sources().into_iter().map(|file| (file.part, file.name)).collect()
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        dir
    }

    #[test]
    fn networks_of_a_folder_have_the_files_that_are_read() {
        let index = r#"{"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors"}}"#;
        let dir = folder(&[
            ("unet/config.json", "{}"),
            ("unet/diffusion_pytorch_model.safetensors", "12345"),
            ("unet/diffusion_pytorch_model.fp16.safetensors", "123"),
            ("text_encoder/config.json", "{}"),
            ("text_encoder/model.safetensors.index.json", index),
            ("text_encoder/model-1.safetensors", "1"),
            ("text_encoder/model-2.safetensors", "22"),
            ("vae/config.json", "{}"),
        ]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let of = |name: &str| (SourcePart::Checkpoint, name.to_owned());
        let expected = [
            of("text_encoder/model-1.safetensors"),
            of("text_encoder/model-2.safetensors"),
            of("unet/diffusion_pytorch_model.safetensors"),
        ];
        let mut found = names(&checkpoint);
        found.sort_by(|a, b| a.1.cmp(&b.1));
        assert_eq!(found, expected);
        let half = checkpoint.with_variant(Some("fp16".to_owned()));
        let unet = half.sources().into_iter().find(|file| file.name.starts_with("unet/")).unwrap();
        assert_eq!((unet.name.as_str(), unet.bytes), ("unet/diffusion_pytorch_model.fp16.safetensors", 3));
        assert_eq!(std::fs::read(&unet.path).unwrap(), b"123");
    }

    #[test]
    fn a_vae_in_the_place_of_the_own_one_is_named_instead_of_it() {
        let source = Source::from(testkit::demo());
        let checkpoint = Checkpoint::open_with(source, Wanted::Checkpoint, &Reading::default()).unwrap();
        assert!(
            names(&checkpoint).contains(&(SourcePart::Checkpoint, "vae/diffusion_pytorch_model.safetensors".into()))
        );
        let other = checkpoint.with_vae(&Source::from(testkit::demo().join("vae"))).unwrap();
        let of_vae: Vec<_> = names(&other).into_iter().filter(|(_, name)| !name.starts_with("unet")).collect();
        let expected = [
            (SourcePart::Checkpoint, "text_encoder/model.safetensors".to_owned()),
            (SourcePart::Vae, "diffusion_pytorch_model.safetensors".to_owned()),
        ];
        assert_eq!(of_vae, expected);
    }
}
