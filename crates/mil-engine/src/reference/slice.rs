//! Slices: by index, by size, and replaced.

use super::{
    call::{Call, Results, index, one},
    kernels::{Kernel, moves},
    layout::{View, copy_view},
    value::{Tensor, for_kind},
};
use crate::OpFault;

pub(super) const KERNELS: &[Kernel] = &[
    moves("slice_by_index", slice_by_index),
    moves("slice_by_size", slice_by_size),
    moves("slice_update", slice_update),
];

/// A Python slice of every dimension, and the dimensions that are dropped.
struct Slices {
    /// First index, number of indices, and step of each dimension.
    ranges: Vec<(usize, usize, isize)>,
    squeezed: Vec<bool>,
}

impl Slices {
    /// Reads `begin`, `end`, `stride` and the masks.
    fn read(call: &Call<'_>, shape: &[usize]) -> Result<Self, OpFault> {
        let rank = shape.len();
        let (begin, end) = (call.ints("begin")?, call.ints("end")?);
        let stride = call.ints_for("stride", rank)?;
        let (open_begin, open_end) = (call.flags_for("begin_mask", rank)?, call.flags_for("end_mask", rank)?);
        let squeezed = call.flags_for("squeeze_mask", rank)?;
        let lengths = [begin.len(), end.len(), stride.len(), open_begin.len(), open_end.len(), squeezed.len()];
        if lengths.iter().any(|&n| n != rank) {
            return Err(OpFault::value("begin", lengths, "every parameter must have one element per dimension of x"));
        }
        let mut ranges = Vec::with_capacity(rank);
        for i in 0..rank {
            let n = shape[i];
            if squeezed[i] {
                ranges.push((index(begin[i], n)?, 1, 1));
                continue;
            }
            let begin = (!open_begin[i]).then_some(begin[i]);
            let end = (!open_end[i]).then_some(end[i]);
            ranges.push(slice(n, begin, end, stride[i])?);
        }
        Ok(Self { ranges, squeezed })
    }

    fn view(&self, shape: &[usize]) -> View {
        let mut view = View::of(shape);
        for (axis, &(start, n, step)) in self.ranges.iter().enumerate() {
            view.narrow(axis, start, n, step);
        }
        view
    }

    fn without_squeezed(&self, shape: &[usize]) -> Vec<usize> {
        shape.iter().zip(&self.squeezed).filter(|(_, s)| !**s).map(|(&d, _)| d).collect()
    }
}

/// Python's `range(*slice(begin, end, step).indices(n))` as first index, count and step.
pub(crate) fn slice(
    n: usize,
    begin: Option<i64>,
    end: Option<i64>,
    step: i64,
) -> Result<(usize, usize, isize), OpFault> {
    if step == 0 {
        return Err(OpFault::value("stride", step, "it must not be zero"));
    }
    let size = n as i64;
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let absolute = |i: i64| (if i < 0 { i.saturating_add(size) } else { i }).clamp(low, high);
    let (first, last) = if step > 0 { (low, high) } else { (high, low) };
    let (begin, end) = (begin.map_or(first, absolute), end.map_or(last, absolute));
    let distance = if step > 0 { end - begin } else { begin - end };
    let count = if distance <= 0 { 0 } else { (distance as u64).div_ceil(step.unsigned_abs()) as usize };
    // A step beyond the dimension is taken once at most.
    let step = step.clamp(-size.max(1), size.max(1)) as isize;
    Ok((if count > 0 { begin as usize } else { 0 }, count, step))
}

fn slice_by_index(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let slices = Slices::read(call, x.shape())?;
    let part = copy_view(&x, &slices.view(x.shape()))?;
    let shape = slices.without_squeezed(part.shape());
    one(part.with_shape(shape))
}

/// `slice_update(x, update, …)`: `x` with the sliced elements replaced.
fn slice_update(call: &mut Call<'_>) -> Results {
    let (x, update) = (call.take("x")?, call.take("update")?);
    let slices = Slices::read(call, x.shape())?;
    let view = slices.view(x.shape());
    if slices.without_squeezed(&view.shape) != update.shape() {
        return Err(OpFault::shapes("update must have the shape of the slice", &[&view.shape, update.shape()]));
    }
    for_kind!(x.data(), T => {
        let mut out = x.view::<T>()?.to_vec();
        view.write(&mut out, update.view()?);
        one(Tensor::new(x.shape(), out))
    })
}

