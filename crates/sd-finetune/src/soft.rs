//! Differentiable k-means (DKM, Cho and others, ICLR 2022) of the values of one group, forward and backward.
//!
//! ```text
//! a = softmax over k of -(u - c[k])² / τ         attention of a value u to each entry c[k] of a palette
//! c = Σ n·a·u / Σ n·a                            an iteration: each entry is the mean of what attends to it
//! ũ = Σ a·c                                      what the value becomes
//! ```
//!
//! `u` are the distinct values and `n` how often each occurs, so that work and memory grow with the distinct values and not
//! with the weight. The gradient is in closed form: automatic differentiation would keep a matrix for every operation.
//! Which elements have which value is not known here.

use crate::exp::exp_nonpositive;

/// Values that are computed side by side.
const LANES: usize = 16;
/// Most entries of a palette.
pub(crate) const MAX_ENTRIES: usize = 16;
/// What keeps an entry that nothing attends to from a division by zero.
const LEAST_SHARE: f64 = 1e-12;

/// Distinct values, and how often each occurs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) values: &'a [f32],
    /// Empty where each occurs once.
    pub(crate) counts: &'a [f32],
}

impl Values<'_> {
    fn count(&self, idx: usize) -> f32 {
        self.counts.get(idx).copied().unwrap_or(1.0)
    }
}

/// What comes of an iteration.
#[derive(Debug, Clone)]
struct Means {
    entries: Vec<f32>,
    /// How much attends to each entry.
    shares: Vec<f64>,
}

/// The gradient by what went in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Backward {
    /// By the palette that the iterations begin with.
    pub(crate) entries: Vec<f32>,
    /// How much `ũ` moves with its own `u` where the palette stays: a factor for the gradient of each element.
    pub(crate) slopes: Vec<f32>,
    /// By each element of a value through the palette, which is the same for all of them.
    pub(crate) shifts: Vec<f32>,
}

/// Attention of [`LANES`] values: `a[k][lane]`.
type Attention = [[f32; LANES]; MAX_ENTRIES];

/// Attention of values to a palette; `values` has at most [`LANES`].
fn attend(values: &[f32; LANES], palette: &[f32], inverse: f32, attention: &mut Attention) {
    let mut most = [f32::NEG_INFINITY; LANES];
    for (row, &entry) in attention.iter_mut().zip(palette) {
        for lane in 0..LANES {
            let distance = values[lane] - entry;
            row[lane] = -(distance * distance) * inverse;
            most[lane] = most[lane].max(row[lane]);
        }
    }
    let mut sum = [0.0f32; LANES];
    for row in attention.iter_mut().take(palette.len()) {
        for lane in 0..LANES {
            row[lane] = exp_nonpositive(row[lane] - most[lane]);
            sum[lane] += row[lane];
        }
    }
    for row in attention.iter_mut().take(palette.len()) {
        for lane in 0..LANES {
            row[lane] /= sum[lane];
        }
    }
}

/// Calls `each` with the attention of every [`LANES`] values: place of the first, the values, how many there are.
fn in_lanes(
    values: &[f32],
    palette: &[f32],
    temperature: f32,
    mut each: impl FnMut(usize, &[f32; LANES], usize, &Attention),
) {
    let mut attention = [[0.0; LANES]; MAX_ENTRIES];
    let inverse = 1.0 / temperature;
    for (part, chunk) in values.chunks(LANES).enumerate() {
        let mut lanes = [chunk[0]; LANES];
        lanes[..chunk.len()].copy_from_slice(chunk);
        attend(&lanes, palette, inverse, &mut attention);
        each(part * LANES, &lanes, chunk.len(), &attention);
    }
}

/// One iteration.
fn means(from: Values<'_>, palette: &[f32], temperature: f32) -> Means {
    let (mut shares, mut sums) = (vec![0.0f64; palette.len()], vec![0.0f64; palette.len()]);
    in_lanes(from.values, palette, temperature, |begin, lanes, n, attention| {
        let mut counts = [0.0f32; LANES];
        for (lane, count) in counts.iter_mut().enumerate().take(n) {
            *count = from.count(begin + lane);
        }
        for (k, row) in attention.iter().enumerate().take(palette.len()) {
            let (mut share, mut sum) = (0.0f32, 0.0f32);
            for lane in 0..LANES {
                share += counts[lane] * row[lane];
                sum += counts[lane] * row[lane] * lanes[lane];
            }
            shares[k] += f64::from(share);
            sums[k] += f64::from(sum);
        }
    });
    let mean = |k: usize| match shares[k] > LEAST_SHARE {
        true => (sums[k] / shares[k]) as f32,
        // Nothing attends to it, so it stays.
        false => palette[k],
    };
    Means { entries: (0..palette.len()).map(mean).collect(), shares }
}

/// A palette twice: as values attend to it, and as what they become is made of.
///
/// The last iteration's attention serves both its means and the result, as in coremltools.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refined {
    /// What values attend to.
    pub(crate) attended: Vec<f32>,
    /// What they become.
    pub(crate) entries: Vec<f32>,
}

/// The palette after so many iterations.
pub(crate) fn refine(from: Values<'_>, palette: &[f32], temperature: f32, n_iterations: usize) -> Refined {
    let begin = Refined { attended: palette.to_vec(), entries: palette.to_vec() };
    (0..n_iterations).fold(begin, |before, _| {
        let entries = means(from, &before.entries, temperature).entries;
        Refined { attended: before.entries, entries }
    })
}

