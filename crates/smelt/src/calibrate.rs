//! Calibration data: what a denoiser is given while a pipeline really draws, from prompts, as one file.
//!
//! Pictures are not decoded, and what is done with the data is not here.
//! The denoiser is told nothing of it: a [`Recorder`] stands before it and notes its inputs.

mod choice;
mod file;
mod prompts;
mod read;
mod record;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use safe_files::{Existing, OutputFile};
use sd_convert::Beginning;
use sd_runtime::pipeline::{DiffusionPipeline, GenerateOptions, Seeds, Streams, Takes};
use sd_runtime::{RuntimeError, Stop};
use sd_spec::Family;
use serde::Serialize;

use crate::error::{Error, Result, refuse};
use crate::load::{Loaded, PipelineOptions, load};
use crate::open::Opened;
use crate::request::Request;
use crate::watch::{self, Event, Progress, Unit, Watch};
use choice::There;
use file::{About, Of};
pub use prompts::PromptSet;
pub use read::{CalibrationAbout, CalibrationBatch, CalibrationBatches, CalibrationData};
use record::{Recorder, Sample};

/// What is drawn to calibrate with, and how much of it is recorded.
#[derive(Debug, Clone)]
pub struct Calibration {
    /// What pictures show.
    pub prompts: Vec<String>,
    /// Pictures of each prompt.
    pub count: usize,
    /// Samples that are recorded, rounded up to whole steps; default: 128, or all where there are fewer.
    pub samples: Option<usize>,
    /// How they are drawn. Its prompt is not used, and its seed is that of the first picture; each has the next one.
    pub request: Request,
    /// What happens to a file that is there already.
    pub existing: Existing,
}

/// What was recorded.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CalibrationReport {
    /// The file.
    pub path: String,
    /// Name of the model.
    pub model: String,
    /// The scheduler.
    pub scheduler: String,
    /// How many prompts were drawn.
    pub prompts: usize,
    /// Pictures of all prompts.
    pub pictures: usize,
    /// Evaluations of the denoiser for each picture.
    pub evaluations: usize,
    /// Samples in the file.
    pub samples: usize,
    /// The denoiser's inputs as they are in the file.
    pub inputs: Vec<CalibrationInput>,
    /// Bytes of the file.
    pub bytes: u64,
    /// What the user was told.
    pub warnings: Vec<String>,
    /// Time for everything.
    pub seconds: f64,
}

/// An input of a denoiser, of all samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CalibrationInput {
    /// The denoiser's name for it.
    pub name: String,
    /// The element type.
    pub dtype: &'static str,
    /// The shape: samples first.
    pub shape: Vec<usize>,
}

impl Calibration {
    /// Draws a picture of each prompt with the usual settings, and leaves what is there.
    #[must_use]
    pub fn new(prompts: Vec<String>) -> Self {
        Self { prompts, count: 1, samples: None, request: Request::default(), existing: Existing::Refuse }
    }

    /// Refuses what is known to be impossible before a model is opened.
    ///
    /// # Errors
    /// [`Error::Refused`] without prompts or pictures, and for ways to draw whose steps are not all the denoiser's own
    /// from noise on; [`Error::Exists`].
    pub fn check(&self, output: &OutputFile) -> Result<()> {
        if self.prompts.is_empty() {
            refuse!("there is no prompt to draw calibration data with");
        }
        if self.count == 0 || self.samples == Some(0) {
            refuse!("calibration data of no samples was asked for; at least 1 picture and 1 sample are needed");
        }
        let Request { start, latents, noise, hires, forecast, guidance_interval, skip_layers, controls, .. } =
            &self.request;
        for (is_given, what) in [
            (start.is_some(), "a picture to begin with"),
            (!latents.is_empty() || !noise.is_empty(), "given latents or noise"),
            (hires.is_some(), "two passes"),
            (forecast.is_some(), "forecasts"),
            (guidance_interval.is_some(), "an interval of guidance"),
            (skip_layers.is_some(), "skip-layer guidance"),
            (!controls.is_empty(), "pictures that guide"),
        ] {
            if is_given {
                refuse!("calibration data is of steps from noise on that are all computed; it does not go with {what}");
            }
        }
        self.requests().iter().try_for_each(Request::check)?;
        if self.existing == Existing::Refuse && output.is_regular() && output.path().exists() {
            return Err(Error::Exists(format!("{output} is there already; replace it with --force")));
        }
        Ok(())
    }

