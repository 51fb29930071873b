//! Tensors made from sizes, and positions found in tensors: filling, ranges, one-hot rows, non-zeros, sorting.

use super::{
    call::{Call, Results, axis, one},
    elementwise_unary::convert,
    kernels::{Kernel, computes, moves},
    layout::{Odometer, transpose},
    value::{Data, Element, Tensor, filled, for_kind, reserve},
};
use crate::OpFault;
use host_tensor::DType;

pub(super) const KERNELS: &[Kernel] = &[
    computes("argsort", argsort),
    computes("fill", fill),
    computes("fill_like", fill_like),
    computes("non_zero", non_zero),
    moves("identity", |c| one(c.take("x")?)),
    computes("one_hot", one_hot),
    computes("range_1d", range_1d),
    computes("topk", topk),
];

/// `n` copies of a scalar of any kind; 0.0 when it is left out.
fn repeat(call: &Call<'_>, param: &str, shape: Vec<usize>) -> Results {
    let n = call.count(&shape)?;
    let Some(value) = call.optional(param)? else { return one(Tensor::new(shape, filled(n, call.float(param)?)?)) };
    for_kind!(value.data(), T => one(Tensor::new(shape, filled(n, scalar::<T>(param, &value)?)?)))
}

fn scalar<T: Element>(param: &str, t: &Tensor) -> Result<T, OpFault> {
    match t.view()? {
        [v] => Ok(*v),
        _ => Err(OpFault::value(param, t.shape(), "it must have one element")),
    }
}

fn fill(call: &mut Call<'_>) -> Results {
    let shape = call.sizes("shape")?;
    repeat(call, "value", shape)
}

fn fill_like(call: &mut Call<'_>) -> Results {
    let shape = call.tensor("ref_tensor")?.shape().to_vec();
    repeat(call, "value", shape)
}

/// `start`, `start + step`, … before `end`.
fn range_1d(call: &mut Call<'_>) -> Results {
    let (start, end, step) = (call.tensor("start")?, call.tensor("end")?, call.tensor("step")?);
    if let Data::Int(_) = start.data() {
        let [start, end, step] =
            [scalar::<i64>("start", &start)?, scalar("end", &end)?, scalar("step", &step)?].map(i128::from);
        if step == 0 {
            return Err(OpFault::value("step", step, "it must not be zero"));
        }
        let n = (end - start + step - step.signum()) / step;
        let n = call.count(&[usize::try_from(n.max(0)).unwrap_or(usize::MAX)])?;
        let mut out = reserve(n)?;
        out.extend((0..n as i128).map(|i| (start + i * step) as i64));
        return one(Tensor::new([n], out));
    }
    let [start, end, step] =
        [scalar::<f32>("start", &start)?, scalar("end", &end)?, scalar("step", &step)?].map(f64::from);
    let n = ((end - start) / step).ceil();
    if step == 0.0 || !n.is_finite() {
        return Err(OpFault::value("step", step, "it must lead from start to end"));
    }
    let n = call.count(&[n.max(0.0) as usize])?;
    let mut out = reserve(n)?;
    out.extend((0..n).map(|i| (start + i as f64 * step) as f32));
    one(Tensor::new([n], out))
}

/// `on_value` where the index along a new axis is the element's, else `off_value`; indices outside of the
/// axis give `off_value` everywhere, negative ones count from its end.
fn one_hot(call: &mut Call<'_>) -> Results {
    let indices = call.take("indices")?;
    let size = call.int("one_hot_vector_size")?;
    let size =
        usize::try_from(size).map_err(|_| OpFault::value("one_hot_vector_size", size, "it must not be negative"))?;
    let at = axis("axis", call.int("axis")?, indices.rank() + 1)?;
    let (outer, inner) = indices.shape().split_at(at);
    let shape = [outer, &[size], inner].concat();
    let n = call.count(&shape)?;
    let inner: usize = inner.iter().product();
    let positions = indices.ints()?;
    let (on, off) = (call.optional("on_value")?, call.optional("off_value")?);
    let Some(kind) = on.or(off) else {
        let (on, off) = (call.int("on_value")?, call.int("off_value")?);
        return one(Tensor::new(shape, place(positions, size, inner, filled(n, off)?, on)));
    };
    for_kind!(kind.data(), T => {
        let (on, off) = (call.element::<T>("on_value")?, call.element::<T>("off_value")?);
        one(Tensor::new(shape, place(positions, size, inner, filled(n, off)?, on)))
    })
}

