//! Normalisations over rows of channels.

use super::{math::Activation, simd::Simd};

/// Rows whose statistics are taken at a time.
pub(crate) const CHUNK: usize = 64;

/// Group normalisation of `[batch][rows][channels]`, channels contiguous.
#[derive(Debug)]
pub(crate) struct GroupNorm {
    /// Pictures, pixels, channels.
    pub(crate) size: [usize; 3],
    /// Groups of channels.
    pub(crate) groups: usize,
    /// Input.
    pub(crate) x: *const f32,
    /// Floats from one picture, one pixel to the next.
    pub(crate) x_strides: [usize; 2],
    /// Result.
    pub(crate) out: *mut f32,
    /// Floats from one picture, one pixel to the next.
    pub(crate) out_strides: [usize; 2],
    /// Added to the variance.
    pub(crate) epsilon: f32,
    /// Factors of the channels; null for ones.
    pub(crate) gamma: *const f32,
    /// Summands of the channels; null for zeros.
    pub(crate) beta: *const f32,
    /// Applied last.
    pub(crate) activation: Activation,
    /// Mean and sum of squared deviations of each chunk and group.
    pub(crate) stats: *mut f32,
    /// Factor and summand of each channel, once the statistics are known.
    pub(crate) affine: *mut f32,
}

// SAFETY: the pointers are to disjoint or read-only memory that the plan owns for the time of the call.
unsafe impl Sync for GroupNorm {}

impl GroupNorm {
    /// Chunks of a picture.
    fn chunks(&self) -> usize {
        self.size[1].div_ceil(CHUNK)
    }

    /// How many items [`group_stats`] and [`group_apply`] have.
    pub(crate) fn items(&self) -> usize {
        self.size[0] * self.chunks()
    }

    /// Floats of statistics.
    pub(crate) fn stats_len(size: [usize; 3], groups: usize) -> usize {
        size[0] * size[1].div_ceil(CHUNK) * groups * 2
    }

    fn rows(&self, item: usize) -> (usize, usize, usize) {
        let (picture, chunk) = (item / self.chunks(), item % self.chunks());
        (picture, chunk * CHUNK, CHUNK.min(self.size[1] - chunk * CHUNK))
    }
}

/// Mean and sum of squared deviations of each group in one chunk of rows.
///
/// # Safety
/// The instruction set exists; the operands are as `GroupNorm` says; `scratch` has as many floats as there are
/// channels; no two calls with the same item run at a time.
#[inline(always)]
pub(crate) unsafe fn group_stats<S: Simd>(g: &GroupNorm, item: usize, scratch: *mut f32) {
    let (picture, first, rows) = g.rows(item);
    let channels = g.size[2];
    let per_group = channels / g.groups;
    let count = (rows * per_group) as f32;
    // SAFETY: the caller's contract.
    unsafe {
        let x = g.x.add(picture * g.x_strides[0] + first * g.x_strides[1]);
        let stats = g.stats.add(item * g.groups * 2);
        column_sums::<S, false>((x, g.x_strides[1]), (rows, channels), scratch);
        for group in 0..g.groups {
            let own = std::slice::from_raw_parts_mut(scratch.add(group * per_group), per_group);
            let mean = own.iter().sum::<f32>() / count;
            own.fill(mean);
            *stats.add(group * 2) = mean;
        }
        column_sums::<S, true>((x, g.x_strides[1]), (rows, channels), scratch);
        for group in 0..g.groups {
            let own = std::slice::from_raw_parts(scratch.add(group * per_group), per_group);
            *stats.add(group * 2 + 1) = own.iter().sum();
        }
    }
}

