//! Models that stay in memory between jobs, the least recently used dropped first.

use std::sync::Arc;

use smelt::{Embeddings, Event, Loras, Opening, Pipeline, PipelineOptions, Request};

use crate::app::App;
use crate::catalogue::Model;
use crate::fault::Fault;
use crate::job::Job;
use crate::metrics::resident_bytes;
use crate::order::Order;

/// Pipelines that are kept where no limit says otherwise: one that draws, and the one before it.
const USUAL: usize = 2;

/// Pipelines that are loaded, the one that was used last at the end.
pub(super) struct Warm {
    app: Arc<App>,
    kept: Vec<One>,
}

struct One {
    model: String,
    /// What it was loaded with, beside what begins with a picture.
    key: String,
    with_picture: bool,
    pipeline: Pipeline,
}

impl Warm {
    pub(super) const fn new(app: Arc<App>) -> Self {
        Self { app, kept: Vec::new() }
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.tell();
    }

    /// Drops what is loaded of a model, or all.
    pub(super) fn drop_model(&mut self, name: Option<&str>) {
        self.kept.retain(|one| name.is_some_and(|name| one.model != name));
        self.tell();
    }

    fn tell(&self) {
        self.app.loaded(self.kept.iter().map(|one| one.model.clone()).collect());
    }

    /// Loads a model as a plain request needs it.
    pub(super) fn load(&mut self, job: &Job, model: &Arc<Model>) -> Result<(), Fault> {
        let mut request = Request::default();
        model.recommended.apply(&mut request);
        let order = Order {
            model: model.clone(),
            request,
            sizes: smelt::Sizes::default(),
            loras: Vec::new(),
            controlnets: Vec::new(),
            preview_every: None,
            format: smelt::image::PictureFormat::default(),
        };
        self.get(job, &order).map(drop)
    }

    /// The pipeline for an order, loaded now where it is not yet.
    pub(super) fn get(&mut self, job: &Job, order: &Order) -> Result<&mut Pipeline, Fault> {
        let with_picture = order.request.start.is_some();
        let (opening, options) = (self.opening(order)?, self.options(order));
        let key = key(order, &opening, &options);
        let found = self.kept.iter().position(|one| one.key == key && (one.with_picture || !with_picture));
        let one = match found {
            Some(at) => self.kept.remove(at),
            None => {
                job.loading();
                // The same without an encoder is no longer needed.
                self.kept.retain(|one| one.key != key);
                self.make_room(order.model.bytes);
                let opened = opening.open(order.model.source.clone()).map_err(|error| Fault::refused(&error))?;
                order.request.check_for(&opened).map_err(|error| Fault::refused(&error))?;
                let pipeline = opened.pipeline(&options).map_err(|error| Fault::refused(&error))?;
                tracing::info!(model = %order.model.name, "loaded");
                One { model: order.model.name.clone(), key, with_picture, pipeline }
            }
        };
        self.kept.push(one);
        self.tell();
        let one = self.kept.last_mut().ok_or_else(|| Fault::internal("the model is gone"))?;
        one.pipeline.warnings().iter().for_each(|warning| job.warned(warning));
        Ok(&mut one.pipeline)
    }

    /// Drops the least recently used until a model of so many bytes fits.
    fn make_room(&mut self, n_bytes: u64) {
        match self.app.options.limits.memory {
            None => {
                let surplus = (self.kept.len() + 1).saturating_sub(USUAL);
                self.kept.drain(..surplus);
            }
            Some(limit) => {
                while !self.kept.is_empty() && resident_bytes().saturating_add(n_bytes) > limit {
                    let one = self.kept.remove(0);
                    tracing::info!(model = %one.model, "dropped for want of memory");
                }
            }
        }
    }

    fn opening(&self, order: &Order) -> Result<Opening, Fault> {
        let catalogue = &self.app.catalogue;
        let folder = |dir: Option<&std::path::Path>| dir.map(std::path::Path::to_owned);
        let mut opening = Opening { offline: true, ..Opening::default() };
        if order.model.is_packages {
            if !order.loras.is_empty() {
                return Err(Fault::field(
                    "loras",
                    format!(
                        "{} is packages, whose weights are as they were converted; LoRAs need a checkpoint",
                        order.model.name
                    ),
                ));
            }
            return Ok(opening);
        }
        opening.loras =
            Loras { asked: order.loras.clone(), folder: folder(catalogue.lora_dir()), allow_unapplied: true };
        opening.embeddings = Embeddings { folder: folder(catalogue.embedding_dir()), ..Embeddings::default() };
        order.request.name_in(&mut opening).map_err(|error| Fault::refused(&error))?;
        Ok(opening)
    }

    fn options(&self, order: &Order) -> PipelineOptions {
        let (request, app) = (&order.request, &self.app.options);
        PipelineOptions {
            engine: app.engine.clone(),
            sizes: order.sizes.clone(),
            steps: request.steps,
            controlnets: order.controlnets.clone(),
            with_picture: request.start.is_some(),
            clip_skips: [Some(request.clip_skip), request.negative_clip_skip].into_iter().flatten().collect(),
            skip_layers: request.skip_layers.iter().map(|skip| skip.layers).collect(),
            safety_check: !request.no_safety_check,
            low_memory: app.low_memory,
            cache: app.cache.clone(),
            ..PipelineOptions::default()
        }
    }
}

/// Tells pipelines apart that cannot draw for each other.
fn key(order: &Order, opening: &Opening, options: &PipelineOptions) -> String {
    let PipelineOptions { sizes, controlnets, clip_skips, skip_layers, safety_check, .. } = options;
    let typed = opening.typed();
    format!("{:?}", (&order.model.path, typed, sizes, controlnets, clip_skips, skip_layers, safety_check))
}

/// Tells a job what a load has to say.
pub(super) fn hear(job: &Job, event: &Event<'_>) {
    if let Event::Warning(message) = event {
        job.warned(message);
    }
}
