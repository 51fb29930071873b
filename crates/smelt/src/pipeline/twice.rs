//! Two passes: a picture is drawn, enlarged, and denoised again at the larger size.
//!
//! The second pass has models of its own, for its size, which are loaded stage by stage while they run. Its noise is drawn
//! anew from the same seeds, as AUTOMATIC1111's web UI draws it, and the loop is that of a picture to begin with.

use std::ops::ControlFlow;

use host_tensor::HostTensor;
use sd_convert::{Beginning, LatentSize};
use sd_runtime::Stop;
use sd_runtime::image::{Region, RgbImage, Size};
use sd_runtime::pipeline::{
    DiffusionPipeline, GenerateOptions, Generation, Observer as _, Progress, StartingLatents, Streams, Takes,
    Undecoded, Warning, enlarge,
};

use super::refine::joined;
use super::telling::Telling;
use super::{Pipeline, of_all};
use crate::error::{Context, Result, refuse};
use crate::hires::{Enlarge, Hires};
use crate::load::{PipelineOptions, load};
use crate::open::Opened;
use crate::request::Request;
use crate::size::Sizes;

/// Where the models of a second pass come from, and those of the last one.
pub(super) struct Larger {
    opened: Opened,
    options: PipelineOptions,
    loaded: Option<Second>,
}

/// The models of a second pass.
struct Second {
    size: LatentSize,
    /// Whether they encode pictures.
    encodes: bool,
    inner: DiffusionPipeline,
}

/// What the first pass gave for the second.
struct Enlarged {
    latents: Vec<HostTensor>,
    /// What each picture began with.
    noises: Vec<HostTensor>,
}

impl Larger {
    /// What a pipeline was opened with.
    pub(super) fn new(opened: &Opened, options: &PipelineOptions) -> Self {
        Self { opened: opened.clone(), options: options.clone(), loaded: None }
    }

    /// The models for latents of a size, and what was found of them.
    ///
    /// They live while their stage runs: of the denoiser there is one already.
    fn models(&mut self, size: LatentSize, by: Enlarge) -> Result<(&mut DiffusionPipeline, Vec<String>)> {
        let encodes = matches!(by, Enlarge::Picture(_));
        let fits = |second: &Second| second.size == size && (second.encodes || !encodes);
        let mut found = Vec::new();
        let second = match self.loaded.take().filter(fits) {
            Some(second) => second,
            None => {
                let options = PipelineOptions {
                    sizes: Sizes { latent_size: vec![size.into()], ..Sizes::default() },
                    with_picture: encodes,
                    low_memory: true,
                    refiner: None,
                    preview_taesd: None,
                    ..self.options.clone()
                };
                let place = || format!("--hires: the second pass of {}", self.opened.source());
                let mut loaded = load(&options, &self.opened, Beginning::Picture).with_context(place)?;
                found.append(&mut loaded.warnings);
                let (inner, late) = loaded.pipeline().with_context(place)?;
                found.extend(late);
                Second { size, encodes, inner }
            }
        };
        Ok((&mut self.loaded.insert(second).inner, found))
    }
}

impl Pipeline {
    /// Draws in two passes.
    pub(super) fn draw_twice(
        &mut self,
        hires: &Hires,
        streams: &mut Streams,
        request: &Request,
        stop: &Stop,
        telling: &mut Telling<'_>,
    ) -> Result<Vec<Warning>> {
        self.check_twice(hires, request)?;
        let first_size = self.latent_size();
        let size = hires.size.latents(first_size, self.inner.scale())?;
        let first = GenerateOptions { disable_safety: true, ..request.options(self.inner.takes()) };
        let Self { inner, larger, warnings, .. } = self;
        let (second, found) = larger.models(size, hires.by)?;
        let found: Vec<String> = found.into_iter().filter(|new| !warnings.contains(new)).collect();
        warnings.extend(found);
        // What is wrong with the second pass must not cost the first: zeros stand for what it will begin with.
        let (shape, n_pictures) = (second.latent_shape(), first.drawn_count());
        let nothing = HostTensor::from_f32(shape, vec![0.0; shape.iter().product()]);
        let mut last = last_options(&first, hires, vec![nothing; first.image_count], request.no_safety_check);
        let n_last = n_pictures * second.evaluations(&last)?;
        let n_first = n_pictures * inner.evaluations(&first)?;
        // Drawn anew, at the other size.
        let mut anew = streams.clone();
        telling.first_of_two(n_last);
        let mut told = |at: Progress<'_>| telling.step(at);
        let (drawn, said) = first_pass(inner, second, (hires.by, size), streams, &first, stop, &mut told)?;
        let latents = of_all(drawn.latents, &first);
        last.clean = last.clean.map(|clean| StartingLatents { latents, ..clean });
        last.evaluations_before = Some(n_first / n_pictures.max(1));
        second.remember_texts_of(inner);
        telling.began_with(drawn.noises);
        telling.last_of_two(n_first, shape);
        Ok(joined(said, second.generate_each(&mut anew, &last, stop, telling)?))
    }

