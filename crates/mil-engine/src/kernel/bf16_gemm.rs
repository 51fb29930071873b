//! Products of activations with stored weights, operands rounded to bf16.
//!
//! Items are those of [`gemm`], but up to [`PANELS`] of its columns' blocks wide, for rounding a row costs as much as
//! some of its products: each item rounds its rows, [`DEPTH`] of a row at a time, and multiplies them by one panel of
//! decoded and rounded weights after another, all in scratch that stays in the second-level cache. Products of few
//! rows wait for memory whatever they compute with, and are left to the kernel in `f32`.

use super::{
    bf16::{Emulated, MAX_ROWS, PairTile, STEP, Tiles},
    gemm::{self, COLS, FEW_ROWS, Gate, Gemm, ROWS},
    simd::Simd,
    weights::Matrix,
};

/// Most columns of `a` that a panel covers at a time; a multiple of [`STEP`].
const DEPTH: usize = 320;
/// Most panels of an item.
const PANELS: usize = 2;
/// Items that there are at least, where a product is large enough: for the threads to share.
const ITEMS: usize = 24;
/// Words of a rounded row.
const WORDS: usize = DEPTH / 2;
/// Rows of an item in whole tiles.
const PADDED: usize = ROWS + MAX_ROWS;
/// Most vectors' lanes of any instruction set.
const LANES: usize = 16;

/// Floats, or words, of scratch that an item needs.
pub(crate) const SCRATCH: usize =
    2 * PADDED * WORDS + 2 * COLS * WORDS + LANES * 2 * WORDS + DEPTH + PANELS * PADDED * COLS;

/// How many items there are.
pub(crate) fn items(g: &Gemm) -> usize {
    if g.m <= FEW_ROWS { g.items() } else { g.items() / blocks(g) * blocks(g).div_ceil(panels(g)) }
}

/// Blocks of columns.
fn blocks(g: &Gemm) -> usize {
    g.n_out().div_ceil(g.cols())
}

/// Blocks of columns that an item computes: by shape alone, and as even as can be.
fn panels(g: &Gemm) -> usize {
    let most = (g.items() / ITEMS).clamp(1, PANELS);
    blocks(g).div_ceil(blocks(g).div_ceil(most))
}

/// Computes one item with operands in bf16, by whatever the vectors can do.
///
/// # Safety
/// As [`gemm::item`], with this module's [`SCRATCH`].
#[inline(always)]
pub(crate) unsafe fn single<S: Simd>(g: &Gemm, index: usize, scratch: *mut f32) {
    // SAFETY: the caller's contract.
    unsafe { item::<Emulated<S>, false>(g, index, scratch) }
}

/// Computes one item with operands in two parts, by whatever the vectors can do.
///
/// # Safety
/// As [`single`].
#[inline(always)]
pub(crate) unsafe fn double<S: Simd>(g: &Gemm, index: usize, scratch: *mut f32) {
    // SAFETY: the caller's contract.
    unsafe { item::<Emulated<S>, true>(g, index, scratch) }
}

/// Computes one item, operands in one or in two parts.
///
/// # Safety
/// As [`single`]; the form exists.
#[inline(always)]
pub(crate) unsafe fn item<T: Tiles, const SPLIT: bool>(g: &Gemm, item: usize, scratch: *mut f32) {
    if g.m <= FEW_ROWS {
        // SAFETY: the caller's contract; the other kernel needs less scratch.
        unsafe { gemm::item::<T::S>(g, item, scratch) };
        return;
    }
    let wide = panels(g) * g.cols();
    let groups = g.n_out().div_ceil(wide);
    let (n0, m0) = (item % groups * wide, item / groups * g.rows());
    let (n, m) = (wide.min(g.n_out() - n0), g.rows().min(g.m - m0));
    // SAFETY: the caller's contract; the parts of the scratch follow each other.
    unsafe {
        let sums = scratch.add(SCRATCH - PANELS * PADDED * COLS);
        multiply::<T, SPLIT>(g, (m0, m), (n0, n), scratch.cast(), sums);
        for (p, j) in (0..n).step_by(g.cols()).enumerate() {
            let (n0, n) = (n0 + j, g.cols().min(n - j));
            g.finish::<T::S>(sums.add(p * PADDED * COLS), (m0, m), (n0, n));
        }
    }
}

