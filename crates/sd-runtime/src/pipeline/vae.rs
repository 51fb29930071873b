//! The VAE decoder: latents → picture.

use host_tensor::{DType, HostTensor};

use super::config::VaeConfig;
use super::model::Model;
use crate::engine::Engine;
use crate::error::Result;
use crate::image::RgbImage;

/// `z` [1, C, h, w] → `image` [1, 3, H, W] in [−1, 1].
pub(super) struct VaeDecoder {
    model: Model,
    config: VaeConfig,
}

impl VaeDecoder {
    pub(super) fn new(engine: Box<dyn Engine>, config: VaeConfig) -> Result<Self> {
        let model = Model::new("vae_decoder", engine, &[("z", 4)])?;
        model.expect_output("image")?;
        Ok(Self { model, config })
    }

    /// Checks that the decoder takes the UNet's latents.
    pub(super) fn check_fits(&self, latent_shape: [usize; 4]) -> Result<()> {
        let shape = &self.model.input("z")?.shape;
        match shape[..] == latent_shape {
            true => Ok(()),
            false => Err(self.model.fault(format!(
                "takes latents {shape:?}, but the UNet gives {latent_shape:?}: convert both for one latent size"
            ))),
        }
    }

    /// The decoder's output as f32 [1, 3, H, W], and as a picture.
    pub(super) fn decode(&mut self, latents: &[f32]) -> Result<(HostTensor, RgbImage)> {
        let VaeConfig { scaling_factor, shift_factor } = self.config;
        let z = latents.iter().map(|x| x / scaling_factor + shift_factor).collect();
        let mut outputs = self.model.run(&[("z", z)])?;
        let decoded = self.model.take(&mut outputs, "image")?;
        let &[1, 3, height, width] = decoded.shape() else {
            return Err(self.model.fault(format!("image has shape {:?}, expected [1, 3, H, W]", decoded.shape())));
        };
        let image = RgbImage::from_planes(width, height, &decoded.to_f32_vec())?;
        Ok((decoded.cast(DType::F32), image))
    }
}
