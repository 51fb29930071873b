//! From a configuration to a scheduler: the file, what is asked for by name, and the walk.

use serde_json::{Map, Value};

use super::config::{BetaSchedule, DOCUMENT, SchedulerConfig};
use super::entry::SchedulerKind;
use super::options::WalkOptions;
use super::settle;
use super::walk::Scheduler;
use crate::error::{Result, RuntimeError};
use crate::json;

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
        settle::add_betas(&mut source);
        settle::check_words(&source)?;
        let mut config: Self = json::from_object(DOCUMENT, &source)?;
        config.warnings = settle::warnings(&config.class_name, &source);
        config.source = source;
        config.check()?;
        SchedulerKind::ALL.into_iter().try_for_each(|kind| (kind.entry().check)(&config))?;
        Ok(config)
    }

    /// The noise schedule of Stable Diffusion 1.x and 2.x, for packages that come without a configuration.
    #[must_use]
    pub fn stable_diffusion() -> Self {
        let config = Self {
            class_name: SchedulerKind::Pndm.class_name().to_owned(),
            beta_start: 0.00085,
            beta_end: 0.012,
            beta_schedule: BetaSchedule::ScaledLinear,
            ..Self::default()
        };
        config.with("set_alpha_to_one", false).with("skip_prk_steps", true).for_latents()
    }

    /// The configuration as a latent diffusion pipeline uses it: samples are never clipped, and leading steps start at 1.
    ///
    /// diffusers 0.42 corrects outdated files in the same two ways when `StableDiffusionPipeline` loads them.
    #[must_use]
    pub fn for_latents(self) -> Self {
        let mut config = self.with("clip_sample", false);
        config.steps_offset = 1;
        config
    }

    /// The scheduler that the configuration names.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownScheduler`] for a class that is not implemented, [`RuntimeError::NoScheduler`] where the
    /// file names none.
    pub fn kind(&self) -> Result<SchedulerKind> {
        match self.class_name.as_str() {
            "" => Err(RuntimeError::NoScheduler { names: SchedulerKind::names() }),
            class => class.parse(),
        }
    }

    /// The schedulers that draw with models of this configuration, each as if it was asked for by name.
    pub fn kinds(&self) -> impl Iterator<Item = SchedulerKind> + '_ {
        SchedulerKind::ALL.into_iter().filter(|kind| self.asked_for(*kind).is_ok())
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
        settle::settle(&mut config, kind)?;
        if config.class_name != kind.class_name() && kind == SchedulerKind::Pndm {
            // As all tools but diffusers, whose default would be Runge-Kutta steps, mean PNDM.
            config.source.entry("skip_prk_steps").or_insert_with(|| true.into());
        }
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
    /// under some noise ([`Scheduler::start`]).
    ///
    /// As in diffusers it is the rest of the list of calls. For PNDM without Runge-Kutta steps, which repeats the second
    /// call, that is a walk whose own second call is taken for the repeated one.
    ///
    /// # Errors
    /// As [`build`](Self::build), and [`RuntimeError::Options`] if no step is left.
    pub fn build_from(&self, kind: Option<SchedulerKind>, n_steps: usize, start: usize) -> Result<Box<dyn Scheduler>> {
        self.walk(kind, &WalkOptions { start, ..WalkOptions::steps(n_steps) })
    }

    /// The scheduler for a walk as the options say; `kind` overrides the class as [`asked_for`](Self::asked_for) says.
    ///
    /// # Errors
    /// As [`build`](Self::build), and [`RuntimeError::Options`] for options that the scheduler does not take, that
    /// contradict each other or the configuration, and if no step is left.
    pub fn walk(&self, kind: Option<SchedulerKind>, options: &WalkOptions) -> Result<Box<dyn Scheduler>> {
        let mut config = kind.map_or_else(|| Ok(self.clone()), |kind| self.asked_for(kind))?;
        let kind = config.kind()?;
        let entry = kind.entry();
        config.check()?;
        settle::check(&config, kind)?;
        config.rescale_betas_zero_snr &= entry.keys.answer("rescale_betas_zero_snr").is_some();
        // Keys of other classes have no effect.
        config.source.retain(|key, _| entry.keys.answer(key).is_some());
        if let Some(take) = options.given().find(|take| !entry.takes.contains(take)) {
            return Err(RuntimeError::Options(format!("{kind} takes no {}", take.name())));
        }
        if let Some(spread) = config.spread.filter(|_| !settle::has_levels(kind)) {
            return Err(RuntimeError::Options(format!(
                "{kind} has no choice of noise levels, and {} is one",
                spread.name()
            )));
        }
        options.check(config.num_train_timesteps)?;
        let scheduler = (entry.build)(&config, options)?;
        match scheduler.timesteps() {
            [] => Err(RuntimeError::Options(format!(
                "none of {} steps is left after the first {}",
                options.steps, options.start
            ))),
            _ => Ok(scheduler),
        }
    }
}
