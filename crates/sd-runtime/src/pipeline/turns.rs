//! What one pipeline does for another that goes on from its pictures.

use std::ops::ControlFlow;

use host_tensor::{HostTensor, Stop};
use sd_spec::Role;

use super::DiffusionPipeline;
use crate::error::{Result, RuntimeError};
use crate::image::{Filter, Fit, RgbImage};
use crate::part::Part;
use crate::watch::{Collector, Watch};

impl DiffusionPipeline {
    /// Pixels of a picture for each latent, in each direction.
    #[must_use]
    pub fn scale(&self) -> usize {
        self.decoder.scale()
    }

    /// The likeliest latents of a picture, f32 [1, C, h, w], scaled as the denoiser expects them; nothing is drawn. A picture
    /// of another size than the encoder's is cut to it.
    ///
    /// # Errors
    /// [`RuntimeError::Signature`] without an encoder; otherwise what an engine failed with.
    pub fn encode(&mut self, picture: &RgbImage, stop: &Stop) -> Result<HostTensor> {
        let Some(encoder) = &self.encoder else {
            let model = Part::from(Role::VaeEncoder).name();
            return Err(RuntimeError::Signature { model, reason: "is missing from the pipeline".into() });
        };
        let mut go_on = |_: super::Progress<'_>| ControlFlow::Continue(());
        let mut nobody = Collector::new(&mut go_on);
        let watch = Watch::new(1, 0, stop, &mut nobody);
        let planes = picture.fit(encoder.size(), Fit::Crop, Filter::Lanczos).to_planes();
        let middle = vec![0.0; self.latent_shape.iter().product()];
        let latents = encoder.encode(&mut self.models, planes, &middle, &watch)?;
        Ok(HostTensor::from_f32(self.latent_shape, latents))
    }

    /// Takes over what the text encoders of another pipeline of the same models gave, so that these are not loaded for the
    /// same prompts again.
    pub fn remember_texts_of(&mut self, other: &Self) {
        self.models.remember_of(&other.models);
    }
}
