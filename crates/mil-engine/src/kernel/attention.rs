//! Attention in one piece: `softmax(scale · q·kᵀ + mask)·v`, scores never larger than a block.
//!
//! Everything is held with queries along the lanes. `Sᵀ = K·Qᵀ` comes out of a product tile as the second product
//! `Oᵀ = Vᵀ·Pᵀ` wants it, and maximum and sum run down the vectors. The softmax is that of Milakov and Gimelshein,
//! "Online normalizer calculation for softmax", 2018: earlier results are rescaled when the maximum grows. That need not
//! be at once: weights relative to what was the maximum are as good as long as none of them is huge, and can be made of
//! the scores while these are still in registers. Exponents have base two; the factor log₂ e is folded into the queries.

use super::{
    block::{copy, gather},
    simd::{Simd, Tile, Weigh, exp2_below},
};
use std::f32::consts::LOG2_E;

/// A maximum that is no greater than this means that all keys are masked.
const MASKED: f32 = f32::MIN;

/// Scores may exceed the maximum to which weights are relative by so much: weights are up to 2 to that power.
const ROOM: f32 = 16.0;

/// One attention. Strides are in floats: of the two batch dimensions, of tokens, of elements.
#[derive(Debug)]
pub(crate) struct Attention {
    /// The two batch dimensions.
    pub(crate) batch: [usize; 2],
    /// Queries and keys.
    pub(crate) lengths: [usize; 2],
    /// Elements of a query and a key, and of a value.
    pub(crate) dims: [usize; 2],
    /// Queries.
    pub(crate) q: *const f32,
    /// Their strides.
    pub(crate) q_strides: [usize; 4],
    /// Keys.
    pub(crate) k: *const f32,
    /// Their strides.
    pub(crate) k_strides: [usize; 4],
    /// Values.
    pub(crate) v: *const f32,
    /// Their strides.
    pub(crate) v_strides: [usize; 4],
    /// Added to the scores; null when there is none.
    pub(crate) mask: *const f32,
    /// Its strides: batch, batch, queries, keys.
    pub(crate) mask_strides: [usize; 4],
    /// Result.
    pub(crate) out: *mut f32,
    /// Its strides.
    pub(crate) out_strides: [usize; 4],
    /// Factor of the scores.
    pub(crate) scale: f32,
    /// What a query gets that may attend to nothing.
    pub(crate) nothing: f32,
}

// SAFETY: the pointers are to disjoint or read-only memory that the plan owns for the time of the call.
unsafe impl Sync for Attention {}

/// Queries of an item, and keys of a block.
const fn blocks(dims: [usize; 2]) -> (usize, usize) {
    if dims[0] + dims[1] > 512 { (64, 64) } else { (128, 128) }
}

/// Floats of scratch that an item needs.
pub(crate) const fn scratch(dims: [usize; 2]) -> usize {
    let (queries, keys) = blocks(dims);
    let [d, dv] = [dims[0] + 16, dims[1] + 16];
    queries * (d + dv + 2) + keys * (d + dv) + keys * 64 + 32 * dv
}

impl Attention {
    /// How many items there are.
    pub(crate) fn items(&self) -> usize {
        self.batch[0] * self.batch[1] * self.lengths[0].div_ceil(blocks(self.dims).0)
    }
}

const fn at(strides: [usize; 4], b: [usize; 2], token: usize) -> usize {
    b[0] * strides[0] + b[1] * strides[1] + token * strides[2]
}

/// The parts of an item's scratch, which follow each other.
struct Parts {
    /// Queries, turned for the product tiles.
    packed: *mut f32,
    /// Weighted sums of values.
    sums: *mut f32,
    /// To what weights are relative, for each query.
    maxima: *mut f32,
    /// Sums of weights.
    totals: *mut f32,
    keys: *mut f32,
    values: *mut f32,
    scores: *mut f32,
    turned: *mut f32,
}

