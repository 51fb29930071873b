//! Resizing of images: every operation is one map from output to input positions per axis.

use super::{
    call::{Call, Results, one},
    elementwise_unary::convert,
    kernels::{Kernel, computes, moves},
    value::{Data, PARALLEL_ELEMENTS, Tensor, filled, for_kind, reserve},
};
use crate::OpFault;
use host_tensor::DType;
use rayon::prelude::*;

pub(super) const KERNELS: &[Kernel] = &[
    computes("resize", resize),
    computes("resize_bilinear", resize_bilinear),
    moves("resize_nearest_neighbor", resize_nearest_neighbor),
    computes("upsample_bilinear", upsample_bilinear),
    moves("upsample_nearest_neighbor", upsample_nearest_neighbor),
];

/// Where output positions lie in the input, as coremltools 9.0 documents for `resize_bilinear`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sampling {
    /// Corners on corners; a single output lies on the first input.
    StrictAlignCorners,
    /// Corners on corners; a single output lies in the middle.
    AlignCorners,
    /// `i · in / out`, at most the last input.
    Default,
    /// Half of a step from the border.
    OffsetCorners,
    /// Centres of pixels on centres: `(i + ½) · in / out − ½`.
    UnalignCorners,
}

impl Sampling {
    fn from_name(name: &str) -> Result<Self, OpFault> {
        Ok(match name {
            "STRICT_ALIGN_CORNERS" => Self::StrictAlignCorners,
            "ALIGN_CORNERS" => Self::AlignCorners,
            "DEFAULT" => Self::Default,
            "OFFSET_CORNERS" => Self::OffsetCorners,
            "UNALIGN_CORNERS" => Self::UnalignCorners,
            _ => return Err(OpFault::value("sampling_mode", name, "it must be one of the five modes")),
        })
    }

    /// The input position of output `i`, for axes that are not empty.
    fn position(self, i: usize, n_in: usize, n_out: usize) -> f64 {
        let (i, n, m) = (i as f64, n_in as f64, n_out as f64);
        let at = match self {
            Self::AlignCorners if n_out == 1 => (n - 1.0) / 2.0,
            Self::StrictAlignCorners | Self::AlignCorners => {
                if n_out == 1 {
                    0.0
                } else {
                    i * (n - 1.0) / (m - 1.0)
                }
            }
            Self::Default => i * n / m,
            Self::OffsetCorners => (n - 1.0).max(1.0) / m * (0.5 + i),
            Self::UnalignCorners => (i + 0.5) * n / m - 0.5,
        };
        at.clamp(0.0, n - 1.0)
    }

    /// Input positions of a whole axis.
    fn positions(self, n_in: usize, n_out: usize) -> Result<Vec<f64>, OpFault> {
        if n_in == 0 && n_out > 0 {
            return Err(OpFault::shapes("there is nothing to resize", &[&[n_in], &[n_out]]));
        }
        let mut out = reserve(n_out)?;
        out.extend((0..n_out).map(|i| self.position(i, n_in, n_out)));
        Ok(out)
    }
}

/// `x` with one axis replaced by elements at these positions.
fn pick(call: &Call<'_>, x: &Tensor, axis: usize, indices: &[usize]) -> Result<Tensor, OpFault> {
    let mut shape = x.shape().to_vec();
    let size = std::mem::replace(&mut shape[axis], indices.len());
    let n = call.count(&shape)?;
    let inner: usize = shape[axis + 1..].iter().product();
    for_kind!(x.data(), T => {
        let values = x.view::<T>()?;
        let mut out = reserve(n)?;
        for slab in values.chunks((size * inner).max(1)) {
            if inner == 1 {
                out.extend(indices.iter().map(|&i| slab[i]));
            } else {
                indices.iter().for_each(|&i| out.extend_from_slice(&slab[i * inner..][..inner]));
            }
        }
        Ok(Tensor::new(shape, out))
    })
}