fn place<T: Copy>(positions: &[i64], size: usize, inner: usize, mut out: Vec<T>, on: T) -> Vec<T> {
    for (i, &position) in positions.iter().enumerate() {
        let position = if position < 0 { position.saturating_add(size as i64) } else { position };
        if let Some(p) = usize::try_from(position).ok().filter(|&p| p < size) {
            out[(i / inner * size + p) * inner + i % inner] = on;
        }
    }
    out
}

/// The positions of all elements but zeros, one row each: `[n, rank]`.
fn non_zero(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    for_kind!(x.data(), T => {
        let values = x.view::<T>()?;
        let mut at = Odometer::new(x.shape(), [], 0);
        let mut out: Vec<i64> = Vec::new();
        let mut n = 0;
        for &v in values {
            if v != T::default() {
                call.count(&[n + 1, x.rank()])?;
                out.extend(at.index().iter().map(|&i| i as i64));
                n += 1;
            }
            at.advance();
        }
        one(Tensor::new([n, x.rank()], out))
    })
}

/// The order of each row along the last axis; equal elements stay in order, NaN counts as the largest.
fn order_rows<T: Element>(values: &[T], row_len: usize, ascending: bool, less: impl Fn(T, T) -> bool) -> Vec<i64> {
    let mut out = Vec::with_capacity(values.len());
    for row in values.chunks(row_len.max(1)) {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = if ascending { (row[a], row[b]) } else { (row[b], row[a]) };
            less(b, a).cmp(&less(a, b))
        });
        out.extend(order.iter().map(|&i| i as i64));
    }
    out
}

/// The tensor with `axis` last, and the order along it.
fn order(call: &mut Call<'_>) -> Result<(Tensor, Vec<i64>, usize), OpFault> {
    let x = call.take("x")?;
    let axis = call.axis("axis", x.rank())?;
    let ascending = call.flag("ascending")?;
    let perm: Vec<usize> = (0..x.rank()).filter(|&i| i != axis).chain([axis]).collect();
    let x = transpose(x, &perm)?;
    let row_len = x.shape()[x.rank() - 1];
    let order = match x.data() {
        Data::Float(v) => order_rows(v, row_len, ascending, |a, b| a < b || (b.is_nan() && !a.is_nan())),
        Data::Int(v) => order_rows(v, row_len, ascending, |a, b| a < b),
        Data::Bool(v) => order_rows(v, row_len, ascending, |a, b| !a & b),
    };
    Ok((x, order, axis))
}

/// Moves the last axis back to its place.
fn restore(t: Tensor, axis: usize) -> Result<Tensor, OpFault> {
    let last = t.rank() - 1;
    let perm: Vec<usize> = (0..t.rank())
        .map(|i| {
            if i < axis {
                i
            } else if i == axis {
                last
            } else {
                i - 1
            }
        })
        .collect();
    transpose(t, &perm)
}

fn argsort(call: &mut Call<'_>) -> Results {
    let (x, order, axis) = order(call)?;
    one(restore(Tensor::new(x.shape(), order), axis)?)
}

