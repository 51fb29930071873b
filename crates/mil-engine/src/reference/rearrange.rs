//! Moving elements about: tiling, reversing, padding, bands of matrices, and channels to space.

use super::{
    call::{Call, Results, one},
    kernels::{Kernel, moves},
    layout::{View, copy_view, strides_of, transpose},
    value::{Element, Tensor, filled, for_kind, reserve},
};
use crate::OpFault;

pub(super) const KERNELS: &[Kernel] = &[
    moves("band_part", band_part),
    moves("depth_to_space", |c| to_space(c, "block_size", Channels::BlockFirst)),
    moves("pad", pad),
    moves("pixel_shuffle", |c| to_space(c, "upscale_factor", Channels::BlockLast)),
    moves("pixel_unshuffle", |c| from_space(c, "downscale_factor", Channels::BlockLast)),
    moves("reverse", reverse),
    moves("space_to_depth", |c| from_space(c, "block_size", Channels::BlockFirst)),
    moves("tile", tile),
];

/// `tile(x, reps)`: each dimension repeated.
fn tile(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let reps = call.sizes("reps")?;
    if reps.len() != x.rank() {
        return Err(OpFault::value("reps", reps, "it must have one element per dimension of x"));
    }
    let product = |(d, r): (&usize, &usize)| d.checked_mul(*r);
    let shape: Option<Vec<usize>> = x.shape().iter().zip(&reps).map(product).collect();
    let shape = shape.ok_or_else(|| OpFault::TooLarge { shape: reps.clone(), limit: call.limit })?;
    call.count(&shape)?;
    let mut view = View { offset: 0, shape: Vec::new(), strides: Vec::new() };
    for ((&d, stride), &r) in x.shape().iter().zip(strides_of(x.shape())).zip(&reps) {
        view.shape.extend([r, d]);
        view.strides.extend([0, stride as isize]);
    }
    one(copy_view(&x, &view)?.with_shape(shape))
}

fn reverse(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let axes = call.axes("axes", x.rank())?;
    let mut view = View::of(x.shape());
    for axis in axes {
        let n = x.shape()[axis];
        view.narrow(axis, n.saturating_sub(1), n, -1);
    }
    one(copy_view(&x, &view)?)
}

/// Where each index of a padded axis reads; `None` in constant padding.
fn padded_axis(n: usize, before: usize, after: usize, mode: &str) -> Result<Vec<Option<usize>>, OpFault> {
    let total = before.checked_add(n).and_then(|t| t.checked_add(after));
    let total = total.ok_or_else(|| OpFault::value("pad", (before, after), "it is too large"))?;
    let reflects = mode == "reflect" && (before >= n.max(1) || after >= n.max(1)) && before + after > 0;
    if reflects || (mode == "replicate" && n == 0 && total > 0) {
        return Err(OpFault::value("pad", (before, after), "there is not enough of the input to pad with"));
    }
    let mut map = reserve(total)?;
    map.extend((0..total).map(|i| match (mode, i.checked_sub(before)) {
        (_, Some(at)) if at < n => Some(at),
        ("reflect", None) => Some(before - i),
        ("reflect", Some(at)) => Some(2 * n - 2 - at),
        ("replicate", None) => Some(0),
        ("replicate", Some(_)) => Some(n - 1),
        _ => None,
    }));
    Ok(map)
}

/// `pad(x, pad, mode, constant_val)`: before and after each of the last dimensions, outermost first.
fn pad(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let pads = call.sizes("pad")?;
    let mode = call.text("mode")?;
    if !["constant", "reflect", "replicate"].contains(&mode) {
        return Err(OpFault::value("mode", mode, "it must be constant, reflect or replicate"));
    }
    if pads.len() % 2 != 0 || pads.len() / 2 > x.rank() {
        return Err(OpFault::value("pad", pads, "it must have two elements for each of the last dimensions"));
    }
    let first = x.rank() - pads.len() / 2;
    let mut shape = x.shape().to_vec();
    for (d, p) in shape[first..].iter_mut().zip(pads.chunks(2)) {
        *d = d.saturating_add(p[0]).saturating_add(p[1]);
    }
    let n = call.count(&shape)?;
    let mut maps = Vec::with_capacity(x.rank());
    for (i, &d) in x.shape().iter().enumerate() {
        let (before, after) = i.checked_sub(first).map_or((0, 0), |j| (pads[2 * j], pads[2 * j + 1]));
        maps.push(padded_axis(d, before, after, mode)?);
    }
    for_kind!(x.data(), T => {
        let mut out = filled(n, call.element::<T>("constant_val")?)?;
        fill_padded(x.view::<T>()?, &strides_of(x.shape()), &maps, Some(0), &mut out);
        one(Tensor::new(shape, out))
    })
}

