//! What a watcher hears of a drawing: steps of all passes, and pictures as they are finished.

use std::ops::ControlFlow;

use host_tensor::HostTensor;
use sd_runtime::pipeline::{GeneratedImage, Observer, Progress as At};

use super::picture::PictureMaker;
use crate::request::Picture;
use crate::watch::{Event, Progress, Step, Unit, Watch};

/// Tells a watcher of a drawing, and keeps what is finished.
pub(super) struct Telling<'w> {
    watch: &'w mut dyn Watch,
    maker: PictureMaker,
    n_pictures: usize,
    pass: Pass,
    /// What the pictures began with, where an earlier pass knows it.
    noises: Vec<HostTensor>,
    pictures: Vec<Picture>,
}

/// One pass of several over all pictures.
#[derive(Clone, Copy)]
struct Pass {
    idx: usize,
    n_passes: usize,
    /// Steps of other passes before this one, and after it.
    around: [usize; 2],
}

impl<'w> Telling<'w> {
    pub(super) const fn new(watch: &'w mut dyn Watch, maker: PictureMaker, n_pictures: usize) -> Self {
        let pass = Pass { idx: 0, n_passes: 1, around: [0, 0] };
        Self { watch, maker, n_pictures, pass, noises: Vec::new(), pictures: Vec::new() }
    }

    /// Says that the steps which come now are the first of two passes, and how many the second has.
    pub(super) const fn first_of_two(&mut self, n_after: usize) {
        self.pass = Pass { idx: 0, n_passes: 2, around: [0, n_after] };
    }

    /// Says that the second of two passes begins, and how many steps the first had.
    pub(super) const fn last_of_two(&mut self, n_before: usize) {
        self.pass = Pass { idx: 1, n_passes: 2, around: [n_before, 0] };
    }

    /// Says what pictures began with, which the last pass does not know.
    pub(super) fn began_with(&mut self, noises: Vec<HostTensor>) {
        self.noises = noises;
    }

    /// All is drawn.
    pub(super) fn end(self) -> Vec<Picture> {
        let _ = self.watch.event(Event::End);
        self.pictures
    }
}

impl Observer for Telling<'_> {
    fn step(&mut self, at: At<'_>) -> ControlFlow<()> {
        let Pass { idx: pass, n_passes, around: [n_before, n_after] } = self.pass;
        let done = n_before + at.image_idx * at.n_steps + at.step;
        let total = n_before + at.n_images * at.n_steps + n_after;
        let progress = Progress { what: "denoising", done: done as u64, total: total as u64, unit: Unit::Steps };
        self.watch.event(Event::Progress(progress))?;
        let (picture, n_pictures) = (at.image_idx, at.n_images);
        let (step, n_steps) = (at.step, at.n_steps);
        self.watch.event(Event::Step(Step { picture, n_pictures, pass, n_passes, step, n_steps, done, total }))
    }

    fn image(&mut self, idx: usize, mut image: GeneratedImage) -> ControlFlow<()> {
        if let Some(noise) = self.noises.get(idx) {
            image.noise = noise.clone();
        }
        let picture = self.maker.picture(idx, image);
        let answer = self.watch.event(Event::Picture { idx, n_pictures: self.n_pictures, picture: &picture });
        self.pictures.push(picture);
        answer
    }
}
