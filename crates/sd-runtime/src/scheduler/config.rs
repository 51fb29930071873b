//! `scheduler_config.json`: what diffusers writes, with the defaults that each class gives to absent keys.
//!
//! Nothing is computed here. What becomes of each key stands in `sd_spec::keys`, and what of it a scheduler takes over
//! in `options`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Scheduler, SchedulerKind, ddim::Ddim, dpm_solver::DpmSolver, euler::Euler, options, pndm::Pndm};
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

/// The sigma after the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSigma {
    /// No noise at all.
    Zero,
    /// The smallest sigma of training.
    SigmaMin,
}

/// A checkpoint's scheduler configuration.
///
/// Fields that classes give different defaults are options; [`build`](Self::build) fills them in.
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
    /// Whether the step after the last has ᾱ = 1 (DDIM's default) or ᾱ₀ (PNDM's).
    pub set_alpha_to_one: Option<bool>,
    /// DDIM only: clip the predicted clean sample; default true, as in diffusers.
    pub clip_sample: Option<bool>,
    /// Where to clip.
    pub clip_sample_range: f64,
    /// Shift the betas so that the last step is pure noise.
    pub rescale_betas_zero_snr: bool,
    /// Noise levels of Karras et al. instead of those at the time steps.
    pub use_karras_sigmas: Option<bool>,
    /// Noise levels even in their logarithm.
    pub use_exponential_sigmas: Option<bool>,
    /// Smallest sigma of Karras and exponential levels, when not the schedule's own (Euler).
    pub sigma_min: Option<f64>,
    /// Largest sigma, likewise.
    pub sigma_max: Option<f64>,
    /// The sigma after the last step.
    pub final_sigmas_type: FinalSigma,
    /// DPM-Solver only: order of the solver, 1 or 2.
    pub solver_order: usize,
    /// DPM-Solver only: `midpoint` or `heun`.
    pub solver_type: Option<String>,
    /// DPM-Solver only: take low orders at the end of fewer than 15 steps.
    pub lower_order_final: bool,
    /// DPM-Solver only: take order 1 at the end.
    pub euler_at_final: bool,
    /// DPM-Solver only: smallest log-SNR used; absent means no bound.
    pub lambda_min_clipped: Option<f64>,
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
            set_alpha_to_one: None,
            clip_sample: None,
            clip_sample_range: 1.0,
            rescale_betas_zero_snr: false,
            use_karras_sigmas: None,
            use_exponential_sigmas: None,
            sigma_min: None,
            sigma_max: None,
            final_sigmas_type: FinalSigma::Zero,
            solver_order: 2,
            solver_type: None,
            lower_order_final: true,
            euler_at_final: false,
            lambda_min_clipped: None,
            warnings: Vec::new(),
            source: Map::new(),
        }
    }
}

impl SchedulerConfig {
    /// Parses `scheduler_config.json`.
    ///
    /// Python's `Infinity` and `NaN`, which diffusers writes for `lambda_min_clipped`, count as null.
    ///
    /// # Errors
    /// [`RuntimeError::Json`] if it does not parse, [`RuntimeError::SchedulerConfig`] if a number is out of range or a
    /// noise schedule is not implemented.
    pub fn from_json(text: &str) -> Result<Self> {
        let mut source: Map<String, Value> = json::parse(DOCUMENT, text)?;
        // diffusers treats null as the key's absence.
        source.retain(|_, value| !value.is_null());
        options::check_words(&source)?;
        let mut config: Self = json::from_object(DOCUMENT, &source)?;
        config.check()?;
        config.warnings = options::warnings(&config.class_name, &source);
        config.source = source;
        Ok(config)
    }

    /// The noise schedule of Stable Diffusion 1.x and 2.x, for packages that come without a configuration.
    pub fn stable_diffusion() -> Self {
        Self {
            class_name: SchedulerKind::Pndm.class_name().to_owned(),
            beta_start: 0.00085,
            beta_end: 0.012,
            beta_schedule: BetaSchedule::ScaledLinear,
            steps_offset: 1,
            set_alpha_to_one: Some(false),
            clip_sample: Some(false),
            ..Self::default()
        }
    }

    /// The configuration as a latent diffusion pipeline uses it: samples are never clipped, and leading steps start at 1.
    ///
    /// diffusers 0.42 corrects outdated files in the same two ways when `StableDiffusionPipeline` loads them.
    pub fn for_latents(mut self) -> Self {
        self.clip_sample = Some(false);
        self.steps_offset = 1;
        self
    }

    /// The scheduler that the configuration names.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownScheduler`] for a class that is not implemented, [`RuntimeError::NoScheduler`] where the
    /// file names none.
    pub fn kind(&self) -> Result<SchedulerKind> {
        match self.class_name.as_str() {
            "" => Err(RuntimeError::NoScheduler),
            class => class.parse(),
        }
    }

