//! What pictures begin with: noise, the latents of another picture, and what stays of it.
// Source of the rules: diffusers 0.42, pipelines for image to image, inpainting and InstructPix2Pix.

use std::ops::Range;

use host_tensor::HostTensor;
use sd_spec::Role;

use super::canvas::{Canvas, Overlay};
use crate::autoencoder::Encoder;
use crate::denoise::{Beside, Kept};
use crate::error::{Result, RuntimeError};
use crate::image::{Mask, RgbImage};
use crate::models::Shelf;
use crate::part::Part;
use crate::request::{DEFAULT_IMAGE_GUIDANCE, GenerateOptions, StartingImage, StartingLatents, Warning};
use crate::rng::{DrawOrder, RandomSource};
use crate::takes::Takes;
use crate::variation::{Variation, turn};
use crate::watch::Watch;

/// What denoising begins with.
pub(super) struct Start {
    /// Standard normal noise of each picture, or what others made of it.
    pub(super) noises: Vec<Vec<f32>>,
    /// Whether these are latents that others began to denoise.
    pub(super) is_under_way: bool,
    /// Latents that the noise is added to: of each picture, or of one that all begin with; without them there is noise
    /// alone.
    clean: Vec<Vec<f32>>,
    /// What is put back after every step.
    pub(super) kept: Option<Kept>,
    /// What the denoiser takes behind the latents.
    pub(super) beside: Beside,
    /// How what is drawn becomes a part of the picture.
    pub(super) overlay: Option<Overlay>,
    /// What the user should know.
    pub(super) warning: Option<Warning>,
}

/// What it takes to make one.
pub(super) struct Making<'a, 'w> {
    pub(super) models: &'a mut Shelf,
    pub(super) encoder: Option<&'a Encoder>,
    pub(super) takes: Takes,
    /// [1, channels, height, width].
    pub(super) latent_shape: [usize; 4],
    /// The pictures of the run that it is for.
    pub(super) pictures: Range<usize>,
    pub(super) watch: &'a Watch<'w>,
}

/// The draws of a run before its first step.
struct Draws {
    noises: Vec<Vec<f32>>,
    /// For the encoder, where it encodes the picture.
    picture: Option<Vec<f32>>,
    /// For the encoder, of the picture without what is masked; drawn wherever there is a mask, as in diffusers.
    masked: Option<Vec<f32>>,
}

impl Start {
    /// Draws the noise of all pictures and encodes the picture to begin with, if there is one; each in its turn
    /// ([`DrawOrder`]). The encoder's noise is drawn whether it is needed or not, as Apple's pipelines do it.
    pub(super) fn new(
        making: &mut Making<'_, '_>,
        source: &mut dyn RandomSource,
        options: &GenerateOptions,
    ) -> Result<Self> {
        if !options.latents.is_empty() {
            return Ok(Self {
                is_under_way: true,
                ..Self::of(making.given(&options.latents, "latents to go on from have")?, None)
            });
        }
        if let Some(StartingLatents { latents, .. }) = &options.clean {
            let clean = making.given(latents, "latents to begin with have")?;
            return Ok(Self { clean, ..Self::of(making.noises(source, options)?, None) });
        }
        let Some(start) = &options.start else {
            let Draws { noises, .. } = making.draw(source, options, false, false)?;
            return Ok(Self::of(noises, None));
        };
        let Some(encoder) = making.encoder else {
            return Err(RuntimeError::Signature {
                model: Part::from(Role::VaeEncoder).name(),
                reason: "is missing from the pipeline, and a picture to begin with needs it".into(),
            });
        };
        let Canvas { picture, mask, overlay, warning } = Canvas::new(start, encoder.size())?;
        let mut made = match (making.takes, &mask) {
            (Takes::Picture, _) => making.edit(encoder, source, options, &picture, start)?,
            (_, None) => making.change(encoder, source, options, &picture)?,
            (_, Some(mask)) => making.repaint(encoder, source, options, &picture, mask, start.strength)?,
        };
        (made.overlay, made.warning) = (overlay, warning);
        Ok(made)
    }

    /// Latents that the noise of a picture is added to.
    pub(super) fn clean(&self, idx: usize) -> Option<&[f32]> {
        self.clean.get(idx).or(self.clean.first()).map(Vec::as_slice)
    }

    fn of(noises: Vec<Vec<f32>>, clean: Option<Vec<f32>>) -> Self {
        let clean = clean.into_iter().collect();
        Self { noises, is_under_way: false, clean, kept: None, beside: Beside::Nothing, overlay: None, warning: None }
    }
}

impl Making<'_, '_> {
    /// Elements of one picture's latents.
    fn n(&self) -> usize {
        self.latent_shape.iter().product()
    }

