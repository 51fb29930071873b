//! Two models that take turns: one draws until there is little noise left, and its refiner goes on from there.

use host_tensor::HostTensor;
use sd_runtime::Stop;
use sd_runtime::pipeline::{Conditions, GenerateOptions, Observer as _, Streams, Warning};

use super::telling::Telling;
use super::{Pipeline, Refiner, of_all};
use crate::error::{Context, Result};
use crate::load::Loaded;
use crate::request::{REFINER_START, Request};

impl Refiner {
    /// Puts it together; what the user should know joins what is known of the model itself.
    pub(super) fn new(mut loaded: Loaded, warnings: &mut Vec<String>) -> Result<Self> {
        let said = std::mem::take(&mut loaded.warnings);
        let name = std::mem::take(&mut loaded.name);
        let (inner, found) = loaded.pipeline().with_context(|| format!("the refiner {name}"))?;
        let new = said.into_iter().chain(found).filter(|warning| !warnings.contains(warning));
        let new: Vec<String> = new.map(|warning| format!("the refiner: {warning}")).collect();
        warnings.extend(new);
        Ok(Self { inner, name })
    }
}

impl Pipeline {
    /// Draws, where there is a refiner with both in turn; pictures are decoded once, with the refiner's own decoder.
    pub(super) fn generate(
        &mut self,
        streams: &mut Streams,
        request: &Request,
        stop: &Stop,
        telling: &mut Telling<'_>,
    ) -> Result<Vec<Warning>> {
        if let Some(hires) = &request.hires {
            return self.draw_twice(hires, streams, request, stop, telling);
        }
        let options = request.options(self.inner.takes());
        let Self { inner, refiner: Some(refiner), .. } = self else {
            return Ok(self.inner.generate_each(streams, &options, stop, telling)?);
        };
        let at = request.refiner_start.unwrap_or(REFINER_START);
        let (first, mut last) = turns(options, at);
        // What is wrong with the second turn must not cost the first: zeros stand for what it will begin with.
        let (shape, n_pictures) = (inner.latent_shape(), first.drawn_count());
        let nothing = HostTensor::from_f32(shape, vec![0.0; shape.iter().product()]);
        last.latents = vec![nothing; first.image_count];
        let n_last = n_pictures * refiner.inner.evaluations(&last)?;
        let n_first = n_pictures * inner.evaluations(&first)?;
        telling.first_of_two(n_last);
        let begun = inner.denoise_with(streams, &first, stop, &mut |at| telling.step(at))?;
        last.latents = of_all(begun.pictures.iter().map(|picture| picture.latents.clone()).collect(), &first);
        telling.began_with(begun.pictures.into_iter().map(|picture| picture.noise).collect());
        telling.last_of_two(n_first, shape);
        let said = refiner.inner.generate_each(streams, &last, stop, telling)?;
        Ok(joined(begun.warnings, said))
    }
}

/// What two passes said, each thing once.
pub(super) fn joined(first: Vec<Warning>, last: Vec<Warning>) -> Vec<Warning> {
    let mut all: Vec<Warning> = first.into_iter().filter(|warning| !last.contains(warning)).collect();
    all.extend(last);
    all
}

/// What the model is asked for, and what its refiner: each is told what it takes, and the refiner, whose text encoder is the
/// second one, reads that one's prompts.
fn turns(options: GenerateOptions, at: f64) -> (GenerateOptions, GenerateOptions) {
    let without_score = |told: Conditions| Conditions { aesthetic_score: None, ..told };
    let without_target = |told: Conditions| Conditions { target_size: None, ..told };
    let first = GenerateOptions {
        conditions: without_score(options.conditions),
        negative_conditions: without_score(options.negative_conditions),
        denoising_end: Some(at),
        ..options.clone()
    };
    let last = GenerateOptions {
        prompt: options.prompt_2.unwrap_or(options.prompt),
        prompt_2: None,
        negative_prompt: options.negative_prompt_2.or(options.negative_prompt),
        negative_prompt_2: None,
        conditions: without_target(options.conditions),
        negative_conditions: without_target(options.negative_conditions),
        start: None,
        // ControlNets guide the model that they were made for.
        controls: Vec::new(),
        denoising_start: Some(at),
        ..options
    };
    (first, last)
}
