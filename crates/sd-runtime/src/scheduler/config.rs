//! `scheduler_config.json`: what diffusers writes, with the defaults that each class gives to absent keys.
//!
//! Nothing is computed here; unknown keys are ignored, as diffusers ignores them.

use serde::Deserialize;

use super::{Scheduler, SchedulerKind, ddim::Ddim, dpm_solver::DpmSolver, euler::Euler, pndm::Pndm};
use crate::error::{Result, RuntimeError};
use crate::json;

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
    /// PNDM only: whether to leave out the Runge-Kutta steps; they are not implemented.
    pub skip_prk_steps: Option<bool>,
    /// DDIM only: clip the predicted clean sample; default true, as in diffusers.
    pub clip_sample: Option<bool>,
    /// Where to clip.
    pub clip_sample_range: f64,
    /// Dynamic thresholding; not meant for latents and not implemented.
    pub thresholding: bool,
    /// Shift the betas so that the last step is pure noise.
    pub rescale_betas_zero_snr: bool,
    /// Noise levels of Karras et al. instead of those at the time steps.
    pub use_karras_sigmas: Option<bool>,
    /// Noise levels even in their logarithm.
    pub use_exponential_sigmas: Option<bool>,
    /// Noise levels by a beta distribution; not implemented.
    pub use_beta_sigmas: Option<bool>,
    /// Lu's uniform log-SNR levels; not implemented.
    pub use_lu_lambdas: Option<bool>,
    /// Flow-matching levels; not implemented.
    pub use_flow_sigmas: Option<bool>,
    /// Smallest sigma of Karras and exponential levels, when not the schedule's own (Euler).
    pub sigma_min: Option<f64>,
    /// Largest sigma, likewise.
    pub sigma_max: Option<f64>,
    /// The sigma after the last step.
    pub final_sigmas_type: FinalSigma,
    /// Euler only: how sigmas are interpolated; only `linear` is implemented.
    pub interpolation_type: Option<String>,
    /// Euler only: only `discrete` is implemented.
    pub timestep_type: Option<String>,
    /// DPM-Solver only: order of the solver, 1 or 2.
    pub solver_order: usize,
    /// DPM-Solver only: only `dpmsolver++` is implemented.
    pub algorithm_type: Option<String>,
    /// DPM-Solver only: `midpoint` or `heun`.
    pub solver_type: Option<String>,
    /// DPM-Solver only: take low orders at the end of fewer than 15 steps.
    pub lower_order_final: bool,
    /// DPM-Solver only: take order 1 at the end.
    pub euler_at_final: bool,
    /// DPM-Solver only: smallest log-SNR used; absent means no bound.
    pub lambda_min_clipped: Option<f64>,
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
            skip_prk_steps: None,
            clip_sample: None,
            clip_sample_range: 1.0,
            thresholding: false,
            rescale_betas_zero_snr: false,
            use_karras_sigmas: None,
            use_exponential_sigmas: None,
            use_beta_sigmas: None,
            use_lu_lambdas: None,
            use_flow_sigmas: None,
            sigma_min: None,
            sigma_max: None,
            final_sigmas_type: FinalSigma::Zero,
            interpolation_type: None,
            timestep_type: None,
            solver_order: 2,
            algorithm_type: None,
            solver_type: None,
            lower_order_final: true,
            euler_at_final: false,
            lambda_min_clipped: None,
        }
    }
}

