//! Tensors of diffusers' layout as views of a file's: nothing is copied.

use host_tensor::HostTensor;

use super::names::How;
use crate::{Weight, WeightError};

/// What of a file's tensor, or of all of it, stands in diffusers' layout.
pub(crate) fn view(weight: &Weight, how: How) -> Result<Weight, WeightError> {
    let shape = weight.shape();
    match how {
        How::Same => Ok(weight.clone()),
        How::Squeezed => match &shape[..] {
            [rows, columns, 1, 1] => {
                let squeezed = stored(weight)?.reshape([*rows, *columns]);
                squeezed.map(Weight::from).map_err(|_| WeightError::NoMatrix(shape))
            }
            _ => Ok(weight.clone()),
        },
        How::Transposed => Weight::transposed(stored(weight)?.clone()),
        How::Third(which) => part(weight, which, 3),
        How::HalvesSwapped => Weight::joined(vec![part(weight, 1, 2)?, part(weight, 0, 2)?]),
    }
}

/// One of `n` equal parts of the rows.
fn part(weight: &Weight, which: usize, n: usize) -> Result<Weight, WeightError> {
    let tensor = stored(weight)?;
    let n_rows = tensor.shape().first().copied().unwrap_or(0);
    if !n_rows.is_multiple_of(n) {
        return Err(WeightError::Parts { n, shape: tensor.shape().to_vec() });
    }
    Weight::rows_of(tensor, which * (n_rows / n)..(which + 1) * (n_rows / n))
}

/// The tensor as it lies in the file, as tensors of files do before anything changes them.
fn stored(weight: &Weight) -> Result<&HostTensor, WeightError> {
    weight.stored().ok_or_else(|| WeightError::Computed(weight.shape()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_views_in_the_order_of_diffusers() {
        let tensor = HostTensor::from_f32([6, 2, 1, 1], (0..12).map(|i| i as f32).collect());
        let weight = Weight::from(tensor.clone());
        let read = |how| {
            let view = view(&weight, how).unwrap();
            (view.shape(), view.constant().read().to_f32_vec())
        };
        assert_eq!(read(How::Third(1)), (vec![2, 2, 1, 1], vec![4., 5., 6., 7.]));
        assert_eq!(read(How::HalvesSwapped).1, [6., 7., 8., 9., 10., 11., 0., 1., 2., 3., 4., 5.]);
        assert_eq!(read(How::Squeezed).0, [6, 2]);
        assert!(view(&weight, How::Transposed).is_err());
        let odd = Weight::from(HostTensor::from_f32([4, 1], vec![0.0; 4]));
        assert!(view(&odd, How::Third(0)).unwrap_err().to_string().contains("3 equal parts"));
        assert!(view(&odd, How::Squeezed).unwrap().stored().is_some());
    }
}