/// `topk(x, k, axis, ascending, sort, return_indices, output_indices_dtype)`: always sorted, which any
/// program that asks for unsorted results accepts.
fn topk(call: &mut Call<'_>) -> Results {
    let k = call.int("k")?;
    let with_indices = call.flag("return_indices")?;
    let name = call.text("output_indices_dtype")?;
    let dtype = DType::from_name(name).filter(|d| d.is_int());
    let dtype = dtype.ok_or_else(|| OpFault::value("output_indices_dtype", name, "it must name an integer type"))?;
    let (x, order, axis) = order(call)?;
    let n = x.shape()[x.rank() - 1];
    // −1 asks for all.
    let k = if k == -1 {
        n
    } else {
        usize::try_from(k).ok().filter(|&k| k <= n).ok_or(OpFault::Index { index: k, size: n })?
    };
    let mut shape = x.shape().to_vec();
    shape[x.rank() - 1] = k;
    let chosen: Vec<i64> = order.chunks(n.max(1)).flat_map(|row| row[..k].iter().copied()).collect();
    let rows = |i: usize| i / k.max(1) * n;
    let values = for_kind!(x.data(), T => {
        let values = x.view::<T>()?;
        let picked: Vec<T> = chosen.iter().enumerate().map(|(i, &at)| values[rows(i) + at as usize]).collect();
        Tensor::new(shape.clone(), picked)
    });
    let mut results = vec![restore(values, axis)?];
    if with_indices {
        results.push(restore(convert(Tensor::new(shape, chosen), dtype)?, axis)?);
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use crate::{
        OpFault,
        reference::testing::{counting, eval, f, floats, i, ints},
    };
    use host_tensor::HostTensor;

    #[test]
    fn filling_takes_the_values_kind() {
        assert_eq!(floats!("fill", shape = [2, 1], value = 7.0), (vec![2, 1], vec![7., 7.]));
        assert_eq!(ints!("fill", shape = [2], value = 7), (vec![2], vec![7, 7]));
        assert_eq!(floats!("fill", shape = [1]).1, [0.]);
        assert_eq!(ints!("fill_like", ref_tensor = counting([1, 2]), value = true), (vec![1, 2], vec![1, 1]));
    }

    #[test]
    fn what_would_not_fit_in_memory_is_refused() {
        assert!(matches!(eval!("fill", shape = [1 << 30, 1 << 30, 1 << 30]), Err(OpFault::TooLarge { .. })));
        assert!(matches!(eval!("fill", shape = [-1]), Err(OpFault::Value { .. })));
        assert!(matches!(eval!("range_1d", start = 0, end = i32::MAX, step = 1), Err(OpFault::TooLarge { .. })));
    }

    #[test]
    fn ranges_exclude_their_end() {
        assert_eq!(ints!("range_1d", start = 1, end = 7, step = 2), (vec![3], vec![1, 3, 5]));
        assert_eq!(ints!("range_1d", start = 5, end = 0, step = -2).1, [5, 3, 1]);
        assert_eq!(ints!("range_1d", start = 5, end = 0, step = 2).1, [0i64; 0]);
        assert_eq!(floats!("range_1d", start = 0.0, end = 1.0, step = 0.25).1, [0., 0.25, 0.5, 0.75]);
        assert!(eval!("range_1d", start = 0, end = 1, step = 0).is_err());
        assert!(eval!("range_1d", start = 0.0, end = 1.0, step = 0.0).is_err());
    }

    #[test]
    fn one_hot_puts_a_new_axis_anywhere() {
        let got = ints!("one_hot", indices = i([2], &[2, 0]), one_hot_vector_size = 3);
        assert_eq!(got, (vec![2, 3], vec![0, 0, 1, 1, 0, 0]));
        let got = floats!(
            "one_hot",
            indices = i([2], &[1, 9]),
            one_hot_vector_size = 2,
            axis = 0,
            on_value = 5.0,
            off_value = -1.0
        );
        assert_eq!(got, (vec![2, 2], vec![-1., -1., 5., -1.]));
    }

    #[test]
    fn positions_of_what_is_not_zero() {
        assert_eq!(ints!("non_zero", x = f([2, 2], &[0., 3., 0., -1.])), (vec![2, 2], vec![0, 1, 1, 1]));
        assert_eq!(ints!("non_zero", x = HostTensor::from_bool([2], &[false, true])), (vec![1, 1], vec![1]));
        assert_eq!(ints!("non_zero", x = i([3], &[0, 0, 0])), (vec![0, 1], vec![]));
    }

    #[test]
    fn sorting_is_stable_and_puts_nan_at_the_upper_end() {
        let x = || f([2, 3], &[2., 1., 2., f32::NAN, 5., -1.]);
        assert_eq!(ints!("argsort", x = x(), ascending = true).1, [1, 0, 2, 2, 1, 0]);
        assert_eq!(ints!("argsort", x = x()).1, [0, 2, 1, 0, 1, 2]);
        assert_eq!(ints!("argsort", x = counting([2, 2]), axis = 0).1, [1, 1, 0, 0]);
    }

    #[test]
    fn the_k_largest_with_their_places() {
        let got = eval!("topk", x = f([2, 3], &[1., 3., 2., 6., 5., 4.]), k = 2).unwrap();
        assert_eq!((got[0].shape(), got[0].to_f32_vec()), (&[2, 2][..], vec![3., 2., 6., 5.]));
        assert_eq!(got[1].to_i64_vec(), [1, 2, 0, 1]);
        let got =
            eval!("topk", x = f([3, 1], &[1., 3., 2.]), k = 1, axis = 0, ascending = true, return_indices = false)
                .unwrap();
        assert_eq!((got.len(), got[0].to_f32_vec()), (1, vec![1.]));
        assert!(eval!("topk", x = counting([2]), k = 3).is_err());
        assert_eq!(eval!("topk", x = counting([2]), k = -1).unwrap()[0].to_f32_vec(), [1., 0.]);
    }
}
