//! Reductions over axes, positions of extremes, and running sums.
//!
//! The reduced axes are brought to the end first, so that every reduction is a fold over contiguous rows.
//! Sums of floats are accumulated in `f64`.

use super::{
    call::{Call, Results, one},
    kernels::{Kernel, computes, moves},
    layout::transpose,
    value::{Data, Element, PARALLEL_ELEMENTS, Tensor, filled},
};
use crate::OpFault;
use rayon::prelude::*;

pub(super) const KERNELS: &[Kernel] = &[
    computes("cumsum", cumsum),
    computes("reduce_argmax", |c| arg(c, |a, b| a > b, |a, b| a > b)),
    computes("reduce_argmin", |c| arg(c, |a, b| a < b, |a, b| a < b)),
    computes("reduce_l2_norm", |c| {
        reduce(c, |row| squares(row).sqrt() as f32, |row| (int_squares(row) as f64).sqrt() as i64)
    }),
    moves("reduce_max", |c| reduce(c, |row| extreme(row, f32::NEG_INFINITY, |a, b| a > b), int_max)),
    computes("reduce_mean", |c| reduce(c, |row| (sum(row) / row.len() as f64) as f32, int_mean)),
    moves("reduce_min", |c| reduce(c, |row| extreme(row, f32::INFINITY, |a, b| a < b), int_min)),
    computes("reduce_sum", |c| reduce(c, |row| sum(row) as f32, |row| row.iter().fold(0, |a, b| a.wrapping_add(*b)))),
    computes("reduce_sum_square", |c| reduce(c, |row| squares(row) as f32, int_squares)),
];

fn sum(row: &[f32]) -> f64 {
    row.iter().map(|&v| f64::from(v)).sum()
}

fn squares(row: &[f32]) -> f64 {
    row.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
}

fn int_squares(row: &[i64]) -> i64 {
    row.iter().fold(0, |a, b| a.wrapping_add(b.wrapping_mul(*b)))
}

/// Toward zero; the mean of nothing is zero.
fn int_mean(row: &[i64]) -> i64 {
    row.iter().fold(0i64, |a, b| a.wrapping_add(*b)) / (row.len() as i64).max(1)
}

fn int_max(row: &[i64]) -> i64 {
    row.iter().copied().max().unwrap_or(i64::MIN)
}

fn int_min(row: &[i64]) -> i64 {
    row.iter().copied().min().unwrap_or(i64::MAX)
}

/// The element that beats all others; NaN when there is one.
fn extreme(row: &[f32], start: f32, beats: impl Fn(f32, f32) -> bool) -> f32 {
    row.iter().copied().fold(start, |best, v| if beats(v, best) || v.is_nan() { v } else { best })
}

/// A tensor whose reduced axes lie at the end, and the shape of the result.
struct Rows {
    x: Tensor,
    row_len: usize,
    kept: Vec<usize>,
    with_ones: Vec<usize>,
}

impl Rows {
    fn new(x: Tensor, axes: &[usize]) -> Result<Self, OpFault> {
        let shape = x.shape().to_vec();
        let outer: Vec<usize> = (0..shape.len()).filter(|i| !axes.contains(i)).collect();
        let with_ones = (0..shape.len()).map(|i| if axes.contains(&i) { 1 } else { shape[i] }).collect();
        let perm = [&outer[..], axes].concat();
        Ok(Self {
            row_len: axes.iter().map(|&a| shape[a]).product(),
            kept: outer.iter().map(|&a| shape[a]).collect(),
            with_ones,
            x: transpose(x, &perm)?,
        })
    }

    /// `f` of each row, in order.
    fn fold<T: Element, O: Element>(&self, f: impl Fn(&[T]) -> O + Sync) -> Result<Vec<O>, OpFault> {
        let values = self.x.view::<T>()?;
        let n_rows = self.kept.iter().product();
        let mut out = filled(n_rows, O::default())?;
        let row = |(i, o): (usize, &mut O)| *o = f(&values[i * self.row_len..][..self.row_len]);
        if values.len() < PARALLEL_ELEMENTS {
            out.iter_mut().enumerate().for_each(row);
        } else {
            out.par_iter_mut().enumerate().for_each(row);
        }
        Ok(out)
    }

    fn shape(&self, keep_dims: bool) -> Vec<usize> {
        if keep_dims { self.with_ones.clone() } else { self.kept.clone() }
    }
}

/// `reduce_…(x, axes, keep_dims)`; without `axes`, over all of them.
fn reduce(call: &mut Call<'_>, float: fn(&[f32]) -> f32, int: fn(&[i64]) -> i64) -> Results {
    let x = call.take("x")?;
    let mut axes = call.axes("axes", x.rank())?;
    axes.sort_unstable();
    let keep_dims = call.flag("keep_dims")?;
    let rows = Rows::new(x, &axes)?;
    let data: Data = match rows.x.data() {
        Data::Float(_) => rows.fold(float)?.into(),
        _ => rows.fold(int)?.into(),
    };
    one(Tensor::new(rows.shape(keep_dims), data))
}

