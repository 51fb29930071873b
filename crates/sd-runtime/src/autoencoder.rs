//! The autoencoder: latents → picture, and picture → latents. Its latents are what a picture begins with.

use host_tensor::{DType, HostTensor};
use sd_spec::{Axis, Dims, Family, Misfit, Role};
use serde::Deserialize;

use crate::engine::Signature;
use crate::error::{Result, RuntimeError};
use crate::foreign::{latent_size, picture_size};
use crate::image::{RgbImage, Size};
use crate::models::Shelf;
use crate::port::{Port, size};
use crate::watch::Watch;

/// The part of the VAE's `config.json` that is not in the model.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(from = "VaeJson")]
pub struct VaeConfig {
    /// Latents of the UNet are the VAE's times this: 0.18215 for Stable Diffusion.
    pub scaling_factor: f32,
    /// Added after unscaling; 0 for Stable Diffusion.
    pub shift_factor: f32,
}

/// As written: either may be absent or null.
#[derive(Deserialize)]
struct VaeJson {
    scaling_factor: Option<f32>,
    shift_factor: Option<f32>,
}

impl From<VaeJson> for VaeConfig {
    fn from(json: VaeJson) -> Self {
        let default = Self::default();
        Self {
            scaling_factor: json.scaling_factor.unwrap_or(default.scaling_factor),
            shift_factor: json.shift_factor.unwrap_or(default.shift_factor),
        }
    }
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self { scaling_factor: 0.18215, shift_factor: 0.0 }
    }
}

impl VaeConfig {
    /// Of autoencoders whose latents are the denoiser's.
    pub const UNSCALED: Self = Self { scaling_factor: 1.0, shift_factor: 0.0 };

    /// The factors of a family's own autoencoder, for models that come without its configuration.
    #[must_use]
    pub fn of_family(family: Family) -> Self {
        match family {
            Family::Sdxl | Family::SdxlRefiner => Self { scaling_factor: 0.13025, shift_factor: 0.0 },
            Family::Sd3 => Self { scaling_factor: 1.5305, shift_factor: 0.0609 },
            _ => Self::default(),
        }
    }

    /// Checks values that came from a file.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for factors that cannot be undone.
    pub fn check(self) -> Result<()> {
        let fine = self.scaling_factor.is_finite() && self.scaling_factor != 0.0 && self.shift_factor.is_finite();
        match fine {
            true => Ok(()),
            false => Err(RuntimeError::Options(format!(
                "vae/config.json: scaling_factor {} with shift_factor {} cannot be undone",
                self.scaling_factor, self.shift_factor
            ))),
        }
    }
}

/// `z` [1, C, h, w] → `image` [1, 3, H, W] in [−1, 1].
pub(crate) struct Decoder {
    port: Port,
    config: VaeConfig,
}

impl Decoder {
    pub(crate) fn new(signature: Signature, config: VaeConfig) -> Result<Self> {
        let port = Port::new(Role::VaeDecoder, signature, &[])?;
        port.expect_output("image")?;
        Ok(Self { port, config })
    }

    /// Channels of the latents that it takes.
    pub(crate) fn latent_channels(&self) -> Result<usize> {
        Ok(self.port.dims("z")?[1])
    }

    /// Checks that it takes the denoiser's latents, and gives their shape: [1, channels, height, width].
    pub(crate) fn latent_shape(&self, denoiser: &Dims) -> Result<[usize; 4]> {
        let (channels, mut dims) = (size(denoiser, Axis::SampleChannels), denoiser.clone());
        let latents = [1, channels, size(denoiser, Axis::LatentHeight), size(denoiser, Axis::LatentWidth)];
        let [_, _, height, width] = latents;
        if let [1, own, ..] = *self.port.dims("z")?
            && own != channels
        {
            return Err(self.port.fault(of_other_channels("takes", own, channels)));
        }
        self.port.learn(&mut dims, |_, shape, misfit| match (misfit, shape) {
            (Misfit::Axis { axis: Axis::LatentHeight | Axis::LatentWidth, .. }, &[_, _, h, w]) => format!(
                "takes latents of {}, but the UNet of {}; convert both for one size",
                latent_size(h, w),
                latent_size(height, width)
            ),
            _ => format!("takes latents {shape:?}, but the UNet gives {latents:?}"),
        })?;
        Ok(latents)
    }

    /// Pixels of the picture for each latent, in each direction.
    pub(crate) fn scale(&self) -> usize {
        // The description of an output may leave its shape open; every Stable Diffusion has 8.
        const USUAL: usize = 8;
        match (self.port.dims("z"), self.port.output_dims("image")) {
            (Ok(&[_, _, rows, _]), Some(&[_, _, height, _])) => (height / rows.max(1)).max(1),
            _ => USUAL,
        }
    }

