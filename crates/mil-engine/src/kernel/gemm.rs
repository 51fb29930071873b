//! Products of activations with stored weights: `out[m][n] = epilogue(Σ a[m][k]·w[n][k])`.
//!
//! The work is cut into items of [`ROWS`] rows and [`COLS`] columns, by shape alone, so that results do not depend
//! on who computes which. An item decodes a panel of weights, [`DEPTH`] of a row at a time, into scratch that stays
//! in the second-level cache, and sums each block of `k` apart before it adds it.

use super::{epilogue::Epilogue, simd::Simd, simd::Tile, weights::Matrix};
use std::sync::Arc;

/// Most rows of an item; a multiple of every tile height.
pub(crate) const ROWS: usize = 528;
/// Columns of an item; a multiple of every tile width.
pub(crate) const COLS: usize = 64;
/// Most columns of `a` that a panel covers at a time.
pub(crate) const DEPTH: usize = 320;
/// Products of at most this many rows are sums row by row instead: they wait for memory anyway.
pub(crate) const FEW_ROWS: usize = 4;

/// With more rows than this the machine's own prefetching is enough.
const FEW_PASSES: usize = 256;

/// Floats of scratch that an item needs.
pub(crate) const SCRATCH: usize = COLS * DEPTH + ROWS * COLS + 16 * DEPTH;

/// A product.
#[derive(Debug)]
pub(crate) struct Gemm {
    /// Rows.
    pub(crate) m: usize,
    /// Left operand; its `k` are contiguous.
    pub(crate) a: *const f32,
    /// Floats from one row of `a` to the next.
    pub(crate) a_row: usize,
    /// Right operand, a row for each column of the result.
    pub(crate) w: Arc<Matrix>,
    /// Result.
    pub(crate) out: *mut f32,
    /// Floats from one row of `out` to the next.
    pub(crate) out_row: usize,
    /// What is done before storing.
    pub(crate) epilogue: Epilogue,
    /// With a gate, the result has half of the columns: which half of the weights' rows is the gate.
    pub(crate) gate: Gate,
    /// The row that `a`, `out` begin with, as the epilogue counts them.
    pub(crate) first_row: usize,
    /// How many threads share the items: the next item of the one that computes this most likely is so many further.
    pub(crate) threads: usize,
    /// The weights of the next product, of which the last items fetch the first columns.
    pub(crate) after: Option<Arc<Matrix>>,
}

/// Gated products: one half of the columns is multiplied by the activation of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// No gate.
    None,
    /// The first half is the gate.
    First,
    /// The second half is the gate.
    Second,
}

// SAFETY: the pointers are to disjoint or read-only memory that the plan owns for the time of the call.
unsafe impl Sync for Gemm {}

impl Gemm {
    /// Columns of the result.
    pub(crate) fn n_out(&self) -> usize {
        if self.gate == Gate::None { self.w.rows } else { self.w.rows / 2 }
    }

    /// Columns of the result that an item makes.
    pub(crate) fn cols(&self) -> usize {
        if self.gate == Gate::None { COLS } else { COLS / 2 }
    }

    /// Rows of an item: as even as can be, in whole tiles of every height.
    pub(crate) fn rows(&self) -> usize {
        self.m.div_ceil(self.m.div_ceil(ROWS).max(1)).next_multiple_of(12)
    }

    /// How many items there are.
    pub(crate) fn items(&self) -> usize {
        let rows = if self.m <= FEW_ROWS { 1 } else { self.m.div_ceil(self.rows()) };
        rows * self.n_out().div_ceil(self.cols())
    }

    /// Rows of the weights that stand in panel columns `0..COLS`: for gates, values first.
    pub(crate) fn weight_rows(&self, n0: usize, n: usize) -> [(usize, usize); 2] {
        let half = self.w.rows / 2;
        match self.gate {
            Gate::None => [(n0, n), (0, 0)],
            Gate::Second => [(n0, n), (half + n0, n)],
            Gate::First => [(half + n0, n), (n0, n)],
        }
    }

    /// Does to an item's sums what comes before storing, and stores them; rows of sums are [`COLS`] floats apart, gates
    /// stand in the second half.
    ///
    /// # Safety
    /// The instruction set exists; the operands hold the rows and columns of the result.
    #[inline(always)]
    pub(crate) unsafe fn finish<S: Simd>(&self, sums: *const f32, (m0, m): (usize, usize), (n0, n): (usize, usize)) {
        // SAFETY: the caller's contract.
        unsafe {
            let out = self.out.add(m0 * self.out_row + n0);
            if self.gate == Gate::None {
                self.epilogue.store::<S>((sums, COLS), (self.first_row + m0, m), (n0, n), (out, self.out_row));
                return;
            }
            let cols = self.weight_rows(n0, n).map(|(row, _)| row);
            for r in 0..m {
                let from = sums.add(r * COLS);
                self.epilogue.store_gated::<S>([from, from.add(COLS / 2)], cols, n, out.add(r * self.out_row));
            }
        }
    }
}

