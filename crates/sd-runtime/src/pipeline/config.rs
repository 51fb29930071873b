//! The small files of a checkpoint that shape a pipeline: tokenizer, scheduler, VAE scale, CLIP preprocessing.

use std::path::Path;

use safe_files::{Below, Folder, NamedFiles};
use sd_spec::Family;
use serde_json::{Map, Value};

use crate::autoencoder::VaeConfig;
use crate::config::ConfigWarning;
use crate::error::Result;
use crate::json;
use crate::safety::PreprocessorConfig;
use crate::scheduler::SchedulerConfig;
use crate::tokenizer::{ClipTokenizer, T5Tokenizer};

/// Cap on each configuration file.
const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Everything about a pipeline that is not a model.
#[derive(Debug)]
pub struct PipelineConfig {
    /// Whose models they are, which decides how prompts are read.
    pub family: Family,
    /// Text to ids, one for each CLIP text encoder of the family, in their order; never empty.
    pub tokenizers: Vec<ClipTokenizer>,
    /// Text to ids for T5, where the family has it and its files are there.
    pub t5: Option<T5Tokenizer>,
    /// The noise schedule and the scheduler that the checkpoint names.
    pub scheduler: SchedulerConfig,
    /// How latents are scaled.
    pub vae: VaeConfig,
    /// How the safety checker's picture is prepared.
    pub preprocessor: PreprocessorConfig,
}

impl PipelineConfig {
    /// Reads a directory in diffusers layout: `tokenizer/`, `scheduler/scheduler_config.json`, `vae/config.json`, `feature_extractor/preprocessor_config.json`.
    ///
    /// A directory of packages may hold the tokenizer's files at its top instead; other files that are missing mean Stable Diffusion 1.x's own settings.
    ///
    /// # Errors
    /// As [`ClipTokenizer::from_dir`] and [`SchedulerConfig::from_json`]; [`RuntimeError::Json`](crate::RuntimeError::Json) for other files that do not parse.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        Self::from_files(&Folder(dir))
    }

    /// As [`from_dir`](Self::from_dir), from files that need not lie in a directory.
    ///
    /// # Errors
    /// As [`from_dir`](Self::from_dir).
    pub fn from_files(files: &dyn NamedFiles) -> Result<Self> {
        let folder = Below { files, folder: "tokenizer" };
        let tokenizer: &dyn NamedFiles = if folder.has("") { &folder } else { files };
        Self::with_tokenizer(ClipTokenizer::from_files(tokenizer)?, files)
    }

    /// As [`from_files`](Self::from_files), with the tokenizer of another directory; the checkpoint's own is not read.
    ///
    /// # Errors
    /// As [`from_dir`](Self::from_dir).
    pub fn with_tokenizer_from(tokenizer: &Path, files: &dyn NamedFiles) -> Result<Self> {
        Self::with_tokenizer(ClipTokenizer::from_dir(tokenizer)?, files)
    }

    fn with_tokenizer(tokenizer: ClipTokenizer, files: &dyn NamedFiles) -> Result<Self> {
        let scheduler = match files.read_text("scheduler/scheduler_config.json", MAX_CONFIG_BYTES)? {
            Some(text) => SchedulerConfig::from_json(&text)?.for_latents(),
            None => SchedulerConfig::stable_diffusion(),
        };
        let vae = match read_object(files, "vae/config.json")? {
            Some((what, object)) => json::from_object(&what, &object)?,
            None => VaeConfig::default(),
        };
        vae.check()?;
        let preprocessor = match read_object(files, "feature_extractor/preprocessor_config.json")? {
            Some((_, object)) => PreprocessorConfig::from_object(&object)?,
            None => PreprocessorConfig::default(),
        };
        Ok(Self { family: Family::Sd, tokenizers: vec![tokenizer], t5: None, scheduler, vae, preprocessor })
    }

    /// The same with the models of another family.
    #[must_use]
    pub fn of_family(self, family: Family) -> Self {
        Self { family, ..self }
    }

    /// The tokenizer of a text encoder of CLIP, from 0; the last, where there are fewer.
    pub(crate) fn clip_tokenizer(&self, idx: usize) -> &ClipTokenizer {
        self.tokenizers.get(idx).or(self.tokenizers.last()).unwrap_or_else(|| self.tokenizer())
    }

    /// The tokenizer of the first text encoder.
    ///
    /// # Panics
    /// Where somebody emptied the list.
    #[must_use]
    pub fn tokenizer(&self) -> &ClipTokenizer {
        self.tokenizers.first().expect("invariant: a pipeline has a tokenizer")
    }

    /// What the user should know of the files that it came from.
    pub fn warnings(&self) -> impl Iterator<Item = &ConfigWarning> {
        self.tokenizers
            .iter()
            .flat_map(ClipTokenizer::warnings)
            .chain(&self.scheduler.warnings)
            .chain(&self.preprocessor.warnings)
    }
}

fn read_object(files: &dyn NamedFiles, name: &str) -> Result<Option<(String, Map<String, Value>)>> {
    let Some(text) = files.read_text(name, MAX_CONFIG_BYTES)? else { return Ok(None) };
    let what = files.place(name).display().to_string();
    let object = json::parse(&what, &text)?;
    Ok(Some((what, object)))
}
