//! From prompts and noise to latents: what pictures begin with, what prompts say, and the loop for each picture.
//!
//! What becomes of latents is the caller's: they are decoded at once, wait for others, or are another pipeline's.

use std::ops::Range;

use host_tensor::HostTensor;

use super::DiffusionPipeline;
use super::canvas::Overlay;
use super::finish::Finisher;
use super::reach::Reach;
use super::start::{Making, Start};
use crate::condition::{Reading, Turns};
use crate::denoise::{Denoisers, Evaluation, Said, denoise};
use crate::error::Result;
use crate::features::Conditioning;
use crate::models::Shelf;
use crate::prompt::{Course, Emphasis, has_word};
use crate::request::{Denoised, GenerateOptions, Warning};
use crate::rng::{Lane, RandomSource};
use crate::streams::Streams;
use crate::watch::Watch;

/// What is read of the prompts.
pub(super) struct Prompted {
    /// What they say, without repetition.
    conditionings: Vec<Conditioning>,
    /// Which of that each evaluation has.
    of_call: Vec<usize>,
    /// Windows of text of each.
    pub(super) n_windows: usize,
    /// Whether there is something to be guided away from.
    pub(super) is_guided: bool,
}

impl Prompted {
    /// What the first evaluation has.
    pub(super) fn first(mut self) -> Conditioning {
        let idx = self.of_call.first().copied().unwrap_or_default();
        self.conditionings.swap_remove(idx)
    }
}

/// What pictures of a run begin with, and what they are guided by.
pub(super) struct Begun {
    starts: Vec<Start>,
    prompted: Prompted,
    /// How what is drawn becomes a part of a picture.
    pub(super) overlay: Option<Overlay>,
    pub(super) warnings: Vec<Warning>,
}

/// What becomes of a picture's latents: its index, the latents, and what would make a picture of them.
pub(super) type Sink<'a> =
    &'a mut dyn FnMut(usize, Denoised, (&Finisher<'_>, &mut Shelf), &mut Watch<'_>) -> Result<()>;

impl DiffusionPipeline {
    /// What all pictures of a run begin with, and what they are guided by.
    pub(super) fn begin(
        &mut self,
        streams: &mut Streams,
        options: &GenerateOptions,
        watch: &Watch<'_>,
    ) -> Result<Begun> {
        streams.check(options)?;
        let mut shares = shares(streams, options);
        // All of one stage before the next, so that its models need not outlive it.
        let start = |(pictures, source): &mut (Range<usize>, &mut Box<dyn RandomSource>)| {
            self.start(source.as_mut(), options, pictures.clone(), watch)
        };
        let mut starts = shares.iter_mut().map(start).collect::<Result<Vec<_>>>()?;
        let (prompted, mut warnings) = self.read_prompts(options, watch)?;
        warnings.extend(self.find_single(options, &prompted)?);
        self.find_without_blocks(options)?;
        // What is said of a picture to begin with is the same for all.
        warnings.extend(starts.first().and_then(|start| start.warning.clone()));
        let overlay = starts.first_mut().and_then(|start| start.overlay.take());
        Ok(Begun { starts, prompted, overlay, warnings })
    }

    /// Denoises all pictures; `sink` takes the latents of each as soon as they are there, in order.
    pub(super) fn denoise(
        &mut self,
        streams: &mut Streams,
        begun: &Begun,
        options: &GenerateOptions,
        watch: &mut Watch<'_>,
        sink: Sink<'_>,
    ) -> Result<()> {
        for (start, share) in begun.starts.iter().zip(shares(streams, options)) {
            self.denoise_share(start, &begun.prompted, share, options, watch, sink)?;
        }
        Ok(())
    }

    /// What some of the pictures begin with.
    fn start(
        &mut self,
        source: &mut dyn RandomSource,
        options: &GenerateOptions,
        pictures: Range<usize>,
        watch: &Watch<'_>,
    ) -> Result<Start> {
        let mut making = Making {
            models: &mut self.models,
            encoder: self.encoder.as_ref(),
            takes: self.own.denoiser.takes(),
            latent_shape: self.latent_shape,
            pictures,
            watch,
        };
        Start::new(&mut making, source, options)
    }

    /// Encodes all that the prompt and, where guidance needs it, the negative prompt say on the way.
    pub(super) fn read_prompts(
        &mut self,
        options: &GenerateOptions,
        watch: &Watch<'_>,
    ) -> Result<(Prompted, Vec<Warning>)> {
        let is_guided = options.is_guided() && self.own.denoiser.guidance_width().is_none();
        let turns = self.turns(options)?;
        let mut n_windows = self.n_windows(&turns, options.emphasis, is_guided)?;
        let mut warnings: Vec<Warning> = self.find_longer(n_windows)?.into_iter().collect();
        if !warnings.is_empty() {
            n_windows = 1;
        }
        let reach = Reach::of(&self.own, self.longer.as_ref(), n_windows);
        let [_, _, height, width] = self.latent_shape;
        let scale = self.decoder.scale();
        let mut reading = Reading {
            models: &mut self.models,
            config: &self.config,
            denoiser: &reach.denoiser,
            emphasis: options.emphasis,
            n_windows,
            is_guided,
            size: [height * scale, width * scale],
            watch,
            warnings: Vec::new(),
        };
        let read = |texts| self.conditioner.read(&mut reading, texts, options);
        let conditionings = turns.texts.iter().map(read).collect::<Result<_>>()?;
        warnings.append(&mut reading.warnings);
        warnings.extend(and_is_text(options));
        Ok((Prompted { conditionings, of_call: turns.of_call, n_windows, is_guided }, warnings))
    }