/// Copies into `out` what the maps of the remaining axes show; `from` is `None` inside of constant padding.
fn fill_padded<T: Element>(
    src: &[T],
    strides: &[usize],
    maps: &[Vec<Option<usize>>],
    from: Option<usize>,
    out: &mut [T],
) {
    let (Some(from), false) = (from, out.is_empty()) else { return };
    let Some((map, inner_maps)) = maps.split_first() else {
        out[0] = src[from];
        return;
    };
    let inner = out.len() / map.len();
    for (at, out) in map.iter().zip(out.chunks_mut(inner)) {
        fill_padded(src, &strides[1..], inner_maps, at.map(|i| from + i * strides[0]), out);
    }
}

/// How channels and the positions in a block are numbered together.
#[derive(Clone, Copy)]
enum Channels {
    /// TensorFlow's `depth_to_space`: channel = (row · block + column) · C + c.
    BlockFirst,
    /// PyTorch's `pixel_shuffle`: channel = (c · block + row) · block + column.
    BlockLast,
}

fn image(call: &mut Call<'_>, param: &str) -> Result<(Tensor, [usize; 4], usize), OpFault> {
    let x = call.take("x")?;
    let block = call.int(param)?;
    let block = usize::try_from(block).ok().filter(|&b| b > 0 && b <= 1 << 20);
    match (x.shape(), block) {
        (&[n, c, h, w], Some(block)) => Ok((x, [n, c, h, w], block)),
        _ => Err(OpFault::shapes("x must be [N, C, H, W] and the block positive", &[x.shape()])),
    }
}

/// [N, C·b², H, W] → [N, C, H·b, W·b].
fn to_space(call: &mut Call<'_>, param: &str, order: Channels) -> Results {
    let (x, [n, c, h, w], b) = image(call, param)?;
    if c % (b * b) != 0 {
        return Err(OpFault::shapes("the square of the block must divide the channels", &[x.shape(), &[b]]));
    }
    let c = c / (b * b);
    let moved = match order {
        Channels::BlockFirst => transpose(x.with_shape([n, b, b, c, h, w]), &[0, 3, 4, 1, 5, 2])?,
        Channels::BlockLast => transpose(x.with_shape([n, c, b, b, h, w]), &[0, 1, 4, 2, 5, 3])?,
    };
    one(moved.with_shape([n, c, h * b, w * b]))
}

/// [N, C, H·b, W·b] → [N, C·b², H, W].
fn from_space(call: &mut Call<'_>, param: &str, order: Channels) -> Results {
    let (x, [n, c, h, w], b) = image(call, param)?;
    if h % b != 0 || w % b != 0 {
        return Err(OpFault::shapes("the block must divide height and width", &[x.shape(), &[b]]));
    }
    let (h, w) = (h / b, w / b);
    let x = x.with_shape([n, c, h, b, w, b]);
    let moved = match order {
        Channels::BlockFirst => transpose(x, &[0, 3, 5, 1, 2, 4])?,
        Channels::BlockLast => transpose(x, &[0, 1, 3, 5, 2, 4])?,
    };
    one(moved.with_shape([n, c * b * b, h, w]))
}

