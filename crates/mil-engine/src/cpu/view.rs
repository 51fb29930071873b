//! Views: where in a buffer each element of a tensor lies.

pub(super) use crate::reference::strides_of as row_major;

/// A tensor of floats as part of a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Which buffer.
    pub(super) buffer: usize,
    /// Floats before the first element.
    pub(super) offset: usize,
    /// Dimensions.
    pub(super) shape: Vec<usize>,
    /// Floats from one index to the next, of each dimension.
    pub(super) strides: Vec<usize>,
}

/// Strides of a tensor whose dimensions lie in memory in the given order, the outermost first.
pub(super) fn strides_in_order(shape: &[usize], order: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut next = 1;
    for &d in order.iter().rev() {
        strides[d] = next;
        next *= shape[d];
    }
    strides
}

/// Floats from one row of what a product may read to the next: rows of a multiple of 2 KiB lie a cache line further
/// apart, lest those of a tile share a few sets of the first-level cache.
const fn row_pitch(floats: usize) -> usize {
    if floats.is_multiple_of(512) { floats + 16 } else { floats }
}

/// As [`strides_in_order`], with the last `n_row` dimensions as rows that lie [`row_pitch`] apart.
pub(super) fn rows_in_order(shape: &[usize], order: &[usize], n_row: usize) -> Vec<usize> {
    let (outer, row) = order.split_at(order.len() - n_row);
    let mut strides = strides_in_order(shape, row);
    let mut next = row_pitch(row.iter().map(|&d| shape[d]).product());
    for &d in outer.iter().rev() {
        strides[d] = next;
        next *= shape[d];
    }
    strides
}

/// All dimensions in order, but `inner` last.
fn with_inner(rank: usize, inner: usize) -> Vec<usize> {
    (0..rank).filter(|&d| d != inner).chain([inner]).collect()
}

/// Strides with `inner` innermost, without gaps.
pub(super) fn inner_last(shape: &[usize], inner: usize) -> Vec<usize> {
    strides_in_order(shape, &with_inner(shape.len(), inner))
}

/// Strides with `inner` innermost, as rows that lie [`row_pitch`] apart.
pub(super) fn rows_along(shape: &[usize], inner: usize) -> Vec<usize> {
    rows_in_order(shape, &with_inner(shape.len(), inner), 1)
}

/// Strides with the channels, dimension 1, innermost.
pub(super) fn channels_last(shape: &[usize]) -> Vec<usize> {
    inner_last(shape, 1)
}

/// Channels last for pictures and tokens in Apple's layout, row-major for everything else.
pub(super) fn natural_strides(shape: &[usize], channels: bool) -> Vec<usize> {
    if shape.len() == 4 && channels { channels_last(shape) } else { row_major(shape) }
}

impl View {
    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Floats from the start of its buffer to behind its last element; `None` when no memory is that large.
    pub(super) fn extent(&self) -> Option<usize> {
        let mut last = self.offset;
        for (&n, &stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add(n.checked_sub(1)?.checked_mul(stride)?)?;
        }
        last.checked_add(1)
    }

    /// True when the elements lie in row-major order without gaps.
    pub(super) fn is_row_major(&self) -> bool {
        let want = row_major(&self.shape);
        self.shape.iter().zip(&self.strides).zip(&want).all(|((&d, s), w)| d == 1 || s == w)
    }