/// For each channel the sum over rows; or, when `SQUARE`, that of squared distances from what stands in `sums`.
///
/// # Safety
/// The instruction set exists; `x` holds the rows, `sums` a float for each channel.
#[inline(always)]
unsafe fn column_sums<S: Simd, const SQUARE: bool>(
    (x, row): (*const f32, usize),
    (rows, channels): (usize, usize),
    sums: *mut f32,
) {
    let mut c = 0;
    // SAFETY: the caller's contract.
    unsafe {
        // Four vectors of a row at a time: whole cache lines one after another.
        while c + 4 * S::LANES <= channels {
            let mut mean = [S::zero(); 4];
            if SQUARE {
                for u in 0..4 {
                    mean[u] = S::load(sums.add(c + u * S::LANES));
                }
            }
            let mut sum = [S::zero(); 4];
            for r in 0..rows {
                for u in 0..4 {
                    let v = S::load(x.add(r * row + c + u * S::LANES));
                    sum[u] = if SQUARE {
                        let d = S::sub(v, mean[u]);
                        S::fma(d, d, sum[u])
                    } else {
                        S::add(v, sum[u])
                    };
                }
            }
            for u in 0..4 {
                S::store(sums.add(c + u * S::LANES), sum[u]);
            }
            c += 4 * S::LANES;
        }
        for c in c..channels {
            let mean = if SQUARE { *sums.add(c) } else { 0.0 };
            let mut sum = 0.0;
            for r in 0..rows {
                let d = *x.add(r * row + c) - mean;
                sum += if SQUARE { d * d } else { d };
            }
            *sums.add(c) = sum;
        }
    }
}

/// Joins the statistics of a picture's chunks, in their order, and makes factors and summands of them.
///
/// Source of the rule: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
/// variances", 1979.
///
/// # Safety
/// The operands are as `GroupNorm` says; all statistics of the picture are there.
pub(crate) unsafe fn group_affine(g: &GroupNorm, picture: usize) {
    let channels = g.size[2];
    let per_group = channels / g.groups;
    for group in 0..g.groups {
        let (mut count, mut mean, mut squares) = (0f64, 0f64, 0f64);
        for chunk in 0..g.chunks() {
            let rows = CHUNK.min(g.size[1] - chunk * CHUNK);
            let n = (rows * per_group) as f64;
            // SAFETY: the caller's contract.
            let [m, s] = unsafe {
                let stats = g.stats.add(((picture * g.chunks() + chunk) * g.groups + group) * 2);
                [f64::from(*stats), f64::from(*stats.add(1))]
            };
            let delta = m - mean;
            squares += s + delta * delta * count * n / (count + n);
            mean += delta * n / (count + n);
            count += n;
        }
        let factor = 1.0 / (squares / count + f64::from(g.epsilon)).sqrt();
        for c in group * per_group..(group + 1) * per_group {
            // SAFETY: the caller's contract.
            unsafe {
                let gamma = if g.gamma.is_null() { 1.0 } else { f64::from(*g.gamma.add(c)) };
                let beta = if g.beta.is_null() { 0.0 } else { f64::from(*g.beta.add(c)) };
                *g.affine.add(picture * 2 * channels + c) = (factor * gamma) as f32;
                *g.affine.add((picture * 2 + 1) * channels + c) = (beta - mean * factor * gamma) as f32;
            }
        }
    }
}

/// Normalises one chunk of rows.
///
/// # Safety
/// The instruction set exists; the operands are as `GroupNorm` says; factors and summands are there.
#[inline(always)]
pub(crate) unsafe fn group_apply<S: Simd>(g: &GroupNorm, item: usize) {
    let (picture, first, rows) = g.rows(item);
    let channels = g.size[2];
    // SAFETY: the caller's contract.
    unsafe {
        let factors = g.affine.add(picture * 2 * channels);
        let summands = factors.add(channels);
        for r in first..first + rows {
            let x = g.x.add(picture * g.x_strides[0] + r * g.x_strides[1]);
            let out = g.out.add(picture * g.out_strides[0] + r * g.out_strides[1]);
            let mut c = 0;
            while c < channels {
                let left = channels - c;
                if left >= S::LANES {
                    let y = S::fma(S::load(x.add(c)), S::load(factors.add(c)), S::load(summands.add(c)));
                    S::store(out.add(c), g.activation.apply::<S>(y));
                } else {
                    let [x, f, s] = [x.add(c), factors.add(c), summands.add(c)].map(|p| S::load_n(p, left));
                    S::store_n(out.add(c), g.activation.apply::<S>(S::fma(x, f, s)), left);
                }
                c += S::LANES;
            }
        }
    }
}

