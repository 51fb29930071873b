//! Classifier-free guidance: the denoiser with the prompt and without it, in one call or in two.

use super::denoiser::{Denoiser, GUIDANCE_INPUT};
use super::embedding::guidance_embedding;
use super::rescale::rescale;
use crate::condition::{Conditioning, Features};
use crate::engine::Tensors;
use crate::error::Result;
use crate::models::Shelf;
use crate::request::GenerateOptions;
use crate::watch::Watch;

/// The calls of one evaluation, and what becomes of their rows.
pub(crate) struct Guidance<'a> {
    denoiser: &'a Denoiser,
    batch: usize,
    /// Inputs of each call. The conditioning is put in once, for all steps of all pictures, the rest at each step.
    calls: Vec<Tensors>,
    /// How strongly the prompt counts; absent if it is all that counts.
    scale: Option<f32>,
    /// How much of the guided prediction is brought to the spread of the prompt's own.
    rescale: f32,
}

impl<'a> Guidance<'a> {
    /// Guidance of that scale, or none where there is nothing to be guided away from.
    ///
    /// The negative prompt's row comes first, as in diffusers; a batch of two without guidance has the same row twice.
    pub(crate) fn new(denoiser: &'a Denoiser, conditioning: &Conditioning, options: &GenerateOptions) -> Result<Self> {
        let batch = denoiser.batch();
        let Conditioning { prompt, negative } = conditioning;
        let rows = match negative {
            Some(negative) => vec![negative, prompt],
            None => vec![prompt; batch],
        };
        let mut calls = rows.chunks(batch).map(|rows| join(denoiser, rows)).collect::<Result<Vec<_>>>()?;
        let scale = options.guidance_scale;
        if let Some(width) = denoiser.guidance_width() {
            let embedding = guidance_embedding(scale, width).repeat(batch);
            let embedding = denoiser.port().tensor(GUIDANCE_INPUT, embedding)?;
            calls.iter_mut().for_each(|call| drop(call.insert(GUIDANCE_INPUT.to_owned(), embedding.clone())));
        }
        Ok(Self {
            denoiser,
            batch,
            calls,
            scale: negative.is_some().then_some(scale),
            rescale: options.guidance_rescale,
        })
    }

    /// The noise predicted for one image's latents; with guidance, `uncond + scale · (cond − uncond)`.
    pub(crate) fn predict(
        &mut self,
        models: &mut Shelf,
        latents: &[f32],
        timestep: f32,
        watch: &Watch<'_>,
    ) -> Result<Vec<f32>> {
        let mut rows = Vec::with_capacity(latents.len() * self.batch * self.calls.len());
        for inputs in &mut self.calls {
            let sample = latents.repeat(self.batch);
            rows.extend(self.denoiser.predict(models, inputs, sample, timestep, watch)?);
        }
        let cond = rows.split_off(rows.len() / (self.batch * self.calls.len()));
        let Some(scale) = self.scale else { return Ok(rows) };
        let mut guided: Vec<f32> = rows.into_iter().zip(&cond).map(|(u, c)| u + scale * (c - u)).collect();
        if self.rescale > 0.0 {
            rescale(&mut guided, &cond, self.rescale);
        }
        Ok(guided)
    }
}

/// The features of several batch elements, one after the other.
fn join(denoiser: &Denoiser, rows: &[&Features]) -> Result<Tensors> {
    let names = rows.first().into_iter().flat_map(|row| row.keys());
    let values = |name: &str| rows.iter().filter_map(|row| row.get(name)).flatten().copied().collect();
    names.map(|name| Ok(((*name).to_owned(), denoiser.port().tensor(name, values(name))?))).collect()
}
