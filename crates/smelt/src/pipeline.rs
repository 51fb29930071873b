//! A pipeline: models that are loaded, and draw as often as they are asked to.

use std::ops::ControlFlow;

use sd_runtime::Stop;
use sd_runtime::pipeline::{
    DiffusionPipeline, GenerateOptions, GeneratedImage, GuidingPicture, PictureSettings, Preprocess, StartingPicture,
};
use sd_runtime::rng::RandomSource;
use sd_runtime::scheduler::Sampler;

use crate::error::{Context, Result};
use crate::load::{PipelineOptions, load};
use crate::open::Opened;
use crate::request::{Control, Drawing, Picture, Request};
use crate::watch::{Event, Progress, Unit, Watch};

/// Models that are loaded.
pub struct Pipeline {
    inner: DiffusionPipeline,
    name: String,
    scheduler: Sampler,
    /// Names of its ControlNets, in their order.
    controlnets: Vec<String>,
    warnings: Vec<String>,
}

impl Opened {
    /// Loads the models; a checkpoint is converted in memory.
    ///
    /// # Errors
    /// For options that the engine or the model would not heed, and for models that do not make a pipeline.
    pub fn pipeline(&self, options: &PipelineOptions) -> Result<Pipeline> {
        let mut loaded = load(options, self)?;
        let scheduler = options.scheduler.unwrap_or(loaded.config.scheduler.kind()?.into());
        let (name, mut warnings) = (std::mem::take(&mut loaded.name), std::mem::take(&mut loaded.warnings));
        let controlnets = std::mem::take(&mut loaded.controlnets);
        let (inner, found) = loaded.pipeline().with_context(|| self.source().to_string())?;
        warnings.extend(found);
        Ok(Pipeline { inner, name, scheduler, controlnets, warnings })
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
        let mut source = request.random.source(request.seed)?;
        self.draw_from(&mut source, request, stop, watch)
    }

    /// Draws as [`Pipeline::draw_until`] with the numbers of a random source that may go on for several requests, in the
    /// place of the request's own.
    ///
    /// # Errors
    /// As [`Pipeline::draw_until`].
    pub fn draw_from(
        &mut self,
        source: &mut Box<dyn RandomSource>,
        request: &Request,
        stop: &Stop,
        watch: &mut dyn Watch,
    ) -> Result<Drawing> {
        request.check()?;
        let options = request.options();
        let mut on_step = |at: sd_runtime::pipeline::Progress<'_>| -> ControlFlow<()> {
            watch.event(Event::Progress(Progress {
                what: "denoising",
                done: (at.image_idx * at.n_steps + at.step) as u64,
                total: (at.n_images * at.n_steps) as u64,
                unit: Unit::Steps,
            }))
        };
        let generation = self.inner.generate_from(source, &options, stop, &mut on_step)?;
        let _ = watch.event(Event::End);
        let picture = |(idx, generated)| self.picture(request, &options, idx, generated);
        Ok(Drawing {
            pictures: generation.images.into_iter().enumerate().map(picture).collect(),
            warnings: generation.warnings.iter().map(ToString::to_string).collect(),
        })
    }

    fn picture(&self, request: &Request, options: &GenerateOptions, idx: usize, generated: GeneratedImage) -> Picture {
        let GeneratedImage { image, noise, latents, decoded, safety, .. } = generated;
        let settings = PictureSettings {
            software: crate::SOFTWARE.to_owned(),
            model: self.name.clone(),
            prompt: options.prompt.clone(),
            negative_prompt: options.negative_prompt.clone(),
            seed: options.seed,
            image_idx: idx,
            steps: options.steps,
            guidance_scale: options.guidance_scale,
            scheduler: options.scheduler.unwrap_or(self.scheduler).to_string(),
            random: options.random.name().to_owned(),
            start: request
                .start
                .as_ref()
                .map(|start| StartingPicture { file: start.file.clone(), strength: start.strength }),
            controls: self.controlnets.iter().zip(&request.controls).map(guiding).collect(),
            width: image.width(),
            height: image.height(),
        };
        Picture { image, settings, flagged: safety.map(|verdict| verdict.flagged), noise, latents, decoded }
    }
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
