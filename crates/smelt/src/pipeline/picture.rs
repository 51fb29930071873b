//! From what the models gave to a picture with the settings that draw it again.

use std::path::Path;

use sd_runtime::pipeline::{
    GenerateOptions, GeneratedImage, GuidingPicture, OwnSeed, PictureSettings, Preprocess, RefinedBy, SecondPass, Seeds,
};

use super::Pipeline;
use crate::open::{Model, Opened};
use crate::picture::Picture;
use crate::request::{Control, REFINER_START, Request};

/// What is said of a model beside its name.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    /// AUTOMATIC1111's hash of it.
    hash: Option<String>,
    /// Whose autoencoder it has, where that is not its own.
    vae: Option<String>,
    /// New words that it was opened with.
    words: Vec<String>,
}

impl Origin {
    /// As far as it is known without reading weights.
    pub(super) fn of(opened: &Opened, cache: Option<&Path>) -> Self {
        // What cannot be read is not known.
        let hash = opened.known_model_hash(cache).ok().flatten();
        let (vae, words) = match opened.model() {
            // What packages were made with is part of them.
            Model::Packages(_) => (None, Vec::new()),
            Model::Checkpoint(checkpoint) => (
                checkpoint.vae_name().map(str::to_owned),
                checkpoint.words().iter().map(|word| word.word.clone()).collect(),
            ),
        };
        Self { hash, vae, words }
    }
}

/// Makes the pictures of a request.
pub(super) struct PictureMaker {
    /// What the settings of all of them have in common.
    settings: PictureSettings,
    options: GenerateOptions,
}

impl PictureMaker {
    pub(super) fn new(pipeline: &Pipeline, request: &Request) -> Self {
        let options = request.options(pipeline.inner.takes());
        Self { settings: settings(pipeline, request, &options), options }
    }

    /// One of them, by its place among those that are drawn.
    pub(super) fn picture(&self, idx: usize, generated: GeneratedImage) -> Picture {
        let GeneratedImage { image, noise, latents, decoded, safety, .. } = generated;
        // What was drawn; the picture is larger where that is a part of it.
        let (width, height) = match *decoded.shape() {
            [_, _, height, width] => (width, height),
            _ => (image.width(), image.height()),
        };
        let OwnSeed { seed, variation, image_idx } = self.options.own_seed(self.options.only.unwrap_or(idx));
        let mut settings = PictureSettings { seed, variation, image_idx, ..self.settings.clone() };
        match &mut settings.hires {
            // The picture's own size is that of the first pass.
            Some(second) => (second.width, second.height) = (width, height),
            None => (settings.width, settings.height) = (width, height),
        }
        Picture { image, settings, flagged: safety.map(|verdict| verdict.flagged), noise, latents, decoded }
    }
}

/// The settings of a request's first picture, in the size of the first pass.
fn settings(pipeline: &Pipeline, request: &Request, options: &GenerateOptions) -> PictureSettings {
    let (width, height) = pipeline.first_size();
    let hires = request.hires.map(|hires| SecondPass {
        width,
        height,
        by: hires.by.to_string(),
        upscaler: hires.by.other_name().to_owned(),
        strength: hires.strength,
        steps: hires.steps.unwrap_or(options.steps),
    });
    PictureSettings {
        software: crate::SOFTWARE.to_owned(),
        model: pipeline.name.clone(),
        model_hash: pipeline.origin.hash.clone(),
        vae: pipeline.origin.vae.clone(),
        words: pipeline.origin.words.clone(),
        prompt: request.prompt.clone(),
        prompt_2: request.prompt_2.clone(),
        negative_prompt: options.negative_prompt.clone(),
        negative_prompt_2: options.negative_prompt_2.clone(),
        emphasis: options.emphasis.name().to_owned(),
        conditions: options.conditions,
        negative_conditions: options.negative_conditions,
        refiner: pipeline.refiner.as_ref().map(|refiner| RefinedBy {
            model: refiner.name.clone(),
            start: request.refiner_start.unwrap_or(REFINER_START),
        }),
        seed: options.seed,
        image_idx: 0,
        image_count: if options.seeds == Seeds::Stream { options.image_count } else { 1 },
        noise: (!request.noise.is_empty() || !request.latents.is_empty()).then(|| "given".to_owned()),
        steps: options.steps,
        guidance_scale: options.guidance_scale,
        guidance_rescale: options.guidance_rescale,
        clip_skip: options.clip_skip,
        negative_clip_skip: options.negative_clip_skip,
        timesteps: options.timesteps.clone(),
        sigmas: options.sigmas.clone(),
        eta: options.eta,
        original_steps: options.original_steps,
        variation: options.variation,
        guidance_interval: options.guidance_interval.map(|interval| interval.to_string()),
        skip_layers: options.skip_layers,
        forecast: options.forecasting.map(|rule| rule.to_string()),
        scheduler: options.scheduler.unwrap_or(pipeline.scheduler).exact_name(),
        random: options.random.name().to_owned(),
        start: request.start.as_ref().map(|start| start.settings(pipeline.inner.takes())),
        controls: pipeline.controlnets.iter().zip(&request.controls).map(guiding).collect(),
        taesd: pipeline.taesd.clone(),
        width,
        height,
        hires,
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