/// What each value becomes.
pub(crate) fn assign(values: &[f32], palette: &Refined, temperature: f32, out: &mut Vec<f32>) {
    out.clear();
    in_lanes(values, &palette.attended, temperature, |_, _, n, attention| {
        out.extend_from_slice(&mixed(attention, &palette.entries)[..n]);
    });
}

/// `Σ a·c`
fn mixed(attention: &Attention, entries: &[f32]) -> [f32; LANES] {
    let mut soft = [0.0f32; LANES];
    for (row, &entry) in attention.iter().zip(entries) {
        for lane in 0..LANES {
            soft[lane] += row[lane] * entry;
        }
    }
    soft
}

/// The gradient of a sum over elements of what they become, weighed: `sums` has each value's weights added up.
pub(crate) fn backward(
    from: Values<'_>,
    palette: &[f32],
    temperature: f32,
    n_iterations: usize,
    sums: &[f32],
) -> Backward {
    let mut steps: Vec<Means> = vec![Means { entries: palette.to_vec(), shares: Vec::new() }];
    for at in 0..n_iterations {
        let next = means(from, &steps[at].entries, temperature);
        steps.push(next);
    }
    let attended = steps[n_iterations.saturating_sub(1)].entries.clone();
    let last = Refined { attended, entries: steps[n_iterations].entries.clone() };
    let mut slopes = Vec::with_capacity(from.values.len());
    let mut shifts = vec![0.0; if n_iterations > 0 { from.values.len() } else { 0 }];
    let (mut by_entry, mut by_attended) = last_step(from.values, &last, temperature, sums, &mut slopes);
    for at in (0..n_iterations).rev() {
        let (before, result) = (&steps[at].entries, &steps[at + 1]);
        by_entry = iteration(from, (before, result), temperature, &by_entry, &mut shifts);
        add(&mut by_entry, &std::mem::take(&mut by_attended));
    }
    add(&mut by_entry, &by_attended);
    Backward { entries: by_entry.iter().map(|&v| v as f32).collect(), slopes, shifts }
}

fn add(to: &mut [f64], what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += what);
}

/// Through `ũ = Σ a·c`: slopes of the values, and the gradient by the palette's entries and by those that are attended to.
fn last_step(
    values: &[f32],
    palette: &Refined,
    temperature: f32,
    sums: &[f32],
    slopes: &mut Vec<f32>,
) -> (Vec<f64>, Vec<f64>) {
    let n_entries = palette.entries.len();
    let (mut by_entry, mut by_attended) = (vec![0.0f64; n_entries], vec![0.0f64; n_entries]);
    let steep = 2.0 / temperature;
    in_lanes(values, &palette.attended, temperature, |begin, lanes, n, attention| {
        let soft = mixed(attention, &palette.entries);
        let (mut slope, mut weights) = ([0.0f32; LANES], [0.0f32; LANES]);
        weights[..n].copy_from_slice(&sums[begin..begin + n]);
        for (k, row) in attention.iter().enumerate().take(n_entries) {
            let (entry, attended) = (palette.entries[k], palette.attended[k]);
            let (mut direct, mut through) = (0.0f32, 0.0f32);
            for lane in 0..LANES {
                // By this entry's logit, of the result.
                let by_logit = row[lane] * (entry - soft[lane]);
                let moved = by_logit * steep * (lanes[lane] - attended);
                slope[lane] -= moved;
                direct += weights[lane] * row[lane];
                through += weights[lane] * moved;
            }
            by_entry[k] += f64::from(direct);
            by_attended[k] += f64::from(through);
        }
        slopes.extend_from_slice(&slope[..n]);
    });
    (by_entry, by_attended)
}

/// Through one iteration: `by_mean` is the gradient by its result; adds to that of the values.
fn iteration(
    from: Values<'_>,
    (palette, result): (&[f32], &Means),
    temperature: f32,
    by_mean: &[f64],
    shifts: &mut [f32],
) -> Vec<f64> {
    let mut by_entry = vec![0.0f64; palette.len()];
    let steep = 2.0 / temperature;
    // An entry that nothing attended to stayed: its gradient goes through as it is.
    let stays = |k: usize| result.shares[k] <= LEAST_SHARE;
    let scaled: Vec<f32> =
        (0..palette.len()).map(|k| if stays(k) { 0.0 } else { (by_mean[k] / result.shares[k]) as f32 }).collect();
    in_lanes(from.values, palette, temperature, |begin, lanes, n, attention| {
        let (mut mean, mut direct, mut through) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
        for (k, row) in attention.iter().enumerate().take(palette.len()) {
            for lane in 0..LANES {
                mean[lane] += row[lane] * (lanes[lane] - result.entries[k]) * scaled[k];
                direct[lane] += row[lane] * scaled[k];
            }
        }
        for (k, row) in attention.iter().enumerate().take(palette.len()) {
            let mut sum = 0.0f32;
            for lane in 0..LANES {
                let by_logit = row[lane] * ((lanes[lane] - result.entries[k]) * scaled[k] - mean[lane]);
                let moved = by_logit * steep * (lanes[lane] - palette[k]);
                through[lane] -= moved;
                sum += if lane < n { from.count(begin + lane) * moved } else { 0.0 };
            }
            by_entry[k] += f64::from(sum);
        }
        for lane in 0..n {
            shifts[begin + lane] += direct[lane] + through[lane];
        }
    });
    (0..palette.len()).map(|k| by_entry[k] + if stays(k) { by_mean[k] } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests;