/// Computes one item.
///
/// # Safety
/// The instruction set exists; the operands are as `Gemm` says; `scratch` has [`SCRATCH`] floats; no two calls with
/// the same item run at a time.
#[inline(always)]
pub(crate) unsafe fn item<S: Simd>(g: &Gemm, item: usize, scratch: *mut f32) {
    let blocks = g.n_out().div_ceil(g.cols());
    let n0 = item % blocks * g.cols();
    let n = g.cols().min(g.n_out() - n0);
    // SAFETY: the caller's contract.
    unsafe {
        if g.m <= FEW_ROWS {
            few_rows::<S>(g, n0, n, scratch);
        } else {
            let m0 = item / blocks * g.rows();
            many_rows::<S>(g, (m0, g.rows().min(g.m - m0)), (n0, n), scratch);
        }
    }
}

/// # Safety
/// As [`item`].
#[inline(always)]
unsafe fn many_rows<S: Simd>(g: &Gemm, (m0, m): (usize, usize), (n0, n): (usize, usize), scratch: *mut f32) {
    let k = g.w.cols;
    let depths = k.div_ceil(DEPTH).max(1);
    let depth = k.div_ceil(depths).next_multiple_of(16);
    let gated = g.gate != Gate::None;
    // Panel columns that hold something, rounded up to whole tiles; gates begin in the middle.
    let width = if gated { COLS } else { n.next_multiple_of(S::NR) };
    // SAFETY: the caller's contract; the scratch holds a panel, the sums and rows that are being turned.
    unsafe {
        let panel = scratch;
        let sums = panel.add(COLS * DEPTH);
        let rows = sums.add(ROWS * COLS);
        let mut k0 = 0;
        loop {
            let kc = depth.min(k - k0);
            let [values, gates] = g.weight_rows(n0, n);
            if gated {
                fill_panel::<S>(&g.w, values, COLS / 2, (k0, kc), panel, rows);
                fill_panel::<S>(&g.w, gates, COLS / 2, (k0, kc), panel.add(COLS / 2 * kc), rows);
            } else {
                fill_panel::<S>(&g.w, values, width, (k0, kc), panel, rows);
            }
            // The next panel's weights come from memory while this one is multiplied: some rows with each tile.
            let steps = m.div_ceil(S::MR) * (width / S::NR);
            let mut ahead = if k0 + kc < k {
                Ahead::new(g, (n0, n), (k0 + kc, depth.min(k - k0 - kc)), steps)
            } else {
                Ahead::beyond(g, n0 + g.threads * g.cols(), depth, steps)
            };
            // Rows of a tile stay in the first-level cache, while the panels come from the second.
            for r in (0..m).step_by(S::MR) {
                let height = S::MR.min(m - r);
                // Sums that no other panel adds to are needed just until they are stored.
                let sums = if kc == k { sums } else { sums.add(r * COLS) };
                for p in 0..width / S::NR {
                    ahead.step::<S>();
                    let t = Tile {
                        k: kc,
                        a: g.a.add((m0 + r) * g.a_row + k0),
                        a_row: g.a_row,
                        a_k: 1,
                        b: panel.add(p * kc * S::NR),
                        c: sums.add(p * S::NR),
                        c_row: COLS,
                        add: k0 > 0,
                    };
                    S::tile(height, &t);
                }
                if k0 + kc >= k {
                    g.finish::<S>(sums, (m0 + r, height), (n0, n));
                }
            }
            k0 += kc;
            if k0 >= k {
                break;
            }
        }
    }
}

/// Weights that are asked for before they are needed.
struct Ahead<'a> {
    w: &'a Matrix,
    /// First rows, values before gates, and how many in all.
    rows: [(usize, usize); 2],
    at: usize,
    per_step: usize,
    cols: (usize, usize),
}

impl<'a> Ahead<'a> {
    /// These columns of the result, and these of the weights.
    fn new(g: &'a Gemm, (n0, n): (usize, usize), cols: (usize, usize), steps: usize) -> Self {
        Self::of(g, &g.w, g.weight_rows(n0, n), cols, steps)
    }

