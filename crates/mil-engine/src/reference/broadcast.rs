//! Element by element over two tensors of broadcasting shapes.

use super::{
    layout::{Odometer, broadcast_shape, broadcast_strides},
    value::{Element, PARALLEL_ELEMENTS, filled, map},
};
use crate::OpFault;
use rayon::prelude::*;

/// Elements with their shape.
pub(super) struct Shaped<'a, T> {
    pub(super) shape: &'a [usize],
    pub(super) values: &'a [T],
}

/// `f` of each pair of elements; the shape is the one that both broadcast to.
///
/// `limit` caps the elements of the result.
pub(super) fn zip<A: Element, B: Element, O: Element>(
    x: &Shaped<'_, A>,
    y: &Shaped<'_, B>,
    limit: usize,
    f: impl Fn(A, B) -> O + Sync,
) -> Result<(Vec<usize>, Vec<O>), OpFault> {
    let shape = broadcast_shape(&[x.shape, y.shape])?;
    let n = host_tensor::element_count(&shape).filter(|&n| n <= limit);
    let n = n.ok_or_else(|| OpFault::TooLarge { shape: shape.clone(), limit })?;
    let out = if n == 0 {
        Vec::new()
    } else if x.values.len() == 1 {
        let a = x.values[0];
        map(y.values, |b| f(a, b))?
    } else if y.values.len() == 1 {
        let b = y.values[0];
        map(x.values, |a| f(a, b))?
    } else {
        zip_rows(x, y, &shape, n, f)?
    };
    Ok((shape, out))
}

/// Steps of both operands through the common shape, with as few dimensions as possible.
struct Walk {
    shape: Vec<usize>,
    x: Vec<isize>,
    y: Vec<isize>,
}

impl Walk {
    fn new(x: &[usize], y: &[usize], shape: &[usize]) -> Self {
        let mut walk = Self { shape: Vec::new(), x: Vec::new(), y: Vec::new() };
        let (x, y) = (broadcast_strides(x, shape), broadcast_strides(y, shape));
        for (i, &d) in shape.iter().enumerate().filter(|(_, d)| **d != 1) {
            let (sx, sy, d_step) = (x[i] as isize, y[i] as isize, d as isize);
            match (walk.shape.last_mut(), walk.x.last_mut(), walk.y.last_mut()) {
                (Some(size), Some(px), Some(py)) if *px == sx * d_step && *py == sy * d_step => {
                    (*size, *px, *py) = (*size * d, sx, sy);
                }
                _ => {
                    walk.shape.push(d);
                    walk.x.push(sx);
                    walk.y.push(sy);
                }
            }
        }
        walk
    }
}

/// Row by row, a row being the last dimension of the merged shape, where each operand stands still or
/// goes on by one.
fn zip_rows<A: Element, B: Element, O: Element>(
    x: &Shaped<'_, A>,
    y: &Shaped<'_, B>,
    shape: &[usize],
    n: usize,
    f: impl Fn(A, B) -> O + Sync,
) -> Result<Vec<O>, OpFault> {
    let mut walk = Walk::new(x.shape, y.shape, shape);
    let row = walk.shape.pop().unwrap_or(1);
    let (step_x, step_y) = (walk.x.pop().unwrap_or(0), walk.y.pop().unwrap_or(0));
    let mut out = filled(n, O::default())?;
    let rows_per_task = (PARALLEL_ELEMENTS / 4).div_ceil(row);
    let task = |(task_idx, chunk): (usize, &mut [O])| {
        let mut at = Odometer::new(&walk.shape, [&walk.x, &walk.y], task_idx * rows_per_task);
        for out in chunk.chunks_mut(row) {
            let [ox, oy] = at.offsets();
            let (xs, ys) = (&x.values[ox as usize..], &y.values[oy as usize..]);
            match (step_x, step_y) {
                (0, _) => out.iter_mut().zip(ys).for_each(|(o, &b)| *o = f(xs[0], b)),
                (_, 0) => out.iter_mut().zip(xs).for_each(|(o, &a)| *o = f(a, ys[0])),
                _ => out.iter_mut().zip(xs.iter().zip(ys)).for_each(|(o, (&a, &b))| *o = f(a, b)),
            }
            at.advance();
        }
    };
    if n < PARALLEL_ELEMENTS {
        out.chunks_mut(rows_per_task * row).enumerate().for_each(task);
    } else {
        out.par_chunks_mut(rows_per_task * row).enumerate().for_each(task);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Rng;

    fn naive(x: &Shaped<'_, i64>, y: &Shaped<'_, i64>, shape: &[usize]) -> Vec<i64> {
        let (sx, sy) = (broadcast_strides(x.shape, shape), broadcast_strides(y.shape, shape));
        let n: usize = shape.iter().product();
        let at = |flat: usize, strides: &[usize]| -> usize {
            let mut rest = flat;
            shape
                .iter()
                .zip(strides)
                .rev()
                .map(|(d, s)| {
                    let i = rest % d;
                    rest /= d;
                    i * s
                })
                .sum()
        };
        (0..n).map(|i| x.values[at(i, &sx)] * 1000 + y.values[at(i, &sy)]).collect()
    }

    #[test]
    fn broadcasting_agrees_with_plain_indexing() {
        let mut dice = Rng::new(7);
        for _ in 0..300 {
            let rank = dice.below(5);
            let full: Vec<usize> = (0..rank).map(|_| 1 + dice.below(4)).collect();
            let mut thin = |keep: usize| -> Vec<usize> {
                full[keep..].iter().map(|&d| if dice.below(3) == 0 { 1 } else { d }).collect()
            };
            let (xs, ys) = (thin(0), thin(rank / 2));
            let values = |s: &[usize]| -> Vec<i64> { (0..s.iter().product::<usize>() as i64).collect() };
            let (xv, yv) = (values(&xs), values(&ys));
            let (x, y) = (Shaped { shape: &xs, values: &xv }, Shaped { shape: &ys, values: &yv });
            let (shape, got) = zip(&x, &y, 1 << 20, |a, b| a * 1000 + b).unwrap();
            assert_eq!(got, naive(&x, &y, &shape), "{xs:?} with {ys:?}");
        }
    }

    #[test]
    fn large_tensors_are_split_between_threads_without_seams() {
        let (xs, ys) = ([3, 50, 700], [50, 1]);
        let xv: Vec<i64> = (0..105_000).collect();
        let yv: Vec<i64> = (0..50).collect();
        let (x, y) = (Shaped { shape: &xs[..], values: &xv }, Shaped { shape: &ys[..], values: &yv });
        let (shape, got) = zip(&x, &y, 1 << 20, |a, b| a * 1000 + b).unwrap();
        assert_eq!(got, naive(&x, &y, &shape));
    }

    #[test]
    fn shapes_that_do_not_broadcast_are_a_fault() {
        let (x, y) = (Shaped { shape: &[2], values: &[1i64, 2] }, Shaped { shape: &[3], values: &[1i64, 2, 3] });
        assert!(matches!(zip(&x, &y, 100, |a, b| a + b), Err(OpFault::Shapes { .. })));
    }
}