/// `slice_by_size(x, begin, size)`: a size of −1 reaches to the end.
fn slice_by_size(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let (begin, size) = (call.ints("begin")?, call.ints("size")?);
    if begin.len() != x.rank() || size.len() != x.rank() {
        return Err(OpFault::value("begin", begin, "begin and size must have one element per dimension of x"));
    }
    let mut view = View::of(x.shape());
    for (axis, (&b, &s)) in begin.iter().zip(&size).enumerate() {
        let n = x.shape()[axis] as i64;
        let start = if b < 0 { b.saturating_add(n) } else { b };
        let count = if s == -1 { n.saturating_sub(start) } else { s };
        if start < 0 || count < 0 || start > n || count > n - start {
            return Err(OpFault::value("size", (b, s), "the slice must lie inside of its dimension"));
        }
        view.narrow(axis, start as usize, count as usize, 1);
    }
    one(copy_view(&x, &view)?)
}

#[cfg(test)]
mod tests {
    use super::slice;
    use crate::reference::testing::{counting, eval, f, floats};

    #[test]
    fn slices_are_pythons() {
        // Every slice of a dimension of 5, against the definition: walk from begin until end is reached.
        let bounds: Vec<Option<i64>> = std::iter::once(None).chain((-7..=7).map(Some)).collect();
        for step in [-9i64, -2, -1, 1, 2, 9] {
            for &begin in &bounds {
                for &end in &bounds {
                    let n = 5i64;
                    let clip = |v: i64| {
                        let v = if v < 0 { v + n } else { v };
                        if step > 0 { v.clamp(0, n) } else { v.clamp(-1, n - 1) }
                    };
                    let mut at = begin.map_or(if step > 0 { 0 } else { n - 1 }, clip);
                    let stop = end.map_or(if step > 0 { n } else { -1 }, clip);
                    let mut want = Vec::new();
                    while (step > 0 && at < stop) || (step < 0 && at > stop) {
                        want.push(at);
                        at += step;
                    }
                    let (first, count, by) = slice(5, begin, end, step).unwrap();
                    let got: Vec<i64> = (0..count as i64).map(|i| first as i64 + i * by as i64).collect();
                    let same = got == want || (want.len() == 1 && got[..1] == want[..]);
                    assert!(same, "[{begin:?}:{end:?}:{step}] gave {got:?}, not {want:?}");
                }
            }
        }
    }

    #[test]
    fn slicing_with_masks_and_negative_steps() {
        let x = || counting([3, 4]);
        let got = floats!("slice_by_index", x = x(), begin = [1, 0], end = [3, -1]);
        assert_eq!(got, (vec![2, 3], vec![4., 5., 6., 8., 9., 10.]));
        let got = floats!(
            "slice_by_index",
            x = x(),
            begin = [0, 0],
            end = [0, 0],
            stride = [-1, 2],
            begin_mask = [true, true],
            end_mask = [true, true]
        );
        assert_eq!(got, (vec![3, 2], vec![8., 10., 4., 6., 0., 2.]));
        let got = floats!("slice_by_index", x = x(), begin = [-1, 1], end = [0, 3], squeeze_mask = [true, false]);
        assert_eq!(got, (vec![2], vec![9., 10.]));
        assert_eq!(floats!("slice_by_index", x = x(), begin = [2, 0], end = [1, 4]).0, [0, 4]);
        assert!(eval!("slice_by_index", x = x(), begin = [3, 0], end = [4, 4], squeeze_mask = [true, false]).is_err());
        assert!(eval!("slice_by_index", x = x(), begin = [0], end = [1]).is_err());
        assert!(eval!("slice_by_index", x = x(), begin = [0, 0], end = [1, 1], stride = [0, 1]).is_err());
    }

    #[test]
    fn slicing_by_size_reaches_to_the_end() {
        let got = floats!("slice_by_size", x = counting([2, 3]), begin = [0, 1], size = [-1, 1]);
        assert_eq!(got, (vec![2, 1], vec![1., 4.]));
        assert!(eval!("slice_by_size", x = counting([2, 3]), begin = [0, 2], size = [1, 2]).is_err());
        assert!(eval!("slice_by_size", x = counting([2]), begin = [i32::MIN], size = [-1]).is_err());
    }

    #[test]
    fn an_update_replaces_the_slice() {
        let got = floats!(
            "slice_update",
            x = counting([2, 3]),
            update = f([2, 1], &[-1., -2.]),
            begin = [0, 1],
            end = [2, 2]
        );
        assert_eq!(got, (vec![2, 3], vec![0., -1., 2., 3., -2., 5.]));
        let got = floats!(
            "slice_update",
            x = counting([4]),
            update = f([2], &[-1., -2.]),
            begin = [3],
            end = [0],
            stride = [-2]
        );
        assert_eq!(got.1, [0., -2., 2., -1.]);
        assert!(eval!("slice_update", x = counting([4]), update = counting([3]), begin = [0], end = [2]).is_err());
    }
}