/// `x` with one axis replaced by linear interpolations at these positions.
fn interpolate(call: &Call<'_>, x: &Tensor, axis: usize, positions: &[f64]) -> Result<Tensor, OpFault> {
    let mut shape = x.shape().to_vec();
    let size = std::mem::replace(&mut shape[axis], positions.len());
    let n = call.count(&shape)?;
    let inner: usize = shape[axis + 1..].iter().product();
    let mut out = filled(n, 0f32)?;
    if n == 0 {
        return Ok(Tensor::new(shape, out));
    }
    let values = x.floats()?;
    let slab = |(slab, out): (&[f32], &mut [f32])| {
        for (&at, out) in positions.iter().zip(out.chunks_mut(inner)) {
            let low = (at as usize).min(size - 1);
            let high = (low + 1).min(size - 1);
            let weight = (at - low as f64) as f32;
            let (a, b) = (&slab[low * inner..][..inner], &slab[high * inner..][..inner]);
            out.iter_mut().zip(a.iter().zip(b)).for_each(|(o, (a, b))| *o = a + (b - a) * weight);
        }
    };
    let (before, after) = (size * inner, positions.len() * inner);
    if n < PARALLEL_ELEMENTS {
        values.chunks(before).zip(out.chunks_mut(after)).for_each(slab);
    } else {
        values.par_chunks(before).zip(out.par_chunks_mut(after)).for_each(slab);
    }
    Ok(Tensor::new(shape, out))
}

/// Height and width are the last two axes.
fn image(call: &mut Call<'_>) -> Result<(Tensor, [usize; 2]), OpFault> {
    let x = call.take("x")?;
    match *x.shape() {
        [.., h, w] => Ok((x, [h, w])),
        _ => Err(OpFault::shapes("x must have a height and a width", &[x.shape()])),
    }
}

fn resized(
    call: &Call<'_>,
    x: Tensor,
    maps: [Vec<f64>; 2],
    f: fn(&Call<'_>, &Tensor, usize, &[f64]) -> Result<Tensor, OpFault>,
) -> Results {
    let rank = x.rank();
    let wide = f(call, &x, rank - 1, &maps[1])?;
    one(f(call, &wide, rank - 2, &maps[0])?)
}

/// The input element at or before each position.
fn floor_of(call: &Call<'_>, x: &Tensor, axis: usize, positions: &[f64]) -> Result<Tensor, OpFault> {
    let indices: Vec<usize> = positions.iter().map(|&p| p as usize).collect();
    pick(call, x, axis, &indices)
}

/// A size multiplied by a scale factor, rounded down.
fn scaled(call: &Call<'_>, param: &str, size: usize) -> Result<(usize, f64), OpFault> {
    let scale = f64::from(call.float(param)?);
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(OpFault::value(param, scale, "it must be positive"));
    }
    Ok(((size as f64 * scale).floor() as usize, scale))
}

/// Output `i` is input `floor(i / scale)`.
fn upsample_nearest_neighbor(call: &mut Call<'_>) -> Results {
    let (x, size) = image(call)?;
    let rank = x.rank();
    let mut out = x;
    for (i, param) in ["scale_factor_height", "scale_factor_width"].into_iter().enumerate().rev() {
        let (n, scale) = scaled(call, param, size[i])?;
        let mut shape = out.shape().to_vec();
        shape[rank - 2 + i] = n;
        call.count(&shape)?;
        let indices: Vec<usize> = (0..n).map(|o| ((o as f64 / scale) as usize).min(size[i] - 1)).collect();
        out = pick(call, &out, rank - 2 + i, &indices)?;
    }
    one(out)
}

fn upsample_bilinear(call: &mut Call<'_>) -> Results {
    let (x, size) = image(call)?;
    let align = call.flag("align_corners")?;
    let sampling = match (align, call.flag("half_pixel_centers")?) {
        (true, _) => Sampling::StrictAlignCorners,
        (false, true) => Sampling::UnalignCorners,
        (false, false) => Sampling::Default,
    };
    let axis = |param, size| {
        let n = scaled(call, param, size)?.0;
        call.count(&[n])?;
        sampling.positions(size, n)
    };
    let maps = [axis("scale_factor_height", size[0])?, axis("scale_factor_width", size[1])?];
    resized(call, x, maps, interpolate)
}

