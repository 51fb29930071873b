//! A picture's features that stay between passes: rows with their channels last, in pieces that are given back as soon
//! as nobody reads them any more.
//!
//! In half precision a row is stored as its values divided by a power of two, so that none is too large for f16.

use crate::{EngineError, cpu::memory::Arena};
use half::{f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;
use std::ops::Range;

/// How features are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are computed.
    Single,
    /// In half precision, a power of two for each row.
    Half,
}

impl Form {
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Single => 4,
            Self::Half => 2,
        }
    }
}

/// Rows of a piece.
const PIECE_ROWS: usize = 8;

/// Features of a picture.
#[derive(Debug)]
pub(super) struct FeatureMap {
    form: Form,
    /// Width times channels.
    row_floats: usize,
    pieces: Vec<Option<Arena>>,
    /// The power of two of each row.
    exponents: Vec<i32>,
}

impl FeatureMap {
    /// No rows yet of so many, of so many floats each.
    pub(super) fn new(form: Form, height: usize, row_floats: usize) -> Self {
        let pieces = (0..height.div_ceil(PIECE_ROWS)).map(|_| None).collect();
        Self { form, row_floats, pieces, exponents: vec![0; height] }
    }

    /// Bytes of so many rows.
    pub(super) fn bytes_of(form: Form, height: usize, row_floats: usize) -> usize {
        height.next_multiple_of(PIECE_ROWS).saturating_mul(row_floats).saturating_mul(form.bytes())
    }

    /// Gives back the memory of all rows before this one, as far as pieces go.
    pub(super) fn forget_before(&mut self, row: usize) {
        self.pieces.iter_mut().take(row / PIECE_ROWS).for_each(|piece| *piece = None);
    }

    /// Writes rows, each of which `row` puts into the floats that it is given.
    pub(super) fn write(
        &mut self,
        rows: Range<usize>,
        row: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) -> Result<(), EngineError> {
        let (form, row_floats) = (self.form, self.row_floats);
        let mut at = rows.start;
        while at < rows.end {
            let piece = at / PIECE_ROWS;
            let until = ((piece + 1) * PIECE_ROWS).min(rows.end);
            let within = at % PIECE_ROWS..at % PIECE_ROWS + (until - at);
            let exponents = &mut self.exponents[at..until];
            let memory = self.pieces[piece].take();
            let mut memory = match memory {
                Some(memory) => memory,
                None => new_piece(form, row_floats)?,
            };
            let each = exponents.par_iter_mut().enumerate();
            match form {
                Form::Single => {
                    let all = &mut memory.floats_mut()[within.start * row_floats..within.end * row_floats];
                    each.zip(all.par_chunks_mut(row_floats)).for_each(|((i, _), to)| row(at + i, to));
                }
                Form::Half => {
                    let all = &mut memory.halves_mut()[within.start * row_floats..within.end * row_floats];
                    each.zip(all.par_chunks_mut(row_floats)).for_each_init(
                        || vec![0.0; row_floats],
                        |values, ((i, exponent), to)| {
                            row(at + i, values);
                            *exponent = halve(values, to);
                        },
                    );
                }
            }
            self.pieces[piece] = Some(memory);
            at = until;
        }
        Ok(())
    }

    /// Reads rows into as many floats; rows that are no longer there leave theirs as they are.
    pub(super) fn read(&self, rows: Range<usize>, to: &mut [f32]) {
        to.par_chunks_mut(self.row_floats).zip(rows).for_each(|(to, row)| {
            let at = row % PIECE_ROWS * self.row_floats;
            let Some(piece) = self.pieces.get(row / PIECE_ROWS).and_then(Option::as_ref) else { return };
            match self.form {
                Form::Single => to.copy_from_slice(&piece.floats()[at..at + self.row_floats]),
                Form::Half => double(&piece.halves()[at..at + self.row_floats], self.exponents[row], to),
            }
        });
    }
}

fn new_piece(form: Form, row_floats: usize) -> Result<Arena, EngineError> {
    let bytes = PIECE_ROWS.saturating_mul(row_floats).saturating_mul(form.bytes());
    Arena::new(bytes.div_ceil(4)).map_err(|_| EngineError::OutOfMemory { bytes })
}

/// Stores values as halves and says the power of two that they were divided by: 0 unless one is near f16's largest.
fn halve(values: &mut [f32], to: &mut [f16]) -> i32 {
    const LARGEST: f32 = 32768.0;
    let most = values.iter().fold(0.0f32, |most, v| if v.is_finite() { most.max(v.abs()) } else { most });
    let mut exponent = 0;
    while most * 2f32.powi(-exponent) > LARGEST {
        exponent += 1;
    }
    if exponent > 0 {
        let factor = 2f32.powi(-exponent);
        values.iter_mut().for_each(|v| *v *= factor);
    }
    to.convert_from_f32_slice(values);
    exponent
}

fn double(from: &[f16], exponent: i32, to: &mut [f32]) {
    from.convert_to_f32_slice(to);
    if exponent > 0 {
        let factor = 2f32.powi(exponent);
        to.iter_mut().for_each(|v| *v *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_went_in_and_halves_hold_the_largest_floats() {
        for (form, near) in [(Form::Single, 0.0), (Form::Half, 1.0 / 2048.0)] {
            let (height, row_floats) = (21, 6);
            let value = |row: usize, i: usize| (i as f32 - 2.5) * if row == 9 { 1e30 } else { 1.5f32.powi(row as i32) };
            let mut map = FeatureMap::new(form, height, row_floats);
            for rows in [0..5, 5..17, 17..21] {
                map.write(rows, &|row, to| to.iter_mut().enumerate().for_each(|(i, v)| *v = value(row, i))).unwrap();
            }
            let mut read = vec![0.0; 13 * row_floats];
            map.read(6..19, &mut read);
            for (at, v) in read.iter().enumerate() {
                let want = value(6 + at / row_floats, at % row_floats);
                assert!((v - want).abs() <= near * want.abs(), "{form:?} {at}: {v} for {want}");
            }
            map.forget_before(17);
            assert_eq!(map.pieces.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true]);
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let mut map = FeatureMap::new(Form::Half, 2, 3);
        map.write(0..2, &|_, to| to.copy_from_slice(&[f32::INFINITY, f32::NAN, 1e6])).unwrap();
        let mut read = vec![0.0; 3];
        map.read(1..2, &mut read);
        assert!(read[0] == f32::INFINITY && read[1].is_nan() && (read[2] - 1e6).abs() < 1e3, "{read:?}");
    }
}
