//! What a compressed weight stands for, by the definition of the `constexpr_*` operations.

use crate::{Affine, Encoded, Loss, Lut, NonZero, layout::Grid};
use half::f16;
use host_tensor::{DType, HostTensor, unpack_bits};

impl Encoded {
    /// Shape of the weight.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Half(t) => t.shape().to_vec(),
            Self::Lut(lut) | Self::ScaledLut { lut, .. } => lut.shape(),
            Self::Affine(affine) => affine.data.shape().to_vec(),
            Self::Sparse { mask, .. } => mask.shape().to_vec(),
        }
    }

    /// The weight, in the type of its palette or scale.
    #[must_use]
    pub fn decode(&self) -> HostTensor {
        let shape = self.shape();
        let (dtype, values) = match self {
            Self::Half(t) => return t.clone(),
            Self::Lut(lut) => (lut.lut.dtype(), lut.decode()),
            Self::ScaledLut { lut, scale } => {
                let mut values = lut.decode();
                let scales = scale.to_f32_vec();
                let grid = Grid::new(&shape, scale.shape());
                for (block, s) in scales.iter().enumerate() {
                    grid.ranges(block).for_each(|r| values[r].iter_mut().for_each(|v| *v *= s));
                }
                (scale.dtype(), values)
            }
            Self::Affine(affine) => (affine.scale.dtype(), affine.decode(&shape, None)),
            Self::Sparse { mask, values } => {
                let mask = unpack_bits(mask.bytes(), 1, mask.len());
                let places: Vec<usize> = (0..mask.len()).filter(|&i| mask[i] == 1).collect();
                let (dtype, stored) = match values {
                    NonZero::Plain(t) => (t.dtype(), t.to_f32_vec()),
                    NonZero::Lut(lut) => (lut.lut.dtype(), lut.decode_at(&shape, Some(&places))),
                    NonZero::Affine(affine) => (affine.scale.dtype(), affine.decode(&shape, Some(&places))),
                };
                let mut dense = vec![0f32; mask.len()];
                places.iter().zip(stored).for_each(|(&i, v)| dense[i] = v);
                (dtype, dense)
            }
        };
        HostTensor::from_f32(shape, values).cast(dtype)
    }

    /// How much of `weight` is lost.
    ///
    /// # Panics
    /// When this is no encoding of a weight of that size.
    #[must_use]
    pub fn loss(&self, weight: &HostTensor) -> Loss {
        let (ours, exact) = (self.decode().to_f32_vec(), weight.to_f32_vec());
        assert_eq!(ours.len(), exact.len(), "invariant: an encoding of that weight");
        let mut loss = Loss::default();
        for (&a, &b) in ours.iter().zip(&exact) {
            loss.squared_error += (f64::from(a) - f64::from(b)).powi(2);
            loss.signal += f64::from(b).powi(2);
        }
        loss
    }
}

impl Lut {
    /// Length of an entry.
    fn vector(&self) -> usize {
        self.lut.shape().last().copied().unwrap_or(1)
    }

    /// Shape of a dense weight.
    pub(crate) fn shape(&self) -> Vec<usize> {
        let mut shape = self.indices.shape().to_vec();
        if let Some(axis) = self.vector_axis {
            shape[axis] *= self.vector();
        }
        shape
    }

    pub(crate) fn decode(&self) -> Vec<f32> {
        let shape = self.shape();
        if self.vector() == 1 {
            return self.decode_at(&shape, None);
        }
        let axis = self.vector_axis.unwrap_or(0);
        let (dim, indices) = (self.vector(), self.indices.shape());
        let labels = unpack_bits(self.indices.bytes(), self.indices.dtype().bits(), self.indices.len());
        let (entries, n) = (self.lut.to_f32_vec(), 1 << self.indices.dtype().bits());
        let grid = Grid::new(indices, &self.lut.shape()[..indices.len()]);
        let inner: usize = indices[axis + 1..].iter().product();
        let mut out = vec![0f32; labels.len() * dim];
        for block in 0..grid.len() {
            for i in grid.ranges(block).flatten() {
                let (row, place) = (i / inner, i % inner);
                for d in 0..dim {
                    out[(row * dim + d) * inner + place] = entries[(block * n + usize::from(labels[i])) * dim + d];
                }
            }
        }
        out
    }

    /// The values of all elements of a weight of this shape, or of those at `places`, which the indices are then of.
    pub(crate) fn decode_at(&self, shape: &[usize], places: Option<&[usize]>) -> Vec<f32> {
        let bits = self.indices.dtype().bits();
        let labels = unpack_bits(self.indices.bytes(), bits, self.indices.len());
        let entries = self.lut.to_f32_vec();
        let blocks = blocks_of(shape, &self.lut.shape()[..shape.len()], places);
        labels.iter().zip(blocks).map(|(&label, block)| entries[(block << bits) + usize::from(label)]).collect()
    }
}

impl Affine {
    /// `scale · (data - offset)`, rounded to the scale's type, of all elements or of those at `places`.
    pub(crate) fn decode(&self, shape: &[usize], places: Option<&[usize]>) -> Vec<f32> {
        let data = self.data.cast(DType::F32).to_f32_vec();
        let scales = self.scale.to_f32_vec();
        let offsets = self.offset.as_ref().map_or_else(|| vec![0.0; scales.len()], |o| o.cast(DType::F32).to_f32_vec());
        let half = self.scale.dtype() == DType::F16;
        let round = |x: f32| if half { f16::from_f32(x).to_f32() } else { x };
        let blocks = blocks_of(shape, self.scale.shape(), places);
        data.iter().zip(blocks).map(|(&q, b)| round(scales[b] * round(q - offsets[b]))).collect()
    }
}

/// The block of each element, or of those at `places`.
fn blocks_of(shape: &[usize], blocks: &[usize], places: Option<&[usize]>) -> Vec<usize> {
    let grid = Grid::new(shape, blocks);
    let mut of = vec![0; shape.iter().product()];
    if grid.len() > 1 {
        (0..grid.len()).for_each(|b| grid.ranges(b).for_each(|r| of[r].fill(b)));
    }
    match places {
        Some(places) => places.iter().map(|&i| of[i]).collect(),
        None => of,
    }
}