    /// What the prompts say, evaluation by evaluation.
    fn turns(&self, options: &GenerateOptions) -> Result<Turns> {
        let walk = self.walk(options)?;
        let n_own = walk.scheduler.timesteps().len();
        // A picture to begin with spares evaluations, and those that are left count from the first, of as many as all would
        // be; who goes on from latents goes on in their course.
        let n_calls = self.scheduler(options, 0)?.timesteps().len();
        let first = if options.denoising_start.is_some() { n_calls.saturating_sub(n_own) } else { 0 };
        Ok(Turns::new(options, Course { n_calls, n_before: options.evaluations_before }, first, walk.n_calls))
    }

    /// How many windows of text the longest of the texts fills.
    fn n_windows(&self, turns: &Turns, emphasis: Emphasis, is_guided: bool) -> Result<usize> {
        let read = |texts| self.conditioner.n_windows(&self.config, &self.own.denoiser, texts, emphasis);
        let mut n_windows = 1;
        for texts in &turns.texts {
            n_windows = n_windows.max(read(&texts.prompts)?);
            if is_guided {
                n_windows = n_windows.max(read(&texts.negatives)?);
            }
        }
        Ok(n_windows)
    }

    /// Denoises the latents of pictures of one stream, each with its share of what is drawn on the way.
    fn denoise_share(
        &mut self,
        start: &Start,
        prompted: &Prompted,
        (pictures, source): (Range<usize>, &mut Box<dyn RandomSource>),
        options: &GenerateOptions,
        watch: &mut Watch<'_>,
        sink: Sink<'_>,
    ) -> Result<()> {
        let reach = Reach::of(&self.own, self.longer.as_ref(), prompted.n_windows);
        let denoisers = Denoisers {
            whole: &reach.denoiser,
            single: reach.single.as_ref(),
            without_blocks: self.without_blocks.as_ref().map(|(_, denoiser)| denoiser),
            control_nets: &reach.nets,
            single_nets: &reach.single_nets,
        };
        let unguided: Vec<Conditioning> = prompted.conditionings.iter().map(Conditioning::unguided).collect();
        let texts = Said { guided: &prompted.conditionings, unguided: &unguided, of_call: &prompted.of_call };
        let config = self.scheduler_config(options)?;
        let mut evaluation = Evaluation::new(denoisers, texts, &start.beside, options, config.as_ref())?;
        let (before, count) = (source.boxed_clone(), start.noises.len());
        let all = start.noises.iter().enumerate();
        for (idx, noise) in all.filter(|(idx, _)| options.draws(pictures.start + idx)) {
            // Counted among those that are drawn.
            let drawn_idx = options.only.map_or(pictures.start + idx, |_| 0);
            watch.begin(drawn_idx);
            let mut walk = self.walk(options)?;
            let mut lane = Lane::new(before.as_ref(), idx, count);
            let mut latents = noise.clone();
            if !start.is_under_way {
                walk.scheduler.start(start.clean(idx), &mut latents);
            }
            let kept = start.kept.as_ref().map(|kept| (kept, noise.as_slice()));
            denoise(&mut self.models, &mut evaluation, &mut walk, &mut latents, &mut lane, kept, watch)?;
            let noise = HostTensor::from_f32(self.latent_shape, noise.clone());
            *source = lane.into_source();
            let finisher = Finisher { decoder: &self.decoder, safety_checker: self.safety_checker.as_ref() };
            let denoised = Denoised { noise, latents: HostTensor::from_f32(self.latent_shape, latents) };
            sink(drawn_idx, denoised, (&finisher, &mut self.models), watch)?;
        }
        Ok(())
    }
}

/// The streams of the pictures that are drawn.
fn shares<'s>(
    streams: &'s mut Streams,
    options: &GenerateOptions,
) -> Vec<(Range<usize>, &'s mut Box<dyn RandomSource>)> {
    let mut shares = streams.shares(options.image_count);
    shares.retain(|(pictures, _)| pictures.clone().any(|idx| options.draws(idx)));
    shares
}

/// What is said of prompts that ask for several texts at once.
fn and_is_text(options: &GenerateOptions) -> Option<Warning> {
    let mut texts = options.prompts().into_iter().chain(options.negative_prompts());
    (options.emphasis.is_of_web_ui() && texts.any(|text| has_word(text, "AND"))).then_some(Warning::AndIsText)
}
