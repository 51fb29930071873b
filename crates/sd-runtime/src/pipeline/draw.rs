//! From prompts and noise to latents: what pictures begin with, what prompts say, and the loop for each picture.

use std::ops::Range;

use host_tensor::HostTensor;

use super::start::{Making, Start};
use super::{DiffusionPipeline, Drawn};
use crate::condition::Reading;
use crate::denoise::{Denoisers, Evaluation, denoise};
use crate::error::Result;
use crate::features::Conditioning;
use crate::request::{Denoised, GenerateOptions, Warning};
use crate::rng::{Lane, RandomSource};
use crate::streams::Streams;
use crate::watch::Watch;

impl DiffusionPipeline {
    /// Latents of all pictures.
    pub(super) fn begin_and_denoise(
        &mut self,
        streams: &mut Streams,
        options: &GenerateOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Drawn> {
        streams.check(options)?;
        let mut shares = streams.shares(options.image_count);
        // All of one stage before the next, so that its models need not outlive it.
        let start = |(pictures, source): &mut (Range<usize>, &mut Box<dyn RandomSource>)| {
            self.start(source.as_mut(), options, pictures.clone(), watch)
        };
        let mut starts = shares.iter_mut().map(start).collect::<Result<Vec<_>>>()?;
        let (conditioning, mut warnings) = self.read_prompts(options, watch)?;
        warnings.extend(self.find_single(options, &conditioning)?);
        self.find_without_blocks(options)?;
        // What is said of a picture to begin with is the same for all.
        warnings.extend(starts.first().and_then(|start| start.warning.clone()));
        let mut denoised = Vec::with_capacity(options.image_count);
        for (start, (pictures, source)) in starts.iter().zip(shares) {
            self.denoise(start, &conditioning, (pictures, source), options, watch, &mut denoised)?;
        }
        let overlay = starts.first_mut().and_then(|start| start.overlay.take());
        Ok(Drawn { denoised, overlay, warnings })
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
            takes: self.denoiser.takes(),
            latent_shape: self.latent_shape,
            pictures,
            watch,
        };
        Start::new(&mut making, source, options)
    }

    /// Encodes the prompt and, where guidance needs it, the negative prompt.
    fn read_prompts(&mut self, options: &GenerateOptions, watch: &Watch<'_>) -> Result<(Conditioning, Vec<Warning>)> {
        let [_, _, height, width] = self.latent_shape;
        let scale = self.decoder.scale();
        let mut reading = Reading {
            models: &mut self.models,
            config: &self.config,
            denoiser: &self.denoiser,
            is_guided: options.is_guided() && self.denoiser.guidance_width().is_none(),
            size: [height * scale, width * scale],
            watch,
            warnings: Vec::new(),
        };
        let conditioning = self.conditioner.read(&mut reading, options)?;
        Ok((conditioning, reading.warnings))
    }

    /// Denoises the latents of pictures of one stream, each with its share of what is drawn on the way.
    fn denoise(
        &mut self,
        start: &Start,
        conditioning: &Conditioning,
        (pictures, source): (Range<usize>, &mut Box<dyn RandomSource>),
        options: &GenerateOptions,
        watch: &mut Watch<'_>,
        denoised: &mut Vec<Denoised>,
    ) -> Result<()> {
        let denoisers = Denoisers {
            whole: &self.denoiser,
            single: self.single.as_ref(),
            without_blocks: self.without_blocks.as_ref().map(|(_, denoiser)| denoiser),
            control_nets: &self.control_nets,
            single_nets: &self.single_nets,
        };
        let (unguided, config) = (conditioning.unguided(), self.scheduler_config(options)?);
        let mut evaluation =
            Evaluation::new(denoisers, (conditioning, &unguided), &start.beside, options, config.as_ref())?;
        let (before, count) = (source.boxed_clone(), start.noises.len());
        for (idx, noise) in start.noises.iter().enumerate() {
            watch.begin(pictures.start + idx);
            let mut walk = self.walk(options)?;
            let mut lane = Lane::new(before.as_ref(), idx, count);
            let mut latents = noise.clone();
            if !start.is_under_way {
                walk.scheduler.start(start.clean(idx), &mut latents);
            }
            let kept = start.kept.as_ref().map(|kept| (kept, noise.as_slice()));
            denoise(&mut self.models, &mut evaluation, &mut walk, &mut latents, &mut lane, kept, watch)?;
            let noise = HostTensor::from_f32(self.latent_shape, noise.clone());
            denoised.push(Denoised { noise, latents: HostTensor::from_f32(self.latent_shape, latents) });
            *source = lane.into_source();
        }
        Ok(())
    }
}