impl SchedulerConfig {
    /// Parses `scheduler_config.json`.
    ///
    /// Python's `Infinity` and `NaN`, which diffusers writes for `lambda_min_clipped`, count as null.
    ///
    /// # Errors
    /// [`RuntimeError::Json`] if it does not parse, [`RuntimeError::SchedulerConfig`] if a number is out of range.
    pub fn from_json(text: &str) -> Result<Self> {
        let config: Self = json::parse("scheduler_config.json", text)?;
        config.check()?;
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
            skip_prk_steps: Some(true),
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
    /// [`RuntimeError::UnknownScheduler`] for a class that is not implemented.
    pub fn kind(&self) -> Result<SchedulerKind> {
        self.class_name.parse()
    }

    /// The scheduler for a number of steps; `kind` overrides the class and keeps the noise schedule.
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
        let kind = kind.map_or_else(|| self.kind(), Ok)?;
        let config = self.adapted_to(kind);
        config.check()?;
        config.check_options(kind)?;
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
    fn adapted_to(&self, kind: SchedulerKind) -> Self {
        let mut config = self.clone();
        if config.class_name == kind.class_name() {
            return config;
        }
        let defaults = Self::default();
        for key in &self.use_default_values {
            match key.as_str() {
                "timestep_spacing" => config.timestep_spacing = None,
                "steps_offset" => config.steps_offset = defaults.steps_offset,
                "set_alpha_to_one" => config.set_alpha_to_one = None,
                "clip_sample" => config.clip_sample = None,
                "clip_sample_range" => config.clip_sample_range = defaults.clip_sample_range,
                "prediction_type" => config.prediction_type = defaults.prediction_type,
                "use_karras_sigmas" => config.use_karras_sigmas = None,
                "use_exponential_sigmas" => config.use_exponential_sigmas = None,
                "final_sigmas_type" => config.final_sigmas_type = defaults.final_sigmas_type,
                "rescale_betas_zero_snr" => config.rescale_betas_zero_snr = false,
                "thresholding" => config.thresholding = false,
                _ => {}
            }
        }
        config
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
        for (name, sigma) in [("sigma_min", self.sigma_min), ("sigma_max", self.sigma_max)] {
            if let Some(sigma) = sigma.filter(|s| !(*s > 0.0 && s.is_finite())) {
                return fail(format!("{name} {sigma} is not positive"));
            }
        }
        Ok(())
    }

    fn check_options(&self, kind: SchedulerKind) -> Result<()> {
        let scheduler = kind.class_name();
        let unsupported = |option: String| Err(RuntimeError::SchedulerUnsupported { scheduler, option });
        if self.thresholding {
            return unsupported("thresholding".into());
        }
        let sigma_based = matches!(kind, SchedulerKind::DpmSolverMultistep | SchedulerKind::EulerDiscrete);
        for (name, value) in [
            ("use_beta_sigmas", self.use_beta_sigmas),
            ("use_lu_lambdas", self.use_lu_lambdas),
            ("use_flow_sigmas", self.use_flow_sigmas),
        ] {
            if sigma_based && value == Some(true) {
                return unsupported(name.into());
            }
        }
        let wants = |value: &Option<String>, allowed: &[&str]| {
            value.as_deref().filter(|v| !allowed.contains(v)).map(str::to_owned)
        };
        match kind {
            SchedulerKind::Pndm if self.skip_prk_steps == Some(false) => {
                unsupported("Runge-Kutta steps (skip_prk_steps false)".into())
            }
            SchedulerKind::Pndm if self.prediction_type == PredictionType::Sample => {
                unsupported("prediction_type sample".into())
            }
            SchedulerKind::EulerDiscrete => {
                if let Some(v) = wants(&self.interpolation_type, &["linear"]) {
                    return unsupported(format!("interpolation_type {v}"));
                }
                if let Some(v) = wants(&self.timestep_type, &["discrete"]) {
                    return unsupported(format!("timestep_type {v}"));
                }
                Ok(())
            }
            SchedulerKind::DpmSolverMultistep => {
                if let Some(v) = wants(&self.algorithm_type, &["dpmsolver++", "deis"]) {
                    return unsupported(format!("algorithm_type {v}"));
                }
                // diffusers 0.42 maps the solver types of related samplers to midpoint.
                let solvers = ["midpoint", "heun", "logrho", "bh1", "bh2"];
                if let Some(v) = wants(&self.solver_type, &solvers) {
                    return unsupported(format!("solver_type {v}"));
                }
                if !(1..=2).contains(&self.solver_order) {
                    return unsupported(format!("solver_order {}", self.solver_order));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
