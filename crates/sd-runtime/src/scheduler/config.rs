//! `scheduler_config.json` as far as all schedulers read it alike: the noise that a model was trained with.
//!
//! A scheduler reads keys of its own by itself. Nothing is computed here. What becomes of each key stands in
//! `sd_spec::keys`, and what of it a scheduler takes over in `settle`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::spread::Spread;
use crate::config::ConfigWarning;
use crate::error::{Result, RuntimeError};
use crate::json;

/// Name of the file.
pub(super) const DOCUMENT: &str = "scheduler_config.json";

/// Upper bound for `num_train_timesteps`: tables of this length are allocated.
const MAX_TRAIN_TIMESTEPS: usize = 1_000_000;

/// How betas run from `beta_start` to `beta_end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum BetaSchedule {
    /// Evenly.
    #[serde(rename = "linear")]
    Linear,
    /// Evenly in their square roots: Stable Diffusion's own.
    #[serde(rename = "scaled_linear")]
    ScaledLinear,
    /// Glide's cosine; `beta_start` and `beta_end` are unused.
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosine,
    /// Along a sigmoid, as GeoDiff.
    #[serde(rename = "sigmoid")]
    Sigmoid,
    /// So that log-SNRs follow Laplace's distribution (arXiv 2407.03297); `beta_start` and `beta_end` are unused.
    #[serde(rename = "laplace")]
    Laplace,
    /// So that ᾱ falls exponentially; `beta_start` and `beta_end` are unused.
    #[serde(rename = "exp")]
    Exponential,
}

impl BetaSchedule {
    /// The word for it in a file.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::ScaledLinear => "scaled_linear",
            Self::SquaredCosine => "squaredcos_cap_v2",
            Self::Sigmoid => "sigmoid",
            Self::Laplace => "laplace",
            Self::Exponential => "exp",
        }
    }
}

/// What the model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum PredictionType {
    /// The noise.
    #[serde(rename = "epsilon")]
    Epsilon,
    /// The velocity √ᾱ·ε − √(1−ᾱ)·x₀, as SD 2.x at 768 pixels.
    #[serde(rename = "v_prediction")]
    VPrediction,
    /// The clean sample.
    #[serde(rename = "sample")]
    Sample,
    /// The velocity ε − x₀ of flow matching.
    #[serde(rename = "flow_prediction")]
    Flow,
}

impl PredictionType {
    /// The word for it in a file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::VPrediction => "v_prediction",
            Self::Sample => "sample",
            Self::Flow => "flow_prediction",
        }
    }
}

/// How inference steps are spread over training steps (table 2 of arXiv 2305.08891).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimestepSpacing {
    /// Both ends included.
    Linspace,
    /// From the first step on, plus `steps_offset`.
    Leading,
    /// From the last step down.
    Trailing,
}

/// A checkpoint's scheduler configuration.
///
/// Fields that classes give different defaults are options; [`build`](Self::build) fills them in. Keys that only some
/// schedulers have stay as the file has them until one of these is built.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SchedulerConfig {
    /// The diffusers class that chose the settings.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Keys that were defaults of that class when it was saved; another class uses its own.
    #[serde(rename = "_use_default_values")]
    pub use_default_values: Vec<String>,
    /// Number of training time steps.
    pub num_train_timesteps: usize,
    /// First beta.
    pub beta_start: f64,
    /// Last beta.
    pub beta_end: f64,
    /// The curve between them.
    pub beta_schedule: BetaSchedule,
    /// Betas given outright, in place of a curve.
    pub trained_betas: Option<Vec<f64>>,
    /// What the model predicts.
    pub prediction_type: PredictionType,
    /// How steps are spread; leading for PNDM and DDIM, linspace for the others.
    pub timestep_spacing: Option<TimestepSpacing>,
    /// Added to the time steps of leading spacing.
    pub steps_offset: i64,
    /// Shift the betas so that the last step is pure noise.
    pub rescale_betas_zero_snr: bool,
    /// The noise levels that were asked for by name, in place of what the file says of them.
    #[serde(skip)]
    pub(super) spread: Option<Spread>,
    /// What the user should know of the file, and of what a scheduler that was asked for leaves out of it.
    #[serde(skip)]
    pub warnings: Vec<ConfigWarning>,
    /// All keys that have a value, as the file has them.
    #[serde(skip)]
    pub(super) source: Map<String, Value>,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            class_name: String::new(),
            use_default_values: Vec::new(),
            num_train_timesteps: 1000,
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            trained_betas: None,
            prediction_type: PredictionType::Epsilon,
            timestep_spacing: None,
            steps_offset: 0,
            rescale_betas_zero_snr: false,
            spread: None,
            warnings: Vec::new(),
            source: Map::new(),
        }
    }
}

impl SchedulerConfig {
    /// The same, with a value for a key that only some schedulers have.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.source.insert(key.to_owned(), value.into());
        self
    }

    /// A scheduler's own keys.
    ///
    /// # Errors
    /// [`RuntimeError::Json`] for a value of another type.
    pub(super) fn own<T: DeserializeOwned>(&self) -> Result<T> {
        json::from_object(DOCUMENT, &self.source)
    }

    /// Drops what was only the saved class's default, as diffusers' `from_config` does across classes.
    pub(super) fn drop_defaults(&mut self) {
        let defaults = Self::default();
        for key in std::mem::take(&mut self.use_default_values) {
            self.source.remove(&key);
            match key.as_str() {
                "num_train_timesteps" => self.num_train_timesteps = defaults.num_train_timesteps,
                "beta_start" => self.beta_start = defaults.beta_start,
                "beta_end" => self.beta_end = defaults.beta_end,
                "beta_schedule" => self.beta_schedule = defaults.beta_schedule,
                "trained_betas" => self.trained_betas = None,
                "prediction_type" => self.prediction_type = defaults.prediction_type,
                "timestep_spacing" => self.timestep_spacing = None,
                "steps_offset" => self.steps_offset = defaults.steps_offset,
                "rescale_betas_zero_snr" => self.rescale_betas_zero_snr = false,
                // Only in `source`.
                _ => {}
            }
        }
    }

    /// Checks numbers that came from a file.
    ///
    /// # Errors
    /// [`RuntimeError::SchedulerConfig`] for those that are out of range.
    pub(super) fn check(&self) -> Result<()> {
        let fail = |reason: String| Err(RuntimeError::SchedulerConfig(reason));
        let n = self.num_train_timesteps;
        if !(2..=MAX_TRAIN_TIMESTEPS).contains(&n) {
            return fail(format!("num_train_timesteps {n} is not between 2 and {MAX_TRAIN_TIMESTEPS}"));
        }
        if let Some(betas) = &self.trained_betas {
            if betas.len() != n {
                return fail(format!("trained_betas has {} values, num_train_timesteps is {n}", betas.len()));
            }
            if let Some(bad) = betas.iter().find(|b| !(0.0..1.0).contains(*b)) {
                return fail(format!("trained_betas holds {bad}, not in [0, 1)"));
            }
        }
        let (start, end) = (self.beta_start, self.beta_end);
        if !(start > 0.0 && start < 1.0 && end > 0.0 && end < 1.0) {
            return fail(format!("beta_start {start} and beta_end {end} must lie between 0 and 1"));
        }
        if self.steps_offset.unsigned_abs() > n as u64 {
            return fail(format!("steps_offset {} exceeds {n} training steps", self.steps_offset));
        }
        Ok(())
    }
}
