//! Shapes and axes: reshaping, transposing, joining and splitting.

use super::{
    call::{Call, Results, axis, one},
    kernels::{Kernel, computes, moves},
    layout::{View, copy_view, transpose},
    value::{Tensor, for_kind, reserve},
};
use crate::OpFault;

pub(super) const KERNELS: &[Kernel] = &[
    moves("concat", concat),
    moves("expand_dims", expand_dims),
    moves("reshape", reshape),
    computes("shape", shape),
    moves("split", split),
    moves("squeeze", squeeze),
    moves("stack", stack),
    moves("transpose", permute),
];

/// `reshape(x, shape)`: 0 keeps the dimension at its place, one −1 takes what is left.
fn reshape(call: &mut Call<'_>) -> Results {
    let wanted = call.ints("shape")?;
    let x = call.take("x")?;
    let rule = "it must have as many elements as x, with at most one -1";
    let fault = || OpFault::value("shape", &wanted, rule);
    let size = |(i, &d): (usize, &i64)| match d {
        0 if i < x.rank() => Ok(x.shape()[i]),
        -1 => Ok(1),
        _ => usize::try_from(d).map_err(|_| fault()),
    };
    let mut shape = wanted.iter().enumerate().map(size).collect::<Result<Vec<usize>, _>>()?;
    let known = host_tensor::element_count(&shape).ok_or_else(fault)?;
    let open: Vec<usize> = (0..wanted.len()).filter(|&i| wanted[i] == -1).collect();
    match open[..] {
        [] => {}
        [i] if known > 0 && x.len() % known == 0 => shape[i] = x.len() / known,
        _ => return Err(fault()),
    }
    if host_tensor::element_count(&shape) != Some(x.len()) {
        return Err(fault());
    }
    one(x.with_shape(shape))
}

fn permute(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let perm = call.axes("perm", x.rank())?;
    if perm.len() != x.rank() {
        return Err(OpFault::value("perm", perm, "it must name every axis"));
    }
    one(transpose(x, &perm)?)
}

/// `expand_dims(x, axes)`: dimensions of one at these axes of the result.
fn expand_dims(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let n_axes = call.ints("axes")?.len();
    let rank = x.rank() + n_axes;
    let axes = call.axes("axes", rank)?;
    let mut old = x.shape().iter();
    let shape: Vec<usize> =
        (0..rank).map(|i| if axes.contains(&i) { 1 } else { old.next().copied().unwrap_or(1) }).collect();
    one(x.with_shape(shape))
}

/// `squeeze(x, axes)`: drops dimensions of one; others are left alone, as in coremltools.
fn squeeze(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let axes = call.axes("axes", x.rank())?;
    let kept = |i: &usize| !(axes.contains(i) && x.shape()[*i] == 1);
    let shape: Vec<usize> = (0..x.rank()).filter(kept).map(|i| x.shape()[i]).collect();
    one(x.with_shape(shape))
}

fn shape(call: &mut Call<'_>) -> Results {
    let x = call.tensor("x")?;
    one(Tensor::new([x.rank()], x.shape().iter().map(|&d| d as i64).collect::<Vec<_>>()))
}

/// Tensors of one rank, equal but along `axis`.
fn check_joinable(values: &[Tensor], axis: usize) -> Result<(), OpFault> {
    let Some(first) = values.first() else { return Err(OpFault::Missing { param: "values".into() }) };
    let fits = |t: &Tensor| {
        t.rank() == first.rank()
            && t.kind() == first.kind()
            && t.shape().iter().zip(first.shape()).enumerate().all(|(i, (a, b))| i == axis || a == b)
    };
    if values.iter().all(fits) {
        return Ok(());
    }
    let shapes: Vec<&[usize]> = values.iter().map(Tensor::shape).collect();
    Err(OpFault::shapes("values must be equal but along the axis", &shapes))
}

/// `concat(values, axis, interleave)`; interleaved, the values take turns along the axis.
fn concat(call: &mut Call<'_>) -> Results {
    let values = call.tensors("values")?;
    let rank = values.first().map_or(0, Tensor::rank);
    if rank == 0 {
        // Scalars are joined as vectors of one.
        return one(join_new_axis(call, values, 0)?);
    }
    let axis = call.axis("axis", rank)?;
    if !call.flag("interleave")? {
        return one(join(call, &values, axis)?);
    }
    let stacked = join_new_axis(call, values, axis + 1)?;
    let mut shape = stacked.shape().to_vec();
    let n = shape.remove(axis + 1);
    shape[axis] *= n;
    one(stacked.with_shape(shape))
}

