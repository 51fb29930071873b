//! The small files of a checkpoint that shape a pipeline: tokenizer, scheduler, VAE scale, CLIP preprocessing.

use std::path::Path;

use safe_files::read_text_if_present;
use serde::Deserialize;

use crate::error::{Result, RuntimeError};
use crate::json;
use crate::scheduler::SchedulerConfig;
use crate::tokenizer::ClipTokenizer;

/// Cap on each configuration file.
const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Everything about a pipeline that is not a model.
#[derive(Debug)]
pub struct PipelineConfig {
    /// Text to ids.
    pub tokenizer: ClipTokenizer,
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
    /// As [`ClipTokenizer::from_dir`] and [`SchedulerConfig::from_json`]; [`RuntimeError::Json`] for other files that do not parse.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let folder = dir.join("tokenizer");
        let tokenizer = ClipTokenizer::from_dir(if folder.is_dir() { &folder } else { dir })?;
        let scheduler = match read_text_if_present(&dir.join("scheduler/scheduler_config.json"), MAX_CONFIG_BYTES)? {
            Some(text) => SchedulerConfig::from_json(&text)?.for_latents(),
            None => SchedulerConfig::stable_diffusion(),
        };
        let vae: VaeConfig = read_or_default(&dir.join("vae/config.json"))?;
        vae.check()?;
        let preprocessor: PreprocessorConfig =
            read_or_default(&dir.join("feature_extractor/preprocessor_config.json"))?;
        preprocessor.check()?;
        Ok(Self { tokenizer, scheduler, vae, preprocessor })
    }
}

fn read_or_default<T: serde::de::DeserializeOwned + Default>(path: &Path) -> Result<T> {
    match read_text_if_present(path, MAX_CONFIG_BYTES)? {
        Some(text) => json::parse(&path.display().to_string(), &text),
        None => Ok(T::default()),
    }
}

/// The part of the VAE's `config.json` that is not in the model.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(from = "VaeJson")]
pub struct VaeConfig {
    /// Latents of the UNet are the VAE's times this: 0.18215 for Stable Diffusion.
    pub scaling_factor: f32,
    /// Added after unscaling; 0 for Stable Diffusion.
    pub shift_factor: f32,
}

/// As written: either may be absent or null.
#[derive(Deserialize)]
struct VaeJson {
    scaling_factor: Option<f32>,
    shift_factor: Option<f32>,
}

impl From<VaeJson> for VaeConfig {
    fn from(json: VaeJson) -> Self {
        let default = Self::default();
        Self {
            scaling_factor: json.scaling_factor.unwrap_or(default.scaling_factor),
            shift_factor: json.shift_factor.unwrap_or(default.shift_factor),
        }
    }
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self { scaling_factor: 0.18215, shift_factor: 0.0 }
    }
}

impl VaeConfig {
    /// Checks values that came from a file.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for factors that cannot be undone.
    pub fn check(self) -> Result<()> {
        let fine = self.scaling_factor.is_finite() && self.scaling_factor != 0.0 && self.shift_factor.is_finite();
        match fine {
            true => Ok(()),
            false => Err(RuntimeError::Options(format!(
                "vae/config.json: scaling_factor {} with shift_factor {} cannot be undone",
                self.scaling_factor, self.shift_factor
            ))),
        }
    }
}

/// CLIP's image preprocessing (`preprocessor_config.json`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct PreprocessorConfig {
    /// Length of the shorter edge after resizing.
    pub size: EdgeSize,
    /// Size of the centre crop.
    pub crop_size: CropSize,
    /// Mean of each channel.
    pub image_mean: [f32; 3],
    /// Standard deviation of each channel.
    pub image_std: [f32; 3],
    /// What turns a byte into a value: 1/255.
    pub rescale_factor: f32,
}

impl Default for PreprocessorConfig {
    /// The values of openai/clip-vit-large-patch14.
    fn default() -> Self {
        Self {
            size: EdgeSize::Edge(224),
            crop_size: CropSize::Square(224),
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
            rescale_factor: 1.0 / 255.0,
        }
    }
}

/// The shorter edge, as old and new files write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum EdgeSize {
    /// Old files: the number alone.
    Edge(usize),
    /// New files: under its name.
    Named {
        /// Length in pixels.
        shortest_edge: usize,
    },
}

/// The crop, as old and new files write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum CropSize {
    /// Old files: one side of a square.
    Square(usize),
    /// New files: both sides.
    Sides {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

impl PreprocessorConfig {
    /// The shorter edge for a model input of that size: the file's own if it was written for that size, else the input's longer side.
    pub(super) fn shortest_edge_for(&self, height: usize, width: usize) -> usize {
        let (crop_height, crop_width) = match self.crop_size {
            CropSize::Square(side) => (side, side),
            CropSize::Sides { height, width } => (height, width),
        };
        let (EdgeSize::Edge(edge) | EdgeSize::Named { shortest_edge: edge }) = self.size;
        if (crop_height, crop_width) == (height, width) { edge } else { height.max(width) }
    }

    /// Checks values that came from a file.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for sizes, means or deviations out of range.
    pub fn check(&self) -> Result<()> {
        let (EdgeSize::Edge(edge) | EdgeSize::Named { shortest_edge: edge }) = self.size;
        let finite = self.image_mean.iter().chain(&self.image_std).all(|x| x.is_finite());
        if !(1..=4096).contains(&edge) || !finite || self.image_std.contains(&0.0) {
            return Err(RuntimeError::Options(format!(
                "preprocessor_config.json: size {edge}, mean {:?}, std {:?} are out of range",
                self.image_mean, self.image_std
            )));
        }
        Ok(())
    }
}
