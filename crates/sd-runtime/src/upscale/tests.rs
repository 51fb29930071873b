//! Tiles against the whole, with networks whose field of view is known.

use super::*;
use crate::engine::{EngineError, Feature, Signature};
use host_tensor::{DType, HostTensor};

/// A network that is small enough to be read: what it makes of planes of a size.
type Network = fn(&[f32], Size) -> Vec<f32>;

struct Fake {
    signature: Signature,
    size: Size,
    network: Network,
    n_runs: usize,
    stop_after: usize,
}

impl Engine for Fake {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, EngineError> {
        self.n_runs += 1;
        if self.n_runs > self.stop_after {
            stop.set();
            return Err("stopped".into());
        }
        let values = (self.network)(&inputs["picture"].to_f32_vec(), self.size);
        let shape = self.signature.outputs[0].shape.dims().unwrap().to_vec();
        Ok(Tensors::from([("upscaled".to_owned(), HostTensor::from_f32(shape, values))]))
    }
}

fn fake(size: Size, factor: usize, network: Network) -> Fake {
    let shape = |n: usize| vec![1, 3, size.height * n, size.width * n];
    let signature = Signature {
        inputs: vec![Feature::new("picture", DType::F32, shape(1))],
        outputs: vec![Feature::new("upscaled", DType::F32, shape(factor))],
    };
    Fake { signature, size, network, n_runs: 0, stop_after: usize::MAX }
}

/// Means of squares of 5 by 5 pixels, nothing beyond the edge, and each as two by two pixels.
fn blurred(planes: &[f32], size: Size) -> Vec<f32> {
    let Size { width, height } = size;
    let mean = |plane: &[f32], x: usize, y: usize| {
        let near = |at: usize, side: usize| at.saturating_sub(2)..(at + 3).min(side);
        let sum: f32 = near(y, height).flat_map(|y| near(x, width).map(move |x| plane[y * width + x])).sum();
        sum / 25.0
    };
    let pixels = |plane: &[f32]| -> Vec<f32> {
        (0..4 * width * height).map(|i| mean(plane, i % (2 * width) / 2, i / (2 * width) / 2)).collect()
    };
    planes.chunks_exact(width * height).flat_map(pixels).collect()
}

/// Means of squares of 2 by 2 pixels that begin at even places, at the same size.
fn squares(planes: &[f32], size: Size) -> Vec<f32> {
    let Size { width, height } = size;
    let mean = |plane: &[f32], x: usize, y: usize| {
        let (x, y) = (x / 2 * 2, y / 2 * 2);
        (plane[y * width + x] + plane[y * width + x + 1] + plane[(y + 1) * width + x] + plane[(y + 1) * width + x + 1])
            / 4.0
    };
    planes.chunks_exact(width * height).flat_map(|p| (0..p.len()).map(|i| mean(p, i % width, i / width))).collect()
}

/// A picture without symmetry.
fn pattern(width: usize, height: usize) -> RgbImage {
    let pixels = (0..width * height * 3).map(|i| ((7 * i * i + 13 * i) % 251) as u8).collect();
    RgbImage::new(width, height, pixels).unwrap()
}

fn size(width: usize, height: usize) -> Size {
    Size { width, height }
}

fn run(upscaler: &mut Upscaler, picture: &RgbImage) -> RgbImage {
    upscaler.upscale(picture, &Stop::never(), &mut |_| ControlFlow::Continue(())).unwrap()
}

/// In tiles, and in one that is as large as the picture.
#[track_caller]
fn check(picture: Size, tile: Size, overlap: usize, multiple: usize, factor: usize, network: Network) {
    let drawn = pattern(picture.width, picture.height);
    let upscaler =
        |tile| Upscaler::new(Box::new(fake(tile, factor, network))).unwrap().with_multiple(multiple).unwrap();
    let whole = run(&mut upscaler(picture), &drawn);
    let tiled = run(&mut upscaler(tile).with_overlap(overlap), &drawn);
    assert_eq!((tiled.size(), tiled == whole), (whole.size(), true), "{picture} in {tile}");
}

#[test]
fn tiles_are_the_whole_where_context_is_enough() {
    for picture in [size(64, 64), size(65, 31), size(31, 65), size(97, 40), size(200, 33), size(17, 23)] {
        // A quarter of the overlap is faded over, and the network sees 2 pixels to every side.
        check(picture, size(17, 23), 3, 1, 2, blurred);
        check(picture, size(16, 16), 7, 1, 2, blurred);
    }
    for picture in [size(64, 64), size(66, 30), size(30, 66)] {
        check(picture, size(16, 24), 3, 2, 1, squares);
        check(picture, size(16, 16), 0, 2, 1, squares);
    }
}

#[test]
fn less_context_than_the_network_sees_does_not_do() {
    let upscaler = |tile| Upscaler::new(Box::new(fake(tile, 2, blurred))).unwrap().with_multiple(1).unwrap();
    // Four tiles, of which neighbours have two pixels in common.
    let picture = pattern(58, 58);
    let whole = run(&mut upscaler(size(58, 58)), &picture);
    assert_ne!(run(&mut upscaler(size(16, 16)).with_overlap(0), &picture), whole);
}