/// `stack(values, axis)`: joins along a new axis.
fn stack(call: &mut Call<'_>) -> Results {
    let values = call.tensors("values")?;
    let rank = values.first().map_or(0, Tensor::rank) + 1;
    let at = axis("axis", call.int("axis")?, rank)?;
    one(join_new_axis(call, values, at)?)
}

fn join_new_axis(call: &Call<'_>, values: Vec<Tensor>, axis: usize) -> Result<Tensor, OpFault> {
    let widened = values.into_iter().map(|t| {
        let mut shape = t.shape().to_vec();
        shape.insert(axis.min(shape.len()), 1);
        t.with_shape(shape)
    });
    let widened: Vec<Tensor> = widened.collect();
    let same = widened.windows(2).all(|w| w[0].shape() == w[1].shape());
    if !same {
        let shapes: Vec<&[usize]> = widened.iter().map(Tensor::shape).collect();
        return Err(OpFault::shapes("values must be of one shape", &shapes));
    }
    join(call, &widened, axis)
}

fn join(call: &Call<'_>, values: &[Tensor], axis: usize) -> Result<Tensor, OpFault> {
    check_joinable(values, axis)?;
    let mut shape = values[0].shape().to_vec();
    shape[axis] = values.iter().map(|t| t.shape()[axis]).sum();
    let n = call.count(&shape)?;
    let outer: usize = shape[..axis].iter().product();
    for_kind!(values[0].data(), T => {
        let parts = values.iter().map(Tensor::view::<T>).collect::<Result<Vec<_>, _>>()?;
        let mut out = reserve(n)?;
        for i in 0..outer {
            for part in &parts {
                let len = part.len() / outer;
                out.extend_from_slice(&part[i * len..][..len]);
            }
        }
        Ok(Tensor::new(shape, out))
    })
}