    /// The output as f32 [1, 3, H, W], and as a picture.
    pub(crate) fn decode(
        &self,
        models: &mut Shelf,
        latents: &[f32],
        watch: &Watch<'_>,
    ) -> Result<(HostTensor, RgbImage)> {
        let VaeConfig { scaling_factor, shift_factor } = self.config;
        let z = latents.iter().map(|x| x / scaling_factor + shift_factor).collect();
        let mut outputs = self.port.run(models, [("z", z)], watch)?;
        let decoded = self.port.take(&mut outputs, "image")?;
        let &[1, 3, height, width] = decoded.shape() else {
            return Err(self.port.fault(format!("image has shape {:?}, expected [1, 3, H, W]", decoded.shape())));
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

/// `x` [1, 3, H, W] in [−1, 1] → `latent`: mean and logarithm of the variance [1, 2C, h, w], or the latents themselves
/// [1, C, h, w]. The number of channels says which.
pub(crate) struct Encoder {
    port: Port,
    config: VaeConfig,
    /// Pixels: height and width.
    size: [usize; 2],
}

impl Encoder {
    pub(crate) fn new(signature: Signature, config: VaeConfig) -> Result<Self> {
        let port = Port::new(Role::VaeEncoder, signature, &[])?;
        port.expect_output("latent")?;
        let mut dims = Dims::new().with(Axis::PictureChannels, 3);
        port.learn(&mut dims, |_, shape, _| format!("input x has shape {shape:?}, expected [1, 3, H, W]"))?;
        let size = [size(&dims, Axis::PictureHeight), size(&dims, Axis::PictureWidth)];
        Ok(Self { port, config, size })
    }

    /// Checks that it gives latents of that shape, or their moments, as far as its output's shape is known.
    pub(crate) fn check_fits(&self, [_, channels, height, width]: [usize; 4]) -> Result<()> {
        let fits = |c: usize| c == channels || c == 2 * channels;
        match self.port.output_dims("latent") {
            None => Ok(()),
            Some(&[1, c, h, w]) if fits(c) && [h, w] == [height, width] => Ok(()),
            Some(&[1, c, ..]) if !fits(c) => Err(self.port.fault(of_other_channels("gives", c / 2, channels))),
            Some(&[1, _, h, w]) => {
                let [rows, columns] = self.size;
                Err(self.port.fault(format!(
                    "is for pictures {}, whose latents are {}, but the UNet takes {}; convert both for one size",
                    picture_size(rows, columns),
                    latent_size(h, w),
                    latent_size(height, width)
                )))
            }
            Some(shape) => {
                Err(self.port.fault(format!("output latent has shape {shape:?}, expected [1, {}, h, w]", 2 * channels)))
            }
        }
    }

    /// Columns and rows of the pictures that it takes.
    pub(crate) const fn size(&self) -> Size {
        let [height, width] = self.size;
        Size { width, height }
    }

    /// Latents of a picture in planes of −1 to 1, scaled as the denoiser expects them; where the encoder gives moments,
    /// drawn with the given standard normal noise.
    pub(crate) fn encode(
        &self,
        models: &mut Shelf,
        planes: Vec<f32>,
        noise: &[f32],
        watch: &Watch<'_>,
    ) -> Result<Vec<f32>> {
        let values = self.moments(models, planes, noise.len(), watch)?;
        let VaeConfig { scaling_factor, shift_factor } = self.config;
        let scaled = |z: f32| (z - shift_factor) * scaling_factor;
        let (means, log_variances) = values.split_at(noise.len());
        if log_variances.is_empty() {
            return Ok(means.iter().copied().map(scaled).collect());
        }
        let draw = |((mean, log_variance), noise): ((&f32, &f32), &f32)| {
            // The bounds are diffusers'.
            scaled(mean + (0.5 * log_variance.clamp(-30.0, 20.0)).exp() * noise)
        };
        Ok(means.iter().zip(log_variances).zip(noise).map(draw).collect())
    }

    /// The likeliest latents of a picture, `n` values, as the encoder gives them: neither drawn nor scaled.
    pub(crate) fn likeliest(
        &self,
        models: &mut Shelf,
        planes: Vec<f32>,
        n: usize,
        watch: &Watch<'_>,
    ) -> Result<Vec<f32>> {
        let mut values = self.moments(models, planes, n, watch)?;
        values.truncate(n);
        Ok(values)
    }

    /// `n` means and as many logarithms of variances, or `n` latents.
    fn moments(&self, models: &mut Shelf, planes: Vec<f32>, n: usize, watch: &Watch<'_>) -> Result<Vec<f32>> {
        let mut outputs = self.port.run(models, [("x", planes)], watch)?;
        let latent = self.port.take(&mut outputs, "latent")?;
        match latent.len() {
            given if given == n || given == 2 * n => Ok(latent.to_f32_vec()),
            _ => {
                let (shape, n) = (latent.shape(), 2 * n);
                Err(self.port.fault(format!("output latent has shape {shape:?}, expected {n} elements")))
            }
        }
    }
}