fn target(call: &Call<'_>, param: &str) -> Result<usize, OpFault> {
    let n = call.int(param)?;
    let n =
        usize::try_from(n).ok().filter(|&n| n > 0).ok_or_else(|| OpFault::value(param, n, "it must be positive"))?;
    call.count(&[n])
}

/// Output `i` is input `floor(i · in / out)`.
fn resize_nearest_neighbor(call: &mut Call<'_>) -> Results {
    let (x, [h, w]) = image(call)?;
    let (th, tw) = (target(call, "target_size_height")?, target(call, "target_size_width")?);
    let maps = [Sampling::Default.positions(h, th)?, Sampling::Default.positions(w, tw)?];
    resized(call, x, maps, floor_of)
}

fn resize_bilinear(call: &mut Call<'_>) -> Results {
    let (x, [h, w]) = image(call)?;
    let sampling = Sampling::from_name(call.text("sampling_mode")?)?;
    let (th, tw) = (target(call, "target_size_height")?, target(call, "target_size_width")?);
    resized(call, x, [sampling.positions(h, th)?, sampling.positions(w, tw)?], interpolate)
}

/// `resize(x, shape, resized_dims, interpolation_mode, sampling_mode)` of iOS 17: the last `resized_dims`
/// dimensions of `shape` replace those of `x`; 0 keeps one.
///
/// The nearest input is the one before with DEFAULT sampling, as in `resize_nearest_neighbor`, and the
/// closest with the others.
fn resize(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let shape = call.sizes("shape")?;
    let n_dims = call.int("resized_dims")?;
    let n_dims = usize::try_from(n_dims).ok().filter(|&n| n <= shape.len() && n <= x.rank());
    let n_dims = n_dims
        .ok_or_else(|| OpFault::shapes("resized_dims must be dimensions of x and shape", &[x.shape(), &shape]))?;
    let sampling = Sampling::from_name(call.text("sampling_mode")?)?;
    let nearest = match call.text("interpolation_mode")? {
        "LINEAR" => false,
        "NEAREST_NEIGHBOR" => true,
        other => return Err(OpFault::value("interpolation_mode", other, "it must be LINEAR or NEAREST_NEIGHBOR")),
    };
    let is_int = matches!(x.data(), Data::Int(_));
    // Integers are interpolated as floats, and truncated at the end.
    let mut out = if is_int && !nearest { convert(x, DType::F32)? } else { x };
    for i in (0..n_dims).rev() {
        let axis = out.rank() - n_dims + i;
        let wanted = shape[shape.len() - n_dims + i];
        let size = out.shape()[axis];
        if wanted == 0 || wanted == size && sampling != Sampling::OffsetCorners {
            continue;
        }
        call.count(&[wanted])?;
        let positions = sampling.positions(size, wanted)?;
        let half = if sampling == Sampling::Default { 0.0 } else { 0.5 };
        let closest = || positions.iter().map(|p| ((p + half) as usize).min(size - 1)).collect::<Vec<_>>();
        out = if nearest { pick(call, &out, axis, &closest())? } else { interpolate(call, &out, axis, &positions)? };
    }
    one(if is_int && !nearest { convert(out, DType::I32)? } else { out })
}

#[cfg(test)]
mod tests {
    use crate::{
        OpFault,
        reference::testing::{counting, eval, f, floats, i, ints},
    };

    fn row() -> host_tensor::HostTensor {
        f([1, 1, 3], &[0., 10., 20.])
    }

    #[test]
    fn nearest_neighbours_are_repeated() {
        let got = floats!(
            "upsample_nearest_neighbor",
            x = counting([1, 2, 2]),
            scale_factor_height = 2,
            scale_factor_width = 1.5
        );
        assert_eq!(got, (vec![1, 4, 3], vec![0., 0., 1., 0., 0., 1., 2., 2., 3., 2., 2., 3.]));
        let got = floats!("resize_nearest_neighbor", x = row(), target_size_height = 1, target_size_width = 5);
        assert_eq!(got, (vec![1, 1, 5], vec![0., 0., 10., 10., 20.]));
    }