impl Parts {
    /// # Safety
    /// `scratch` has as many floats as [`scratch()`] tells of these dimensions.
    #[inline(always)]
    unsafe fn of(scratch: *mut f32, dims: [usize; 2]) -> Self {
        let ((block, key_block), [d, dv]) = (blocks(dims), dims);
        // SAFETY: the caller's contract.
        unsafe {
            let packed = scratch;
            let sums = packed.add(block * d);
            let maxima = sums.add(block * dv);
            let totals = maxima.add(block);
            let keys = totals.add(block);
            let values = keys.add(key_block * d);
            let scores = values.add(key_block * dv);
            let turned = scores.add(key_block * 64);
            Self { packed, sums, maxima, totals, keys, values, scores, turned }
        }
    }
}

/// Computes one block of queries.
///
/// # Safety
/// The instruction set exists; the operands are as `Attention` says; `scratch` has as many floats as [`scratch()`]
/// tells; no two calls with the same item run at a time.
#[inline(always)]
pub(crate) unsafe fn item<S: Simd>(a: &Attention, item: usize, scratch: *mut f32) {
    let (block, key_block) = blocks(a.dims);
    let dv = a.dims[1];
    let n_blocks = a.lengths[0].div_ceil(block);
    let (b, q0) = (item / n_blocks, item % n_blocks * block);
    let b = [b / a.batch[1], b % a.batch[1]];
    let queries = block.min(a.lengths[0] - q0);
    let tiles = queries.div_ceil(S::NR);
    // SAFETY: the caller's contract.
    unsafe {
        let parts = Parts::of(scratch, a.dims);
        let Parts { packed, sums, maxima, totals, turned, .. } = parts;
        pack_queries::<S>(a, at(a.q_strides, b, q0), queries, packed);
        std::slice::from_raw_parts_mut(sums, tiles * S::NR * dv).fill(0.0);
        std::slice::from_raw_parts_mut(maxima, tiles * S::NR).fill(MASKED);
        std::slice::from_raw_parts_mut(totals, tiles * S::NR).fill(0.0);
        for k0 in (0..a.lengths[1]).step_by(key_block) {
            attend::<S>(a, &parts, b, (q0, queries), (k0, key_block.min(a.lengths[1] - k0)));
        }
        for tile in 0..tiles {
            let own = sums.add(tile * S::NR * dv);
            let lanes = S::NR.min(queries - tile * S::NR);
            finish::<S>(a, own, maxima.add(tile * S::NR), totals.add(tile * S::NR));
            let out = a.out.add(at(a.out_strides, b, q0 + tile * S::NR));
            scatter::<S>(own, [dv, lanes], turned, out, [a.out_strides[2], a.out_strides[3]]);
        }
    }
}

/// Adds the values of one block of keys, weighted, to the sums of one block of queries.
///
/// # Safety
/// As [`item`]; queries are packed, and sums, maxima and totals are those of the keys before.
#[inline(always)]
unsafe fn attend<S: Simd>(
    a: &Attention,
    parts: &Parts,
    b: [usize; 2],
    (q0, queries): (usize, usize),
    (k0, n): (usize, usize),
) {
    let key_block = blocks(a.dims).1;
    let [d, dv] = a.dims;
    let tiles = queries.div_ceil(S::NR);
    let &Parts { packed, sums, maxima, totals, keys, values, scores, .. } = parts;
    // SAFETY: the caller's contract.
    unsafe {
        let k = a.k.add(at(a.k_strides, b, k0));
        let v = a.v.add(at(a.v_strides, b, k0));
        // Keys and values are read once for each tile of queries: from then on they lie close together.
        let far = tiles > 1 || a.k_strides[3] != 1 || a.v_strides[3] != 1;
        let (k, k_row, v, v_row) = if far {
            gather::<S>(k, [a.k_strides[2], a.k_strides[3]], [n, d], keys, d);
            gather::<S>(v, [a.v_strides[2], a.v_strides[3]], [n, dv], values, dv);
            (keys.cast_const(), d, values.cast_const(), dv)
        } else {
            (k, a.k_strides[2], v, a.v_strides[2])
        };
        for tile in 0..tiles {
            let t = Tile {
                k: d,
                a: k,
                a_row: k_row,
                a_k: 1,
                b: packed.add(tile * S::NR * d),
                c: scores,
                c_row: S::NR,
                add: false,
            };
            let own = sums.add(tile * S::NR * dv);
            let (own_maxima, own_totals) = (maxima.add(tile * S::NR), totals.add(tile * S::NR));
            let spare = scores.add(key_block * S::NR);
            if k0 == 0 || !a.mask.is_null() || !weigh::<S>(t, n, own_maxima, own_totals, spare) {
                product::<S>(t, n, None);
                if !a.mask.is_null() {
                    let mask = a.mask.add(at(a.mask_strides, b, q0 + tile * S::NR) + k0 * a.mask_strides[3]);
                    let lanes = S::NR.min(queries - tile * S::NR);
                    add_mask(mask, [a.mask_strides[3], a.mask_strides[2]], [n, lanes], scores, S::NR);
                }
                soften::<S>(scores, n, own_maxima, own_totals, own, dv);
            }
            let t = Tile { k: n, a: v, a_row: 1, a_k: v_row, b: scores, c: own, c_row: S::NR, add: true };
            product::<S>(t, dv, None);
        }
    }
}

