//! What the codes of an encoding stand for.

use super::{feedback::Codes, rows::Rows};
use crate::{Affine, Lut, Quantize, quantize::Limits};
use host_tensor::{DType, HostTensor, unpack_bits};

/// Entries of palettes.
pub(super) struct PaletteCodes {
    /// Of each group, in ascending order, with their codes.
    entries: Vec<Vec<(f32, u8)>>,
    /// Groups of rows and columns.
    places: (Vec<usize>, Vec<usize>),
    /// What entries are multiplied by in each row.
    scales: Vec<f32>,
}

impl PaletteCodes {
    pub(super) fn new(lut: &Lut, scale: Option<&HostTensor>, rows: &Rows) -> Self {
        let shape = lut.lut.shape();
        let (groups, n_entries) = (&shape[..shape.len() - 2], shape[shape.len() - 2]);
        let ascending = |entries: &[f32]| {
            let mut entries: Vec<(f32, u8)> = entries.iter().enumerate().map(|(i, &e)| (e, i as u8)).collect();
            entries.sort_by(|a, b| a.0.total_cmp(&b.0));
            entries.dedup_by(|a, b| a.0 == b.0);
            entries
        };
        Self {
            entries: lut.lut.to_f32_vec().chunks(n_entries).map(ascending).collect(),
            places: rows.blocks(groups),
            scales: scale.map_or_else(|| vec![1.0; rows.len()], HostTensor::to_f32_vec),
        }
    }
}

impl Codes for PaletteCodes {
    fn nearest(&self, row: usize, column: usize, target: f32) -> (u8, f32) {
        let (entries, scale) = (&self.entries[self.places.0[row] + self.places.1[column]], self.scales[row]);
        let target = target / scale;
        let above = entries.partition_point(|entry| entry.0 < target);
        let nearer = match (above.checked_sub(1), entries.get(above)) {
            (Some(below), Some(above)) if target - entries[below].0 > above.0 - target => *above,
            (Some(below), _) => entries[below],
            (None, _) => entries[0],
        };
        (nearer.1, nearer.0 * scale)
    }

    fn value(&self, row: usize, column: usize, code: u8) -> f32 {
        let entries = &self.entries[self.places.0[row] + self.places.1[column]];
        let entry = entries.iter().find(|entry| entry.1 == code).map_or(0.0, |entry| entry.0);
        entry * self.scales[row]
    }
}

/// Integers.
pub(super) struct Integers {
    scales: Vec<f32>,
    offsets: Vec<f32>,
    limits: Limits,
    /// Blocks of rows and columns.
    places: (Vec<usize>, Vec<usize>),
    is_signed: bool,
}

impl Integers {
    pub(super) fn new(affine: &Affine, how: &Quantize, rows: &Rows) -> Self {
        let scales = affine.scale.to_f32_vec();
        let is_signed = affine.data.dtype().is_signed_int();
        let offsets = affine.offset.as_ref().map_or_else(|| vec![0.0; scales.len()], integers);
        Self { scales, offsets, limits: Limits::new(how), places: rows.blocks(affine.scale.shape()), is_signed }
    }
}

/// The integers of a tensor of 4 or 8 bits.
fn integers(tensor: &HostTensor) -> Vec<f32> {
    let codes = unpack_bits(tensor.bytes(), tensor.dtype().bits(), tensor.len());
    let value = |code: u8| match tensor.dtype() {
        DType::I8 => f32::from(code as i8),
        // The sign of four bits.
        DType::I4 => f32::from((code << 4) as i8 >> 4),
        _ => f32::from(code),
    };
    codes.into_iter().map(value).collect()
}

impl Codes for Integers {
    fn nearest(&self, row: usize, column: usize, target: f32) -> (u8, f32) {
        let block = self.places.0[row] + self.places.1[column];
        let (scale, offset) = (self.scales[block], self.offsets[block]);
        let integer = (target / scale + offset).round_ties_even().clamp(self.limits.least, self.limits.greatest);
        (integer as i32 as u8, scale * (integer - offset))
    }

    fn value(&self, row: usize, column: usize, code: u8) -> f32 {
        let block = self.places.0[row] + self.places.1[column];
        let integer = if self.is_signed { f32::from(code as i8) } else { f32::from(code) };
        self.scales[block] * (integer - self.offsets[block])
    }
}
