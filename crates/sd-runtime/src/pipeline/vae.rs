//! The VAE: latents → picture, and picture → latents.

use host_tensor::{DType, HostTensor, Stop};

use super::config::VaeConfig;
use super::foreign::{latent_size, picture_size};
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

    /// Channels of the latents that the decoder takes.
    pub(super) fn latent_channels(&self) -> Result<usize> {
        Ok(self.model.input_dims("z")?[1])
    }

    /// Checks that the decoder takes the UNet's latents.
    pub(super) fn check_fits(&self, latent_shape: [usize; 4]) -> Result<()> {
        let shape = self.model.input_dims("z")?;
        let [_, channels, height, width] = latent_shape;
        match *shape {
            [1, c, h, w] if [c, h, w] == [channels, height, width] => Ok(()),
            [1, c, ..] if c != channels => Err(self.model.fault(of_other_channels("takes", c, channels))),
            [1, _, h, w] => Err(self.model.fault(format!(
                "takes latents of {}, but the UNet of {}; convert both for one size",
                latent_size(h, w),
                latent_size(height, width)
            ))),
            _ => Err(self.model.fault(format!("takes latents {shape:?}, but the UNet gives {latent_shape:?}"))),
        }
    }

    /// The decoder's output as f32 [1, 3, H, W], and as a picture.
    pub(super) fn decode(&mut self, latents: &[f32], stop: &Stop) -> Result<(HostTensor, RgbImage)> {
        let VaeConfig { scaling_factor, shift_factor } = self.config;
        let z = latents.iter().map(|x| x / scaling_factor + shift_factor).collect();
        let mut outputs = self.model.run(vec![("z", z)], stop)?;
        let decoded = self.model.take(&mut outputs, "image")?;
        let &[1, 3, height, width] = decoded.shape() else {
            return Err(self.model.fault(format!("image has shape {:?}, expected [1, 3, H, W]", decoded.shape())));
        };
        let image = RgbImage::from_planes(width, height, &decoded.to_f32_vec())?;
        Ok((decoded.cast(DType::F32), image))
    }
}

/// What is said of half a VAE whose latents have another number of channels than the UNet's.
fn of_other_channels(does: &str, own: usize, unets: usize) -> String {
    format!(
        "{does} latents of {own} channels, but the UNet of {unets}: the two are not one checkpoint's; give the VAE that \
         belongs to the UNet"
    )
}

/// `x` [1, 3, H, W] in [−1, 1] → `latent` [1, 2C, h, w]: mean and logarithm of the variance.
pub(super) struct VaeEncoder {
    model: Model,
    config: VaeConfig,
    /// Pixels: height and width.
    size: [usize; 2],
}

impl VaeEncoder {
    pub(super) fn new(engine: Box<dyn Engine>, config: VaeConfig) -> Result<Self> {
        let model = Model::new("vae_encoder", engine, &[("x", 4)])?;
        model.expect_output("latent")?;
        let shape = model.input_dims("x")?.to_vec();
        match shape[..] {
            [1, 3, height, width] => Ok(Self { model, config, size: [height, width] }),
            _ => Err(model.fault(format!("input x has shape {shape:?}, expected [1, 3, H, W]"))),
        }
    }

    /// Checks that the encoder gives the UNet's latents, as far as its output declares a shape.
    pub(super) fn check_fits(&self, [_, channels, height, width]: [usize; 4]) -> Result<()> {
        match self.model.output_shape("latent") {
            None => Ok(()),
            Some(&[1, c, h, w]) if [c, h, w] == [2 * channels, height, width] => Ok(()),
            Some(&[1, c, ..]) if c != 2 * channels => {
                Err(self.model.fault(of_other_channels("gives", c / 2, channels)))
            }
            Some(&[1, _, h, w]) => {
                let [rows, columns] = self.size;
                Err(self.model.fault(format!(
                    "is for pictures {}, whose latents are {}, but the UNet takes {}; convert both for one size",
                    picture_size(rows, columns),
                    latent_size(h, w),
                    latent_size(height, width)
                )))
            }
            Some(shape) => Err(self
                .model
                .fault(format!("output latent has shape {shape:?}, expected [1, {}, h, w]", 2 * channels))),
        }
    }

    /// Latents of a picture, drawn with the given standard normal noise and scaled as the UNet expects.
    pub(super) fn encode(&mut self, image: &RgbImage, noise: &[f32], stop: &Stop) -> Result<Vec<f32>> {
        let [height, width] = self.size;
        let planes = image.cover(width, height).to_planes();
        let mut outputs = self.model.run(vec![("x", planes)], stop)?;
        let moments = self.model.take_values(&mut outputs, "latent", 2 * noise.len())?;
        let (means, log_variances) = moments.split_at(noise.len());
        let VaeConfig { scaling_factor, shift_factor } = self.config;
        let draw = |((mean, log_variance), noise): ((&f32, &f32), &f32)| {
            // The bounds are diffusers'.
            let z = mean + (0.5 * log_variance.clamp(-30.0, 20.0)).exp() * noise;
            (z - shift_factor) * scaling_factor
        };
        Ok(means.iter().zip(log_variances).zip(noise).map(draw).collect())
    }
}
