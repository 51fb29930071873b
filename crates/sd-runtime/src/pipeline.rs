//! Text to image, and image to image, with Stable Diffusion.
//!
//! A prompt becomes ids ([`prompt`](crate::prompt)), ids conditioning, conditioning and noise latents, latents a picture.
//! Each picture is finished and handed out before the next is denoised; where models live for their stage alone
//! ([`Residency`]), each stage runs for all pictures before the next begins.
//! The models are [`Engine`](crate::Engine)s known by their signatures; sizes, batch and element types come from there.
//! What differs between families of checkpoints is how prompts are read (`condition`); models that ask for what nobody
//! gives are refused by name.

mod canvas;
mod draw;
mod embed;
mod finish;
mod forms;
mod range;
mod reach;
mod settings;
mod start;
mod turns;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::ControlFlow;

use host_tensor::Stop;
use sd_spec::Role;

pub use crate::autoencoder::VaeConfig;
pub use crate::conditions::{Conditions, Corner};
pub use crate::control::{ControlPicture, Preprocess};
pub use crate::enlarge::{LatentFilter, enlarge};
pub use crate::forecasting::Forecasting;
pub use crate::foreign::other_unet;
pub use crate::interval::GuidanceInterval;
pub use crate::models::Models;
pub use crate::pipeline_config::PipelineConfig;
pub use crate::request::{
    DEFAULT_IMAGE_GUIDANCE, Denoised, GenerateOptions, GeneratedImage, Generation, OwnSeed, Progress, PromptPart,
    Repaint, SafetyVerdict, StartingImage, StartingLatents, Undecoded, Warning,
};
pub use crate::safety::{CropSize, EdgeSize, PreprocessorConfig};
pub use crate::seeds::Seeds;
pub use crate::skip_layers::{Blocks, SkipLayers};
pub use crate::streams::Streams;
pub use crate::takes::Takes;
pub use crate::variation::Variation;
pub use crate::watch::Observer;
pub use embed::Embedded;
pub use settings::{GuidingPicture, PictureSettings, RefinedBy, SecondPass, StartingPicture};

use crate::autoencoder::{Decoder, Encoder};
use crate::condition::{self, Conditioner};
use crate::denoise::{Denoiser, check_pictures};
use crate::engine::{Loader, Residency};
use crate::error::{Result, RuntimeError};
use crate::models::{Shelf, missing};
use crate::part::Part;
use crate::rng::RandomSource;
use crate::safety::SafetyChecker;
use crate::scheduler::{Scheduler, SchedulerConfig, WalkOptions};
use crate::watch::{Collector, Watch};
use draw::Begun;
use finish::{Finish, Finisher};
use reach::Reach;

/// A pipeline from text, or from text and a picture, to pictures.
pub struct DiffusionPipeline {
    config: PipelineConfig,
    models: Shelf,
    conditioner: Box<dyn Conditioner>,
    /// The denoiser, and what guides it.
    own: Reach,
    /// The same for texts of several windows, once a request needed it.
    longer: Option<Reach>,
    /// The one without some blocks, for one sample at a time, once a request needed it.
    without_blocks: Option<(Blocks, Denoiser)>,
    decoder: Decoder,
    encoder: Option<Encoder>,
    safety_checker: Option<SafetyChecker>,
    latent_shape: [usize; 4],
}

impl DiffusionPipeline {
    /// Puts a pipeline together, and checks that the models fit it and one another.
    ///
    /// Text encoders, denoiser and decoder of the configuration's family must be there; the encoder is needed only to begin
    /// with a picture, and pictures are checked where there is a safety checker.
    ///
    /// # Errors
    /// [`RuntimeError::Signature`] for a missing model and for features that are missing, superfluous or of the wrong shape.
    pub fn new(models: Models, config: PipelineConfig) -> Result<Self> {
        Self::of(Shelf::kept(models), config)
    }

    /// The same with models that are loaded here, or stage by stage while pictures are drawn.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`RuntimeError::Engine`] for a model that cannot be loaded.
    pub fn with_loader(loader: Box<dyn Loader>, residency: Residency, config: PipelineConfig) -> Result<Self> {
        Self::of(Shelf::new(loader, residency)?, config)
    }

