//! Shapes, strides, and copies through them: the part that all moving and broadcasting kernels share.

use super::value::{Element, PARALLEL_ELEMENTS, Tensor, filled, reserve};
use crate::OpFault;
use rayon::prelude::*;

/// Row-major strides in elements.
pub(crate) fn strides_of(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * shape[i + 1];
    }
    strides
}

/// The shape that all these broadcast to, aligned at the last dimension.
pub(super) fn broadcast_shape(shapes: &[&[usize]]) -> Result<Vec<usize>, OpFault> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for shape in shapes {
        for (o, &d) in out.iter_mut().rev().zip(shape.iter().rev()) {
            match (*o, d) {
                (1, d) => *o = d,
                (o, d) if d == 1 || o == d => {}
                _ => return Err(OpFault::shapes("shapes must broadcast", shapes)),
            }
        }
    }
    Ok(out)
}

/// Strides that read a tensor of shape `from` as one of shape `to`; broadcast dimensions have stride 0.
pub(super) fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; to.len()];
    let own = strides_of(from);
    let skipped = to.len() - from.len();
    for (i, (&d, &s)) in from.iter().zip(&own).enumerate() {
        strides[skipped + i] = if d == 1 { 0 } else { s };
    }
    strides
}

/// Offsets under several strides, counted up in row-major order.
pub(crate) struct Odometer<'a, const N: usize> {
    shape: &'a [usize],
    strides: [&'a [isize]; N],
    index: Vec<usize>,
    offsets: [isize; N],
}

impl<'a, const N: usize> Odometer<'a, N> {
    /// Begins at the `start`-th index of `shape`.
    pub(crate) fn new(shape: &'a [usize], strides: [&'a [isize]; N], start: usize) -> Self {
        let mut index = vec![0; shape.len()];
        let (mut rest, mut offsets) = (start, [0; N]);
        for i in (0..shape.len()).rev() {
            index[i] = rest % shape[i].max(1);
            rest /= shape[i].max(1);
            for (o, s) in offsets.iter_mut().zip(strides) {
                *o += index[i] as isize * s[i];
            }
        }
        Self { shape, strides, index, offsets }
    }

    /// The current offsets.
    pub(crate) const fn offsets(&self) -> [isize; N] {
        self.offsets
    }

    /// The current index.
    pub(super) fn index(&self) -> &[usize] {
        &self.index
    }

    /// Goes to the next index; past the last it begins again.
    pub(crate) fn advance(&mut self) {
        for i in (0..self.shape.len()).rev() {
            self.index[i] += 1;
            for (o, s) in self.offsets.iter_mut().zip(self.strides) {
                *o += s[i];
            }
            if self.index[i] < self.shape[i] {
                return;
            }
            for (o, s) in self.offsets.iter_mut().zip(self.strides) {
                *o -= s[i] * self.shape[i] as isize;
            }
            self.index[i] = 0;
        }
    }
}

/// A way to read a buffer: element `i` of the view is at `offset + Σ iₖ·strideₖ`.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// Where index 0 lies.
    pub(super) offset: usize,
    /// Dimensions of the view.
    pub(super) shape: Vec<usize>,
    /// Steps in the buffer; 0 repeats, negative ones read backwards.
    pub(super) strides: Vec<isize>,
}

impl View {
    /// The whole of a row-major tensor.
    pub(super) fn of(shape: &[usize]) -> Self {
        let strides = strides_of(shape).into_iter().map(|s| s as isize).collect();
        Self { offset: 0, shape: shape.to_vec(), strides }
    }

    /// A tensor of shape `from`, repeated to the shape `to`.
    pub(super) fn broadcast(from: &[usize], to: &[usize]) -> Self {
        let strides = broadcast_strides(from, to).into_iter().map(|s| s as isize).collect();
        Self { offset: 0, shape: to.to_vec(), strides }
    }

    /// The view with its axes permuted.
    pub(super) fn permuted(&self, perm: &[usize]) -> Self {
        Self {
            offset: self.offset,
            shape: perm.iter().map(|&p| self.shape[p]).collect(),
            strides: perm.iter().map(|&p| self.strides[p]).collect(),
        }
    }

    /// A part of one axis: `count` indices from `start`, `step` apart.
    pub(super) fn narrow(&mut self, axis: usize, start: usize, count: usize, step: isize) {
        if count > 0 {
            self.offset = (self.offset as isize + start as isize * self.strides[axis]) as usize;
        }
        self.shape[axis] = count;
        self.strides[axis] *= step;
    }

    /// Copies what the view shows.
    pub(super) fn copy<T: Element>(&self, src: &[T]) -> Result<Vec<T>, OpFault> {
        let n = self.shape.iter().product();
        if n == 0 {
            return Ok(Vec::new());
        }
        let (shape, strides) = merge(&self.shape, &self.strides);
        if shape.len() <= 1 && strides.first().is_none_or(|&s| s == 1) {
            let mut out = reserve(n)?;
            out.extend_from_slice(&src[self.offset..self.offset + n]);
            return Ok(out);
        }
        let mut out = filled(n, T::default())?;
        let inner = n / shape[0];
        let rows = if n < PARALLEL_ELEMENTS { shape[0] } else { shape[0].div_ceil(4 * rayon::current_num_threads()) };
        out.par_chunks_mut(rows * inner).enumerate().for_each(|(i, chunk)| {
            let mut part = shape.clone();
            part[0] = chunk.len() / inner;
            copy_part(src, self.offset as isize + (i * rows) as isize * strides[0], &part, &strides, chunk);
        });
        Ok(out)
    }