/// Layer normalisation of rows whose elements are contiguous.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    /// Rows and elements of a row.
    pub(crate) size: [usize; 2],
    /// Input.
    pub(crate) x: *const f32,
    /// Floats from one row to the next.
    pub(crate) x_row: usize,
    /// Result.
    pub(crate) out: *mut f32,
    /// Floats from one row to the next.
    pub(crate) out_row: usize,
    /// Added to the variance.
    pub(crate) epsilon: f32,
    /// Factors; null for ones.
    pub(crate) gamma: *const f32,
    /// Summands; null for zeros.
    pub(crate) beta: *const f32,
}

// SAFETY: the pointers are to disjoint or read-only memory that the plan owns for the time of the call.
unsafe impl Sync for LayerNorm {}

/// Rows of an item of [`layer_norm`].
pub(crate) const LAYER_ROWS: usize = 32;

/// Normalises [`LAYER_ROWS`] rows.
///
/// # Safety
/// The instruction set exists; the operands are as `LayerNorm` says; no two calls with the same item run at a time.
#[inline(always)]
pub(crate) unsafe fn layer_norm<S: Simd>(l: &LayerNorm, item: usize) {
    let [rows, n] = l.size;
    // SAFETY: the caller's contract.
    unsafe {
        for r in item * LAYER_ROWS..((item + 1) * LAYER_ROWS).min(rows) {
            let (x, out) = (l.x.add(r * l.x_row), l.out.add(r * l.out_row));
            let mean = fold::<S>(x, n, |v| v, |v| v) / n as f32;
            let centre = S::splat(mean);
            let square = |v| {
                let v = S::sub(v, centre);
                S::mul(v, v)
            };
            let squares = fold::<S>(x, n, square, |v| (v - mean) * (v - mean));
            let factor = S::splat(1.0 / (squares / n as f32 + l.epsilon).sqrt());
            let mut c = 0;
            while c < n {
                let left = n - c;
                let full = left >= S::LANES;
                let get = |p: *const f32| if full { S::load(p.add(c)) } else { S::load_n(p.add(c), left) };
                let mut y = S::mul(S::sub(get(x), centre), factor);
                if !l.gamma.is_null() {
                    y = S::mul(y, get(l.gamma));
                }
                if !l.beta.is_null() {
                    y = S::add(y, get(l.beta));
                }
                if full {
                    S::store(out.add(c), y)
                } else {
                    S::store_n(out.add(c), y, left)
                }
                c += S::LANES;
            }
        }
    }
}

/// The sum of `f` of a row's elements; `one` does the same for those that fill no vector.
///
/// # Safety
/// The instruction set exists; `x` holds `n` floats.
#[inline(always)]
unsafe fn fold<S: Simd>(x: *const f32, n: usize, f: impl Fn(S::V) -> S::V, one: impl Fn(f32) -> f32) -> f32 {
    // SAFETY: the caller's contract.
    unsafe {
        let mut sums = [S::zero(); 4];
        let mut c = 0;
        while c + 4 * S::LANES <= n {
            for (u, sum) in sums.iter_mut().enumerate() {
                *sum = S::add(*sum, f(S::load(x.add(c + u * S::LANES))));
            }
            c += 4 * S::LANES;
        }
        while c + S::LANES <= n {
            sums[0] = S::add(sums[0], f(S::load(x.add(c))));
            c += S::LANES;
        }
        let rest: f32 = (c..n).map(|c| one(*x.add(c))).sum();
        S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3]))) + rest
    }
}
