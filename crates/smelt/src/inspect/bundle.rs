//! What a folder of packages says of its model.

use std::path::Path;

use serde::Serialize;

use super::hashes::HashFacts;
use super::programs::ProgramFacts;
use crate::error::Result;
use crate::model_dir::{family_of, folder, packages};
use crate::settings::{Settings, WordFacts};

/// A folder of packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleFacts {
    /// The folder.
    pub path: String,
    /// Name of the model, if the folder says it.
    pub model: Option<String>,
    /// What its denoiser predicts, as diffusers spells it.
    pub prediction: Option<String>,
    /// Whose autoencoder it has, where that is not the checkpoint's own.
    pub vae_of: Option<String>,
    /// LoRAs that are in its weights: `name:weight[:text-weight]`.
    pub loras: Vec<String>,
    /// New words that prompts may have.
    pub words: Vec<WordFacts>,
    /// Names of the packages.
    pub packages: Vec<String>,
    /// The files that its weights came from.
    pub sources: Vec<HashFacts>,
    /// Whether programs for Apple's systems would find what they need.
    pub programs: Vec<ProgramFacts>,
}

impl BundleFacts {
    /// Looks at a folder; none where it holds no packages.
    ///
    /// # Errors
    /// When it, or its `smelt.json`, cannot be read.
    pub fn of(dir: &Path) -> Result<Option<Self>> {
        let Some(dir) = &folder(dir)? else { return Ok(None) };
        let packages = packages(dir)?;
        let names = packages.iter().filter_map(|path| path.file_name());
        let mut facts = Self {
            path: dir.display().to_string(),
            model: None,
            prediction: None,
            vae_of: None,
            loras: Vec::new(),
            words: Vec::new(),
            packages: names.map(|name| name.to_string_lossy().into_owned()).collect(),
            sources: Vec::new(),
            programs: ProgramFacts::of_folder(dir, family_of(&packages)?),
        };
        if let Some(settings) = Settings::read(dir)? {
            facts.model = Some(settings.model_version);
            facts.prediction = settings.prediction_type;
            facts.vae_of = settings.vae_of;
            facts.loras = settings.loras.iter().map(ToString::to_string).collect();
            facts.words = settings.words;
            facts.sources = HashFacts::of(&settings.sources);
        }
        Ok(Some(facts))
    }
}
