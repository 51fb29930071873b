//! `smelt.json`: what the models of a folder do not say of themselves.
//!
//! A conversion writes the same bytes for the same checkpoint, wherever that lies: files are named by what they are called
//! in it and by their length, never by a path or a time, and have no hashes yet. Whoever asks for these adds them
//! ([`Settings::keep`]); a conversion into the same folder leaves them out again, because its files may be others of the same
//! names and lengths.

use std::path::{Component, Path};

use safe_files::Outputs;
use sd_checkpoint::{Applied, Checkpoint, Word};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Context, Result, refuse};
use crate::file::json_if_present;
use crate::recommended::Recommended;
use crate::source_file::SourceFile;
use crate::watch::{Watch, write_file};

/// File of the settings.
pub(crate) const SETTINGS_FILE: &str = "smelt.json";
/// Cap on it; with every file of a sharded checkpoint it has some KiB.
const MAX_BYTES: u64 = 64 << 20;
/// Version of its form.
const FORMAT: u32 = 1;

/// What the models of a checkpoint do not say of themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Version of this form.
    format: u32,
    /// Name of the model.
    pub(crate) model_version: String,
    /// What the UNet predicts, as diffusers spells it.
    pub(crate) prediction_type: Option<String>,
    /// `scaling_factor` and `shift_factor` of the autoencoder.
    #[serde(default)]
    pub(crate) vae: Map<String, Value>,
    /// The checkpoint's `preprocessor_config.json`, for the safety checker.
    #[serde(default)]
    pub(crate) feature_extractor: Option<Value>,
    /// Whose autoencoder it is, where it is not the checkpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vae_of: Option<String>,
    /// Whether zeros stand for a negative prompt that is not given, where the family is one that can have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) force_zeros_for_empty_prompt: Option<bool>,
    /// LoRAs that are in the weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) loras: Vec<Applied>,
    /// New words that are in the text encoders and the tokenizer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) words: Vec<WordFacts>,
    /// The files that the weights came from, whichever networks were converted of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sources: Vec<SourceFile>,
    /// What suits the model, where somebody says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recommended: Option<Recommended>,
}

/// A new word of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordFacts {
    /// The word, as prompts have it.
    pub word: String,
    /// How many vectors it stands for, each of which takes the place of a token.
    pub vectors: usize,
}

impl From<&Word> for WordFacts {
    fn from(word: &Word) -> Self {
        Self { word: word.word.clone(), vectors: word.vectors }
    }
}

impl Settings {
    /// Those of a checkpoint, with what is read from its files.
    pub(crate) fn of(
        checkpoint: &Checkpoint,
        model_version: &str,
        prediction_type: Option<String>,
        vae: Map<String, Value>,
        feature_extractor: Option<Value>,
        recommended: Option<Recommended>,
    ) -> Self {
        Self {
            format: FORMAT,
            model_version: model_version.to_owned(),
            prediction_type,
            vae,
            feature_extractor,
            vae_of: checkpoint.vae_name().map(str::to_owned),
            force_zeros_for_empty_prompt: None,
            loras: checkpoint.applied(),
            words: checkpoint.words().iter().map(WordFacts::from).collect(),
            sources: checkpoint.sources().into_iter().map(SourceFile::of).collect(),
            recommended,
        }
    }

    /// Reads those of a folder, if it has any.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(SETTINGS_FILE);
        let Some(bytes) = safe_files::read_if_present(&path, MAX_BYTES)? else { return Ok(None) };
        let settings: Self = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
        if settings.format != FORMAT {
            refuse!("{} has format {}; this version of smelt reads {FORMAT}", path.display(), settings.format);
        }
        let is_inside = |name: &str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if let Some(outside) = settings.sources.iter().map(|source| &source.file).find(|name| !is_inside(name)) {
            refuse!("{}: {outside:?} is not the name of a file", path.display());
        }
        Ok(Some(settings))
    }

    /// Whether these say the same of the model; the files that it came from may be others that hold the same, and may
    /// have hashes.
    pub(crate) fn is_same_model(&self, other: &Self) -> bool {
        Self { sources: Vec::new(), ..self.clone() } == Self { sources: Vec::new(), ..other.clone() }
    }

    /// Puts these files, with their hashes, into the place of those that a folder's settings name; all else stays.
    pub(crate) fn keep(dir: &Path, sources: &[SourceFile], watch: &mut dyn Watch) -> Result<()> {
        let path = dir.join(SETTINGS_FILE);
        let mut json: Map<String, Value> = serde_json::from_slice(&safe_files::read(&path, MAX_BYTES)?)?;
        json.insert("sources".to_owned(), serde_json::to_value(sources)?);
        let mut bytes = serde_json::to_vec_pretty(&json)?;
        bytes.push(b'\n');
        let file = Outputs::new().file("the hashes", &path)?;
        write_file(&file, watch, |out| Ok(out.write_all(&bytes)?))
    }
}

/// What stands beside a checkpoint, which its author may have written there.
pub(crate) fn recommended(checkpoint: &Checkpoint) -> Result<Option<Recommended>> {
    let Some(json) = json_if_present(checkpoint, SETTINGS_FILE)? else { return Ok(None) };
    match &json["recommended"] {
        Value::Null => Ok(None),
        own => Ok(serde_json::from_value(own.clone()).context("smelt.json: recommended")?),
    }
}