    /// The configuration as a scheduler takes it that was asked for by name: the file's noise schedule, and of its other
    /// options those that this scheduler has. What is left out is added to [`warnings`](Self::warnings).
    ///
    /// # Errors
    /// [`RuntimeError::SchedulerUnsupported`] for a noise schedule that this scheduler cannot follow.
    pub fn asked_for(&self, kind: SchedulerKind) -> Result<Self> {
        let mut config = self.clone();
        if config.class_name != kind.class_name() {
            config.drop_defaults();
        }
        options::settle(&mut config, kind)?;
        kind.class_name().clone_into(&mut config.class_name);
        Ok(config)
    }

    /// The scheduler for a number of steps; `kind` overrides the class as [`asked_for`](Self::asked_for) says.
    ///
    /// # Errors
    /// [`RuntimeError::StepCount`] and [`RuntimeError::TimestepRange`] if the steps do not fit, [`RuntimeError::SchedulerUnsupported`] for options that are not implemented.
    pub fn build(&self, kind: Option<SchedulerKind>, n_steps: usize) -> Result<Box<dyn Scheduler>> {
        self.build_from(kind, n_steps, 0)
    }

    /// As [`build`](Self::build), without the first `start` steps: what is left of a walk that begins with a picture
    /// under some noise ([`Scheduler::add_noise`]).
    ///
    /// The walk left is the same that a whole one would take from there. (diffusers cuts the list of PNDM's time steps
    /// after it repeated the second and still repeats the second of what is left, so one step too little is taken.)
    ///
    /// # Errors
    /// As [`build`](Self::build), and [`RuntimeError::Options`] if no step is left.
    pub fn build_from(&self, kind: Option<SchedulerKind>, n_steps: usize, start: usize) -> Result<Box<dyn Scheduler>> {
        let mut config = kind.map_or_else(|| Ok(self.clone()), |kind| self.asked_for(kind))?;
        let kind = config.kind()?;
        config.check()?;
        options::check(&config, kind)?;
        config.rescale_betas_zero_snr &= kind.table().answer("rescale_betas_zero_snr").is_some();
        if n_steps == 0 || n_steps > config.num_train_timesteps {
            return Err(RuntimeError::StepCount { steps: n_steps, max: config.num_train_timesteps });
        }
        let scheduler: Box<dyn Scheduler> = match kind {
            SchedulerKind::Pndm => Box::new(Pndm::new(&config, n_steps, start)?),
            SchedulerKind::Ddim => Box::new(Ddim::new(&config, n_steps, start)?),
            SchedulerKind::DpmSolverMultistep => Box::new(DpmSolver::new(&config, n_steps, start)?),
            SchedulerKind::EulerDiscrete => Box::new(Euler::new(&config, n_steps, start)?),
        };
        match scheduler.timesteps() {
            [] => Err(RuntimeError::Options(format!("none of {n_steps} steps is left after the first {start}"))),
            _ => Ok(scheduler),
        }
    }

    /// Drops what was only the saved class's default, as diffusers' `from_config` does across classes.
    fn drop_defaults(&mut self) {
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
                "set_alpha_to_one" => self.set_alpha_to_one = None,
                "clip_sample" => self.clip_sample = None,
                "clip_sample_range" => self.clip_sample_range = defaults.clip_sample_range,
                "rescale_betas_zero_snr" => self.rescale_betas_zero_snr = false,
                "use_karras_sigmas" => self.use_karras_sigmas = None,
                "use_exponential_sigmas" => self.use_exponential_sigmas = None,
                "sigma_min" => self.sigma_min = None,
                "sigma_max" => self.sigma_max = None,
                "final_sigmas_type" => self.final_sigmas_type = defaults.final_sigmas_type,
                "solver_order" => self.solver_order = defaults.solver_order,
                "solver_type" => self.solver_type = None,
                "lower_order_final" => self.lower_order_final = defaults.lower_order_final,
                "euler_at_final" => self.euler_at_final = defaults.euler_at_final,
                "lambda_min_clipped" => self.lambda_min_clipped = None,
                // Only in `source`.
                _ => {}
            }
        }
    }

    fn check(&self) -> Result<()> {
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
        if self.use_karras_sigmas == Some(true) && self.use_exponential_sigmas == Some(true) {
            return fail(
                "use_karras_sigmas and use_exponential_sigmas are both true, and only one can be followed".into(),
            );
        }
        for (name, sigma) in [("sigma_min", self.sigma_min), ("sigma_max", self.sigma_max)] {
            if let Some(sigma) = sigma.filter(|s| !(*s > 0.0 && s.is_finite())) {
                return fail(format!("{name} {sigma} is not positive"));
            }
        }
        Ok(())
    }
}
