//! Schedulers: the walk from noise to latents, equal to diffusers' step by step.
//!
//! A [`SchedulerConfig`] is the checkpoint's `scheduler_config.json`; [`SchedulerConfig::build`] makes a [`Scheduler`] for a number of steps.
//! Tables are computed where diffusers computes them (f32 for alphas, f64 for interpolated sigmas), samples in f32.
//! A scheduler holds at most four earlier outputs, whatever the number of steps.
//! Stochastic samplers (ancestral, SDE) are not here.

mod config;
mod ddim;
mod dpm_solver;
mod euler;
mod noise;
mod options;
mod pndm;
mod spacing;

pub use config::{BetaSchedule, FinalSigma, PredictionType, SchedulerConfig, TimestepSpacing};

use sd_spec::keys;

use crate::error::{Result, RuntimeError};

/// One walk from noise to latents.
///
/// Call [`step`](Self::step) once for each of [`timesteps`](Self::timesteps), in order.
/// The state is that of one image: build another scheduler for the next.
pub trait Scheduler: std::fmt::Debug {
    /// The time steps to give to the model, in order; fractional for some configurations.
    ///
    /// Their number is not always the number of steps asked for: PNDM repeats the second.
    fn timesteps(&self) -> &[f32];

    /// Standard deviation of the first sample.
    fn init_noise_sigma(&self) -> f32 {
        1.0
    }

    /// Turns standard normal noise in place into the first sample for a clean one: clean, with the noise of the first
    /// of [`timesteps`](Self::timesteps). It needs no [`init_noise_sigma`](Self::init_noise_sigma).
    fn add_noise(&self, clean: &[f32], noise: &mut [f32]);

    /// Scales a sample in place to what the model expects at a step.
    fn scale_model_input(&self, _step_index: usize, _sample: &mut [f32]) {}

    /// Replaces the sample by the one of the next, less noisy step.
    ///
    /// # Errors
    /// [`RuntimeError::StepOrder`] unless `step_index` is the next of `timesteps`; [`RuntimeError::StepLength`] if the lengths differ.
    fn step(&mut self, step_index: usize, model_output: &[f32], sample: &mut [f32]) -> Result<()>;
}

/// The schedulers implemented here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchedulerKind {
    /// Pseudo linear multistep (PLMS) without Runge-Kutta steps: the default of SD 1.x.
    Pndm,
    /// DPM-Solver++ multistep of order 1 or 2.
    DpmSolverMultistep,
    /// Denoising diffusion implicit models, deterministic (eta 0).
    Ddim,
    /// Euler's method on the probability-flow ODE.
    EulerDiscrete,
}

impl SchedulerKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Pndm, Self::DpmSolverMultistep, Self::Ddim, Self::EulerDiscrete];

    /// The diffusers class, as `_class_name` spells it.
    pub const fn class_name(self) -> &'static str {
        match self {
            Self::Pndm => "PNDMScheduler",
            Self::DpmSolverMultistep => "DPMSolverMultistepScheduler",
            Self::Ddim => "DDIMScheduler",
            Self::EulerDiscrete => "EulerDiscreteScheduler",
        }
    }

    /// The short name, for command lines and for the settings in pictures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pndm => "pndm",
            Self::DpmSolverMultistep => "dpmpp-2m",
            Self::Ddim => "ddim",
            Self::EulerDiscrete => "euler",
        }
    }

    /// Other short names that are read, and never written.
    pub const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::DpmSolverMultistep => &["dpmpp"],
            Self::Pndm | Self::Ddim | Self::EulerDiscrete => &[],
        }
    }

    /// What it is, in a line.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Pndm => "Pseudo linear multistep, the default of Stable Diffusion 1.x",
            Self::DpmSolverMultistep => "DPM-Solver++ of second order",
            Self::Ddim => "Denoising diffusion implicit models",
            Self::EulerDiscrete => "Euler's method",
        }
    }

    /// All short names, as prose: `a, b or c`.
    pub fn names() -> String {
        let names = Self::ALL.map(Self::name);
        let (last, others) = names.split_last().expect("invariant: there are four");
        format!("{} or {last}", others.join(", "))
    }

    /// What becomes of each key of its configuration.
    pub(crate) const fn table(self) -> &'static keys::Table {
        match self {
            Self::Pndm => &keys::PNDM,
            Self::DpmSolverMultistep => &keys::DPM_SOLVER_MULTISTEP,
            Self::Ddim => &keys::DDIM,
            Self::EulerDiscrete => &keys::EULER_DISCRETE,
        }
    }
}

impl std::fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for SchedulerKind {
    type Err = RuntimeError;

    /// Accepts the short name, its aliases, or the diffusers class name.
    fn from_str(s: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == s || kind.aliases().contains(&s) || kind.class_name() == s)
            .ok_or_else(|| RuntimeError::UnknownScheduler(s.to_owned()))
    }
}

/// What to take in place of a scheduler that is not implemented.
pub(crate) fn advice(class: &str) -> String {
    let near = match class.strip_suffix("Scheduler").unwrap_or(class) {
        "EulerAncestralDiscrete" | "HeunDiscrete" | "LMSDiscrete" | "KDPM2Discrete" | "KDPM2AncestralDiscrete" => {
            "euler"
        }
        "UniPCMultistep" | "DEISMultistep" | "DPMSolverSinglestep" | "DPMSolverSDE" | "SASolver" => "dpmpp-2m",
        "DDPM" | "DDPMParallel" | "DDIMParallel" | "DDIMInverse" => "ddim",
        // Distilled models take few steps only with the scheduler that they were made for.
        "LCM" | "TCD" => {
            return format!(
                "models that were distilled for it draw well only with it; choose {} by name to try",
                SchedulerKind::names()
            );
        }
        _ if keys::has_betas(class) == Some(false) => {
            return "its models were not trained with a schedule of betas, as flow-matching ones, and no scheduler here \
                    draws with them"
                .to_owned();
        }
        _ => return format!("choose {} by name", SchedulerKind::names()),
    };
    format!("choose {} by name, of which {near} is the nearest", SchedulerKind::names())
}

/// `signal · clean + level · noise`, in place of the noise.
fn mix(signal: f32, clean: &[f32], level: f32, noise: &mut [f32]) {
    for (x, &clean) in noise.iter_mut().zip(clean) {
        *x = signal * clean + level * *x;
    }
}

/// Checks that a step is the next one and that lengths agree, and counts it.
#[derive(Debug, Default)]
struct StepGuard {
    taken: usize,
}

impl StepGuard {
    fn admit(&mut self, count: usize, index: usize, output: &[f32], sample: &[f32]) -> Result<()> {
        if index != self.taken || index >= count {
            return Err(RuntimeError::StepOrder { expected: self.taken, got: index, count });
        }
        if output.len() != sample.len() {
            return Err(RuntimeError::StepLength { output: output.len(), sample: sample.len() });
        }
        self.taken += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
