//! Reading and writing by index tensors.
//!
//! Indices from −size on count from the end; any other index outside of its dimension is a fault.

use super::{
    call::{Call, Results, index, one},
    kernels::{Kernel, computes, moves},
    layout::strides_of,
    value::{Data, Tensor, for_kind, reserve},
};
use crate::OpFault;

pub(super) const KERNELS: &[Kernel] = &[
    moves("gather", gather),
    moves("gather_along_axis", gather_along_axis),
    moves("gather_nd", gather_nd),
    computes("scatter", scatter),
    computes("scatter_along_axis", scatter_along_axis),
    computes("scatter_nd", scatter_nd),
];

/// The leading dimensions that `x` and `indices` share.
fn batch_dims(call: &Call<'_>, x: &[usize], indices: &[usize], most: usize) -> Result<usize, OpFault> {
    let n = call.int("batch_dims")?;
    let n = usize::try_from(n).ok().filter(|&n| n <= most && n <= indices.len() && n <= x.len());
    match n {
        Some(n) if x[..n] == indices[..n] => Ok(n),
        _ => Err(OpFault::shapes("batch_dims of x and indices must be equal", &[x, indices])),
    }
}

/// `gather(x, indices, axis, batch_dims)`: slices of `x` along an axis.
fn gather(call: &mut Call<'_>) -> Results {
    let (x, indices) = (call.tensor("x")?, call.take("indices")?);
    let axis = call.axis("axis", x.rank())?;
    let batch = batch_dims(call, x.shape(), indices.shape(), axis)?;
    let (before, from) = x.shape().split_at(axis);
    let (&size, after) = from.split_first().ok_or_else(|| OpFault::shapes("x must have the axis", &[x.shape()]))?;
    let shape = [before, &indices.shape()[batch..], after].concat();
    let n = call.count(&shape)?;
    let n_indices: usize = indices.shape()[batch..].iter().product();
    let (n_outer, inner): (usize, usize) = (before[batch..].iter().product(), after.iter().product());
    let rows = indices.ints()?.iter().map(|&i| index(i, size)).collect::<Result<Vec<_>, _>>()?;
    for_kind!(x.data(), T => {
        let values = x.view::<T>()?;
        let mut out = reserve(n)?;
        if n > 0 {
            for (b, rows) in rows.chunks(n_indices).enumerate() {
                for o in 0..n_outer {
                    let base = (b * n_outer + o) * size;
                    rows.iter().for_each(|i| out.extend_from_slice(&values[(base + i) * inner..][..inner]));
                }
            }
        }
        one(Tensor::new(shape, out))
    })
}

/// The flat position in a tensor of shape `shape` that each element of `indices` names along `axis`.
fn positions_along(indices: &Tensor, shape: &[usize], axis: usize) -> Result<Vec<usize>, OpFault> {
    let fits = indices.rank() == shape.len()
        && indices.shape().iter().zip(shape).enumerate().all(|(i, (a, b))| i == axis || a == b);
    if !fits {
        return Err(OpFault::shapes("indices must have the shape of x but along the axis", &[shape, indices.shape()]));
    }
    let inner: usize = shape[axis + 1..].iter().product();
    let along = indices.shape()[axis];
    let position = |(flat, &i): (usize, &i64)| {
        let (outer, rest) = (flat / (along * inner), flat % inner);
        Ok((outer * shape[axis] + index(i, shape[axis])?) * inner + rest)
    };
    indices.ints()?.iter().enumerate().map(position).collect()
}

fn gather_along_axis(call: &mut Call<'_>) -> Results {
    let (x, indices) = (call.tensor("x")?, call.take("indices")?);
    let axis = call.axis("axis", x.rank())?;
    let positions = positions_along(&indices, x.shape(), axis)?;
    for_kind!(x.data(), T => {
        let values = x.view::<T>()?;
        let out: Vec<T> = positions.iter().map(|&p| values[p]).collect();
        one(Tensor::new(indices.shape(), out))
    })
}

/// Where the slices begin that the last axis of `indices` names in a tensor of shape `shape`, and their size.
fn slices(indices: &Tensor, shape: &[usize], batch: usize) -> Result<(Vec<usize>, usize), OpFault> {
    let depth = indices.shape().last().copied();
    let depth = depth.filter(|&k| indices.rank() > batch && batch + k <= shape.len());
    let depth = depth.ok_or_else(|| OpFault::shapes("indices must name leading axes", &[shape, indices.shape()]))?;
    let inner: usize = shape[batch + depth..].iter().product();
    let strides = strides_of(shape);
    let outer: usize = indices.shape()[..indices.rank() - 1].iter().product();
    let n_batch: usize = shape[..batch].iter().product();
    let per_batch = outer / n_batch.max(1);
    let batch_step: usize = shape[batch..].iter().product();
    let values = indices.ints()?;
    let mut starts = reserve(outer)?;
    for row in 0..outer {
        let mut at = row / per_batch.max(1) * batch_step;
        for (k, &i) in values[row * depth..][..depth].iter().enumerate() {
            at += index(i, shape[batch + k])? * strides[batch + k];
        }
        starts.push(at);
    }
    Ok((starts, inner))
}

