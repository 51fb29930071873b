//! Tensors of diffusers' layout as views of a file's: nothing is copied.

use std::ops::Range;
use std::sync::Arc;

use host_tensor::{DType, element_count};
use mil::Compute;

use super::names::How;
use crate::{Weight, WeightError};

/// Elements of a matrix that is computed and then turned; CLIP's largest has 1280².
const MAX_TURNED: usize = 1 << 22;

/// What of a file's tensor, or of all of it, stands in diffusers' layout.
pub(crate) fn view(weight: &Weight, how: How) -> Result<Weight, WeightError> {
    match (how, &weight.shape()[..]) {
        (How::Squeezed, &[rows, columns, 1, 1]) => part(weight, 0..rows, vec![rows, columns]),
        (How::Same | How::Squeezed, _) => Ok(weight.clone()),
        // One of CLIP's matrices; what is computed is computed once.
        (How::Transposed, shape) => match weight.stored() {
            Some(tensor) => Weight::transposed(tensor.clone()),
            None if element_count(shape).is_none_or(|n| n > MAX_TURNED) => Err(WeightError::TooLarge(shape.to_vec())),
            None => Weight::transposed(weight.constant().read()),
        },
        (How::Third(which), _) => equal_part(weight, which, 3),
        (How::HalvesSwapped, _) => equal_parts(weight, &[1, 0], 2),
    }
}

/// Some of `n` equal parts of the rows, in this order.
pub(crate) fn equal_parts(weight: &Weight, which: &[usize], n: usize) -> Result<Weight, WeightError> {
    Weight::joined(which.iter().map(|which| equal_part(weight, *which, n)).collect::<Result<_, _>>()?)
}

/// One of `n` equal parts of the rows.
fn equal_part(weight: &Weight, which: usize, n: usize) -> Result<Weight, WeightError> {
    let mut shape = weight.shape();
    let Some(&n_rows) = shape.first() else { return Err(WeightError::Parts { n, shape }) };
    if !n_rows.is_multiple_of(n) {
        return Err(WeightError::Parts { n, shape });
    }
    if let Some(rows) = shape.first_mut() {
        *rows = n_rows / n;
    }
    part(weight, which * (n_rows / n)..(which + 1) * (n_rows / n), shape)
}

/// Rows of a tensor, in a shape with as many rows.
fn part(weight: &Weight, rows: Range<usize>, shape: Vec<usize>) -> Result<Weight, WeightError> {
    let computed =
        |source: Arc<dyn Compute>| Weight::computed(Arc::new(Rows { source, start: rows.start, shape: shape.clone() }));
    match weight {
        Weight::Computed(source) => computed(source.clone()),
        Weight::Joined(source) => computed(source.clone()),
        Weight::Sum(source) => computed(source.clone()),
        Weight::View(_) => {
            let tensor = weight.stored().ok_or_else(|| WeightError::Computed(weight.shape()))?;
            let rows = Weight::rows_of(tensor, rows)?;
            let reshaped = rows.stored().and_then(|rows| rows.reshape(shape.clone()).ok());
            reshaped.map(Weight::from).ok_or(WeightError::NoMatrix(shape))
        }
    }
}

/// Rows of what is computed.
#[derive(Debug)]
struct Rows {
    source: Arc<dyn Compute>,
    start: usize,
    shape: Vec<usize>,
}

impl Compute for Rows {
    fn dtype(&self) -> DType {
        self.source.dtype()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]) {
        self.source.fill_rows(rows.start + self.start..rows.end + self.start, out);
    }
}

#[cfg(test)]
mod tests {
    use host_tensor::HostTensor;

    use super::*;

    /// A tensor, or something that computes it.
    fn weights() -> [Weight; 2] {
        let tensor = HostTensor::from_f32([6, 2, 1, 1], (0..12).map(|i| i as f32).collect());
        let joined = Weight::joined(vec![tensor.clone().into()]).unwrap();
        let Weight::Joined(computed) = joined else { panic!("a join") };
        [tensor.into(), Weight::computed(computed).unwrap()]
    }

    #[test]
    fn parts_are_views_in_the_order_of_diffusers() {
        for weight in weights() {
            let read = |how| {
                let view = view(&weight, how).unwrap();
                (view.shape(), view.constant().read().to_f32_vec())
            };
            assert_eq!(read(How::Third(1)), (vec![2, 2, 1, 1], vec![4., 5., 6., 7.]));
            assert_eq!(read(How::HalvesSwapped).1, [6., 7., 8., 9., 10., 11., 0., 1., 2., 3., 4., 5.]);
            assert_eq!(read(How::Squeezed).0, [6, 2]);
            assert!(view(&weight, How::Transposed).is_err());
            let matrix = view(&weight, How::Squeezed).unwrap();
            let turned = view(&matrix, How::Transposed).unwrap();
            assert_eq!(turned.shape(), [2, 6]);
            assert_eq!(turned.constant().read().to_f32_vec()[..3], [0., 2., 4.]);
        }
    }

    #[test]
    fn rows_that_do_not_divide_are_refused() {
        let odd = Weight::from(HostTensor::from_f32([4, 1], vec![0.0; 4]));
        assert!(view(&odd, How::Third(0)).unwrap_err().to_string().contains("3 equal parts"));
        assert!(view(&Weight::from(HostTensor::from_f32([], vec![1.0])), How::Third(0)).is_err());
        assert_eq!(view(&odd, How::Squeezed).unwrap().shape(), [4, 1]);
    }
}
