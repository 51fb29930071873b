//! Classifier-free guidance: the denoiser with the prompt and without it, in one call or in two.

use super::control::{ControlNet, Controls};
use super::denoiser::Denoiser;
use crate::condition::{Conditioning, Features};
use crate::control::ControlPicture;
use crate::engine::Tensors;
use crate::error::Result;
use crate::models::Shelf;
use crate::watch::Watch;

/// The calls of one evaluation, and what becomes of their rows.
pub(crate) struct Guidance<'a> {
    denoiser: &'a Denoiser,
    batch: usize,
    /// Inputs of each call. The conditioning is put in once, for all steps of all pictures, the rest at each step.
    calls: Vec<Tensors>,
    /// What ControlNets add to each call; none where the denoiser takes nothing of them.
    controls: Vec<Controls<'a>>,
    /// How strongly the prompt counts; absent if it is all that counts.
    scale: Option<f32>,
}

impl<'a> Guidance<'a> {
    /// Guidance of that scale, or none where there is nothing to be guided away from.
    ///
    /// The negative prompt's row comes first, as in diffusers; a batch of two without guidance has the same row twice.
    pub(crate) fn new(denoiser: &'a Denoiser, conditioning: &Conditioning, scale: f32) -> Result<Self> {
        let batch = denoiser.batch();
        let calls = rows(batch, conditioning).chunks(batch).map(|rows| join(denoiser, rows)).collect::<Result<_>>()?;
        let scale = conditioning.negative.is_some().then_some(scale);
        Ok(Self { denoiser, batch, calls, controls: Vec::new(), scale })
    }

    /// The same, where ControlNets add what they see in pictures; nothing without pictures.
    pub(crate) fn with_controls(
        mut self,
        nets: &'a [ControlNet],
        conditioning: &Conditioning,
        pictures: &[ControlPicture],
    ) -> Result<Self> {
        if self.denoiser.is_controlled() {
            let controls = |rows: &[&Features]| Controls::new(nets, self.denoiser, rows, pictures);
            self.controls = rows(self.batch, conditioning).chunks(self.batch).map(controls).collect::<Result<_>>()?;
        }
        Ok(self)
    }

    /// Begins step `idx` of `n`.
    pub(crate) fn begin(&mut self, idx: usize, n: usize) {
        self.controls.iter_mut().for_each(|controls| controls.begin(idx, n));
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
        for (call_idx, inputs) in self.calls.iter_mut().enumerate() {
            if let Some(controls) = self.controls.get_mut(call_idx) {
                controls.put(self.denoiser, models, inputs, latents, timestep, watch)?;
            }
            let sample = latents.repeat(self.batch);
            rows.extend(self.denoiser.predict(models, inputs, sample, timestep, watch)?);
        }
        let cond = rows.split_off(latents.len());
        Ok(match self.scale {
            None => rows,
            Some(scale) => rows.into_iter().zip(cond).map(|(u, c)| u + scale * (c - u)).collect(),
        })
    }
}

/// The rows of one evaluation: those of a batch of two without guidance are the same.
fn rows(batch: usize, Conditioning { prompt, negative }: &Conditioning) -> Vec<&Features> {
    match negative {
        Some(negative) => vec![negative, prompt],
        None => vec![prompt; batch],
    }
}

/// The features of several batch elements, one after the other.
fn join(denoiser: &Denoiser, rows: &[&Features]) -> Result<Tensors> {
    let names = rows.first().into_iter().flat_map(|row| row.keys());
    let values = |name: &str| rows.iter().filter_map(|row| row.get(name)).flatten().copied().collect();
    names.map(|name| Ok(((*name).to_owned(), denoiser.port().tensor(name, values(name))?))).collect()
}
