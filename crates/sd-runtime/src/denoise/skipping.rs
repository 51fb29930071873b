//! Guidance away from what the transformer predicts without some of its blocks.
// Source of the rules: diffusers 0.42.1, StableDiffusion3Pipeline.

use super::denoiser::Denoiser;
use crate::engine::Tensors;
use crate::error::Result;
use crate::features::Features;
use crate::models::Shelf;
use crate::skip_layers::SkipLayers;
use crate::watch::Watch;

/// The transformer without some blocks, which reads the prompt alone.
pub(super) struct Skipping<'a> {
    denoiser: &'a Denoiser,
    inputs: Tensors,
    asked: SkipLayers,
    n_steps: usize,
    is_on: bool,
}

impl<'a> Skipping<'a> {
    /// As it is asked for, in a run of so many steps.
    pub(super) fn new(denoiser: &'a Denoiser, prompt: &Features, asked: SkipLayers, n_steps: usize) -> Result<Self> {
        let tensor = |(name, values): (&&'static str, &Vec<f32>)| {
            Ok(((*name).to_owned(), denoiser.port().tensor(name, values.clone())?))
        };
        let inputs = prompt.iter().map(tensor).collect::<Result<_>>()?;
        Ok(Self { denoiser, inputs, asked, n_steps, is_on: false })
    }

    /// Begins a step.
    pub(super) fn begin(&mut self, idx: usize) {
        self.is_on = self.asked.is_on(idx, self.n_steps);
    }

    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Adds to a prediction as much as is asked for of the way from what is predicted without the blocks to the `prompt`'s
    /// own: `guided + scale · (prompt − without)`.
    pub(super) fn add(
        &mut self,
        guided: &mut [f32],
        prompt: &[f32],
        models: &mut Shelf,
        (latents, timestep): (&[f32], f32),
        watch: &Watch<'_>,
    ) -> Result<()> {
        let without = self.denoiser.predict(models, &mut self.inputs, latents.to_vec(), timestep, watch)?;
        let pairs = prompt.iter().zip(&without);
        guided.iter_mut().zip(pairs).for_each(|(x, (prompt, without))| *x += (prompt - without) * self.asked.scale);
        Ok(())
    }
}
