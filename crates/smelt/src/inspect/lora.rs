//! What a LoRA file is, as data.

use std::path::{Path, PathBuf};

use sd_checkpoint::Lora;
use sd_checkpoint::lora::{Fitting, LoraFacts, Strength};
use serde::Serialize;

use super::hashes::HashFacts;
use crate::error::{Result, refuse};
use crate::hashes::{Hashing, SourcePart};
use crate::open::{Model, Opened};
use crate::watch::Watch;

/// A LoRA file, and how it fits a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoraFile {
    /// The file.
    pub path: String,
    /// What it is.
    #[serde(flatten)]
    pub facts: LoraFacts,
    /// How it fits the checkpoint that was given.
    pub fit: Option<LoraFit>,
    /// Its hashes, where somebody asked for these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<HashFacts>,
    #[serde(skip)]
    place: PathBuf,
}

/// How a LoRA fits a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoraFit {
    /// The checkpoint.
    pub checkpoint: String,
    /// Number of the checkpoint's tensors that it changes.
    pub n_changed: usize,
    /// Tensors that fit nothing there.
    pub unapplied: Vec<String>,
}

impl LoraFile {
    /// Whether a file is a LoRA.
    #[must_use]
    pub fn is_one(path: &Path) -> bool {
        Lora::is_one(path)
    }

    /// Looks at a LoRA, and at how it fits a checkpoint.
    ///
    /// # Errors
    /// When it cannot be read, or a module of it has another shape than the checkpoint's.
    pub fn of(path: &Path, against: Option<&Opened>) -> Result<Self> {
        let lora = Lora::open(path)?;
        let fit = |opened: &Opened| -> Result<LoraFit> {
            let Model::Checkpoint(checkpoint) = opened.model() else {
                refuse!("{} holds packages; a LoRA is compared with a checkpoint", opened.root().display())
            };
            let fitted = Fitting::new(checkpoint)?.fit(&lora, Strength::default())?;
            let (n_changed, unapplied) = (fitted.n_changed(), fitted.unapplied().to_vec());
            Ok(LoraFit { checkpoint: checkpoint.root().display().to_string(), n_changed, unapplied })
        };
        let fit = against.map(fit).transpose()?;
        let place = lora.path().to_owned();
        Ok(Self { path: place.display().to_string(), facts: lora.facts(), fit, hashes: Vec::new(), place })
    }

    /// Adds its hashes.
    ///
    /// # Errors
    /// As [`Hashing::file`].
    pub fn add_hashes(&mut self, hashing: &Hashing, watch: &mut dyn Watch) -> Result<()> {
        self.hashes = HashFacts::of(&[hashing.file(&self.place, SourcePart::Lora, watch)?]);
        Ok(())
    }
}
