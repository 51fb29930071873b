//! A pipeline: models that are loaded, and draw as often as they are asked to.

mod refine;
mod twice;

use std::ops::ControlFlow;

use sd_checkpoint::Applied;
use sd_convert::LatentSize;
use sd_runtime::Stop;
use sd_runtime::pipeline::{
    DiffusionPipeline, Embedded, GenerateOptions, GeneratedImage, GuidingPicture, OwnSeed, PictureSettings, Preprocess,
    RefinedBy, SecondPass, Streams,
};
use sd_runtime::rng::RandomSource;
use sd_runtime::scheduler::Sampler;
use sd_spec::Family;

use crate::error::{Context, Result, refuse};
use crate::load::{PipelineOptions, load, load_refiner, open_refiner};
use crate::open::Opened;
use crate::request::{Control, Drawing, Picture, REFINER_START, Request};
use crate::watch::{Event, Progress, Unit, Watch};
use twice::Larger;

/// Models that are loaded.
pub struct Pipeline {
    inner: DiffusionPipeline,
    name: String,
    family: Family,
    scheduler: Sampler,
    /// What draws a second, larger pass.
    larger: Larger,
    /// What takes the last steps.
    refiner: Option<Refiner>,
    /// Names of its ControlNets, in their order.
    controlnets: Vec<String>,
    /// Name of the TAESD that decodes, where one does.
    taesd: Option<String>,
    /// LoRAs that are in the weights.
    loras: Vec<Applied>,
    warnings: Vec<String>,
}

/// A refiner that is loaded.
struct Refiner {
    inner: DiffusionPipeline,
    name: String,
}

impl Opened {
    /// Loads the models; a checkpoint is converted in memory.
    ///
    /// # Errors
    /// For options that the engine or the model would not heed, and for models that do not make a pipeline.
    pub fn pipeline(&self, options: &PipelineOptions) -> Result<Pipeline> {
        let refiner = open_refiner(options, self)?;
        let mut loaded = load(options, self)?;
        let scheduler = options.scheduler.unwrap_or(loaded.config.scheduler.kind()?.into());
        let family = loaded.config.family;
        let (name, mut warnings) = (std::mem::take(&mut loaded.name), std::mem::take(&mut loaded.warnings));
        let (controlnets, taesd) = (std::mem::take(&mut loaded.controlnets), loaded.taesd.take());
        let loras = std::mem::take(&mut loaded.loras);
        let (inner, found) = loaded.pipeline().with_context(|| self.source().to_string())?;
        warnings.extend(found);
        let [_, _, height, width] = inner.latent_shape();
        let refiner =
            refiner.map(|refiner| load_refiner(options, &refiner, LatentSize { height, width })).transpose()?;
        let refiner = refiner.map(|refiner| Refiner::new(refiner, &mut warnings)).transpose()?;
        let larger = Larger::new(self, options);
        Ok(Pipeline { inner, name, family, scheduler, larger, refiner, controlnets, taesd, loras, warnings })
    }
}

impl Pipeline {
    /// Name of the model, as a picture's settings have it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The scheduler where a request names none.
    #[must_use]
    pub fn scheduler(&self) -> Sampler {
        self.scheduler
    }

    /// Names of the ControlNets, in the order in which pictures guide by them.
    #[must_use]
    pub fn controlnets(&self) -> &[String] {
        &self.controlnets
    }

    /// What the user should know of the model.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Draws; the watcher hears of every step.
    ///
    /// # Errors
    /// For requests that cannot be met, when a model fails, and when the watcher breaks off.
    pub fn draw(&mut self, request: &Request, watch: &mut dyn Watch) -> Result<Drawing> {
        self.draw_until(request, &Stop::never(), watch)
    }

    /// Draws as [`Pipeline::draw`], until somebody sets `stop`, in another thread as well: within a step, where a watcher
    /// stops between two.
    ///
    /// # Errors
    /// As [`Pipeline::draw`], and when it was stopped.
    pub fn draw_until(&mut self, request: &Request, stop: &Stop, watch: &mut dyn Watch) -> Result<Drawing> {
        self.draw_with(&mut Streams::of(&request.options(self.inner.takes()))?, request, stop, watch)
    }

    /// Draws as [`Pipeline::draw_until`] with the numbers of a random source that may go on for several requests, in the
    /// place of the request's own.
    ///
    /// # Errors
    /// As [`Pipeline::draw_until`], and for pictures with seeds of their own ([`Request::seeds`]).
    pub fn draw_from(
        &mut self,
        source: &mut Box<dyn RandomSource>,
        request: &Request,
        stop: &Stop,
        watch: &mut dyn Watch,
    ) -> Result<Drawing> {
        let mut streams = Streams::One(source.boxed_clone());
        let drawing = self.draw_with(&mut streams, request, stop, watch);
        if let Streams::One(after) = streams {
            *source = after;
        }
        drawing
    }

    /// What the denoiser is given of a request's prompts, without anything drawn.
    ///
    /// # Errors
    /// As [`Pipeline::draw`].
    pub fn embed(&mut self, request: &Request) -> Result<Embedded> {
        request.check()?;
        request.check_named(&self.loras)?;
        Ok(self.inner.embed(&request.options(self.inner.takes()), &Stop::never())?)
    }