    /// Puts `values`, row major in the view's shape, where the view shows.
    pub(super) fn write<T: Element>(&self, dst: &mut [T], values: &[T]) {
        let mut at = Odometer::new(&self.shape, [&self.strides], 0);
        for &v in values {
            let [offset] = at.offsets();
            dst[(self.offset as isize + offset) as usize] = v;
            at.advance();
        }
    }
}

/// Drops dimensions of one, and joins neighbours that one stride can walk.
fn merge(shape: &[usize], strides: &[isize]) -> (Vec<usize>, Vec<isize>) {
    let (mut sizes, mut steps): (Vec<usize>, Vec<isize>) = (Vec::new(), Vec::new());
    for (&d, &s) in shape.iter().zip(strides).filter(|(d, _)| **d != 1) {
        match (sizes.last_mut(), steps.last_mut()) {
            (Some(size), Some(step)) if *step == s * d as isize => {
                *size *= d;
                *step = s;
            }
            _ => {
                sizes.push(d);
                steps.push(s);
            }
        }
    }
    (sizes, steps)
}

/// Edge of the square that a transposition moves at a time.
const BLOCK: usize = 32;

/// Fills `out` from a view of rank 1 or more without empty dimensions.
fn copy_part<T: Element>(src: &[T], offset: isize, shape: &[usize], strides: &[isize], out: &mut [T]) {
    let last = shape.len() - 1;
    let across = if strides[last] > 1 { (0..last).find(|&i| strides[i] == 1) } else { None };
    let own: Vec<isize> = strides_of(shape).into_iter().map(|s| s as isize).collect();
    let outer: Vec<usize> = (0..last).filter(|&i| Some(i) != across).collect();
    let pick = |from: &[isize]| -> Vec<isize> { outer.iter().map(|&i| from[i]).collect() };
    let outer_shape: Vec<usize> = outer.iter().map(|&i| shape[i]).collect();
    let (src_strides, out_strides) = (pick(strides), pick(&own));
    let mut at = Odometer::new(&outer_shape, [&src_strides, &out_strides], 0);
    for _ in 0..outer_shape.iter().product::<usize>() {
        let [from, to] = at.offsets();
        let (from, to) = (offset + from, to as usize);
        match across {
            Some(axis) => {
                let square = Square { rows: shape[axis], row_step: own[axis] as usize, columns: shape[last] };
                square.transpose(&src[from as usize..], strides[last] as usize, &mut out[to..]);
            }
            None => copy_row(src, from, strides[last], &mut out[to..to + shape[last]]),
        }
        at.advance();
    }
}

/// A row of the result whose elements lie `step` apart.
fn copy_row<T: Element>(src: &[T], from: isize, step: isize, out: &mut [T]) {
    match step {
        1 => out.copy_from_slice(&src[from as usize..from as usize + out.len()]),
        0 => out.fill(src[from as usize]),
        _ => {
            let mut at = from;
            for o in out {
                *o = src[at as usize];
                at += step;
            }
        }
    }
}

/// A transposition: rows of the result are contiguous in the source's other direction.
struct Square {
    rows: usize,
    row_step: usize,
    columns: usize,
}

impl Square {
    /// `out[r·row_step + c] = src[r + c·step]`, in blocks that fit the cache.
    fn transpose<T: Element>(&self, src: &[T], step: usize, out: &mut [T]) {
        for row in (0..self.rows).step_by(BLOCK) {
            for column in (0..self.columns).step_by(BLOCK) {
                let n_rows = BLOCK.min(self.rows - row);
                let n_columns = BLOCK.min(self.columns - column);
                for r in row..row + n_rows {
                    let out = &mut out[r * self.row_step + column..][..n_columns];
                    for (c, o) in out.iter_mut().enumerate() {
                        *o = src[r + (column + c) * step];
                    }
                }
            }
        }
    }
}

/// The tensor with its axes permuted; free when nothing moves.
pub(super) fn transpose(x: Tensor, perm: &[usize]) -> Result<Tensor, OpFault> {
    let view = View::of(x.shape()).permuted(perm);
    let moved: Vec<usize> = perm.iter().copied().filter(|&p| x.shape()[p] != 1).collect();
    if moved.is_sorted() {
        return Ok(x.with_shape(view.shape));
    }
    copy_view(&x, &view)
}

/// What `view` shows of `x`.
pub(super) fn copy_view(x: &Tensor, view: &View) -> Result<Tensor, OpFault> {
    super::value::for_kind!(x.data(), T => Ok(Tensor::new(view.shape.clone(), view.copy(x.view::<T>()?)?)))
}
