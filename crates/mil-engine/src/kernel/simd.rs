//! Vectors of `f32` as the kernels see them: one trait, an implementation per instruction set.
//!
//! Kernels are written once, generic over [`Simd`], and always inlined into a function that enables the
//! instruction set: those of the table in [`super::Kernels`]. Nothing here knows tensors.

/// One instruction set's vectors.
///
/// # Safety
/// Every method is `unsafe` because it may only run where the instruction set exists; methods with pointers
/// also need them valid for the lanes that they touch. None needs alignment.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector of [`Simd::LANES`] floats.
    type V: Copy;
    /// Floats in a vector.
    const LANES: usize;
    /// Rows of a product tile: as many as the registers hold.
    const MR: usize;
    /// Columns of a product tile: two vectors.
    const NR: usize = 2 * Self::LANES;

    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self::V;
    /// All lanes zero.
    #[inline(always)]
    unsafe fn zero() -> Self::V {
        // SAFETY: the caller's contract.
        unsafe { Self::splat(0.0) }
    }
    /// A whole vector.
    unsafe fn load(p: *const f32) -> Self::V;
    /// A whole vector.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// The first `n` lanes, zero above; `n` is below [`Simd::LANES`].
    unsafe fn load_n(p: *const f32, n: usize) -> Self::V;
    /// The first `n` lanes.
    unsafe fn store_n(p: *mut f32, v: Self::V, n: usize);
    /// `a + b`
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once where the machine can.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The greater; either where one is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; either where one is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// Square root.
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// Nearest integer, ties to even.
    unsafe fn round(a: Self::V) -> Self::V;
    /// `2^a` for integers between −126 and 127.
    unsafe fn exp2_int(a: Self::V) -> Self::V;
    /// `p · 2^a` for the integers of [`Simd::exp2_int`].
    #[inline(always)]
    unsafe fn scale_exp2(p: Self::V, a: Self::V) -> Self::V {
        // SAFETY: the caller's contract.
        unsafe { Self::mul(p, Self::exp2_int(a)) }
    }
    /// `1 / a` within 2 units in the last place, for numbers between 2⁻¹²⁵ and 2¹²⁷.
    #[inline(always)]
    unsafe fn recip(a: Self::V) -> Self::V {
        // SAFETY: the caller's contract.
        unsafe { Self::div(Self::splat(1.0), a) }
    }
    /// `x` where `a < b`, else `y`; `y` where one is NaN.
    unsafe fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Sum of the lanes, in a fixed order.
    unsafe fn sum(a: Self::V) -> f32;
    /// Greatest lane.
    unsafe fn hmax(a: Self::V) -> f32;
    /// Widens as many halves as there are lanes.
    unsafe fn load_f16(p: *const u16) -> Self::V;
    /// The low and the high halves of as many words as there are lanes, widened from bf16.
    unsafe fn load_pairs(p: *const u32) -> [Self::V; 2];
    /// Writes the square block of `LANES` rows at `src`, `src_row` floats apart, to `dst` with rows and columns
    /// exchanged, its rows `dst_row` floats apart.
    unsafe fn transpose(src: *const f32, src_row: usize, dst: *mut f32, dst_row: usize);
    /// Widens the block of `LANES` rows of `2 · LANES` halves at `src`, `src_row` halves apart, and writes it to `dst`
    /// with rows and columns exchanged, its rows `dst_row` floats apart.
    unsafe fn transpose_f16(src: *const u16, src_row: usize, dst: *mut f32, dst_row: usize);
    /// Asks for a cache line that will be read soon; any address will do.
    #[inline(always)]
    unsafe fn prefetch(_p: *const u8) {}
    /// One product tile of `rows` rows, 1 to [`Simd::MR`].
    unsafe fn tile(rows: usize, t: &Tile);
    /// One product tile of attention scores, of which weights are stored; `a_k` is 1 and nothing is added to.
    unsafe fn tile_of_weights(rows: usize, t: &Tile, w: &Weigh);
}

/// What becomes of attention scores: the weights `2^(score − reference)`. All have a number for each column of a tile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weigh {
    /// What is taken away from the scores.
    pub(crate) reference: *const f32,
    /// The weights are added to these.
    pub(crate) totals: *mut f32,
    /// Raised to the greatest score.
    pub(crate) highest: *mut f32,
}

/// Operands of a product tile: `c[r][n] (+)= Σ a[r][k]·b[k][n]` over [`Simd::NR`] columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    /// Length of the sum.
    pub(crate) k: usize,
    /// Left operand.
    pub(crate) a: *const f32,
    /// Floats from one row of `a` to the next; 1 when `a_k` is not.
    pub(crate) a_row: usize,
    /// Floats from one column of `a` to the next; 1 when `a_row` is not.
    pub(crate) a_k: usize,
    /// Right operand, packed: `NR` floats for each `k`.
    pub(crate) b: *const f32,
    /// Result.
    pub(crate) c: *mut f32,
    /// Floats from one row of `c` to the next.
    pub(crate) c_row: usize,
    /// Whether to add to `c`.
    pub(crate) add: bool,
}

