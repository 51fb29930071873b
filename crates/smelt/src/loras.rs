//! LoRAs that a checkpoint is opened with.

use std::path::PathBuf;

use sd_checkpoint::lora::{Fitting, Lora};
use sd_checkpoint::{Applied, Checkpoint, Source};

use crate::error::{Result, refusal};
pub use sd_checkpoint::lora::{Asked as LoraAsked, Strength};

/// LoRAs, and what becomes of what does not fit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loras {
    /// The files, names, or references to the Hub, in the order in which they are added.
    pub asked: Vec<LoraAsked>,
    /// Where names are looked up.
    pub folder: Option<PathBuf>,
    /// Leave out tensors that fit nothing in the checkpoint, with a warning; else they are an error.
    pub allow_unapplied: bool,
}

impl Loras {
    /// The checkpoint with all of them added to its weights.
    ///
    /// # Errors
    /// For files that are not there, are no LoRAs or do not fit.
    pub(crate) fn apply(&self, checkpoint: Checkpoint) -> Result<Checkpoint> {
        if self.asked.is_empty() {
            return Ok(checkpoint);
        }
        let fitted: Vec<_> = {
            let fitting = Fitting::new(&checkpoint)?;
            let fit = |asked: &LoraAsked| -> Result<_> {
                // A name without a folder may be a prompt's.
                let is_name = self.folder.is_none() && asked.file.extension().is_none();
                let hint = if is_name { "; names of LoRAs are looked up in --lora-dir DIR" } else { "" };
                let refuse = |what: String| refusal!("--lora: {what}{hint}");
                let lora = Lora::open(&asked.find(self.folder.as_deref()).map_err(refuse)?)?;
                let fitted = fitting.fit(&lora, asked.strength)?;
                if !self.allow_unapplied {
                    fitting.refuse_unapplied(&lora, &fitted)?;
                }
                Ok(fitted)
            };
            self.asked.iter().map(fit).collect::<Result<_>>()?
        };
        Ok(fitted.into_iter().fold(checkpoint, Checkpoint::with))
    }

    /// Those of the Hub.
    pub(crate) fn of_hub(&self) -> impl Iterator<Item = Source> {
        self.asked.iter().filter_map(LoraAsked::hub)
    }

    /// The options that are given, as they are typed.
    pub(crate) fn typed(&self) -> Vec<String> {
        let mut words: Vec<String> =
            self.asked.iter().flat_map(|asked| ["--lora".to_owned(), asked.to_string()]).collect();
        if let Some(folder) = &self.folder {
            words.extend(["--lora-dir".to_owned(), folder.display().to_string()]);
        }
        words.extend(self.allow_unapplied.then(|| "--allow-unapplied".to_owned()));
        words
    }
}

/// A model's name with the LoRAs that are in it.
pub(crate) fn named(model: &str, loras: &[Applied]) -> String {
    loras.iter().fold(model.to_owned(), |name, lora| format!("{name} + {lora}"))
}
