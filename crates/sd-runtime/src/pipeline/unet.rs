//! The UNet: latents, time step and text → predicted noise, with classifier-free guidance.

use host_tensor::Stop;

use super::foreign::other_unet;
use super::model::Model;
use super::text::{Conditioning, TextShape};
use crate::engine::Engine;
use crate::error::Result;

/// Inputs of a UNet that stay as they are from step to step of a picture: the text. An engine may keep what depends on
/// them only, such as its keys and values in all attentions. (A UNet of batch 1 takes two texts in turns, and gains
/// nothing.)
pub const STEADY_INPUTS: [&str; 1] = ["encoder_hidden_states"];

/// `sample` [B, C, h, w], `timestep` [B], `encoder_hidden_states` [B, D, 1, S] → `noise_pred` [B, C, h, w], with B 1 or 2.
pub(super) struct UNet {
    model: Model,
    batch: usize,
    latent_shape: [usize; 4],
    text: TextShape,
}

impl UNet {
    pub(super) fn new(engine: Box<dyn Engine>) -> Result<Self> {
        let model = Model::new("unet", engine, &[("sample", 4), ("timestep", 1), ("encoder_hidden_states", 4)])?;
        model.expect_output("noise_pred")?;
        let (sample, timestep) = (model.input_dims("sample")?, model.input_dims("timestep")?);
        let hidden = model.input_dims("encoder_hidden_states")?;
        let batch = sample[0];
        let agree = timestep[0] == batch && hidden[0] == batch && hidden[2] == 1 && (1..=2).contains(&batch);
        if !agree {
            return Err(model.fault(format!(
                "sample {sample:?}, timestep {timestep:?} and encoder_hidden_states {hidden:?} do not agree; expected [B, C, h, w], [B] and [B, D, 1, S] with B 1 or 2"
            )));
        }
        Ok(Self {
            batch,
            latent_shape: [1, sample[1], sample[2], sample[3]],
            text: TextShape { width: hidden[1], length: hidden[3] },
            model,
        })
    }

    /// Checks that the UNet takes latents alone, which have so many channels.
    ///
    /// A UNet with fewer channels than the latents is no other kind of model: the VAE is another's.
    pub(super) fn check_channels(&self, latent_channels: usize) -> Result<()> {
        let channels = self.latent_shape[1];
        match other_unet(channels, latent_channels).filter(|_| channels > latent_channels) {
            Some(what) => Err(self.model.fault(what)),
            None => Ok(()),
        }
    }

    pub(super) fn latent_shape(&self) -> [usize; 4] {
        self.latent_shape
    }

    pub(super) fn text_shape(&self) -> TextShape {
        self.text
    }

    /// The noise predicted for one image's latents; with a negative prompt, `uncond + scale · (cond − uncond)`.
    pub(super) fn predict(
        &mut self,
        latents: &[f32],
        timestep: f32,
        text: &Conditioning,
        scale: f32,
        stop: &Stop,
    ) -> Result<Vec<f32>> {
        let Some(negative) = &text.negative else {
            // A batch of two is filled with the same row twice.
            let mut noise = self.run(latents, timestep, &[&text.prompt, &text.prompt][..self.batch], stop)?;
            noise.truncate(latents.len());
            return Ok(noise);
        };
        let (uncond, cond) = if self.batch == 2 {
            let mut uncond = self.run(latents, timestep, &[negative, &text.prompt], stop)?;
            let cond = uncond.split_off(latents.len());
            (uncond, cond)
        } else {
            (self.run(latents, timestep, &[negative], stop)?, self.run(latents, timestep, &[&text.prompt], stop)?)
        };
        Ok(uncond.into_iter().zip(cond).map(|(u, c)| u + scale * (c - u)).collect())
    }

    /// One call; every row gets the same latents and time step.
    fn run(&mut self, latents: &[f32], timestep: f32, texts: &[&Vec<f32>], stop: &Stop) -> Result<Vec<f32>> {
        let inputs = vec![
            ("sample", latents.repeat(self.batch)),
            ("timestep", vec![timestep; self.batch]),
            ("encoder_hidden_states", texts.iter().flat_map(|text| text.iter().copied()).collect()),
        ];
        let mut outputs = self.model.run(inputs, stop)?;
        self.model.take_values(&mut outputs, "noise_pred", latents.len() * self.batch)
    }
}
