//! Arrays whose elements do not lie one behind the other, as those of the GPU and the Neural Engine do not.
//!
//! ```text
//! shape [2, 3, 4], strides [96, 32, 1]: rows of 4 elements begin 32 apart, and the rest is padding
//! ```
//!
//! A [`Layout`] is made of numbers that somebody else gives, and admits only those that stay within the buffer; whoever
//! has one copies without further questions.

use std::fmt;

use host_tensor::{DType, element_count};

/// Where the elements of an array lie in its buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    shape: Vec<usize>,
    /// In elements.
    strides: Vec<usize>,
    /// Bytes of an element.
    width: usize,
    n_bytes: usize,
}

/// Why an array cannot be read or written by these numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayoutFault {
    shape: Vec<isize>,
    strides: Vec<isize>,
    n_bytes: usize,
    reason: &'static str,
}

impl fmt::Display for LayoutFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, strides, n_bytes, reason } = self;
        write!(f, "shape {shape:?} with strides {strides:?} in {n_bytes} bytes: {reason}")
    }
}

impl Layout {
    /// The layout of an array in a buffer of that many bytes.
    ///
    /// # Errors
    /// When the numbers contradict each other, are negative, or lead beyond the buffer. Elements that several indices
    /// share are refused too: what is copied is never larger than the buffer.
    pub(super) fn new(dtype: DType, shape: &[isize], strides: &[isize], n_bytes: usize) -> Result<Self, LayoutFault> {
        let fault = |reason| LayoutFault { shape: shape.to_vec(), strides: strides.to_vec(), n_bytes, reason };
        if dtype.is_sub_byte() {
            return Err(fault("its elements are no whole bytes"));
        }
        if shape.len() != strides.len() {
            return Err(fault("there is not one stride for each dimension"));
        }
        let whole = |numbers: &[isize]| numbers.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>();
        let (Some(dims), Some(steps)) = (whole(shape), whole(strides)) else {
            return Err(fault("a number is negative"));
        };
        let width = dtype.bits() / 8;
        let too_large = || fault("it has more elements than the buffer has room for");
        let n = element_count(&dims).ok_or_else(too_large)?;
        if n.checked_mul(width).is_none_or(|bytes| bytes > n_bytes) {
            return Err(too_large());
        }
        let layout = Self { shape: dims, strides: steps, width, n_bytes };
        if n > 0 && layout.end().is_none_or(|end| end > n_bytes) {
            return Err(fault("its last element lies behind the buffer"));
        }
        if !layout.is_injective() {
            return Err(fault("several of its elements are the same one"));
        }
        Ok(layout)
    }

    /// Bytes up to the end of the last element.
    fn end(&self) -> Option<usize> {
        let mut steps = self.shape.iter().zip(&self.strides);
        let last = steps.try_fold(0usize, |at, (&n, &step)| at.checked_add(n.saturating_sub(1).checked_mul(step)?));
        last?.checked_add(1)?.checked_mul(self.width)
    }

    /// Whether each element has a place of its own: in order of their strides, dimensions step over all below them.
    fn is_injective(&self) -> bool {
        let mut axes: Vec<(usize, usize)> = self.strides.iter().copied().zip(self.shape.iter().copied()).collect();
        axes.retain(|(_, n)| *n > 1);
        axes.sort_unstable();
        let mut below = 0usize;
        axes.into_iter().all(|(step, n)| {
            let is_beyond = step > below;
            below = below.saturating_add(step.saturating_mul(n - 1));
            is_beyond
        })
    }

    /// The shape, as dimensions.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Elements that lie one behind the other, and how many dimensions stand before them.
    fn run(&self) -> (usize, usize) {
        let mut run = 1;
        let mut outer = self.shape.len();
        while outer > 0 && (self.shape[outer - 1] == 1 || self.strides[outer - 1] == run) {
            outer -= 1;
            run *= self.shape[outer];
        }
        (run, outer)
    }

    /// Calls for each run with the byte where it begins in the buffer, in the array's order.
    fn for_each_run(&self, outer: usize, mut visit: impl FnMut(usize)) {
        let mut index = vec![0; outer];
        let mut at = 0;
        loop {
            visit(at * self.width);
            let mut axis = outer;
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= self.strides[axis] * self.shape[axis];
                index[axis] = 0;
            }
        }
    }

    /// The elements one behind the other, as a tensor has them; `None` for another buffer than the layout's.
    pub(super) fn gather(&self, buffer: &[u8]) -> Option<Vec<u8>> {
        if buffer.len() != self.n_bytes {
            return None;
        }
        let mut dense = Vec::with_capacity(self.n_elements() * self.width);
        if self.n_elements() > 0 {
            let (run, outer) = self.run();
            self.for_each_run(outer, |at| dense.extend_from_slice(&buffer[at..at + run * self.width]));
        }
        Some(dense)
    }

    /// Puts elements that lie one behind the other where the layout has them, and zeros into every other byte; `None`
    /// where there are not as many elements, or for another buffer.
    #[cfg_attr(not(any(target_vendor = "apple", test)), expect(dead_code, reason = "only Core ML has such buffers"))]
    pub(super) fn scatter(&self, dense: &[u8], buffer: &mut [u8]) -> Option<()> {
        if buffer.len() != self.n_bytes || dense.len() != self.n_elements() * self.width {
            return None;
        }
        buffer.fill(0);
        let (run, outer) = self.run();
        let mut rows = dense.chunks_exact((run * self.width).max(1));
        if !dense.is_empty() {
            self.for_each_run(outer, |at| {
                if let Some(row) = rows.next() {
                    buffer[at..at + row.len()].copy_from_slice(row);
                }
            });
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