/// `reduce_argmax` and `reduce_argmin`: the position of the first element that no other beats.
fn arg(call: &mut Call<'_>, float: fn(f32, f32) -> bool, int: fn(i64, i64) -> bool) -> Results {
    let x = call.take("x")?;
    let axis = call.axis("axis", x.rank())?;
    if x.shape()[axis] == 0 {
        return Err(OpFault::shapes("there is no extreme of nothing", &[x.shape()]));
    }
    let keep_dims = call.flag("keep_dims")?;
    let rows = Rows::new(x, &[axis])?;
    let out = match rows.x.data() {
        Data::Float(_) => rows.fold(|row| first(row, float))?,
        _ => rows.fold(|row| first(row, int))?,
    };
    one(Tensor::new(rows.shape(keep_dims), out))
}

fn first<T: Copy>(row: &[T], beats: impl Fn(T, T) -> bool) -> i64 {
    let best = (1..row.len()).fold(0, |best, i| if beats(row[i], row[best]) { i } else { best });
    best as i64
}

/// `cumsum(x, axis, exclusive, reverse)`.
fn cumsum(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let axis = call.axis("axis", x.rank())?;
    let walk = Walk {
        n: x.shape()[axis],
        inner: x.shape()[axis + 1..].iter().product(),
        exclusive: call.flag("exclusive")?,
        reverse: call.flag("reverse")?,
    };
    let shape = x.shape().to_vec();
    if let Data::Int(v) = x.data() {
        return one(Tensor::new(shape, walk.run(v, 0i64, |a, b| a.wrapping_add(b))?));
    }
    let wide: Vec<f64> = x.floats()?.iter().map(|&v| f64::from(v)).collect();
    let sums = walk.run(&wide, 0f64, |a, b| a + b)?;
    one(Tensor::new(shape, sums.iter().map(|&v| v as f32).collect::<Vec<_>>()))
}

struct Walk {
    n: usize,
    inner: usize,
    exclusive: bool,
    reverse: bool,
}

impl Walk {
    fn run<T: Copy>(&self, values: &[T], zero: T, add: impl Fn(T, T) -> T) -> Result<Vec<T>, OpFault> {
        let mut out = filled(values.len(), zero)?;
        let slab = self.n * self.inner;
        for start in (0..values.len()).step_by(slab.max(1)) {
            for column in 0..self.inner {
                let mut sum = zero;
                for step in 0..self.n {
                    let i = if self.reverse { self.n - 1 - step } else { step };
                    let at = start + i * self.inner + column;
                    let next = add(sum, values[at]);
                    out[at] = if self.exclusive { sum } else { next };
                    sum = next;
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use crate::reference::testing::{counting, eval, f, floats, i, ints};

    #[test]
    fn axes_may_be_negative_and_stand_in_any_order() {
        let x = || counting([2, 3, 2]);
        assert_eq!(floats!("reduce_sum", x = x(), axes = [-1, 0]), (vec![3], vec![14., 22., 30.]));
        assert_eq!(
            floats!("reduce_sum", x = x(), axes = [1], keep_dims = true),
            (vec![2, 1, 2], vec![6., 9., 24., 27.])
        );
        assert_eq!(floats!("reduce_mean", x = x()), (vec![], vec![5.5]));
        assert_eq!(floats!("reduce_max", x = x(), axes = [0]).1, [6., 7., 8., 9., 10., 11.]);
        assert_eq!(floats!("reduce_min", x = x(), axes = [1, 2]).1, [0., 6.]);
        assert_eq!(floats!("reduce_l2_norm", x = f([2], &[3., 4.])).1, [5.]);
        assert_eq!(floats!("reduce_sum_square", x = f([2], &[3., 4.])).1, [25.]);
        assert!(eval!("reduce_sum", x = x(), axes = [0, -3]).is_err());
        assert!(eval!("reduce_sum", x = x(), axes = [3]).is_err());
    }

    #[test]
    fn integers_stay_integers() {
        let x = || i([4], &[-7, 2, 2, 1]);
        assert_eq!(ints!("reduce_sum", x = x()).1, [-2]);
        assert_eq!(ints!("reduce_mean", x = x()).1, [0]);
        assert_eq!(ints!("reduce_max", x = x()).1, [2]);
        assert_eq!(ints!("reduce_argmin", x = x()).1, [0]);
    }

    #[test]
    fn the_first_of_equal_extremes_wins() {
        let x = f([2, 4], &[1., 9., 9., 0., 5., 5., 2., 5.]);
        assert_eq!(ints!("reduce_argmax", x = x.clone(), axis = 1), (vec![2], vec![1, 0]));
        assert_eq!(ints!("reduce_argmax", x = x, axis = 0, keep_dims = true), (vec![1, 4], vec![1, 0, 0, 1]));
        assert!(eval!("reduce_argmax", x = counting([2, 0]), axis = 1).is_err());
    }

    #[test]
    fn many_small_terms_are_not_lost_beside_a_large_one() {
        let mut values = vec![1.0; 200_000];
        values[0] = 1e8;
        assert_eq!(floats!("reduce_sum", x = f([200_000], &values)).1, [100_199_999.0]);
    }

    #[test]
    fn running_sums_in_all_four_directions() {
        let x = || f([2, 2], &[1., 2., 3., 4.]);
        assert_eq!(floats!("cumsum", x = x(), axis = 0).1, [1., 2., 4., 6.]);
        assert_eq!(floats!("cumsum", x = x(), axis = 1, exclusive = true).1, [0., 1., 0., 3.]);
        assert_eq!(floats!("cumsum", x = x(), axis = 1, reverse = true).1, [3., 2., 7., 4.]);
        assert_eq!(ints!("cumsum", x = i([3], &[1, 2, 3]), exclusive = true, reverse = true).1, [5, 3, 0]);
    }
}