#[test]
fn pictures_of_any_size_come_out_exactly_as_many_times_as_large() {
    for (width, height) in [(1, 1), (1, 50), (50, 1), (2, 3), (15, 16), (16, 17), (33, 100)] {
        let mut upscaler = Upscaler::new(Box::new(fake(size(16, 16), 2, blurred))).unwrap();
        let upscaled = run(&mut upscaler, &pattern(width, height));
        assert_eq!(upscaled.size(), size(2 * width, 2 * height));
    }
    // One pixel is continued, so its inner pixels are what it is.
    let same: Network = |planes, _| planes.to_vec();
    let pixel = RgbImage::new(1, 1, vec![1, 128, 254]).unwrap();
    assert_eq!(run(&mut Upscaler::new(Box::new(fake(size(8, 8), 1, same))).unwrap(), &pixel), pixel);
    let empty = RgbImage::new(0, 0, Vec::new()).unwrap();
    let mut upscaler = Upscaler::new(Box::new(fake(size(8, 8), 1, same))).unwrap();
    assert!(upscaler.upscale(&empty, &Stop::never(), &mut |_| ControlFlow::Continue(())).is_err());
}

#[test]
fn where_tiles_disagree_one_fades_into_the_other() {
    // Every tile is as bright as the pixel at its top left corner.
    let flat: Network = |planes, size| {
        let n = size.n_pixels();
        (0..3).flat_map(|channel| std::iter::repeat_n(planes[channel * n], 4 * n)).collect()
    };
    let ramp = RgbImage::new(100, 1, (0..300).map(|i| (i / 3 * 2) as u8).collect()).unwrap();
    let mut upscaler = Upscaler::new(Box::new(fake(size(40, 40), 2, flat))).unwrap().with_overlap(16);
    let upscaled = run(&mut upscaler, &ramp);
    let reds: Vec<u8> = upscaled.pixels()[..600].iter().step_by(3).copied().collect();
    let steps: Vec<i32> = reds.windows(2).map(|w| i32::from(w[1]) - i32::from(w[0])).collect();
    assert_eq!((reds[0], *reds.last().unwrap()), (0, 128), "the last tile is moved inwards");
    assert!(steps.iter().all(|step| (0..=4).contains(step)), "{reds:?}");
}

#[test]
fn rows_come_from_the_top_and_tiles_are_counted() {
    let mut upscaler = Upscaler::new(Box::new(fake(size(16, 16), 2, blurred))).unwrap().with_overlap(2);
    let picture = pattern(40, 60);
    let (mut rows, mut counted) = (Vec::new(), Vec::new());
    let mut on_tile = |tiles: Tiles| {
        counted.push(tiles);
        ControlFlow::Continue(())
    };
    let mut parts = 0;
    let mut on_rows = |some: &[u8]| {
        assert_eq!(some.len() % (80 * 3), 0);
        (parts, rows) = (parts + 1, [std::mem::take(&mut rows), some.to_vec()].concat());
        Ok(())
    };
    upscaler.upscale_rows(&picture, &Stop::never(), &mut on_tile, &mut on_rows).unwrap();
    assert!(parts > 1 && counted.len() == counted[0].count && counted.last().unwrap().done == counted.len());
    assert_eq!(rows, run(&mut upscaler, &picture).pixels());
}

#[test]
fn a_run_stops_between_tiles_and_within_them() {
    let stopped = |error: RuntimeError| matches!(error, RuntimeError::Stopped { step: 2, count: 9 });
    let picture = pattern(40, 40);
    let upscaler = |fake: Fake| Upscaler::new(Box::new(fake)).unwrap().with_overlap(0);
    let mut on_tile = |tiles: Tiles| if tiles.done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let error = upscaler(fake(size(16, 16), 2, blurred)).upscale(&picture, &Stop::never(), &mut on_tile).unwrap_err();
    assert!(stopped(error));
    let failing = Fake { stop_after: 2, ..fake(size(16, 16), 2, blurred) };
    let error = upscaler(failing).upscale(&picture, &Stop::new(), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(stopped(error));
}

#[test]
fn values_that_are_not_finite_are_no_picture() {
    let broken: Network = |planes, _| planes.iter().map(|_| f32::NAN).collect();
    let mut upscaler = Upscaler::new(Box::new(fake(size(8, 8), 1, broken))).unwrap();
    let error = upscaler.upscale(&pattern(3, 3), &Stop::never(), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("not finite"), "{error}");
}

#[test]
fn what_is_no_upscaler_is_refused() {
    let refused = |change: fn(&mut Signature), words: &str| {
        let mut fake = fake(size(8, 8), 2, blurred);
        change(&mut fake.signature);
        let error = Upscaler::new(Box::new(fake)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(|s| s.inputs[0].name = "x".into(), "has no input picture");
    refused(|s| s.inputs[0].shape = [1, 1, 8, 8].into(), "pictures in colour");
    refused(|s| s.outputs[0].shape = [1, 3, 16, 15].into(), "no whole number of times");
    refused(|s| s.outputs[0].name = "y".into(), "has no output upscaled");
    let upscaler = |size| Upscaler::new(Box::new(fake(size, 2, blurred))).unwrap();
    let large = |picture: &RgbImage| {
        let mut upscaler = upscaler(size(8, 8)).with_overlap(4);
        upscaler.upscale(picture, &Stop::never(), &mut |_| ControlFlow::Continue(()))
    };
    assert!(
        large(&pattern(9, 8)).unwrap_err().to_string().contains("leaves nothing of tiles of 8; 0 would be the most")
    );
    assert!(large(&pattern(8, 8)).is_ok(), "one tile needs no context");
    assert!(upscaler(size(9, 8)).with_multiple(2).is_err());
}
