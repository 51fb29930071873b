//! A run under way: where it stands, who is told, and who may stop it.

use std::ops::ControlFlow;

use host_tensor::Stop;

use crate::clean::Predicted;
use crate::error::{Result, RuntimeError};
use crate::request::{GeneratedImage, Progress};

/// Whoever is told of a run, and may stop it.
pub trait Observer {
    /// Hears of a step; [`ControlFlow::Break`] ends the run.
    fn step(&mut self, at: Progress<'_>) -> ControlFlow<()>;

    /// Takes a picture as soon as it is finished, with its index; [`ControlFlow::Break`] ends the run.
    fn image(&mut self, image_idx: usize, image: GeneratedImage) -> ControlFlow<()>;
}

/// Whoever is told of every step, and of nothing else.
pub(crate) type OnStep<'a> = &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>;

/// Hears of steps, and keeps the pictures.
pub(crate) struct Collector<'a> {
    on_step: OnStep<'a>,
    pub(crate) images: Vec<GeneratedImage>,
}

impl<'a> Collector<'a> {
    pub(crate) const fn new(on_step: OnStep<'a>) -> Self {
        Self { on_step, images: Vec::new() }
    }
}

impl Observer for Collector<'_> {
    fn step(&mut self, at: Progress<'_>) -> ControlFlow<()> {
        (self.on_step)(at)
    }

    fn image(&mut self, _: usize, image: GeneratedImage) -> ControlFlow<()> {
        self.images.push(image);
        ControlFlow::Continue(())
    }
}

/// A run under way.
pub(crate) struct Watch<'a> {
    stop: &'a Stop,
    observer: &'a mut dyn Observer,
    n_images: usize,
    n_steps: usize,
    image_idx: usize,
    /// Steps done of the picture.
    step: usize,
}

impl<'a> Watch<'a> {
    /// A run of so many pictures, each of so many steps, before its first.
    pub(crate) fn new(n_images: usize, n_steps: usize, stop: &'a Stop, observer: &'a mut dyn Observer) -> Self {
        Self { stop, observer, n_images, n_steps, image_idx: 0, step: 0 }
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
    pub(crate) fn advance(&mut self, latents: &[f32], predicted: Predicted<'_>) -> Result<()> {
        self.step += 1;
        let Self { n_images, n_steps, image_idx, step, .. } = *self;
        let answer = self.observer.step(Progress { image_idx, n_images, step, n_steps, latents, predicted });
        self.go_on(answer)
    }

    /// Hands a picture out.
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub(crate) fn hand_out(&mut self, image_idx: usize, image: GeneratedImage) -> Result<()> {
        let answer = self.observer.image(image_idx, image);
        self.go_on(answer)
    }

    const fn go_on(&self, answer: ControlFlow<()>) -> Result<()> {
        match answer {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(self.stopped()),
        }
    }

    /// What a run that was stopped here ends with.
    pub(crate) const fn stopped(&self) -> RuntimeError {
        RuntimeError::Stopped { step: self.step, count: self.n_steps }
    }
}
