//! A pipeline: models that are loaded, and draw as often as they are asked to.

mod picture;
mod refine;
mod telling;
mod twice;

use std::sync::Arc;

use host_tensor::HostTensor;
use sd_checkpoint::Applied;
use sd_convert::{Beginning, LatentSize};
use sd_runtime::Stop;
use sd_runtime::pipeline::{DiffusionPipeline, Embedded, GenerateOptions, Streams};
use sd_runtime::rng::RandomSource;
use sd_runtime::scheduler::Sampler;
use sd_spec::Family;

use crate::error::{Context, Result, refuse};
use crate::load::{PipelineOptions, load, load_preview, load_refiner, open_refiner};
use crate::open::Opened;
use crate::preview::Previewer;
use crate::request::{Drawing, Request};
use crate::watch::Watch;
use picture::{Origin, PictureMaker};
use telling::Telling;
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
    /// What shows pictures while they are drawn.
    previewer: Arc<Previewer>,
    origin: Origin,
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
        let mut loaded = load(options, self, Beginning::Noise)?;
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
        let (larger, origin) = (Larger::new(self, options), Origin::of(self, options.cache.as_deref()));
        let decoder = load_preview(options, self, (family, &inner), &mut warnings)?;
        let previewer = Arc::new(Previewer::new(family, &name, decoder));
        Ok(Pipeline {
            inner,
            name,
            family,
            scheduler,
            larger,
            refiner,
            controlnets,
            taesd,
            loras,
            previewer,
            origin,
            warnings,
        })
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

    /// Refuses a request that could not be drawn, as far as that is known before any model runs.
    ///
    /// # Errors
    /// As [`Pipeline::draw`].
    pub fn check(&self, request: &Request) -> Result<()> {
        self.check_asked(request)?;
        if self.refiner.is_none() {
            self.inner.evaluations(&request.options(self.inner.takes()))?;
        }
        Ok(())
    }

    /// Draws; the watcher hears of every step, and has each picture as soon as it is finished ([`Event::Picture`](crate::Event::Picture)): before
    /// the next is begun, unless there are two passes or models that live for their stage, which finish all of them last.
    ///
    /// A watcher that breaks off keeps what it was given. Pictures whose steps are all done and that wait for their
    /// decoder are finished first; [`Pipeline::draw_until`] has a way to stop that waits for nothing.
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
        self.check_asked(request)?;
        let n_known = self.warnings.len();
        let maker = PictureMaker::new(self, request);
        let (previewer, shape, scale) = (self.previewer.clone(), self.inner.latent_shape(), self.inner.scale());
        let mut telling = Telling::new((watch, stop), &previewer, maker, (request.drawn_count(), shape, scale));
        let warnings = self.generate(streams, request, stop, &mut telling)?;
        let pictures = telling.end();
        let said = warnings.iter().map(ToString::to_string);
        // Models that were loaded for this drawing may have some of their own.
        let warnings = self.warnings[n_known..].iter().cloned().chain(said).collect();
        Ok(Drawing { pictures, warnings })
    }

    /// Refuses what the models are not asked for.
    fn check_asked(&self, request: &Request) -> Result<()> {
        request.check()?;
        request.check_named(&self.loras)?;
        self.check_can_begin(request)
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
}

/// Latents of all pictures that are asked for, of those that are drawn: where one is drawn alone, it stands for all.
fn of_all(drawn: Vec<HostTensor>, options: &GenerateOptions) -> Vec<HostTensor> {
    match (options.only, &drawn[..]) {
        (Some(_), [one]) => vec![one.clone(); options.image_count],
        _ => drawn,
    }
}
