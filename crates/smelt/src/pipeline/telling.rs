//! What a watcher hears of a drawing: steps of all passes, and pictures as they are finished.

use std::ops::ControlFlow;

use host_tensor::HostTensor;
use sd_runtime::Stop;
use sd_runtime::pipeline::{GeneratedImage, Observer, Progress as At};

use super::picture::PictureMaker;
use crate::picture::Picture;
use crate::preview::Previewer;
use crate::step::Step;
use crate::watch::{Event, Progress, Unit, Watch};

/// Tells a watcher of a drawing, and keeps what is finished.
pub(super) struct Telling<'w> {
    watch: &'w mut dyn Watch,
    stop: &'w Stop,
    previewer: &'w Previewer,
    maker: PictureMaker,
    n_pictures: usize,
    /// Pixels for each of the latents, in each direction.
    scale: usize,
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
    /// Channels, rows and columns of its latents.
    shape: [usize; 3],
}

impl<'w> Telling<'w> {
    /// For pictures that the maker makes, of latents of a shape.
    pub(super) const fn new(
        (watch, stop): (&'w mut dyn Watch, &'w Stop),
        previewer: &'w Previewer,
        maker: PictureMaker,
        (n_pictures, [_, c, h, w], scale): (usize, [usize; 4], usize),
    ) -> Self {
        let pass = Pass { idx: 0, n_passes: 1, around: [0, 0], shape: [c, h, w] };
        Self { watch, stop, previewer, maker, n_pictures, scale, pass, noises: Vec::new(), pictures: Vec::new() }
    }

    /// Says that the steps which come now are the first of two passes, and how many the second has.
    pub(super) const fn first_of_two(&mut self, n_after: usize) {
        self.pass = Pass { idx: 0, n_passes: 2, around: [0, n_after], ..self.pass };
    }

    /// Says that the second of two passes begins, of which shape its latents are, and how many steps the first had.
    pub(super) const fn last_of_two(&mut self, n_before: usize, [_, c, h, w]: [usize; 4]) {
        self.pass = Pass { idx: 1, n_passes: 2, around: [n_before, 0], shape: [c, h, w] };
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
        let Pass { idx: pass, n_passes, around: [n_before, n_after], shape } = self.pass;
        let done = n_before + at.image_idx * at.n_steps + at.step;
        let total = n_before + at.n_images * at.n_steps + n_after;
        let progress = Progress { what: "denoising", done: done as u64, total: total as u64, unit: Unit::Steps };
        self.watch.event(Event::Progress(progress))?;
        self.watch.event(Event::Step(Step {
            picture: at.image_idx,
            n_pictures: at.n_images,
            pass,
            n_passes,
            step: at.step,
            n_steps: at.n_steps,
            done,
            total,
            at,
            shape,
            scale: self.scale,
            previewer: self.previewer,
            stop: self.stop,
        }))
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