    /// Refuses what a second pass does not go with.
    fn check_twice(&self, hires: &Hires, request: &Request) -> Result<()> {
        let given = [
            (
                request.start.is_some(),
                "--image: a picture to begin with is what a second pass begins with; draw it at the larger size with --size",
            ),
            (self.refiner.is_some(), "--refiner: two models do not take turns in two passes; leave one of them out"),
            (!request.latents.is_empty(), "latents to go on from, which are in the middle of a pass"),
            (request.denoising_start.is_some(), "a late beginning, because the first pass draws from noise"),
            (
                request.denoising_end.is_some(),
                "an early end, which leaves noise; the second pass enlarges whole pictures",
            ),
        ];
        if let Some((_, what)) = given.into_iter().find(|(is_given, _)| *is_given) {
            refuse!("--hires does not go with {what}");
        }
        if self.inner.takes() != Takes::Latents {
            refuse!(
                "--hires needs a model that draws from noise alone, and the denoiser of {} takes a picture",
                self.name
            );
        }
        if hires.steps.is_some() && (request.timesteps.is_some() || request.sigmas.is_some()) {
            refuse!(
                "--hires-steps is a number of steps, and both passes take the time steps or noise levels that are given"
            );
        }
        Ok(())
    }
}

/// Draws the first pass and enlarges what came of it.
fn first_pass(
    inner: &mut DiffusionPipeline,
    second: &mut DiffusionPipeline,
    (by, size): (Enlarge, LatentSize),
    streams: &mut Streams,
    options: &GenerateOptions,
    stop: &Stop,
    on_step: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<(Enlarged, Vec<Warning>)> {
    Ok(match by {
        Enlarge::Latents(filter) => {
            let Undecoded { pictures, warnings, .. } = inner.denoise_with(streams, options, stop, on_step)?;
            let large = |latents: &HostTensor, cover| Ok(enlarge(latents, cover, filter)?);
            let latents = pictures.iter().map(|picture| cut(&picture.latents, size, large)).collect::<Result<_>>()?;
            (Enlarged { latents, noises: pictures.into_iter().map(|picture| picture.noise).collect() }, warnings)
        }
        Enlarge::Picture(filter) => {
            let Generation { images, warnings, .. } = inner.generate_with(streams, options, stop, on_step)?;
            let pixels = size_of(size, inner.scale());
            let mut encode = |image: &RgbImage| -> Result<HostTensor> {
                let cover = covering(image.size(), pixels);
                Ok(second.encode(&image.resize(cover, filter.into()).crop(middle(cover, pixels)), stop)?)
            };
            let latents = images.iter().map(|picture| encode(&picture.image)).collect::<Result<_>>()?;
            (Enlarged { latents, noises: images.into_iter().map(|image| image.noise).collect() }, warnings)
        }
    })
}

/// What the second pass is asked for.
fn last_options(
    first: &GenerateOptions,
    hires: &Hires,
    latents: Vec<HostTensor>,
    disable_safety: bool,
) -> GenerateOptions {
    GenerateOptions {
        steps: hires.steps.unwrap_or(first.steps),
        clean: Some(StartingLatents { latents, strength: hires.strength }),
        // It has the size of the first pass.
        noise: Vec::new(),
        disable_safety,
        ..first.clone()
    }
}

/// Latents made to cover a size, and what of them lies in its middle.
fn cut(
    latents: &HostTensor,
    size: LatentSize,
    enlarge: impl Fn(&HostTensor, [usize; 2]) -> Result<HostTensor>,
) -> Result<HostTensor> {
    let &[_, channels, height, width] = latents.shape() else { return Ok(latents.clone()) };
    let wanted = size_of(size, 1);
    let cover = covering(Size { width, height }, wanted);
    let large = enlarge(latents, [cover.height, cover.width])?.to_f32_vec();
    let Region { left, top, .. } = middle(cover, wanted);
    let rows = (0..channels).flat_map(|channel| (top..top + size.height).map(move |y| channel * cover.height + y));
    let values = rows.flat_map(|row| &large[row * cover.width + left..][..size.width]).copied().collect();
    Ok(HostTensor::from_f32([1, channels, size.height, size.width], values))
}

/// A size with the proportions of another that covers a third.
// AUTOMATIC1111's web UI 1.10, processing.py.
fn covering(own: Size, wanted: Size) -> Size {
    match own.width * wanted.height < wanted.width * own.height {
        true => Size { width: wanted.width, height: wanted.width * own.height / own.width.max(1) },
        false => Size { width: wanted.height * own.width / own.height.max(1), height: wanted.height },
    }
}

/// The part of a size in its middle.
const fn middle(own: Size, part: Size) -> Region {
    let (left, top) = ((own.width - part.width) / 2, (own.height - part.height) / 2);
    Region { left, top, right: left + part.width, bottom: top + part.height }
}

const fn size_of(latents: LatentSize, scale: usize) -> Size {
    Size { width: latents.width * scale, height: latents.height * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_proportions_are_covered_and_cut() {
        let size = |width, height| Size { width, height };
        assert_eq!(covering(size(8, 8), size(16, 16)), size(16, 16));
        assert_eq!(covering(size(8, 8), size(12, 16)), size(16, 16));
        assert_eq!(covering(size(9, 6), size(16, 16)), size(24, 16));
        assert_eq!(covering(size(6, 9), size(17, 16)), size(17, 25));
        assert_eq!(middle(size(17, 25), size(17, 16)), Region { left: 0, top: 4, right: 17, bottom: 20 });
        let latents = HostTensor::from_f32([1, 1, 1, 2], vec![1.0, 2.0]);
        let filter = sd_runtime::pipeline::LatentFilter::Nearest;
        let whole = LatentSize { height: 2, width: 2 };
        let got = cut(&latents, whole, |latents, cover| Ok(enlarge(latents, cover, filter)?)).unwrap();
        assert_eq!((got.shape(), got.to_f32_vec()), (&[1, 1, 2, 2][..], vec![1.0, 2.0, 1.0, 2.0]));
    }
}
