//! What of a checkpoint generate will not take, for convert, which makes packages of it all the same, and for generate,
//! before it begins.

use safe_files::NamedFiles;
use sd_runtime::pipeline::{PreprocessorConfig, Takes};
use sd_runtime::scheduler::{SchedulerConfig, SchedulerKind};
use sd_runtime::tokenizer::ClipTokenizer;
use sd_spec::Family;
use serde_json::Value;

use crate::error::{Context, Result};
use crate::file::json_if_present;

/// What a checkpoint's UNet is that generate cannot draw with, if it is such a one.
pub(crate) fn other_unet(files: &dyn NamedFiles) -> Result<Option<String>> {
    Ok(unet_channels(files)?.and_then(|[unet, latents]| sd_runtime::pipeline::other_unet(unet, latents)))
}

/// What a checkpoint's UNet takes, as far as its files say.
pub(crate) fn takes(files: &dyn NamedFiles) -> Result<Option<Takes>> {
    Ok(unet_channels(files)?.and_then(|[unet, latents]| Takes::of(unet, latents)))
}

/// Channels that the UNet takes, and those of latents.
fn unet_channels(files: &dyn NamedFiles) -> Result<Option<[usize; 2]>> {
    /// Defaults of diffusers 0.42, for both networks.
    const CHANNELS: u64 = 4;
    let channels = |file: &str, key: &str| -> Result<Option<u64>> {
        let config = json_if_present(files, file)?;
        Ok(config.map(|config| config[key].as_u64().unwrap_or(CHANNELS)))
    };
    let Some(unet) = channels("unet/config.json", "in_channels")? else { return Ok(None) };
    let latents = channels("vae/config.json", "latent_channels")?.unwrap_or(CHANNELS);
    Ok(Some([unet, latents].map(|n| usize::try_from(n).unwrap_or(usize::MAX))))
}

/// What is wrong when a tokenizer has ids that its text encoder of a checkpoint has no embeddings for.
pub(crate) fn ids_beyond(files: &dyn NamedFiles, family: Family, tokenizers: &[ClipTokenizer]) -> Result<Vec<String>> {
    let mut said = Vec::new();
    for (folder, tokenizer) in family.spec().tokenizers.iter().zip(tokenizers) {
        let encoder = folder.replace("tokenizer", "text_encoder");
        let config = json_if_present(files, &format!("{encoder}/config.json"))?;
        let Some(n_tokens) = config.and_then(|config| config["vocab_size"].as_u64()) else { continue };
        let last = tokenizer.largest_id();
        let is_padding = if u64::from(tokenizer.pad_id()) < n_tokens { "" } else { ", which padding is one of" };
        if u64::from(last) >= n_tokens {
            said.push(format!(
                "the {} has ids up to {last}, and the {} embeddings for {n_tokens} only: prompts with the tokens \
                 beyond{is_padding} will fail; take both from one checkpoint",
                in_words(folder),
                in_words(&encoder)
            ));
        }
    }
    Ok(said)
}

/// A folder's name as words: "second text encoder".
fn in_words(folder: &str) -> String {
    let (name, which) = folder.strip_suffix("_2").map_or((folder, ""), |name| (name, "second "));
    format!("{which}{}", name.replace('_', " "))
}

/// What is said when generate will not draw with the scheduler that the file names.
pub(crate) fn scheduler(config: &SchedulerConfig) -> Option<String> {
    /// Any number of steps that every scheduler has.
    const STEPS: usize = 2;
    let error = config.build(None, STEPS).err()?;
    let mut kinds = SchedulerKind::ALL.into_iter();
    Some(match kinds.find(|&kind| config.build(Some(kind), STEPS).is_ok()) {
        Some(_) => format!("generate will need --scheduler NAME with these packages: {error}"),
        None => format!("generate cannot draw with this scheduler: {error}"),
    })
}

/// What of the safety checker's preprocessing is unknown, or not implemented.
pub(crate) fn feature_extractor(files: &dyn NamedFiles, json: &Value) -> Vec<String> {
    let refused = |error: crate::Error| format!("generate will need --no-safety-check: {error}");
    let has_checker = files.has("safety_checker");
    match preprocessor(json) {
        Err(error) => vec![refused(error)],
        Ok(config) => {
            let refusal = config.check_supported().err().filter(|_| has_checker);
            let warnings = config.warnings.iter().map(ToString::to_string);
            warnings.chain(refusal.map(|error| refused(error.into()))).collect()
        }
    }
}

/// Reads what a `preprocessor_config.json` says.
pub(crate) fn preprocessor(json: &Value) -> Result<PreprocessorConfig> {
    let object = json.as_object().context("preprocessor_config.json is not an object")?;
    Ok(PreprocessorConfig::from_object(object)?)
}
