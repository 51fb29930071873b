//! The small files of a checkpoint that shape a pipeline: tokenizer, scheduler, VAE scale, CLIP preprocessing.

mod tokenizers;

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

/// Key of `model_index.json` that says whether zeros stand for a missing negative prompt.
const FORCE_ZEROS: &str = "force_zeros_for_empty_prompt";

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
    /// How latents are scaled for the decoder, where that is another autoencoder's.
    pub decoder: Option<VaeConfig>,
    /// How the safety checker's picture is prepared.
    pub preprocessor: PreprocessorConfig,
    /// Whether zeros stand for a negative prompt that is not given, in the place of an empty text's embeddings: of
    /// Stable Diffusion XL (`force_zeros_for_empty_prompt`).
    pub zeros_without_negative: bool,
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
        Self::of_family(Family::Sd, files, None)
    }

    /// As [`from_files`](Self::from_files), for the models of any family; its CLIP tokenizers may be in another directory,
    /// and the checkpoint's own are not read then.
    ///
    /// # Errors
    /// As [`from_dir`](Self::from_dir).
    pub fn of_family(family: Family, files: &dyn NamedFiles, tokenizer: Option<&Path>) -> Result<Self> {
        let tokenizers = Self::tokenizers_of(family, files, tokenizer)?;
        let scheduler = match files.read_text("scheduler/scheduler_config.json", MAX_CONFIG_BYTES)? {
            Some(text) => SchedulerConfig::from_json(&text)?.for_latents(),
            None => SchedulerConfig::stable_diffusion(),
        };
        let vae = match read_object(files, "vae/config.json")? {
            Some((what, object)) => json::from_object(&what, &object)?,
            None => VaeConfig::of_family(family),
        };
        vae.check()?;
        let preprocessor = match read_object(files, "feature_extractor/preprocessor_config.json")? {
            Some((_, object)) => PreprocessorConfig::from_object(&object)?,
            None => PreprocessorConfig::default(),
        };
        let zeros_without_negative = match read_object(files, "model_index.json")? {
            // diffusers' default for both pipelines of XL.
            Some((_, index)) => index.get(FORCE_ZEROS).and_then(Value::as_bool).unwrap_or(true),
            None => Self::zeros_of_family(family),
        };
        let third = Below { files, folder: "tokenizer_3" };
        let has_t5 = family.spec().tokenizers.contains(&third.folder) && third.has("");
        let t5 = has_t5.then(|| T5Tokenizer::from_files(&third)).transpose()?;
        Ok(Self { family, tokenizers, t5, scheduler, vae, decoder: None, preprocessor, zeros_without_negative })
    }

    /// The tokenizers of a family's CLIP text encoders, in their order, from a checkpoint or from what stands beside
    /// packages: `tokenizer/` or the files at the top, and `tokenizer_2/`, whose files follow from the first one's where
    /// they are missing. A directory that is given stands for all of them.
    ///
    /// # Errors
    /// As [`ClipTokenizer::from_dir`].
    pub fn tokenizers_of(
        family: Family,
        files: &dyn NamedFiles,
        tokenizer: Option<&Path>,
    ) -> Result<Vec<ClipTokenizer>> {
        tokenizers::of_family(family, files, tokenizer)
    }

    /// [`zeros_without_negative`](Self::zeros_without_negative) where no file says it: of XL itself, and not of its refiner.
    #[must_use]
    pub fn zeros_of_family(family: Family) -> bool {
        family == Family::Sdxl
    }

    /// The tokenizer of the text encoder of that number; the first one's where it has none of its own.
    pub(crate) fn tokenizer_of(&self, idx: usize) -> &ClipTokenizer {
        self.tokenizers.get(idx).unwrap_or_else(|| self.tokenizer())
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
        let mut tokenizers = self.tokenizers.iter().map(ClipTokenizer::warnings);
        let first = tokenizers.next().unwrap_or_default();
        // Files of several tokenizers are alike, and what is said of them once is enough.
        let others = tokenizers.flatten().filter(|warning| !first.contains(warning));
        first.iter().chain(others).chain(&self.scheduler.warnings).chain(&self.preprocessor.warnings)
    }
}

fn read_object(files: &dyn NamedFiles, name: &str) -> Result<Option<(String, Map<String, Value>)>> {
    let Some(text) = files.read_text(name, MAX_CONFIG_BYTES)? else { return Ok(None) };
    let what = files.place(name).display().to_string();
    let object = json::parse(&what, &text)?;
    Ok(Some((what, object)))
}