/// `split(x, num_splits | split_sizes, axis)`.
fn split(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let axis = call.axis("axis", x.rank())?;
    let whole = x.shape()[axis];
    let sizes = match call.optional_sizes("split_sizes")? {
        Some(sizes) => sizes,
        None => match usize::try_from(call.int("num_splits")?) {
            Ok(n) if n > 0 && whole % n == 0 && n <= call.limit => vec![whole / n; n],
            _ => return Err(OpFault::value("num_splits", call.int("num_splits")?, "it must divide the dimension")),
        },
    };
    if sizes.iter().try_fold(0usize, |a, &b| a.checked_add(b)) != Some(whole) {
        return Err(OpFault::value("split_sizes", sizes, "they must add up to the dimension"));
    }
    let mut start = 0;
    let part = |&n: &usize| {
        let mut view = View::of(x.shape());
        view.narrow(axis, start, n, 1);
        start += n;
        copy_view(&x, &view)
    };
    sizes.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use crate::reference::testing::{counting, eval, f, floats, i, ints};
    use testkit::Rng;

    #[test]
    fn reshape_keeps_and_infers_dimensions() {
        let x = || counting([2, 3, 4]);
        assert_eq!(floats!("reshape", x = x(), shape = [0, -1]).0, [2, 12]);
        assert_eq!(floats!("reshape", x = x(), shape = [-1]).0, [24]);
        assert_eq!(floats!("reshape", x = counting([0, 3]), shape = [0, 5]).0, [0, 5]);
        for shape in
            [vec![5, -1], vec![-1, -1], vec![25], vec![-2, 12], vec![2, 3, 4, 0], vec![i32::MAX, i32::MAX, i32::MAX]]
        {
            assert!(eval!("reshape", x = x(), shape = shape.clone()).is_err(), "{shape:?}");
        }
    }

    #[test]
    fn transposition_agrees_with_plain_indexing() {
        let mut rng = Rng::new(41);
        for round in 0..200 {
            let rank = 1 + rng.below(5);
            let largest = if round % 20 == 0 { 70 } else { 4 };
            let shape: Vec<usize> = (0..rank).map(|i| 1 + rng.below(if i < 2 { largest } else { 5 })).collect();
            let mut perm: Vec<usize> = (0..rank).collect();
            (1..rank).for_each(|i| perm.swap(i, rng.below(i + 1)));
            let x = counting(shape.clone());
            let (got_shape, got) =
                floats!("transpose", x = x, perm = perm.iter().map(|&p| p as i32).collect::<Vec<_>>());
            assert_eq!(got_shape, perm.iter().map(|&p| shape[p]).collect::<Vec<_>>());
            for (flat, v) in got.iter().enumerate() {
                let (mut rest, mut index) = (flat, vec![0; rank]);
                for k in (0..rank).rev() {
                    index[perm[k]] = rest % got_shape[k];
                    rest /= got_shape[k];
                }
                let source = index.iter().zip(&shape).fold(0, |at, (i, d)| at * d + i);
                assert_eq!(*v, source as f32, "{shape:?} by {perm:?}");
            }
        }
        assert!(eval!("transpose", x = counting([2, 2]), perm = [0, 0]).is_err());
        assert!(eval!("transpose", x = counting([2, 2]), perm = [1]).is_err());
    }

    #[test]
    fn large_transpositions_are_split_between_threads_without_seams() {
        let x = counting([3, 170, 180]);
        let once = eval!("transpose", x = x.clone(), perm = [2, 0, 1]).unwrap().remove(0);
        let back = floats!("transpose", x = once.clone(), perm = [1, 2, 0]);
        assert_eq!(back.1, x.to_f32_vec());
        assert_eq!(once.to_f32_vec()[..3], [0., 180., 360.]);
    }

    #[test]
    fn dimensions_of_one_come_and_go() {
        assert_eq!(floats!("expand_dims", x = counting([2, 3]), axes = [0, -1]).0, [1, 2, 3, 1]);
        assert_eq!(floats!("squeeze", x = counting([1, 2, 1]), axes = [0]).0, [2, 1]);
        assert_eq!(floats!("squeeze", x = counting([1, 2, 1])).0, [2]);
        assert_eq!(floats!("squeeze", x = counting([1, 2, 1]), axes = [1]).0, [1, 2, 1]);
        assert_eq!(ints!("shape", x = counting([1, 2, 1])), (vec![3], vec![1, 2, 1]));
    }

    #[test]
    fn joining_along_an_axis() {
        let (a, b) = (|| f([1, 2], &[1., 2.]), || f([1, 2], &[3., 4.]));
        assert_eq!(floats!("concat", values = vec![a(), b()], axis = 0), (vec![2, 2], vec![1., 2., 3., 4.]));
        let wide = f([1, 3], &[5., 6., 7.]);
        assert_eq!(floats!("concat", values = vec![a(), wide], axis = -1), (vec![1, 5], vec![1., 2., 5., 6., 7.]));
        let mixed = floats!("concat", values = vec![a(), b()], axis = 1, interleave = true);
        assert_eq!(mixed, (vec![1, 4], vec![1., 3., 2., 4.]));
        assert_eq!(floats!("stack", values = vec![a(), b()], axis = 2), (vec![1, 2, 2], vec![1., 3., 2., 4.]));
        let scalars = vec![i([], &[7]), i([], &[8])];
        assert_eq!(ints!("stack", values = scalars, axis = 0), (vec![2], vec![7, 8]));
        let scalars = vec![i([], &[7]), i([], &[8])];
        assert_eq!(ints!("concat", values = scalars, axis = 0), (vec![2], vec![7, 8]));
        let empty = counting([1, 0]);
        assert_eq!(floats!("concat", values = vec![a(), empty], axis = 1).0, [1, 2]);
        assert!(eval!("concat", values = vec![a(), counting([2, 2])], axis = 1).is_err());
        assert!(eval!("stack", values = vec![a(), counting([2, 2])], axis = 0).is_err());
        assert!(eval!("concat", values = vec![a(), i([1, 2], &[1, 2])], axis = 1).is_err());
    }

    #[test]
    fn splitting_is_joining_backwards() {
        let x = || counting([2, 4]);
        let parts = eval!("split", x = x(), num_splits = 2, axis = 1).unwrap();
        assert_eq!(parts[1].to_f32_vec(), [2., 3., 6., 7.]);
        assert_eq!(floats!("concat", values = parts, axis = 1).1, x().to_f32_vec());
        let parts = eval!("split", x = x(), split_sizes = [3, 1], axis = -1).unwrap();
        assert_eq!((parts[0].shape(), parts[1].to_f32_vec()), (&[2, 3][..], vec![3., 7.]));
        assert!(eval!("split", x = x(), num_splits = 3, axis = 1).is_err());
        assert!(eval!("split", x = x(), split_sizes = [3, 2], axis = 1).is_err());
    }
}
