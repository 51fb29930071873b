//! A scheme applied to a weight whose inputs are known.
//!
//! Palettes, scales and offsets are those of [`encode`]; what changes is which code an element gets. Codes are chosen so
//! that errors cancel in what the weight is multiplied by, instead of being small one by one ([`feedback`]).

mod codes;
mod factor;
mod feedback;
pub(crate) mod product;
mod rows;
mod statistics;

use crate::{Axes, Encoded, Loss, Scheme, encode};
use codes::{Integers, PaletteCodes};
use factor::damped_factor;
use feedback::{Codes, feed_back};
use host_tensor::HostTensor;
use rows::Rows;
use statistics::Moments;
pub use statistics::{Calibration, Statistics};

/// A weight that was compressed with statistics of its inputs.
#[derive(Debug, Clone)]
pub struct Calibrated {
    /// The weight.
    pub encoded: Encoded,
    /// What was lost of the weight itself, where it was measured: more than without statistics.
    pub loss: Option<Loss>,
    /// Whether statistics decided anything; where not, the encoding is that of [`encode`].
    pub is_calibrated: bool,
}

/// Compresses a weight as [`encode`] does, and chooses codes by what the weight is multiplied by.
///
/// No code is chosen that is worse for the inputs than that of [`encode`], as far as `statistics` know them: of each group of
/// a convolution the better of both is taken. Sparse weights, palettes of vectors and [`Scheme::Half`] are encoded plainly.
///
/// # Errors
/// Why the weight is better left as it is, in words; and statistics of a weight of another shape.
pub fn encode_with(
    weight: &HostTensor,
    scheme: &Scheme,
    axes: Axes,
    statistics: &Statistics,
    measure: bool,
) -> Result<Calibrated, String> {
    let (mut encoded, loss) = encode(weight, scheme, axes, measure)?;
    let plain = |encoded, loss| Ok(Calibrated { encoded, loss, is_calibrated: false });
    let Some(rows) = Rows::of(weight, axes) else { return plain(encoded, loss) };
    let (columns, n_groups) = (statistics.n_columns(), statistics.groups().len());
    if rows.columns() != columns || n_groups == 0 || !rows.len().is_multiple_of(n_groups) {
        return Err(format!(
            "statistics are of {n_groups} groups with {columns} columns, and it has {} rows of {}",
            rows.len(),
            rows.columns()
        ));
    }
    let is_calibrated = match (&mut encoded, scheme) {
        (Encoded::Lut(lut), _) if lut.vector_axis.is_none() => {
            let codes = PaletteCodes::new(lut, None, &rows);
            choose(&rows, statistics, &codes).map(|found| lut.indices = rows.tensor(&found, lut.indices.dtype()))
        }
        (Encoded::ScaledLut { lut, scale }, _) if lut.vector_axis.is_none() => {
            let codes = PaletteCodes::new(lut, Some(scale), &rows);
            choose(&rows, statistics, &codes).map(|found| lut.indices = rows.tensor(&found, lut.indices.dtype()))
        }
        (Encoded::Affine(affine), Scheme::Quantize(how)) => {
            let codes = Integers::new(affine, how, &rows);
            choose(&rows, statistics, &codes).map(|found| affine.data = rows.tensor(&found, affine.data.dtype()))
        }
        _ => None,
    }
    .is_some();
    if !is_calibrated {
        return plain(encoded, loss);
    }
    let loss = loss.is_some().then(|| encoded.loss(weight));
    Ok(Calibrated { encoded, loss, is_calibrated })
}

/// Codes of all elements, row after row; `None` where the statistics say nothing.
fn choose(rows: &Rows, statistics: &Statistics, codes: &impl Codes) -> Option<Vec<u8>> {
    let n_groups = statistics.groups().len();
    let (columns, group_rows) = (rows.columns(), rows.len() / n_groups);
    let (mut found, mut is_calibrated) = (Vec::with_capacity(rows.values().len()), false);
    for (group, Moments(moments)) in statistics.groups().iter().enumerate() {
        let first = group * group_rows;
        let weight = &rows.values()[first * columns..][..group_rows * columns];
        let plain = feedback::round(weight, columns, first, codes);
        let better = damped_factor(moments, columns).and_then(|factor| {
            let before = feedback::error_of(weight, columns, &factor, first, (&plain, codes));
            let (fed, after) = feed_back(weight, columns, &factor, first, codes);
            (after < before).then_some(fed)
        });
        is_calibrated |= better.is_some();
        found.extend(better.unwrap_or(plain));
    }
    is_calibrated.then_some(found)
}

#[cfg(test)]
mod tests;