/// Sums of an item's products, a panel after another.
///
/// # Safety
/// As [`item`]; `a` begins the scratch, `sums` has whole tiles of rows.
#[inline(always)]
unsafe fn multiply<T: Tiles, const SPLIT: bool>(
    g: &Gemm,
    (m0, m): (usize, usize),
    (n0, n): (usize, usize),
    a: *mut u32,
    sums: *mut f32,
) {
    let k = g.w.cols;
    let depth = k.div_ceil(k.div_ceil(DEPTH).max(1)).next_multiple_of(STEP);
    // SAFETY: the caller's contract.
    unsafe {
        let panel = a.add(2 * PADDED * WORDS);
        let rows = panel.add(2 * COLS * WORDS).cast::<f32>();
        let mut k0 = 0;
        loop {
            let kc = depth.min(k - k0);
            let pairs = kc.next_multiple_of(STEP) / 2;
            for r in 0..m {
                let (row, to) = (g.a.add((m0 + r) * g.a_row + k0), a.add(r * WORDS));
                T::round(row, kc, to.cast(), low::<SPLIT>(to, PADDED * WORDS).cast());
            }
            for (p, j) in (0..n).step_by(g.cols()).enumerate() {
                let width = weights::<T, SPLIT>(g, (n0 + j, g.cols().min(n - j)), (k0, kc), panel, rows);
                let sums = sums.add(p * PADDED * COLS);
                for p in 0..width / T::COLS {
                    // A panel stays in the first-level cache, while rows pass by.
                    let b = panel.add(p * pairs * T::COLS);
                    for r in (0..m).step_by(T::ROWS) {
                        let a = a.add(r * WORDS);
                        T::tile(&PairTile {
                            pairs,
                            a: [a, low::<SPLIT>(a, PADDED * WORDS)],
                            a_row: WORDS,
                            b: [b, low::<SPLIT>(b, COLS * WORDS)],
                            c: sums.add(r * COLS + p * T::COLS),
                            c_row: COLS,
                            add: k0 > 0,
                        });
                    }
                }
            }
            k0 += kc;
            if k0 >= k {
                break;
            }
        }
    }
}

/// Where the low parts lie.
fn low<const SPLIT: bool>(high: *mut u32, words: usize) -> *mut u32 {
    if SPLIT { high.wrapping_add(words) } else { std::ptr::null_mut() }
}

/// Packs the weights of one block of columns, and tells how many columns that makes.
///
/// # Safety
/// As [`fill`].
#[inline(always)]
unsafe fn weights<T: Tiles, const SPLIT: bool>(
    g: &Gemm,
    (n0, n): (usize, usize),
    k: (usize, usize),
    panel: *mut u32,
    rows: *mut f32,
) -> usize {
    let [values, gates] = g.weight_rows(n0, n);
    let pairs = k.1.next_multiple_of(STEP) / 2;
    // SAFETY: the caller's contract.
    unsafe {
        if g.gate == Gate::None {
            let width = n.next_multiple_of(T::COLS);
            fill::<T, SPLIT>(&g.w, values, width, k, panel, rows);
            return width;
        }
        fill::<T, SPLIT>(&g.w, values, COLS / 2, k, panel, rows);
        fill::<T, SPLIT>(&g.w, gates, COLS / 2, k, panel.add(COLS / 2 * pairs), rows);
    }
    COLS
}

/// Packs `count` rows of the weights from `row0` on, `kc` elements from `k0` on, as tiles want them; the low parts
/// stand a whole panel behind. Rows up to `width` are zero.
///
/// # Safety
/// The form exists; the rows exist; the panel has room, and `rows` for a row of weights and rounded ones of a vector.
#[inline(always)]
unsafe fn fill<T: Tiles, const SPLIT: bool>(
    w: &Matrix,
    (row0, count): (usize, usize),
    width: usize,
    (k0, kc): (usize, usize),
    panel: *mut u32,
    rows: *mut f32,
) {
    let pairs = kc.next_multiple_of(STEP) / 2;
    let lanes = <T::S as Simd>::LANES;
    let parts = if SPLIT { 2 } else { 1 };
    // SAFETY: the caller's contract.
    unsafe {
        let rounded = rows.add(DEPTH);
        for r0 in (0..width).step_by(lanes) {
            for r in 0..lanes {
                let to = rounded.add(r * WORDS);
                let rest = if SPLIT { to.add(LANES * WORDS) } else { std::ptr::null_mut() };
                if r0 + r < count {
                    w.decode::<T::S>(row0 + r0 + r, k0, kc, rows);
                    T::round(rows, kc, to.cast(), rest.cast());
                } else {
                    (0..parts).for_each(|part| to.add(part * LANES * WORDS).write_bytes(0, pairs));
                }
            }
            for part in 0..parts {
                let from = rounded.add(part * LANES * WORDS);
                let to = panel.add(part * COLS * WORDS + r0 / T::COLS * pairs * T::COLS + r0 % T::COLS);
                for p in (0..pairs).step_by(lanes) {
                    // Words are moved as floats are.
                    T::S::transpose(from.add(p), WORDS, to.add(p * T::COLS).cast(), T::COLS);
                }
            }
        }
    }
}