/// A product tile after another, down `rows` rows; with `weigh`, tiles of scores that become weights.
///
/// # Safety
/// The instruction set exists; the operands hold `rows` rows.
#[inline(always)]
unsafe fn product<S: Simd>(mut t: Tile, rows: usize, weigh: Option<&Weigh>) {
    // SAFETY: the caller's contract.
    unsafe {
        for r in (0..rows).step_by(S::MR) {
            let height = S::MR.min(rows - r);
            match weigh {
                Some(w) => S::tile_of_weights(height, &t, w),
                None => S::tile(height, &t),
            }
            t.a = t.a.add(height * t.a_row);
            t.c = t.c.add(height * t.c_row);
        }
    }
}

/// Makes weights of a block of `n` keys, relative to the maxima so far, and adds them to the totals. Where a score is far
/// greater than its maximum it says `false`, and nothing has changed.
///
/// # Safety
/// The instruction set exists; `t` holds `n` rows, `maxima` and `totals` one, `spare` two.
#[inline(always)]
unsafe fn weigh<S: Simd>(t: Tile, n: usize, maxima: *const f32, totals: *mut f32, spare: *mut f32) -> bool {
    // SAFETY: the caller's contract.
    unsafe {
        let (sums, highest) = (spare, spare.add(S::NR));
        for lane in [0, S::LANES] {
            S::store(sums.add(lane), S::zero());
            S::store(highest.add(lane), S::load(maxima.add(lane)));
        }
        product::<S>(t, n, Some(&Weigh { reference: maxima, totals: sums, highest }));
        let above = |lane| S::sub(S::load(highest.add(lane)), S::load(maxima.add(lane)));
        let is_near = S::hmax(S::max(above(0), above(S::LANES))) <= ROOM;
        if is_near {
            for lane in [0, S::LANES] {
                S::store(totals.add(lane), S::add(S::load(totals.add(lane)), S::load(sums.add(lane))));
            }
        }
        is_near
    }
}

/// Writes queries as tiles of `[d][NR]`, scaled; lanes without a query are zero.
///
/// # Safety
/// The instruction set exists; the queries exist and `packed` has room.
#[inline(always)]
unsafe fn pack_queries<S: Simd>(a: &Attention, first: usize, queries: usize, packed: *mut f32) {
    let d = a.dims[0];
    let [token, element] = [a.q_strides[2], a.q_strides[3]];
    let factor = a.scale * LOG2_E;
    // SAFETY: the caller's contract.
    unsafe {
        let mut q = 0;
        while q < queries {
            let tile = packed.add(q * d);
            let lanes = S::NR.min(queries - q);
            if lanes < S::NR {
                std::slice::from_raw_parts_mut(tile, S::NR * d).fill(0.0);
            }
            // Turned: elements are the rows, queries the columns.
            gather::<S>(a.q.add(first + q * token), [element, token], [d, lanes], tile, S::NR);
            let all = S::NR * d;
            let mut i = 0;
            while i < all {
                S::store(tile.add(i), S::mul(S::load(tile.add(i)), S::splat(factor)));
                i += S::LANES;
            }
            q += S::NR;
        }
    }
}