    fn draw_with(
        &mut self,
        streams: &mut Streams,
        request: &Request,
        stop: &Stop,
        watch: &mut dyn Watch,
    ) -> Result<Drawing> {
        request.check()?;
        request.check_named(&self.loras)?;
        self.check_can_begin(request)?;
        let options = request.options(self.inner.takes());
        let n_known = self.warnings.len();
        let generation = self.generate(streams, request, stop, watch)?;
        let _ = watch.event(Event::End);
        let said = generation.warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
        let picture = |(idx, generated)| self.picture(request, &options, idx, generated);
        Ok(Drawing {
            pictures: generation.images.into_iter().enumerate().map(picture).collect(),
            // Models that were loaded for this drawing may have some of their own.
            warnings: self.warnings[n_known..].iter().cloned().chain(said).collect(),
        })
    }

    /// Refuses what no model can begin with.
    fn check_can_begin(&self, request: &Request) -> Result<()> {
        if self.family == Family::SdxlRefiner && request.start.is_none() && request.latents.is_empty() {
            refuse!(
                "{} is the refiner of Stable Diffusion XL, which begins with a picture: give one with --image, or give the \
                 base model with -m and this one with --refiner",
                self.name
            );
        }
        match request.refiner_start {
            Some(_) if self.refiner.is_none() => {
                refuse!("--refiner-start has no effect without a refiner; give one with --refiner, or leave it out")
            }
            _ => Ok(()),
        }
    }

    /// The latents' size in the first pass, or the only one.
    fn latent_size(&self) -> LatentSize {
        let [_, _, height, width] = self.inner.latent_shape();
        LatentSize { height, width }
    }

    /// Columns and rows of its pictures.
    fn first_size(&self) -> (usize, usize) {
        let (LatentSize { height, width }, scale) = (self.latent_size(), self.inner.scale());
        (width * scale, height * scale)
    }

    fn picture(&self, request: &Request, options: &GenerateOptions, idx: usize, generated: GeneratedImage) -> Picture {
        let GeneratedImage { image, noise, latents, decoded, safety, .. } = generated;
        // What was drawn; the picture is larger where that is a part of it.
        let (width, height) = match *decoded.shape() {
            [_, _, height, width] => (width, height),
            _ => (image.width(), image.height()),
        };
        let hires = request.hires.map(|hires| SecondPass {
            width,
            height,
            by: hires.by.to_string(),
            upscaler: hires.by.other_name().to_owned(),
            strength: hires.strength,
            steps: hires.steps.unwrap_or(options.steps),
        });
        let (width, height) = if hires.is_some() { self.first_size() } else { (width, height) };
        let OwnSeed { seed, variation, image_idx } = options.own_seed(idx);
        let settings = PictureSettings {
            software: crate::SOFTWARE.to_owned(),
            model: self.name.clone(),
            prompt: request.prompt.clone(),
            prompt_2: request.prompt_2.clone(),
            negative_prompt: options.negative_prompt.clone(),
            negative_prompt_2: options.negative_prompt_2.clone(),
            emphasis: options.emphasis.name().to_owned(),
            conditions: options.conditions,
            negative_conditions: options.negative_conditions,
            refiner: self.refiner.as_ref().map(|refiner| RefinedBy {
                model: refiner.name.clone(),
                start: request.refiner_start.unwrap_or(REFINER_START),
            }),
            seed,
            image_idx,
            steps: options.steps,
            guidance_scale: options.guidance_scale,
            guidance_rescale: options.guidance_rescale,
            clip_skip: options.clip_skip,
            negative_clip_skip: options.negative_clip_skip,
            timesteps: options.timesteps.clone(),
            sigmas: options.sigmas.clone(),
            eta: options.eta,
            original_steps: options.original_steps,
            variation,
            guidance_interval: options.guidance_interval.map(|interval| interval.to_string()),
            skip_layers: options.skip_layers,
            forecast: options.forecasting.map(|rule| rule.to_string()),
            scheduler: options.scheduler.unwrap_or(self.scheduler).to_string(),
            random: options.random.name().to_owned(),
            start: request.start.as_ref().map(|start| start.settings(self.inner.takes())),
            controls: self.controlnets.iter().zip(&request.controls).map(guiding).collect(),
            taesd: self.taesd.clone(),
            width,
            height,
            hires,
        };
        Picture { image, settings, flagged: safety.map(|verdict| verdict.flagged), noise, latents, decoded }
    }
}

/// Tells of a step, before and after which there are so many steps of other models.
fn on_step(
    watch: &mut dyn Watch,
    at: &sd_runtime::pipeline::Progress<'_>,
    n_before: usize,
    n_after: usize,
) -> ControlFlow<()> {
    watch.event(Event::Progress(Progress {
        what: "denoising",
        done: (n_before + at.image_idx * at.n_steps + at.step) as u64,
        total: (n_before + at.n_images * at.n_steps + n_after) as u64,
        unit: Unit::Steps,
    }))
}

/// What a picture's settings say of one that guided it.
fn guiding((controlnet, Control { picture, file }): (&String, &Control)) -> GuidingPicture {
    let preprocess = (picture.preprocess != Preprocess::None).then(|| picture.preprocess.to_string());
    GuidingPicture {
        controlnet: controlnet.clone(),
        file: file.clone(),
        preprocess,
        weight: picture.weight,
        start: picture.start,
        end: picture.end,
    }
}