    /// A request for each picture: all of the first prompt, then those of the next.
    fn requests(&self) -> Vec<Request> {
        let prompts = self.prompts.iter().flat_map(|prompt| std::iter::repeat_n(prompt, self.count));
        let request = |(idx, prompt): (usize, &String)| Request {
            prompt: prompt.clone(),
            seed: self.request.seed.saturating_add(idx as u64),
            count: 1,
            only: None,
            seeds: Seeds::default(),
            ..self.request.clone()
        };
        prompts.enumerate().map(request).collect()
    }
}

impl Opened {
    /// Draws, and writes what the denoiser was given: a safetensors file with the samples of each of its inputs.
    ///
    /// The same model and calibration give the same bytes.
    ///
    /// # Errors
    /// As [`Calibration::check`]; for models that do not draw from words alone, and when one fails; [`Error::Stopped`] once
    /// `stop` is set, in another thread as well, or the watcher breaks off.
    pub fn calibrate(
        &self,
        calibration: &Calibration,
        options: &PipelineOptions,
        output: &OutputFile,
        stop: &Stop,
        watch: &mut dyn Watch,
    ) -> Result<CalibrationReport> {
        let begin = Instant::now();
        calibration.check(output)?;
        self.takes()?.map_or(Ok(()), |takes| check_takes(takes, &self.source().to_string()))?;
        watch::begin(watch, "loading")?;
        let loaded = load(options, self, Beginning::Noise)?;
        let mut drawing = Drawing::of(loaded, calibration, options)?;
        watch::end(watch)?;
        drawing.known.iter().try_for_each(|words| watch::warn(watch, words))?;
        let samples = drawing.draw(stop, watch)?;
        let written = file::write(output, &drawing.about(calibration, &samples), &samples, watch)?;
        Ok(CalibrationReport {
            path: output.path().display().to_string(),
            scheduler: drawing.scheduler,
            prompts: calibration.prompts.len(),
            pictures: drawing.there.n_pictures,
            evaluations: drawing.there.n_evaluations,
            samples: samples.len(),
            inputs: written.inputs,
            bytes: written.n_bytes,
            model: drawing.model,
            warnings: drawing.known,
            seconds: begin.elapsed().as_secs_f64(),
        })
    }
}

/// A pipeline that draws, and what is noted of it.
struct Drawing {
    inner: DiffusionPipeline,
    recorder: Recorder,
    there: There,
    /// Evaluations that are recorded, of each picture.
    chosen: Vec<Vec<usize>>,
    requests: Vec<Request>,
    model: String,
    family: Family,
    scheduler: String,
    /// What the user was told, or will be.
    known: Vec<String>,
}

impl Drawing {
    /// Puts the pipeline together, and checks every request.
    fn of(mut loaded: Loaded, calibration: &Calibration, options: &PipelineOptions) -> Result<Self> {
        let (model, family) = (std::mem::take(&mut loaded.name), loaded.config.family);
        if family == Family::SdxlRefiner {
            refuse!("{model} is the refiner of Stable Diffusion XL, which begins with a picture; give the base model");
        }
        let asked = calibration.request.scheduler.or(options.scheduler);
        let scheduler = asked.unwrap_or(loaded.config.scheduler.kind()?.into()).exact_name();
        let (loras, mut known) = (std::mem::take(&mut loaded.loras), std::mem::take(&mut loaded.warnings));
        let recorder = Recorder::default();
        let (inner, found) = loaded.watched_by(Arc::new(recorder.clone())).pipeline()?;
        known.extend(found);
        check_takes(inner.takes(), &model)?;
        let requests = calibration.requests();
        let mut n_evaluations = 0;
        for request in &requests {
            request.check_named(&loras)?;
            n_evaluations = inner.evaluations(&request.options(inner.takes()))?;
        }
        let is_guided = calibration.request.guidance > 1.0 && !recorder.is_distilled();
        let there = There { n_pictures: requests.len(), n_evaluations, n_rows: if is_guided { 2 } else { 1 } };
        let chosen = there.choose(calibration.samples)?;
        Ok(Self { inner, recorder, there, chosen, requests, model, family, scheduler, known })
    }