/// `gather_nd(x, indices, batch_dims)`: slices at the positions that the last axis of `indices` names.
fn gather_nd(call: &mut Call<'_>) -> Results {
    let (x, indices) = (call.tensor("x")?, call.take("indices")?);
    let most = indices.rank().saturating_sub(1);
    let batch = batch_dims(call, x.shape(), indices.shape(), most)?;
    let (starts, inner) = slices(&indices, x.shape(), batch)?;
    let depth = indices.shape()[indices.rank() - 1];
    let shape = [&indices.shape()[..indices.rank() - 1], &x.shape()[batch + depth..]].concat();
    let n = call.count(&shape)?;
    for_kind!(x.data(), T => {
        let values = x.view::<T>()?;
        let mut out = reserve(n)?;
        starts.iter().for_each(|&at| out.extend_from_slice(&values[at..][..inner]));
        one(Tensor::new(shape, out))
    })
}

/// How an update meets what is there.
struct Mode {
    float: fn(f32, f32) -> f32,
    int: fn(i64, i64) -> i64,
}

fn mode(call: &Call<'_>) -> Result<Mode, OpFault> {
    let name = call.text("mode")?;
    Ok(match name {
        "update" => Mode { float: |_, new| new, int: |_, new| new },
        "add" => Mode { float: |old, new| old + new, int: i64::wrapping_add },
        "sub" => Mode { float: |old, new| old - new, int: i64::wrapping_sub },
        "mul" => Mode { float: |old, new| old * new, int: i64::wrapping_mul },
        "div" => Mode { float: |old, new| old / new, int: |old, new| if new == 0 { 0 } else { old.wrapping_div(new) } },
        "max" => Mode { float: f32::max, int: i64::max },
        "min" => Mode { float: f32::min, int: i64::min },
        _ => return Err(OpFault::value("mode", name, "it must be update, add, sub, mul, div, max or min")),
    })
}

/// Applies slice after slice of `updates` to the slices of `data` that begin at `starts`.
fn apply(mode: &Mode, mut data: Tensor, updates: &Tensor, starts: &[usize], inner: usize) -> Results {
    fn run<T: Copy>(data: &mut [T], updates: &[T], starts: &[usize], inner: usize, f: fn(T, T) -> T) {
        for (&at, new) in starts.iter().zip(updates.chunks(inner.max(1))) {
            data[at..][..inner].iter_mut().zip(new).for_each(|(old, &new)| *old = f(*old, new));
        }
    }
    match data.data() {
        Data::Float(_) => run(data.floats_mut()?, updates.floats()?, starts, inner, mode.float),
        _ => run(data.ints_mut()?, updates.ints()?, starts, inner, mode.int),
    }
    one(data)
}

fn check_updates(updates: &Tensor, wanted: &[usize]) -> Result<(), OpFault> {
    if updates.shape() == wanted {
        return Ok(());
    }
    Err(OpFault::shapes("updates must have one slice of data for each index", &[wanted, updates.shape()]))
}

/// `scatter(data, indices, updates, axis, mode)`: slices of `updates` meet slices of `data` along an axis.
fn scatter(call: &mut Call<'_>) -> Results {
    let (indices, updates, mode) = (call.take("indices")?, call.take("updates")?, mode(call)?);
    let data = call.take("data")?;
    let axis = call.axis("axis", data.rank())?;
    let (before, from) = data.shape().split_at(axis);
    let (size, after) = (from[0], &from[1..]);
    check_updates(&updates, &[before, indices.shape(), after].concat())?;
    let inner: usize = after.iter().product();
    let rows = indices.ints()?.iter().map(|&i| index(i, size)).collect::<Result<Vec<_>, _>>()?;
    let n_outer: usize = before.iter().product();
    let starts: Vec<usize> = (0..n_outer).flat_map(|o| rows.iter().map(move |i| (o * size + i) * inner)).collect();
    apply(&mode, data, &updates, &starts, inner)
}

fn scatter_along_axis(call: &mut Call<'_>) -> Results {
    let (indices, updates, mode) = (call.take("indices")?, call.take("updates")?, mode(call)?);
    let data = call.take("data")?;
    let axis = call.axis("axis", data.rank())?;
    check_updates(&updates, indices.shape())?;
    let positions = positions_along(&indices, data.shape(), axis)?;
    apply(&mode, data, &updates, &positions, 1)
}

fn scatter_nd(call: &mut Call<'_>) -> Results {
    let (indices, updates, mode) = (call.take("indices")?, call.take("updates")?, mode(call)?);
    let data = call.take("data")?;
    let (starts, inner) = slices(&indices, data.shape(), 0)?;
    let (outer, last) = indices.shape().split_at(indices.rank() - 1);
    check_updates(&updates, &[outer, &data.shape()[last[0]..]].concat())?;
    apply(&mode, data, &updates, &starts, inner)
}

