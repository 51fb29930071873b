//! How the outputs of a walk come about: by the denoiser with guidance, without it, or by forecast.

use super::control::ControlNet;
use super::denoiser::Denoiser;
use super::forecast::Forecast;
use super::guidance::{Beside, Guidance};
use crate::clean::Clean;
use crate::error::{Result, RuntimeError};
use crate::features::Conditioning;
use crate::forecasting::Forecasting;
use crate::interval::GuidanceInterval;
use crate::models::Shelf;
use crate::request::GenerateOptions;
use crate::scheduler::{PredictionType, Scheduler, SchedulerConfig};
use crate::watch::Watch;

/// What makes the outputs of all walks of a run.
pub(crate) struct Evaluation<'a> {
    /// One for each text.
    guidance: Vec<Guidance<'a>>,
    /// Where guidance is on, and what is done elsewhere; absent if it is the same everywhere.
    limits: Option<(GuidanceInterval, Vec<Guidance<'a>>)>,
    /// Which text each call has.
    of_call: &'a [usize],
    forecasting: Option<Forecasting>,
    /// What outputs mean.
    prediction: PredictionType,
    /// Whether that says what a clean sample is.
    says_clean: bool,
}

/// What prompts say in a run.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    /// What each text is, without repetition.
    pub(crate) guided: &'a [Conditioning],
    /// The same for steps without guidance.
    pub(crate) unguided: &'a [Conditioning],
    /// Which text each call has.
    pub(crate) of_call: &'a [usize],
}

/// The denoisers of a run.
#[derive(Clone, Copy)]
pub(crate) struct Denoisers<'a> {
    pub(crate) whole: &'a Denoiser,
    /// The one for one sample at a time, beside one that takes two.
    pub(crate) single: Option<&'a Denoiser>,
    /// The one without some blocks, for one sample at a time.
    pub(crate) without_blocks: Option<&'a Denoiser>,
    /// What guides it by pictures.
    pub(crate) control_nets: &'a [ControlNet],
    /// The same for one sample at a time, beside the denoiser for one.
    pub(crate) single_nets: &'a [ControlNet],
}

impl<'a> Denoisers<'a> {
    /// The one for steps without guidance, and what guides it.
    fn plain(&self) -> (&'a Denoiser, &'a [ControlNet]) {
        match self.single {
            Some(single) => (single, self.single_nets),
            None => self.whole(),
        }
    }

    /// The one for steps with guidance, and what guides it.
    const fn whole(&self) -> (&'a Denoiser, &'a [ControlNet]) {
        (self.whole, self.control_nets)
    }
}

impl<'a> Evaluation<'a> {
    /// As the options want it.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for forecasts with a scheduler whose outputs do not say what a clean sample is.
    pub(crate) fn new(
        denoisers: Denoisers<'a>,
        said: Said<'a>,
        beside: &Beside,
        options: &GenerateOptions,
        config: &SchedulerConfig,
    ) -> Result<Self> {
        let guided = |(denoiser, nets): (&'a Denoiser, &'a [ControlNet]), conditioning: &'a Conditioning| {
            Guidance::new(denoiser, conditioning, options, beside)?.with_controls(nets, &options.controls)
        };
        let limits = match options.guidance_interval {
            Some(interval) => {
                let plain = said.unguided.iter().map(|text| guided(denoisers.plain(), text));
                Some((interval, plain.collect::<Result<_>>()?))
            }
            None => None,
        };
        let meaning = config.kind()?.meaning(config.prediction_type);
        let prediction = match (meaning, options.forecasting) {
            (Some(prediction), _) => prediction,
            (None, None) => config.prediction_type,
            (None, Some(_)) => {
                return Err(RuntimeError::Options(format!(
                    "steps cannot be foretold with {}, whose models are preconditioned; leave forecasts out, or choose a \
                     scheduler for betas or flow matching",
                    config.kind()?
                )));
            }
        };
        let of_text = |text: &'a Conditioning| match text.negative {
            Some(_) => guided(denoisers.whole(), text)?.with_skipping(denoisers.without_blocks, &text.prompt, options),
            None => guided(denoisers.plain(), text),
        };
        let guidance = said.guided.iter().map(of_text).collect::<Result<_>>()?;
        let says_clean = meaning.is_some();
        let (of_call, forecasting) = (said.of_call, options.forecasting);
        Ok(Self { guidance, limits, of_call, forecasting, prediction, says_clean })
    }

    /// Before the first call of a walk of so many.
    pub(super) fn forecast(&self, n_calls: usize) -> Forecast {
        Forecast::new(self.forecasting, n_calls)
    }

    /// What the output of a call says of the clean sample, if anything.
    pub(super) fn meaning(&self, scheduler: &dyn Scheduler, call: usize) -> Option<Clean> {
        self.says_clean.then(|| Clean::at(scheduler.course(), call, self.prediction))
    }

    /// The output of a call of a walk, for the walk's sample; `input` is room for what the denoiser is given.
    pub(super) fn output(
        &mut self,
        (models, forecast): (&mut Shelf, &mut Forecast),
        scheduler: &dyn Scheduler,
        call: usize,
        (sample, input): (&[f32], &mut [f32]),
        watch: &Watch<'_>,
    ) -> Result<Vec<f32>> {
        let timesteps = scheduler.timesteps();
        let at = Clean::at(scheduler.course(), call, self.prediction);
        if let Some(clean) = forecast.clean(call) {
            return Ok(at.to_output(&clean, sample));
        }
        input.copy_from_slice(sample);
        scheduler.scale_model_input(call, input);
        let of_texts = match &mut self.limits {
            Some((interval, plain)) if !interval.contains(call, timesteps.len(), at.sigma()) => plain,
            _ => &mut self.guidance,
        };
        let guidance = &mut of_texts[self.of_call.get(call).copied().unwrap_or(0)];
        guidance.begin(call, timesteps.len());
        let output = guidance.predict(models, input, timesteps[call], watch)?;
        if forecast.is_on() {
            forecast.keep(call, at.of_output(&output, sample));
        }
        Ok(output)
    }
}
