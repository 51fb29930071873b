//! Where a drawing stands after a step, and what there is to see of it.

use std::fmt;

use sd_runtime::Stop;
use sd_runtime::image::{RgbImage, Size};
use sd_runtime::pipeline::Progress;

use crate::error::Result;
use crate::preview::Previewer;

/// Where a drawing stands, after a step.
#[non_exhaustive]
pub struct Step<'a> {
    /// Which picture, from 0.
    pub picture: usize,
    /// Of how many.
    pub n_pictures: usize,
    /// Which pass over all pictures, from 0: the model's own, and that of a refiner or at a larger size.
    pub pass: usize,
    /// Of how many.
    pub n_passes: usize,
    /// Evaluations of the denoiser that are done for this picture in this pass, from 1.
    pub step: usize,
    /// Of how many.
    pub n_steps: usize,
    /// Evaluations that are done for all pictures in all passes.
    pub done: usize,
    /// Of how many.
    pub total: usize,
    pub(crate) at: Progress<'a>,
    /// Channels, rows and columns of the latents.
    pub(crate) shape: [usize; 3],
    /// Pixels for each of them, in each direction.
    pub(crate) scale: usize,
    pub(crate) previewer: &'a Previewer,
    pub(crate) stop: &'a Stop,
}

impl Step<'_> {
    /// Whether nothing but its decoding is left of the picture.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.pass + 1 == self.n_passes && self.step == self.n_steps
    }

    /// Columns and rows of what is drawn in this pass.
    #[must_use]
    pub const fn size(&self) -> Size {
        let [_, height, width] = self.shape;
        Size { width: width * self.scale, height: height * self.scale }
    }

    /// What the step foretells of the picture; computed now, so that whoever does not ask waits for nothing.
    ///
    /// A pixel for each place of the latents, in the colours that these mean by themselves; or a whole picture of a TAESD,
    /// where the pipeline has one for that ([`PipelineOptions::preview_taesd`](crate::PipelineOptions::preview_taesd)). With
    /// models that are preconditioned (EDM) it is the noisy latents that are shown.
    ///
    /// # Errors
    /// When the TAESD fails, and for latents that no colours are known for.
    pub fn preview(&self) -> Result<RgbImage> {
        match self.at.clean() {
            Some(clean) => self.previewer.picture(&clean, self.shape, self.stop),
            None => self.previewer.picture(self.at.latents, self.shape, self.stop),
        }
    }
}

impl fmt::Debug for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { picture, n_pictures, pass, n_passes, step, n_steps, .. } = self;
        write!(f, "step {step} of {n_steps}, picture {picture} of {n_pictures}, pass {pass} of {n_passes}")
    }
}
