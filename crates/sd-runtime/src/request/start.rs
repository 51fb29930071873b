//! A picture to begin with: how much of it may change, and where.

use host_tensor::HostTensor;
use sd_spec::Family;

use super::GenerateOptions;
use crate::error::{Result, RuntimeError};
use crate::image::{Fit, GreyImage, RgbImage};
use crate::takes::Takes;

/// A picture to begin with, and how much of it may change.
#[derive(Debug, Clone, PartialEq)]
pub struct StartingImage {
    /// The picture, of any size.
    pub image: RgbImage,
    /// Share of the steps that are taken, above 0 to 1: the more, the more noise is added and the more changes.
    ///
    /// As in diffusers and in Apple's pipelines the first `steps - floor(steps · strength)` steps are left out.
    /// What a mask repaints begins with noise alone at 1; a picture without a mask is mixed in even then.
    pub strength: f64,
    /// What becomes of its proportions where they are not the pipeline's.
    pub fit: Fit,
    /// What of it is repainted; all of it may change where there is no mask.
    pub repaint: Option<Repaint>,
    /// How strongly the picture counts for a model that edits pictures by instructions (InstructPix2Pix), at least 1; the
    /// guidance scale says how strongly the instruction does. Default: [`DEFAULT_IMAGE_GUIDANCE`].
    pub image_guidance: Option<f32>,
}

/// What of a picture is repainted.
#[derive(Debug, Clone, PartialEq)]
pub struct Repaint {
    /// Light where it is repainted: all that is lighter than mid grey.
    ///
    /// A size other than the picture's is stretched to it.
    /// What was drawn is laid over the picture through the mask: only where it is black, pixels are the picture's own.
    pub mask: GreyImage,
    /// Only the masked part is drawn, at the pipeline's full size, with so many pixels of the picture around it, and laid
    /// back into the picture, which keeps its size. Default: the whole picture is drawn.
    pub only_masked: Option<usize>,
}

/// Latents of whole pictures to begin with, as a picture's are: noise is added, and a share of the steps taken.
#[derive(Debug, Clone, PartialEq)]
pub struct StartingLatents {
    /// Of each picture, f32 [1, C, h, w], scaled as the denoiser expects them.
    pub latents: Vec<HostTensor>,
    /// Share of the steps that are taken, as [`StartingImage::strength`].
    pub strength: f64,
}

/// How strongly a picture counts where nothing is said, as in diffusers.
pub const DEFAULT_IMAGE_GUIDANCE: f32 = 1.5;

impl StartingImage {
    /// A picture all of which may change by that much; its proportions become the pipeline's by cutting off what stands out.
    #[must_use]
    pub fn new(image: RgbImage, strength: f64) -> Self {
        Self { image, strength, fit: Fit::Crop, repaint: None, image_guidance: None }
    }

    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> Result<()> {
        let fail = |reason: &str| Err(RuntimeError::Options(reason.into()));
        if self.image.size().n_pixels() == 0 {
            return fail("the picture to begin with has no pixels");
        }
        if let Some(repaint) = &self.repaint
            && !repaint.mask.pixels().iter().any(|&v| v >= LIGHT)
        {
            return fail(
                "the mask is dark everywhere, so nothing would be repainted; what is white in it is repainted, and black kept",
            );
        }
        match self.image_guidance {
            Some(scale) if !(scale >= 1.0 && scale.is_finite()) => Err(RuntimeError::Options(format!(
                "image guidance {scale} is not at least 1; at 1 the picture counts as it is, above it more"
            ))),
            _ => Ok(()),
        }
    }
}

/// Number of steps to leave out of a run of so many.
///
/// diffusers 0.42 rounds the number of steps that are taken down, in the pipelines of Stable Diffusion 3 up.
pub(super) fn skipped_steps(strength: f64, steps: usize, family: Family) -> Result<usize> {
    if !(strength > 0.0 && strength <= 1.0) {
        return Err(RuntimeError::Options(format!("strength {strength} is not above 0 and at most 1")));
    }
    let taken = steps as f64 * strength;
    match if family == Family::Sd3 { taken.ceil() } else { taken } as usize {
        0 => Err(RuntimeError::Options(format!(
            "strength {strength} leaves none of {steps} steps; the least is {:.3}, or take more steps",
            1.0 / steps as f64
        ))),
        n => Ok(steps.saturating_sub(n)),
    }
}

impl GenerateOptions {
    /// Refuses latents to begin with that are not one for each picture, or stand beside something else to begin with.
    pub(super) fn check_clean(&self) -> Result<()> {
        let Some(clean) = &self.clean else { return Ok(()) };
        let fail = |reason: String| Err(RuntimeError::Options(reason));
        if self.start.is_some() || !self.latents.is_empty() {
            return fail("it begins with latents of whole pictures, or with something else, not with both".into());
        }
        match clean.latents.len() {
            n if n == self.image_count => Ok(()),
            n => fail(format!("{n} latents to begin with for {} pictures", self.image_count)),
        }
    }

    /// Refuses pictures and masks that a denoiser which takes that has no use for, or lacks.
    ///
    /// # Errors
    /// [`RuntimeError::Options`], with what would work.
    pub fn check_for(&self, takes: Takes) -> Result<()> {
        let fail = |reason: String| Err(RuntimeError::Options(reason));
        let (start, needs) = (self.start.as_ref(), takes.needs().unwrap_or_default());
        if self.clean.is_some() && takes != Takes::Latents {
            return fail(format!("it begins with latents of whole pictures, and the UNet is {needs}"));
        }
        let repaint = start.and_then(|start| start.repaint.as_ref());
        match (takes, start) {
            (Takes::Masked, _) if repaint.is_none() => return fail(format!("the UNet is {needs}")),
            (Takes::Picture, None) => return fail(format!("the UNet is {needs}")),
            (Takes::Picture, Some(_)) if repaint.is_some() => {
                return fail(format!("the UNet is {needs} alone, without a mask; an inpainting model takes a mask"));
            }
            (Takes::Picture, Some(StartingImage { strength, .. })) if *strength != 1.0 => {
                return fail(format!(
                    "the UNet is an InstructPix2Pix model, which begins with noise alone and sees the picture all along: \
                     strength {strength} would change nothing; leave it out, and say by image guidance how strongly the \
                     picture counts (--image-guidance)"
                ));
            }
            _ => {}
        }
        match start.and_then(|start| start.image_guidance) {
            Some(scale) if takes != Takes::Picture => fail(format!(
                "image guidance {scale} is for InstructPix2Pix models, and the UNet is none; strength says how much of the \
                 picture may change (--strength)"
            )),
            Some(scale) if !self.is_guided() => fail(format!(
                "image guidance {scale} counts together with guidance only, which is {}; give more than 1",
                self.guidance_scale
            )),
            _ => Ok(()),
        }
    }
}

/// Values of a mask from here on are repainted.
const LIGHT: u8 = 128;