    /// Draws the pictures of which something is recorded.
    fn draw(&mut self, stop: &Stop, watch: &mut dyn Watch) -> Result<Vec<Sample>> {
        let n_steps = self.there.n_evaluations;
        let n_drawn = self.chosen.iter().filter(|places| !places.is_empty()).count();
        let told = |n_done: usize| {
            let (done, total) = (n_done as u64, (n_drawn * n_steps) as u64);
            Event::Progress(Progress { what: "denoising", done, total, unit: Unit::Steps })
        };
        watch::tell(watch, told(0))?;
        let mut n_before = 0;
        for (picture, request) in self.requests.iter().enumerate() {
            let wanted = &self.chosen[picture];
            if wanted.is_empty() {
                continue;
            }
            self.recorder.begin(picture, wanted, self.there.n_rows);
            let options: GenerateOptions = request.options(self.inner.takes());
            let mut on_step = |at: sd_runtime::pipeline::Progress<'_>| -> ControlFlow<()> {
                self.recorder.done(at.step);
                watch.event(told(n_before + at.step))
            };
            let drawn = self.inner.denoise_with(&mut Streams::of(&options)?, &options, stop, &mut on_step);
            let warnings = drawn.map_err(stopped)?.warnings;
            n_before += n_steps;
            for words in warnings.iter().map(ToString::to_string) {
                if !self.known.contains(&words) {
                    watch::warn(watch, &words)?;
                    self.known.push(words);
                }
            }
        }
        watch::end(watch)?;
        Ok(self.recorder.take())
    }

    /// What made the samples.
    fn about<'a>(&'a self, calibration: &'a Calibration, samples: &[Sample]) -> About<'a> {
        let [_, _, height, width] = self.inner.latent_shape();
        let of = |sample: &Sample| Of {
            prompt: sample.picture / calibration.count,
            seed: self.requests[sample.picture].seed,
            evaluation: sample.evaluation,
            // The negative prompt's sample comes first, as in diffusers.
            text: if self.there.n_rows == 2 && sample.row == 0 { "negative" } else { "prompt" },
        };
        let mut required = self.family.spec().required.iter();
        About {
            version: file::VERSION,
            software: crate::SOFTWARE,
            model: &self.model,
            family: self.family.spec().name,
            denoiser: required.find(|role| role.is_denoiser()).map_or("", |role| role.name()),
            prompts: &calibration.prompts,
            count: calibration.count,
            scheduler: &self.scheduler,
            evaluations: self.there.n_evaluations,
            width: width * self.inner.scale(),
            height: height * self.inner.scale(),
            request: Request { prompt: String::new(), ..calibration.request.clone() },
            samples: samples.iter().map(of).collect(),
        }
    }
}

/// Refuses denoisers that words alone are not enough for.
fn check_takes(takes: Takes, model: &str) -> Result<()> {
    match takes {
        Takes::Latents => Ok(()),
        _ => refuse!(
            "{model} draws with a picture beside the words, and calibration data is drawn from words alone; give a model \
             that needs none"
        ),
    }
}

fn stopped(error: RuntimeError) -> Error {
    match error {
        RuntimeError::Stopped { .. } => Error::Stopped,
        other => other.into(),
    }
}
