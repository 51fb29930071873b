//! A run under way: where it stands, who is told, and who may stop it.

use std::ops::ControlFlow;

use host_tensor::Stop;

use crate::error::{Result, RuntimeError};
use crate::request::Progress;

/// Whoever is told of every step.
pub(crate) type OnStep<'a> = &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>;

/// A run under way.
pub(crate) struct Watch<'a> {
    stop: &'a Stop,
    on_step: OnStep<'a>,
    n_images: usize,
    n_steps: usize,
    image_idx: usize,
    /// Steps done of the picture.
    step: usize,
}

impl<'a> Watch<'a> {
    /// A run of so many pictures, each of so many steps, before its first.
    pub(crate) fn new(n_images: usize, n_steps: usize, stop: &'a Stop, on_step: OnStep<'a>) -> Self {
        Self { stop, on_step, n_images, n_steps, image_idx: 0, step: 0 }
    }

    /// The flag that stops the run.
    pub(crate) const fn stop(&self) -> &Stop {
        self.stop
    }

    /// Says which picture the next steps belong to.
    pub(crate) const fn begin(&mut self, image_idx: usize) {
        (self.image_idx, self.step) = (image_idx, 0);
    }

    /// Counts a step and tells of it.
    ///
    /// # Errors
    /// [`RuntimeError::Stopped`] if whoever is told asks for it.
    pub(crate) fn advance(&mut self, latents: &[f32]) -> Result<()> {
        self.step += 1;
        let Self { n_images, n_steps, image_idx, step, .. } = *self;
        match (self.on_step)(Progress { image_idx, n_images, step, n_steps, latents }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(self.stopped()),
        }
    }

    /// What a run that was stopped here ends with.
    pub(crate) const fn stopped(&self) -> RuntimeError {
        RuntimeError::Stopped { step: self.step, count: self.n_steps }
    }
}