    /// The same with models that are loaded already, and a loader of others, which are loaded once a request needs them.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn growing(models: Models, loader: Box<dyn Loader>, config: PipelineConfig) -> Result<Self> {
        Self::of(Shelf::growing(models, loader), config)
    }

    fn of(mut models: Shelf, config: PipelineConfig) -> Result<Self> {
        let conditioner = condition::of_family(config.family, &mut models)?;
        let required = config.family.spec().required;
        let own = required.iter().copied().find(|role| role.is_denoiser()).unwrap_or(Role::UNet);
        let is_controlled = models.signature(Role::ControlledUNet.into())?.is_some()
            || models.signature(Part::numbered(Role::ControlNet, 0))?.is_some();
        let role = if is_controlled { Role::ControlledUNet } else { own };
        let mut needed = |role: Role| models.signature(role.into())?.ok_or_else(|| missing(role));
        let denoiser = Denoiser::new(role, needed(role)?, conditioner.given())?;
        let decoder = Decoder::new(needed(Role::VaeDecoder)?, config.decoder.unwrap_or(config.vae))?;
        let encoder = models.signature(Role::VaeEncoder.into())?;
        let encoder = encoder.map(|signature| Encoder::new(signature, config.vae)).transpose()?;
        let safety_checker = models.signature(Role::SafetyChecker.into())?;
        let safety_checker =
            safety_checker.map(|signature| SafetyChecker::new(signature, config.preprocessor.clone())).transpose()?;
        conditioner.check_fits(&denoiser)?;
        let denoiser = denoiser.for_latents(decoder.latent_channels()?)?;
        let own = Reach::own(&mut models, denoiser)?;
        let latent_shape = decoder.latent_shape(&own.denoiser.latent_dims())?;
        if let Some(encoder) = &encoder {
            encoder.check_fits(latent_shape)?;
        }
        Ok(Self {
            config,
            models,
            conditioner,
            own,
            longer: None,
            without_blocks: None,
            decoder,
            encoder,
            safety_checker,
            latent_shape,
        })
    }

    /// Shape of one image's latents: [1, channels, height, width].
    #[must_use]
    pub const fn latent_shape(&self) -> [usize; 4] {
        self.latent_shape
    }

    /// What the denoiser takes beside the latents, which says what a request must have.
    #[must_use]
    pub const fn takes(&self) -> Takes {
        self.own.denoiser.takes()
    }

    /// Whether pictures are checked unless the options say otherwise.
    #[must_use]
    pub const fn has_safety_checker(&self) -> bool {
        self.safety_checker.is_some()
    }

    /// Draws pictures from the random source that the options name.
    ///
    /// `progress` is called after every step, and may stop the run; `stop` does so from elsewhere, and within a step.
    ///
    /// # Errors
    /// [`RuntimeError::Stopped`] if one of them asked for it; otherwise what is wrong with the options, or what an engine failed with.
    pub fn generate(
        &mut self,
        options: &GenerateOptions,
        stop: &Stop,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Generation> {
        self.generate_with(&mut Streams::of(options)?, options, stop, progress)
    }

    /// Draws pictures from a random source that may go on for several prompts; the seed of the options is not used.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), and for seeds of each picture's own.
    pub fn generate_from(
        &mut self,
        source: &mut Box<dyn RandomSource>,
        options: &GenerateOptions,
        stop: &Stop,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let mut streams = Streams::One(source.boxed_clone());
        let generation = self.generate_with(&mut streams, options, stop, progress);
        if let Streams::One(after) = streams {
            *source = after;
        }
        generation
    }

    /// Draws pictures from random numbers that may go on for several prompts; the seed of the options is not used.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), and for other random numbers than the options ask for.
    pub fn generate_with(
        &mut self,
        streams: &mut Streams,
        options: &GenerateOptions,
        stop: &Stop,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let mut collector = Collector::new(progress);
        let warnings = self.generate_each(streams, options, stop, &mut collector)?;
        Ok(Generation { images: collector.images, warnings })
    }

    /// Draws as [`generate_with`](Self::generate_with), and hands each picture out as soon as it is finished; returns what
    /// the caller should tell its user.
    ///
    /// Where models live for their stage alone, all pictures are finished after the last step of the last one. If the
    /// observer ends such a run before that, the pictures whose steps are all done are finished first, and handed out; only
    /// `stop` ends it at once.
    ///
    /// # Errors
    /// As [`generate_with`](Self::generate_with).
    pub fn generate_each(
        &mut self,
        streams: &mut Streams,
        options: &GenerateOptions,
        stop: &Stop,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Warning>> {
        let warnings = self.draw(streams, options, stop, observer);
        self.models.release();
        warnings
    }

    /// Denoises and leaves the rest, decoding and the safety checker, to others: another pipeline may go on from the latents.
    ///
    /// # Errors
    /// As [`generate_with`](Self::generate_with).
    pub fn denoise_with(
        &mut self,
        streams: &mut Streams,
        options: &GenerateOptions,
        stop: &Stop,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Undecoded> {
        let n_steps = self.evaluations(options)?;
        let mut collector = Collector::new(progress);
        let mut watch = Watch::new(options.drawn_count(), n_steps, stop, &mut collector);
        let undecoded = self.undecoded(streams, options, &mut watch);
        self.models.release();
        undecoded
    }

    fn undecoded(
        &mut self,
        streams: &mut Streams,
        options: &GenerateOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Undecoded> {
        let begun = self.begin(streams, options, watch)?;
        if begun.overlay.is_some() {
            return Err(RuntimeError::Options(
                "what is drawn for a part of a picture is decoded by the pipeline that drew it; no other can go on from it"
                    .into(),
            ));
        }
        let mut pictures = Vec::with_capacity(options.drawn_count());
        self.denoise(streams, &begun, options, watch, &mut |_, denoised, _, _| {
            pictures.push(denoised);
            Ok(())
        })?;
        Ok(Undecoded { pictures, warnings: begun.warnings })
    }

    /// Evaluations of the denoiser that each picture takes; wrong options are refused without running any model.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn evaluations(&self, options: &GenerateOptions) -> Result<usize> {
        options.check()?;
        options.check_for(self.own.denoiser.takes())?;
        check_pictures(&self.own.nets, &options.controls)?;
        self.check_skip_layers(options)?;
        if self.own.denoiser.guidance_width().is_some() {
            let is_negative = options.negative_prompt.as_ref().is_some_and(|text| !text.is_empty());
            let given =
                [("a negative prompt", is_negative), ("an interval of guidance", options.guidance_interval.is_some())];
            if let Some((what, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
                return Err(RuntimeError::Options(format!(
                    "guidance was distilled into the model, so {what} has no effect; leave it out"
                )));
            }
        }
        condition::check_takes(self.conditioner.as_ref(), &self.own.denoiser, self.config.family, options)?;
        Ok(self.walk(options)?.n_calls)
    }

    fn draw(
        &mut self,
        streams: &mut Streams,
        options: &GenerateOptions,
        stop: &Stop,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Warning>> {
        let n_steps = self.evaluations(options)?;
        let mut watch = Watch::new(options.drawn_count(), n_steps, stop, observer);
        let begun = self.begin(streams, options, &watch)?;
        let mut finish = Finish::new(options, begun.overlay.as_ref());
        if self.models.is_staged() {
            self.draw_by_stage(streams, (&begun, &mut finish), options, &mut watch)?;
        } else {
            self.denoise(streams, &begun, options, &mut watch, &mut |idx, denoised, by, watch| {
                finish.one(idx, denoised, by, watch)
            })?;
        }
        let bad = finish.warnings;
        Ok(begun.warnings.into_iter().chain(bad).collect())
    }

    /// Denoises all pictures before any is finished; what is denoised already is not lost with a run that is ended.
    fn draw_by_stage(
        &mut self,
        streams: &mut Streams,
        (begun, finish): (&Begun, &mut Finish<'_>),
        options: &GenerateOptions,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let mut waiting = Vec::with_capacity(options.drawn_count());
        let denoised = self.denoise(streams, begun, options, watch, &mut |_, denoised, _, _| {
            waiting.push(denoised);
            Ok(())
        });
        let is_ended = matches!(denoised, Err(RuntimeError::Stopped { .. })) && !watch.stop().is_set();
        if denoised.is_ok() || is_ended {
            let finisher = Finisher { decoder: &self.decoder, safety_checker: self.safety_checker.as_ref() };
            finish.all(waiting, (&finisher, &mut self.models), watch)?;
        }
        denoised
    }

    /// A scheduler for one picture, without the first steps.
    fn scheduler(&self, options: &GenerateOptions, start: usize) -> Result<Box<dyn Scheduler>> {
        let [_, _, height, width] = self.latent_shape;
        // Transformers take patches of 2 by 2 latents.
        let mu = self.config.scheduler.dynamic_shift((height / 2) * (width / 2));
        let walk = WalkOptions { mu, start, ..options.walk() };
        self.scheduler_config(options)?.walk(None, &walk)
    }

    /// The configuration of the scheduler that is asked for.
    fn scheduler_config(&self, options: &GenerateOptions) -> Result<Cow<'_, SchedulerConfig>> {
        Ok(match options.scheduler {
            Some(sampler) => Cow::Owned(self.config.scheduler.asked_as(sampler)?),
            None => Cow::Borrowed(&self.config.scheduler),
        })
    }
}
