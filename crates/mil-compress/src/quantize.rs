//! Linear quantization: integers and a scale.
//!
//! The rules are those of coremltools 9.0 (`optimize/_utils.py`), bit for bit: arithmetic is done in the weight's own
//! type, every step rounded to it, ties to even. Where that rule gives infinities, NaNs or a scale of zero, the step is
//! computed in `f32`, and a block of zeros has scale 1.

mod kernel;

use crate::{Affine, Axes, Blocks, Quantize, layout::Grid};
use half::f16;
use host_tensor::{Bytes, DType, HostTensor, pack_bits};
use kernel::{Range, Steps};

/// Quantizes a weight of type `F16` or `F32`; the error says why it is better left as it is.
pub(crate) fn quantize(weight: &HostTensor, how: &Quantize, axes: Axes) -> Result<Affine, String> {
    let blocks = grid_of(weight.shape(), how.blocks, axes)?;
    let grid = Grid::new(weight.shape(), &blocks);
    let (width, bytes) = (weight.dtype().bits() / 8, weight.bytes());
    let limits = Limits::new(how);
    let mut data = vec![0u8; weight.len()];
    let (mut scales, mut offsets) = (Vec::with_capacity(grid.len()), Vec::with_capacity(grid.len()));
    for block in 0..grid.len() {
        let mut range = Range::default();
        grid.bytes(block, bytes, width).for_each(|run| range.extend(weight.dtype(), run));
        if !range.is_finite() {
            return Err("some of its values are infinite or not numbers".into());
        }
        let steps = limits.steps(weight.dtype(), range, how.symmetric);
        for (to, run) in grid.ranges(block).zip(grid.bytes(block, bytes, width)) {
            kernel::quantize(weight.dtype(), run, &steps, &mut data[to]);
        }
        scales.push(steps.scale);
        offsets.push(steps.offset as i32 as u8);
    }
    let integers = |values: Vec<u8>, shape: &[usize]| {
        let packed = if how.dtype.bits() == 4 { pack_bits(&values, 4) } else { values };
        HostTensor::new(how.dtype, shape, Bytes::from(packed)).expect("invariant: as many as the shape says")
    };
    let has_offset = !(how.symmetric && limits.least < 0.0);
    Ok(Affine {
        data: integers(data, weight.shape()),
        scale: HostTensor::from_f32(blocks.clone(), scales).cast(weight.dtype()),
        offset: has_offset.then(|| integers(offsets, &blocks)),
    })
}

/// Blocks along each axis.
fn grid_of(shape: &[usize], blocks: Blocks, axes: Axes) -> Result<Vec<usize>, String> {
    let mut grid = vec![1; shape.len()];
    match blocks {
        Blocks::PerTensor => {}
        Blocks::PerChannel => grid[axes.output] = shape[axes.output],
        Blocks::PerBlock { size } => {
            let n = shape[axes.input];
            if size == 0 || !n.is_multiple_of(size) {
                return Err(format!("{n} input channels do not divide into blocks of {size}"));
            }
            grid[axes.output] = shape[axes.output];
            grid[axes.input] = n / size;
        }
    }
    Ok(grid)
}

/// The integers that a type can hold in a mode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) least: f32,
    pub(crate) greatest: f32,
}

impl Limits {
    pub(crate) fn new(how: &Quantize) -> Self {
        let bits = how.dtype.bits();
        let (least, greatest) = match how.dtype {
            DType::I4 | DType::I8 => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            _ => (0, (1 << bits) - 1),
        };
        // Symmetric ranges have as many integers below zero as above.
        let (least, greatest) = match (how.symmetric, least < 0) {
            (true, true) => (least + 1, greatest),
            (true, false) => (least, greatest - 1),
            (false, _) => (least, greatest),
        };
        Self { least: least as f32, greatest: greatest as f32 }
    }

    /// Scale and offset for values in a range.
    fn steps(self, dtype: DType, range: Range, symmetric: bool) -> Steps {
        let round = |x: f32| if dtype == DType::F16 { f16::from_f32(x).to_f32() } else { x };
        let Self { least, greatest } = self;
        let (lo, hi) = match symmetric {
            true => {
                let r = range.least.abs().max(range.greatest.abs());
                (-r, r)
            }
            false => (range.least.min(0.0), range.greatest.max(0.0)),
        };
        let n = greatest - least;
        let width = round(hi - lo);
        // Beyond the type's range the width is kept in `f32`: its n-th part is inside again.
        let width = if width.is_finite() { width } else { f32::MAX.min(hi - lo) };
        let mut scale = round(width / n);
        if scale == 0.0 {
            // All zeros, or so small that a step is not representable: the smallest that is.
            scale = if hi == lo { 1.0 } else { smallest(dtype) };
        }
        let offset = if symmetric {
            if least < 0.0 { 0.0 } else { (greatest / 2.0).floor() }
        } else if hi == lo {
            least.max(0.0)
        } else {
            let exact = round(round(round(least * hi) - round(greatest * lo)) / width);
            let offset = if exact.is_finite() { exact } else { (least * (hi / width)) - (greatest * (lo / width)) };
            offset.round_ties_even().clamp(least, greatest)
        };
        // A scale that was rounded up must not carry the extremes out of the type's range.
        let farthest = (greatest - offset).abs().max((least - offset).abs());
        while dtype == DType::F16 && !round(scale * farthest).is_finite() {
            scale = f16::from_bits(f16::from_f32(scale).to_bits() - 1).to_f32();
        }
        Steps { scale, offset, least, greatest }
    }
}

/// The smallest positive number of a type.
fn smallest(dtype: DType) -> f32 {
    if dtype == DType::F16 { f16::MIN_POSITIVE_SUBNORMAL.to_f32() } else { f32::from_bits(1) }
}

#[cfg(test)]
mod tests;