/// The sums of a tile of `R` rows, two vectors wide.
///
/// # Safety
/// The instruction set exists; `a`, `b` are valid for `R` rows, `k` columns and `NR` columns as laid out.
#[inline(always)]
unsafe fn sums<S: Simd, const R: usize, const BY_COLUMN: bool>(t: &Tile) -> [[S::V; R]; 2] {
    // SAFETY: the caller's contract bounds every access.
    unsafe {
        let mut lo = [S::zero(); R];
        let mut hi = [S::zero(); R];
        let (mut a, mut b) = (t.a, t.b);
        let row = if BY_COLUMN { 1 } else { t.a_row };
        let step = if BY_COLUMN { t.a_k } else { 1 };
        let at = |a: *const f32, r: usize| *a.add(r * row);
        let mut k = t.k;
        while k >= 4 {
            for u in 0..4 {
                let b0 = S::load(b.add(u * S::NR));
                let b1 = S::load(b.add(u * S::NR + S::LANES));
                for r in 0..R {
                    let x = S::splat(at(a.add(u * step), r));
                    lo[r] = S::fma(x, b0, lo[r]);
                    hi[r] = S::fma(x, b1, hi[r]);
                }
            }
            a = a.add(4 * step);
            b = b.add(4 * S::NR);
            k -= 4;
        }
        while k > 0 {
            let b0 = S::load(b);
            let b1 = S::load(b.add(S::LANES));
            for r in 0..R {
                let x = S::splat(at(a, r));
                lo[r] = S::fma(x, b0, lo[r]);
                hi[r] = S::fma(x, b1, hi[r]);
            }
            a = a.add(step);
            b = b.add(S::NR);
            k -= 1;
        }
        [lo, hi]
    }
}

/// The body of every tile: sums are held in registers until they are stored.
///
/// # Safety
/// As [`sums`]; `c` is valid for `R` rows.
#[inline(always)]
pub(crate) unsafe fn tile_body<S: Simd, const R: usize, const BY_COLUMN: bool>(t: &Tile) {
    // SAFETY: the caller's contract bounds every access.
    unsafe {
        let [mut lo, mut hi] = sums::<S, R, BY_COLUMN>(t);
        for r in 0..R {
            let c = t.c.add(r * t.c_row);
            if t.add {
                lo[r] = S::add(lo[r], S::load(c));
                hi[r] = S::add(hi[r], S::load(c.add(S::LANES)));
            }
            S::store(c, lo[r]);
            S::store(c.add(S::LANES), hi[r]);
        }
    }
}

/// The body of every tile of attention scores.
///
/// # Safety
/// As [`tile_body`]; the fields of `w` are valid for `NR` columns.
#[inline(always)]
pub(crate) unsafe fn weights_body<S: Simd, const R: usize>(t: &Tile, w: &Weigh) {
    // SAFETY: the caller's contract bounds every access.
    unsafe {
        let [lo, hi] = sums::<S, R, false>(t);
        weigh_lanes::<S, R>(&lo, t, w, 0);
        weigh_lanes::<S, R>(&hi, t, w, S::LANES);
    }
}

/// 2^x for x of at most 127, some number for what is above; 2⁻¹²⁶ for what is below −126.
///
/// # Safety
/// The instruction set exists.
#[inline(always)]
pub(crate) unsafe fn exp2_below<S: Simd>(x: S::V) -> S::V {
    // The polynomial of degree 5 that is nearest to 2^f for |f| ≤ ½: relative error 7.5·10⁻⁸ before rounding.
    const C: [f32; 6] = [1.000_000_1, 0.693_146_97, 0.240_221_2, 0.055_507_133, 0.009_675_541, 0.001_327_647_2];
    // SAFETY: the caller's contract.
    unsafe {
        let x = S::max(x, S::splat(-126.0));
        let whole = S::round(x);
        let f = S::sub(x, whole);
        let mut p = S::splat(C[5]);
        p = S::fma(p, f, S::splat(C[4]));
        p = S::fma(p, f, S::splat(C[3]));
        p = S::fma(p, f, S::splat(C[2]));
        p = S::fma(p, f, S::splat(C[1]));
        p = S::fma(p, f, S::splat(C[0]));
        S::scale_exp2(p, whole)
    }
}

/// Half of [`weights_body`], from a lane on.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn weigh_lanes<S: Simd, const R: usize>(scores: &[S::V; R], t: &Tile, w: &Weigh, lane: usize) {
    // SAFETY: the caller's contract bounds every access.
    unsafe {
        let reference = S::load(w.reference.add(lane));
        let mut total = S::load(w.totals.add(lane));
        let mut highest = S::load(w.highest.add(lane));
        for r in 0..R {
            highest = S::max(highest, scores[r]);
            let weight = exp2_below::<S>(S::sub(scores[r], reference));
            total = S::add(total, weight);
            S::store(t.c.add(r * t.c_row + lane), weight);
        }
        S::store(w.totals.add(lane), total);
        S::store(w.highest.add(lane), highest);
    }
}

/// Implements the tiles of [`Simd`] with one function per row count, each compiled for the instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! tiles {
    ($S:ty, $feature:literal, $($rows:literal)*) => {
        #[inline(always)]
        unsafe fn tile(rows: usize, t: &Tile) {
            #[target_feature(enable = $feature)]
            unsafe fn rows_of<const R: usize>(t: &Tile) {
                // SAFETY: the caller of `tile` vouches for the operands and the instruction set.
                unsafe {
                    if t.a_k == 1 { tile_body::<$S, R, false>(t) } else { tile_body::<$S, R, true>(t) }
                }
            }
            // SAFETY: the caller's contract.
            unsafe {
                match rows {
                    $($rows => rows_of::<$rows>(t),)*
                    _ => unreachable!("invariant: a tile has 1 to MR rows"),
                }
            }
        }
        #[inline(always)]
        unsafe fn tile_of_weights(rows: usize, t: &Tile, w: &Weigh) {
            #[target_feature(enable = $feature)]
            unsafe fn rows_of<const R: usize>(t: &Tile, w: &Weigh) {
                // SAFETY: as above.
                unsafe { weights_body::<$S, R>(t, w) }
            }
            // SAFETY: the caller's contract.
            unsafe {
                match rows {
                    $($rows => rows_of::<$rows>(t, w),)*
                    _ => unreachable!("invariant: a tile has 1 to MR rows"),
                }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use tiles;
