//! Tensors whose elements do not lie one after another: views of a storage by strides, put in order while they are read.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use host_tensor::{DType, HostTensor, element_count};
use mil::Compute;

use crate::Weight;
use crate::element::Element;

/// Elements that a view may have more than its storage, which views that repeat elements have.
const MAX_REPEATED: usize = 1 << 20;

/// Shape and steps of a view of a storage, in elements.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) offset: usize,
}

impl Layout {
    /// The weight that it gives of a storage: a view of the bytes where the elements lie one after another.
    ///
    /// # Errors
    /// When it leaves the storage.
    pub(crate) fn weight(self, element: Element, storage: &Bytes) -> Result<Weight, String> {
        let Self { shape, strides, offset } = &self;
        if shape.len() != strides.len() {
            return Err(format!("shape {shape:?} does not fit strides {strides:?}"));
        }
        let outside =
            || format!("a view of shape {shape:?} and strides {strides:?} at {offset} lies outside of its storage");
        let n = element_count(shape).ok_or_else(outside)?;
        let n_read = if n == 0 { 0 } else { self.reach().ok_or_else(outside)? };
        let start = if n == 0 { Some(0) } else { element.byte_len(*offset) };
        let end = start.zip(element.byte_len(n_read)).and_then(|(start, n)| start.checked_add(n));
        let range = start.zip(end).filter(|(_, end)| *end <= storage.len()).ok_or_else(outside)?;
        let bytes = storage.slice(range.0..range.1);
        if n == 0 || self.is_contiguous() {
            return element.weight(self.shape, bytes);
        }
        self.in_order(element, bytes, n_read)
    }

    /// Elements from the first to the last that is read, both included; of a view that is not empty.
    fn reach(&self) -> Option<usize> {
        let steps = self.shape.iter().zip(&self.strides);
        steps.into_iter().try_fold(1usize, |reach, (n, stride)| reach.checked_add((n - 1).checked_mul(*stride)?))
    }

    /// Axes of one element have any stride.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1usize;
        self.shape.iter().zip(&self.strides).rev().all(|(&n, &stride)| {
            let fits = n == 1 || stride == expected;
            expected = expected.saturating_mul(n);
            fits
        })
    }

    fn in_order(self, element: Element, bytes: Bytes, n_read: usize) -> Result<Weight, String> {
        let Element::Plain(dtype) = element else {
            return Err(
                "it is an eight-bit float whose elements do not lie in order: save it as .contiguous()".to_owned()
            );
        };
        if element_count(&self.shape).is_none_or(|n| n > n_read.max(MAX_REPEATED)) {
            return Err(format!("a view of shape {:?} repeats the elements of its storage too often", self.shape));
        }
        if let (&[rows, columns], &[1, stride]) = (&self.shape[..], &self.strides[..])
            && stride == rows
        {
            let turned = HostTensor::new(dtype, [columns, rows], bytes).map_err(|e| e.to_string())?;
            return Weight::transposed(turned).map_err(|e| e.to_string());
        }
        let strided = Strided { dtype, layout: self, bytes };
        Weight::computed(Arc::new(strided)).map_err(|e| e.to_string())
    }
}

/// A view by strides.
#[derive(Debug)]
struct Strided {
    dtype: DType,
    layout: Layout,
    /// From the first element to the last.
    bytes: Bytes,
}

impl Compute for Strided {
    fn dtype(&self) -> DType {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]) {
        let Layout { shape, strides, .. } = &self.layout;
        let width = self.dtype.bits() / 8;
        let mut index = vec![0; shape.len()];
        if let Some(first) = index.first_mut() {
            *first = rows.start;
        }
        for element in out.chunks_exact_mut(width) {
            let at = index.iter().zip(strides).map(|(i, stride)| i * stride).sum::<usize>() * width;
            element.copy_from_slice(&self.bytes[at..at + width]);
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] || axis == 0 {
                    break;
                }
                index[axis] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(shape: &[usize], strides: &[usize], offset: usize) -> Result<Vec<f32>, String> {
        let storage = HostTensor::from_f32([24], (0..24).map(|i| i as f32).collect());
        let layout = Layout { shape: shape.to_vec(), strides: strides.to_vec(), offset };
        let weight = layout.weight(Element::Plain(DType::F32), storage.bytes())?;
        assert_eq!(weight.shape(), shape);
        Ok(weight.constant().read().to_f32_vec())
    }

    #[test]
    fn elements_are_read_in_the_order_of_the_view() {
        assert_eq!(read(&[2, 3], &[3, 1], 4).unwrap(), [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
        assert_eq!(read(&[3, 2], &[1, 3], 0).unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        // channels_last: [N, C, H, W] of the storage's [N, H, W, C].
        assert_eq!(read(&[1, 2, 2, 2], &[8, 1, 4, 2], 1).unwrap(), [1.0, 3.0, 5.0, 7.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(read(&[2, 2], &[0, 1], 5).unwrap(), [5.0, 6.0, 5.0, 6.0]);
        assert_eq!(read(&[], &[], 7).unwrap(), [7.0]);
        assert_eq!(read(&[1, 2], &[99, 1], 0).unwrap(), [0.0, 1.0]);
        assert!(read(&[2, 0], &[1, 1], 99).unwrap().is_empty());
    }

    #[test]
    fn views_that_leave_their_storage_are_refused() {
        for (shape, strides, offset) in [
            (&[25][..], &[1][..], 0),
            (&[2], &[1], 23),
            (&[2, 2], &[23, 1], 0),
            (&[2], &[usize::MAX], 0),
            (&[2], &[1], usize::MAX),
            (&[usize::MAX, 2], &[1, 1], 0),
            (&[2], &[], 0),
            (&[1 << 21], &[0], 0),
        ] {
            assert!(read(shape, strides, offset).is_err(), "{shape:?} {strides:?} {offset}");
        }
    }
}