    fn draw(
        &self,
        source: &mut dyn RandomSource,
        options: &GenerateOptions,
        picture: bool,
        masked: bool,
    ) -> Result<Draws> {
        let n = self.n();
        let is_first = picture && source.order() == DrawOrder::EncoderFirst;
        let first = is_first.then(|| source.latents(n));
        let noises = self.noises(source, options)?;
        let picture = first.or_else(|| picture.then(|| source.latents(n)));
        Ok(Draws { noises, picture, masked: masked.then(|| source.latents(n)) })
    }

    /// The noise of all pictures: what was given, or drawn as one tensor; with some of other seeds' where that is asked for.
    fn noises(&self, source: &mut dyn RandomSource, options: &GenerateOptions) -> Result<Vec<Vec<f32>>> {
        let ([_, _, height, width], n) = (self.latent_shape, self.n());
        let mut noises: Vec<Vec<f32>> = match options.noise.is_empty() {
            true => source.latents(n * self.pictures.len()).chunks(n).map(<[f32]>::to_vec).collect(),
            false => self.given(&options.noise, "the noise has")?,
        };
        if let Some(Variation { seed, strength }) = options.variation {
            for (noise, seed) in noises.iter_mut().zip(seed + self.pictures.start as u64..) {
                turn(noise, &options.random.source(seed)?.latents(n), [height, width], strength);
            }
        }
        Ok(noises)
    }

    /// Tensors that were given, one for each picture of the run, each of the shape of one picture's latents.
    fn given(&self, tensors: &[HostTensor], what: &str) -> Result<Vec<Vec<f32>>> {
        match tensors.iter().find(|tensor| tensor.shape() != self.latent_shape) {
            Some(other) => {
                let (own, other) = (self.latent_shape, other.shape());
                Err(RuntimeError::Options(format!("{what} the shape {other:?}, and the model draws {own:?}")))
            }
            None => Ok(tensors[self.pictures.clone()].iter().map(HostTensor::to_f32_vec).collect()),
        }
    }

    /// Any of the picture may change.
    fn change(
        &mut self,
        encoder: &Encoder,
        source: &mut dyn RandomSource,
        options: &GenerateOptions,
        picture: &RgbImage,
    ) -> Result<Start> {
        let Draws { noises, picture: noise, .. } = self.draw(source, options, true, false)?;
        let clean = self.encode(encoder, picture.to_planes(), noise)?;
        Ok(Start::of(noises, clean))
    }

    /// What is masked is repainted: from noise alone at full strength, as in diffusers.
    fn repaint(
        &mut self,
        encoder: &Encoder,
        source: &mut dyn RandomSource,
        options: &GenerateOptions,
        picture: &RgbImage,
        mask: &Mask,
        strength: f64,
    ) -> Result<Start> {
        let from_noise = strength == 1.0;
        let is_blended = self.takes == Takes::Latents;
        let drawn = self.draw(source, options, is_blended || !from_noise, true)?;
        let clean = self.encode(encoder, picture.to_planes(), drawn.picture)?;
        let [_, _, rows, _] = self.latent_shape;
        let mut plane = mask.to_latent_plane(mask.size().height / rows.max(1));
        let mut start = Start::of(drawn.noises, clean.clone().filter(|_| !from_noise));
        if is_blended {
            start.kept = clean.map(|clean| Kept { clean, mask: plane });
        } else {
            let masked = mask.masked_planes(picture)?;
            plane.extend(self.encode(encoder, masked, drawn.masked)?.into_iter().flatten());
            start.beside = Beside::Same(plane);
        }
        Ok(start)
    }

    /// The picture is edited: the denoiser sees it all along.
    fn edit(
        &mut self,
        encoder: &Encoder,
        source: &mut dyn RandomSource,
        options: &GenerateOptions,
        picture: &RgbImage,
        asked: &StartingImage,
    ) -> Result<Start> {
        let Draws { noises, .. } = self.draw(source, options, false, false)?;
        let latents = encoder.likeliest(self.models, picture.to_planes(), self.n(), self.watch)?;
        let guidance = asked.image_guidance.unwrap_or(DEFAULT_IMAGE_GUIDANCE);
        Ok(Start { beside: Beside::Picture { latents, guidance }, ..Start::of(noises, None) })
    }

    /// Latents of a picture where noise was drawn for it.
    fn encode(&mut self, encoder: &Encoder, planes: Vec<f32>, noise: Option<Vec<f32>>) -> Result<Option<Vec<f32>>> {
        noise.map(|noise| encoder.encode(self.models, planes, &noise, self.watch)).transpose()
    }
}