#[cfg(test)]
mod tests {
    use crate::{
        OpFault,
        reference::testing::{counting, eval, f, floats, i, ints},
    };

    #[test]
    fn gather_reads_slices_along_any_axis() {
        let x = || counting([2, 3]);
        assert_eq!(floats!("gather", x = x(), indices = i([2], &[1, -2])), (vec![2, 3], vec![3., 4., 5., 0., 1., 2.]));
        let got = floats!("gather", x = x(), indices = i([2, 1], &[2, 0]), axis = 1);
        assert_eq!(got, (vec![2, 2, 1], vec![2., 0., 5., 3.]));
        assert_eq!(floats!("gather", x = x(), indices = 1, axis = -1), (vec![2], vec![1., 4.]));
        let got = floats!("gather", x = x(), indices = i([2, 1], &[2, 0]), axis = 1, batch_dims = 1);
        assert_eq!(got, (vec![2, 1], vec![2., 3.]));
        let index = eval!("gather", x = x(), indices = i([1], &[2])).unwrap_err();
        assert_eq!(index, OpFault::Index { index: 2, size: 2 });
        assert!(eval!("gather", x = x(), indices = i([1], &[i32::MIN])).is_err());
        assert!(eval!("gather", x = x(), indices = i([3, 1], &[0; 3]), axis = 1, batch_dims = 1).is_err());
    }

    #[test]
    fn gather_along_an_axis_takes_one_element_each() {
        let x = counting([2, 3]);
        let got = floats!("gather_along_axis", x = x.clone(), indices = i([2, 2], &[2, 0, -1, 1]), axis = 1);
        assert_eq!(got, (vec![2, 2], vec![2., 0., 5., 4.]));
        let got = floats!("gather_along_axis", x = x.clone(), indices = i([1, 3], &[1, 0, 1]), axis = 0);
        assert_eq!(got, (vec![1, 3], vec![3., 1., 5.]));
        assert!(eval!("gather_along_axis", x = x, indices = i([3, 3], &[0; 9]), axis = 1).is_err());
    }

    #[test]
    fn gather_nd_reads_where_the_last_axis_points() {
        let x = || counting([2, 2, 2]);
        assert_eq!(
            floats!("gather_nd", x = x(), indices = i([2, 2], &[0, 1, 1, -1])),
            (vec![2, 2], vec![2., 3., 6., 7.])
        );
        assert_eq!(floats!("gather_nd", x = x(), indices = i([1, 3], &[1, 0, 1])), (vec![1], vec![5.]));
        let got = floats!("gather_nd", x = x(), indices = i([2, 1, 1], &[1, 0]), batch_dims = 1);
        assert_eq!(got, (vec![2, 1, 2], vec![2., 3., 4., 5.]));
        assert!(eval!("gather_nd", x = x(), indices = i([1, 4], &[0; 4])).is_err());
        assert!(eval!("gather_nd", x = x(), indices = i([1, 1], &[2])).is_err());
    }

    #[test]
    fn scatters_meet_what_is_there() {
        let data = || counting([2, 2]);
        let update = || f([1, 2], &[10., 20.]);
        let at = || i([1], &[1]);
        assert_eq!(floats!("scatter", data = data(), indices = at(), updates = update()).1, [0., 1., 12., 23.]);
        for (mode, want) in [
            ("update", [10., 20.]),
            ("sub", [-8., -17.]),
            ("mul", [20., 60.]),
            ("div", [0.2, 0.15]),
            ("max", [10., 20.]),
            ("min", [2., 3.]),
        ] {
            let got = floats!("scatter", data = data(), indices = at(), updates = update(), mode = mode).1;
            assert_eq!(got[2..], want, "{mode}");
        }
        let got = floats!(
            "scatter",
            data = data(),
            indices = at(),
            updates = f([2, 1], &[7., 8.]),
            axis = 1,
            mode = "update"
        );
        assert_eq!(got.1, [0., 7., 2., 8.]);
        assert!(eval!("scatter", data = data(), indices = at(), updates = f([2], &[7., 8.])).is_err());
        assert!(eval!("scatter", data = data(), indices = at(), updates = update(), mode = "xor").is_err());
    }

    #[test]
    fn repeated_indices_accumulate() {
        let got = ints!(
            "scatter_nd",
            data = i([3], &[0, 0, 0]),
            indices = i([3, 1], &[1, 1, -1]),
            updates = i([3], &[1, 2, 4])
        );
        assert_eq!(got.1, [0, 3, 4]);
        let got = floats!(
            "scatter_along_axis",
            data = counting([2, 2]),
            indices = i([2, 1], &[1, 0]),
            updates = f([2, 1], &[10., 20.]),
            axis = 1
        );
        assert_eq!(got.1, [0., 11., 22., 3.]);
    }

    #[test]
    fn scatter_nd_without_indices_changes_nothing() {
        let got = floats!(
            "scatter_nd",
            data = counting([2, 3]),
            indices = i([0, 1], &[]),
            updates = f([0, 3], &[]),
            mode = "update"
        );
        assert_eq!(got.1, counting([6]).to_f32_vec());
    }
}