    /// Dimensions in the order in which they lie in memory, the outermost first; dimensions of one stay where they are.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.shape.len()).collect();
        let mut last = usize::MAX;
        let key = |(&n, &stride): (&usize, &usize)| {
            if n > 1 {
                last = stride;
            }
            last
        };
        let keys: Vec<usize> = self.shape.iter().zip(&self.strides).map(key).collect();
        order.sort_by_key(|&d| std::cmp::Reverse(keys[d]));
        order
    }

    /// With its dimensions permuted: dimension `i` of the result is dimension `perm[i]` of this.
    pub(super) fn transpose(&self, perm: &[usize]) -> Self {
        Self {
            buffer: self.buffer,
            offset: self.offset,
            shape: perm.iter().map(|&p| self.shape[p]).collect(),
            strides: perm.iter().map(|&p| self.strides[p]).collect(),
        }
    }

    /// Part of it: along each dimension from an index, in steps.
    pub(super) fn slice(&self, begin: &[usize], step: &[usize], shape: &[usize]) -> Self {
        Self {
            buffer: self.buffer,
            offset: self.offset + begin.iter().zip(&self.strides).map(|(b, s)| b * s).sum::<usize>(),
            shape: shape.to_vec(),
            strides: self.strides.iter().zip(step).map(|(s, step)| s * step).collect(),
        }
    }

    /// The same elements, in row-major order, under another shape; `None` when no strides say that.
    pub(super) fn reshape(&self, shape: &[usize]) -> Option<Self> {
        let (mut strides, mut done) = (vec![0; shape.len()], 0);
        let old: Vec<(usize, usize)> =
            self.shape.iter().copied().zip(self.strides.iter().copied()).filter(|&(d, _)| d != 1).collect();
        let (mut i, mut j) = (0, 0);
        while i < old.len() && j < shape.len() {
            // The shortest runs of old and new dimensions with as many elements.
            let (first_old, first_new) = (i, j);
            let (mut n_old, mut n_new) = (old[i].0, shape[j]);
            i += 1;
            j += 1;
            while n_old != n_new {
                if n_new < n_old {
                    n_new *= shape.get(j)?;
                    j += 1;
                } else {
                    n_old *= old.get(i)?.0;
                    i += 1;
                }
            }
            // The old run must lie behind one another.
            let run = &old[first_old..i];
            if run.windows(2).any(|w| w[0].1 != w[1].0 * w[1].1) {
                return None;
            }
            let mut stride = run.last().map_or(1, |&(_, s)| s);
            for d in (first_new..j).rev() {
                strides[d] = stride;
                stride *= shape[d];
            }
            done = j;
        }
        if i < old.len() || shape[done..].iter().any(|&d| d != 1) {
            return None;
        }
        Some(Self { buffer: self.buffer, offset: self.offset, shape: shape.to_vec(), strides })
    }

    /// Strides as a broadcast to `shape` reads it: dimensions of one do not move.
    pub(super) fn broadcast(&self, shape: &[usize]) -> Option<Vec<usize>> {
        let lead = shape.len().checked_sub(self.shape.len())?;
        let mut strides = vec![0; shape.len()];
        for (d, (&n, &s)) in self.shape.iter().zip(&self.strides).enumerate() {
            if n == shape[lead + d] {
                strides[lead + d] = if n == 1 { 0 } else { s };
            } else if n != 1 {
                return None;
            }
        }
        Some(strides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(shape: &[usize], strides: &[usize]) -> View {
        View { buffer: 0, offset: 0, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    #[test]
    fn channels_last_survive_the_reshapes_of_a_transformer() {
        let x = view(&[2, 6, 4, 5], &channels_last(&[2, 6, 4, 5]));
        assert_eq!(x.strides, [120, 1, 30, 6]);
        let tokens = x.reshape(&[2, 6, 1, 20]).unwrap();
        assert_eq!((tokens.strides[0], tokens.strides[1], tokens.strides[3]), (120, 1, 6));
        assert_eq!(tokens.reshape(&[2, 2, 3, 20]).unwrap().strides, [120, 3, 1, 6]);
        assert_eq!(x.reshape(&[2, 120]), None);
        assert_eq!(tokens.reshape(&[2, 6, 4, 5]).unwrap(), x);
    }

    #[test]
    fn dimensions_of_one_do_not_hinder() {
        let x = view(&[1, 3, 1, 4], &[99, 4, 7, 1]);
        assert!(x.is_row_major());
        assert_eq!(x.reshape(&[12]).unwrap().strides, [1]);
        assert_eq!(x.reshape(&[3, 1, 2, 2, 1]).unwrap().shape, [3, 1, 2, 2, 1]);
        assert_eq!(view(&[1, 1], &[5, 5]).reshape(&[1]).unwrap().shape, [1]);
    }

    #[test]
    fn the_order_of_memory_is_found() {
        assert_eq!(view(&[2, 6, 4, 5], &[120, 1, 30, 6]).order(), [0, 2, 3, 1]);
        let tokens = view(&[1, 6, 1, 20], &[120, 1, 120, 6]);
        assert_eq!(strides_in_order(&tokens.shape, &tokens.order())[1..], [1, 1, 6]);
    }
}