    /// The first panel of the item whose columns begin at `n0`, which may be one of the next product.
    fn beyond(g: &'a Gemm, n0: usize, depth: usize, steps: usize) -> Self {
        match (&g.after, n0.checked_sub(g.n_out())) {
            (_, None) => Self::new(g, (n0, g.cols().min(g.n_out() - n0)), (0, depth.min(g.w.cols)), steps),
            (Some(w), Some(row)) => {
                let n = COLS.min(w.rows.saturating_sub(row));
                Self::of(g, w, [(row, n), (0, 0)], (0, depth.min(w.cols)), steps)
            }
            (None, Some(_)) => Self::of(g, &g.w, [(0, 0); 2], (0, 0), steps),
        }
    }

    fn of(g: &Gemm, w: &'a Matrix, rows: [(usize, usize); 2], cols: (usize, usize), steps: usize) -> Self {
        let n_rows = if g.m > FEW_PASSES { 0 } else { rows[0].1 + rows[1].1 };
        Self { w, rows, at: 0, per_step: n_rows.div_ceil(steps.max(1)), cols }
    }

    /// # Safety
    /// The instruction set exists.
    #[inline(always)]
    unsafe fn step<S: Simd>(&mut self) {
        for _ in 0..self.per_step {
            let [(first, n), (second, m)] = self.rows;
            let row = if self.at < n { first + self.at } else { second + self.at - n };
            if self.at >= n + m {
                return;
            }
            // SAFETY: the caller's contract.
            unsafe { self.w.prefetch::<S>(row, self.cols.0, self.cols.1) };
            self.at += 1;
        }
    }
}

/// Packs `count` rows of the weights from `row0` on, `kc` elements from `k0` on, as tiles want them: for each group
/// of `NR` rows, `kc` times `NR` floats. Rows up to `width` are zero.
///
/// # Safety
/// The instruction set exists; the rows exist; `panel` has `width · kc` floats, `rows` has `LANES` rows of `kc`
/// rounded up to vectors.
#[inline(always)]
pub(crate) unsafe fn fill_panel<S: Simd>(
    w: &Matrix,
    (row0, count): (usize, usize),
    width: usize,
    (k0, kc): (usize, usize),
    panel: *mut f32,
    rows: *mut f32,
) {
    // SAFETY: the caller's contract.
    unsafe {
        for r0 in (0..width).step_by(S::LANES) {
            let to = panel.add(r0 / S::NR * kc * S::NR + r0 % S::NR);
            w.decode_transposed::<S>((row0 + r0, count.saturating_sub(r0)), (k0, kc), (to, S::NR), rows);
        }
    }
}

/// A product of few rows: each weight is decoded once and multiplied where it lies.
///
/// # Safety
/// As [`item`].
#[inline(always)]
unsafe fn few_rows<S: Simd>(g: &Gemm, n0: usize, n: usize, scratch: *mut f32) {
    const PIECE: usize = 1024;
    // SAFETY: the caller's contract.
    unsafe {
        let sums = scratch.add(PIECE);
        let halves = g.weight_rows(n0, n);
        let n_halves = if g.gate == Gate::None { 1 } else { 2 };
        for (half, &(row0, count)) in halves.iter().take(n_halves).enumerate() {
            for j in 0..count {
                let mut totals = [0f32; FEW_ROWS];
                let mut k0 = 0;
                while k0 < g.w.cols {
                    let kc = PIECE.min(g.w.cols - k0);
                    g.w.decode::<S>(row0 + j, k0, kc, scratch);
                    for (r, total) in totals.iter_mut().enumerate().take(g.m) {
                        *total += dot::<S>(scratch, g.a.add(r * g.a_row + k0), kc);
                    }
                    k0 += kc;
                }
                for (r, &total) in totals.iter().enumerate().take(g.m) {
                    *sums.add(r * COLS + half * (COLS / 2) + j) = total;
                }
            }
        }
        g.finish::<S>(sums, (0, g.m), (n0, n));
    }
}

/// Σ a·b over `n` elements.
///
/// # Safety
/// The instruction set exists; both hold `n` floats.
#[inline(always)]
unsafe fn dot<S: Simd>(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's contract.
    unsafe {
        let mut sums = [S::zero(); 4];
        let mut i = 0;
        while i + 4 * S::LANES <= n {
            for (u, sum) in sums.iter_mut().enumerate() {
                let at = i + u * S::LANES;
                *sum = S::fma(S::load(a.add(at)), S::load(b.add(at)), *sum);
            }
            i += 4 * S::LANES;
        }
        while i < n {
            let left = n - i;
            let (x, y) = if left >= S::LANES {
                (S::load(a.add(i)), S::load(b.add(i)))
            } else {
                (S::load_n(a.add(i), left), S::load_n(b.add(i), left))
            };
            sums[0] = S::fma(x, y, sums[0]);
            i += S::LANES;
        }
        S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])))
    }
}