    #[test]
    fn each_sampling_mode_has_its_positions() {
        let width = |mode: &str, n: i32| {
            floats!("resize_bilinear", x = row(), target_size_height = 1, target_size_width = n, sampling_mode = mode).1
        };
        assert_eq!(width("STRICT_ALIGN_CORNERS", 5), [0., 5., 10., 15., 20.]);
        assert_eq!(width("STRICT_ALIGN_CORNERS", 1), [0.]);
        assert_eq!(width("ALIGN_CORNERS", 1), [10.]);
        assert_eq!(width("DEFAULT", 6), [0., 5., 10., 15., 20., 20.]);
        assert_eq!(width("OFFSET_CORNERS", 4), [2.5, 7.5, 12.5, 17.5]);
        assert_eq!(width("UNALIGN_CORNERS", 6), [0., 2.5, 7.5, 12.5, 17.5, 20.]);
        let err = eval!("resize_bilinear", x = row(), target_size_width = 2, sampling_mode = "NEAREST");
        assert!(err.is_err());
    }

    #[test]
    fn bilinear_upsampling_aligns_corners_unless_told_otherwise() {
        let got = floats!("upsample_bilinear", x = f([1, 1, 2], &[0., 10.]), scale_factor_width = 2);
        assert_eq!(got.0, [1, 1, 4]);
        assert!(got.1.iter().zip([0., 10. / 3., 20. / 3., 10.]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-5));
        let got =
            floats!("upsample_bilinear", x = f([1, 1, 2], &[0., 10.]), scale_factor_width = 2, align_corners = false);
        assert_eq!(got.1, [0., 2.5, 7.5, 10.]);
        let got = floats!(
            "upsample_bilinear",
            x = f([1, 1, 2], &[0., 10.]),
            scale_factor_width = 2,
            align_corners = false,
            half_pixel_centers = false
        );
        assert_eq!(got.1, [0., 5., 10., 10.]);
        let got = floats!("upsample_bilinear", x = counting([1, 2, 1]), scale_factor_height = 2, align_corners = false);
        assert_eq!(got, (vec![1, 4, 1], vec![0., 0.25, 0.75, 1.]));
    }

    #[test]
    fn resize_replaces_the_last_dimensions() {
        let got = floats!("resize", x = row(), shape = [0, 6], resized_dims = 2, sampling_mode = "UNALIGN_CORNERS");
        assert_eq!(got, (vec![1, 1, 6], vec![0., 2.5, 7.5, 12.5, 17.5, 20.]));
        let got = floats!("resize", x = row(), shape = [5], resized_dims = 1, interpolation_mode = "NEAREST_NEIGHBOR");
        assert_eq!(got.1, [0., 0., 10., 10., 20.]);
        let got =
            ints!("resize", x = i([1, 2], &[0, 3]), shape = [4], resized_dims = 1, sampling_mode = "UNALIGN_CORNERS");
        assert_eq!(got.1, [0, 0, 2, 3]);
        assert!(eval!("resize", x = row(), shape = [5], resized_dims = 2).is_err());
    }

    #[test]
    fn sizes_are_limited_and_scales_positive() {
        let huge = eval!("upsample_nearest_neighbor", x = row(), scale_factor_width = 1e30);
        assert!(matches!(huge, Err(OpFault::TooLarge { .. })));
        assert!(eval!("upsample_bilinear", x = row(), scale_factor_width = 1e30).is_err());
        assert!(eval!("upsample_bilinear", x = row(), scale_factor_width = 0.0).is_err());
        assert!(eval!("resize_bilinear", x = row(), target_size_width = -1).is_err());
        assert!(eval!("resize_bilinear", x = counting([1, 0]), target_size_width = 1).is_err());
    }
}