/// Adds a mask, in units of the scores, to a block of them.
///
/// # Safety
/// Both sides hold `keys × lanes` elements as their strides say.
#[inline(always)]
unsafe fn add_mask(
    mask: *const f32,
    [key, query]: [usize; 2],
    [keys, lanes]: [usize; 2],
    scores: *mut f32,
    row: usize,
) {
    for k in 0..keys {
        for q in 0..lanes {
            // SAFETY: the caller's contract.
            unsafe { *scores.add(k * row + q) += LOG2_E * *mask.add(k * key + q * query) };
        }
    }
}

/// Turns a block of scores into weights relative to the new maxima, and rescales what was summed before.
///
/// # Safety
/// The instruction set exists; `scores` holds `n` rows, `sums` `dv` rows of a tile, `maxima` and `totals` one.
#[inline(always)]
unsafe fn soften<S: Simd>(scores: *mut f32, n: usize, maxima: *mut f32, totals: *mut f32, sums: *mut f32, dv: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        for half in 0..2 {
            let lane = half * S::LANES;
            let s = scores.add(lane);
            let old = S::load(maxima.add(lane));
            let mut max = [old; 4];
            let mut k = 0;
            while k + 4 <= n {
                for (u, m) in max.iter_mut().enumerate() {
                    *m = S::max(*m, S::load(s.add((k + u) * S::NR)));
                }
                k += 4;
            }
            for k in k..n {
                max[0] = S::max(max[0], S::load(s.add(k * S::NR)));
            }
            let new = S::max(S::max(max[0], max[1]), S::max(max[2], max[3]));
            let mut total = [S::zero(); 4];
            let mut k = 0;
            while k + 4 <= n {
                for (u, t) in total.iter_mut().enumerate() {
                    let at = s.add((k + u) * S::NR);
                    let w = exp2_below::<S>(S::sub(S::load(at), new));
                    S::store(at, w);
                    *t = S::add(*t, w);
                }
                k += 4;
            }
            for k in k..n {
                let at = s.add(k * S::NR);
                let w = exp2_below::<S>(S::sub(S::load(at), new));
                S::store(at, w);
                total[0] = S::add(total[0], w);
            }
            let total = S::add(S::add(total[0], total[1]), S::add(total[2], total[3]));
            // One where the maximum stays, so that most blocks need no rescaling.
            let alpha = exp2_below::<S>(S::sub(old, new));
            S::store(totals.add(lane), S::fma(S::load(totals.add(lane)), alpha, total));
            S::store(maxima.add(lane), new);
            if S::hmax(S::sub(new, old)) > 0.0 {
                for e in 0..dv {
                    let at = sums.add(e * S::NR + lane);
                    S::store(at, S::mul(S::load(at), alpha));
                }
            }
        }
    }
}

/// Divides the sums by the totals.
///
/// # Safety
/// The instruction set exists; `sums` holds a tile, `maxima` and `totals` one row.
#[inline(always)]
unsafe fn finish<S: Simd>(a: &Attention, sums: *mut f32, maxima: *const f32, totals: *const f32) {
    // SAFETY: the caller's contract.
    unsafe {
        for lane in [0, S::LANES] {
            let max = S::load(maxima.add(lane));
            let factor = S::div(S::splat(1.0), S::load(totals.add(lane)));
            for e in 0..a.dims[1] {
                let at = sums.add(e * S::NR + lane);
                let y = S::mul(S::load(at), factor);
                S::store(at, S::select_lt(S::splat(MASKED), max, y, S::splat(a.nothing)));
            }
        }
    }
}

/// Writes a tile of `[dv][NR]` to the tokens of the result.
///
/// # Safety
/// The instruction set exists; `turned` has a tile's room; `out` holds `lanes` tokens.
#[inline(always)]
unsafe fn scatter<S: Simd>(
    sums: *const f32,
    [dv, lanes]: [usize; 2],
    turned: *mut f32,
    out: *mut f32,
    [token, element]: [usize; 2],
) {
    // SAFETY: the caller's contract.
    unsafe {
        gather::<S>(sums, [1, S::NR], [lanes, dv], turned, dv);
        for q in 0..lanes {
            if element == 1 {
                copy::<S>(turned.add(q * dv), out.add(q * token), dv);
            } else {
                for e in 0..dv {
                    *out.add(q * token + e * element) = *turned.add(q * dv + e);
                }
            }
        }
    }
}