/// Keeps `lower` diagonals below the main one and `upper` above it, all of them when negative; the rest of
/// each matrix becomes zero.
fn band_part(call: &mut Call<'_>) -> Results {
    let (lower, upper) = (call.int("lower")?, call.int("upper")?);
    let x = call.take("x")?;
    let &[.., rows, columns] = x.shape() else {
        return Err(OpFault::shapes("x must have rank 2 or more", &[x.shape()]));
    };
    let keep = |i: usize| {
        let below = (i / columns % rows) as i64 - (i % columns) as i64;
        (lower < 0 || below <= lower) && (upper < 0 || -below <= upper)
    };
    for_kind!(x.data(), T => {
        let values = x.view::<T>()?;
        let mut out = reserve(values.len())?;
        out.extend(values.iter().enumerate().map(|(i, &v)| if keep(i) { v } else { T::default() }));
        one(Tensor::new(x.shape(), out))
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        OpFault,
        reference::testing::{counting, eval, floats},
    };
    use host_tensor::HostTensor;
    use testkit::Rng;

    #[test]
    fn tiles_repeat_and_reversals_turn() {
        let got = floats!("tile", x = counting([1, 2]), reps = [2, 3]);
        assert_eq!(got, (vec![2, 6], [0., 1.].repeat(6)));
        assert!(matches!(eval!("tile", x = counting([2]), reps = [i32::MAX]), Err(OpFault::TooLarge { .. })));
        assert!(eval!("tile", x = counting([2]), reps = [1, 1]).is_err());
        assert_eq!(floats!("reverse", x = counting([2, 2]), axes = [1]).1, [1., 0., 3., 2.]);
        assert_eq!(floats!("reverse", x = counting([2, 2])).1, [3., 2., 1., 0.]);
        assert_eq!(floats!("reverse", x = counting([0, 2])).0, [0, 2]);
    }

    #[test]
    fn padding_names_the_outer_dimension_first() {
        let x = || counting([2, 2]);
        let got = floats!("pad", x = x(), pad = [1, 0, 0, 1], constant_val = 9.0);
        assert_eq!(got, (vec![3, 3], vec![9., 9., 9., 0., 1., 9., 2., 3., 9.]));
        let got = floats!("pad", x = counting([1, 3]), pad = [2, 1], mode = "reflect");
        assert_eq!(got, (vec![1, 6], vec![2., 1., 0., 1., 2., 1.]));
        let got = floats!("pad", x = x(), pad = [0, 1, 1, 0], mode = "replicate");
        assert_eq!(got, (vec![3, 3], vec![0., 0., 1., 2., 2., 3., 2., 2., 3.]));
        assert!(eval!("pad", x = x(), pad = [2, 0], mode = "reflect").is_err());
        assert!(eval!("pad", x = counting([0]), pad = [1, 0], mode = "replicate").is_err());
        assert_eq!(floats!("pad", x = counting([0]), pad = [1, 1], constant_val = 5.0).1, [5., 5.]);
        assert!(matches!(eval!("pad", x = x(), pad = [i32::MAX, i32::MAX]), Err(OpFault::TooLarge { .. })));
        assert!(eval!("pad", x = x(), pad = [1]).is_err());
    }

    #[test]
    fn channels_become_space_in_both_orders_and_back() {
        let x = || counting([1, 8, 1, 1]);
        // PyTorch 2.7: pixel_shuffle; TensorFlow: depth_to_space on NHWC.
        let shuffled = eval!("pixel_shuffle", x = x(), upscale_factor = 2).unwrap().remove(0);
        assert_eq!((shuffled.shape(), shuffled.to_f32_vec()), (&[1, 2, 2, 2][..], counting([8]).to_f32_vec()));
        let spaced = eval!("depth_to_space", x = x(), block_size = 2).unwrap().remove(0);
        assert_eq!(spaced.to_f32_vec(), [0., 2., 4., 6., 1., 3., 5., 7.]);
        assert_eq!(
            floats!("pixel_unshuffle", x = shuffled, downscale_factor = 2),
            (vec![1, 8, 1, 1], x().to_f32_vec())
        );
        assert_eq!(floats!("space_to_depth", x = spaced, block_size = 2), (vec![1, 8, 1, 1], x().to_f32_vec()));
        assert!(eval!("pixel_shuffle", x = x(), upscale_factor = 3).is_err());
        assert!(eval!("pixel_shuffle", x = x(), upscale_factor = 0).is_err());
        let many = HostTensor::from_f32([2, 12, 3, 2], Rng::new(43).normals(144));
        let there = eval!("pixel_shuffle", x = many.clone(), upscale_factor = 2).unwrap().remove(0);
        assert_eq!(floats!("pixel_unshuffle", x = there, downscale_factor = 2).1, many.to_f32_vec());
    }

    #[test]
    fn bands_are_kept() {
        let x = || counting([1, 3, 3]);
        assert_eq!(floats!("band_part", x = x(), lower = 0, upper = -1).1, [0., 1., 2., 0., 4., 5., 0., 0., 8.]);
        assert_eq!(floats!("band_part", x = x(), lower = 1, upper = 0).1, [0., 0., 0., 3., 4., 0., 0., 7., 8.]);
        assert_eq!(floats!("band_part", x = x()).1, counting([9]).to_f32_vec());
    }
}
