//! Tiles of products of bf16 numbers, summed in `f32`: the thin layer under everything that multiplies in bf16.
//!
//! Two neighbours in `k` share a word, the earlier one in its low half; a panel of the right operand holds, for each
//! pair, [`Tiles::COLS`] words. That is what `vdpbf16ps` reads and what `tdpbf16ps` calls a VNNI tile, so that
//! packing, blocking and epilogues above this layer are those of either. A form is four operations on the sums of a
//! tile and the rounding of operands; [`Emulated`] has them in `f32` arithmetic on any machine. Nothing here knows
//! matrices larger than a tile.

#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::simd::Simd;
use std::marker::PhantomData;

/// Operands are padded with zeros to so many elements of `k`: the depth of the largest hardware tile.
pub(crate) const STEP: usize = 32;
/// Most rows of a tile of any form.
pub(crate) const MAX_ROWS: usize = 32;

/// One form of the tile operations.
///
/// # Safety
/// Every method may only run where the form's instructions exist, with pointers valid for what it touches.
pub(crate) trait Tiles {
    /// Vectors for what is around the products.
    type S: Simd;
    /// The sums of a tile; empty where registers of their own hold them.
    type Sums: Copy;
    /// Rows of a tile, at most [`MAX_ROWS`].
    const ROWS: usize;
    /// Columns of a tile: 8, 16 or 32.
    const COLS: usize;

    /// Sums of nothing.
    unsafe fn zero() -> Self::Sums;
    /// Sums from memory, rows `c_row` floats apart.
    unsafe fn load(c: *const f32, c_row: usize) -> Self::Sums;
    /// Adds the products of `pairs` pairs, a multiple of [`STEP`]` / 2`; rows of `a` are `a_row` words apart.
    unsafe fn multiply_add(sums: Self::Sums, pairs: usize, a: (*const u32, usize), b: *const u32) -> Self::Sums;
    /// Sums to memory.
    unsafe fn store(sums: Self::Sums, c: *mut f32, c_row: usize);

    /// Rounds `n` floats to the nearest bf16, ties to even, and pads them with zeros to a multiple of [`STEP`]; where
    /// `low` is not null, it gets what rounding left, rounded in turn.
    unsafe fn round(x: *const f32, n: usize, high: *mut u16, low: *mut u16);

    /// A whole tile.
    unsafe fn tile(t: &PairTile);
}

/// Operands of a tile. With low parts, `a·b` is the sum of `high·high`, `high·low` and `low·high`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PairTile {
    /// Pairs of `k`.
    pub(crate) pairs: usize,
    /// Left operand: high and low parts, the latter null where there are none.
    pub(crate) a: [*const u32; 2],
    /// Words from one row of `a` to the next.
    pub(crate) a_row: usize,
    /// Right operand: high and low parts.
    pub(crate) b: [*const u32; 2],
    /// Result.
    pub(crate) c: *mut f32,
    /// Floats from one row of `c` to the next.
    pub(crate) c_row: usize,
    /// Whether to add to `c`.
    pub(crate) add: bool,
}

/// The body of [`Tiles::tile`].
///
/// # Safety
/// The form exists; the operands are as `PairTile` says.
#[inline(always)]
unsafe fn tile_body<T: Tiles>(t: &PairTile) {
    let [(high, low), (b_high, b_low)] = [(t.a[0], t.a[1]), (t.b[0], t.b[1])];
    // SAFETY: the caller's contract.
    unsafe {
        let mut sums = if t.add { T::load(t.c, t.c_row) } else { T::zero() };
        if !low.is_null() {
            sums = T::multiply_add(sums, t.pairs, (low, t.a_row), b_high);
            sums = T::multiply_add(sums, t.pairs, (high, t.a_row), b_low);
        }
        sums = T::multiply_add(sums, t.pairs, (high, t.a_row), b_high);
        T::store(sums, t.c, t.c_row);
    }
}

/// The nearest bf16, ties to even.
#[inline(always)]
fn nearest(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
    // A NaN must not be rounded to an infinity.
    (if x.is_nan() { bits >> 16 | 0x40 } else { rounded }) as u16
}

/// The tile operations with the products in `f32`, which are exact. For machines without better, and the twin of
/// every other form; with other heights of a tile, those forms' blocking can be tested too.
#[derive(Debug)]
pub(crate) struct Emulated<S, const R: usize = 4>(PhantomData<S>);

impl<S: Simd, const R: usize> Tiles for Emulated<S, R> {
    type S = S;
    type Sums = [[S::V; 2]; R];
    const ROWS: usize = R;
    const COLS: usize = S::NR;

    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        // SAFETY: the caller's contract.
        [[unsafe { S::zero() }; 2]; R]
    }
    #[inline(always)]
    unsafe fn load(c: *const f32, c_row: usize) -> Self::Sums {
        // SAFETY: the caller's contract.
        std::array::from_fn(|r| unsafe { [S::load(c.add(r * c_row)), S::load(c.add(r * c_row + S::LANES))] })
    }
    #[inline(always)]
    unsafe fn multiply_add(
        mut sums: Self::Sums,
        pairs: usize,
        (a, a_row): (*const u32, usize),
        b: *const u32,
    ) -> Self::Sums {
        for p in 0..pairs {
            // SAFETY: the caller's contract.
            unsafe {
                let b = b.add(p * S::NR);
                let (b0, b1) = (S::load_pairs(b), S::load_pairs(b.add(S::LANES)));
                for (r, sum) in sums.iter_mut().enumerate() {
                    let word = *a.add(r * a_row + p);
                    let first = S::splat(f32::from_bits(word << 16));
                    let second = S::splat(f32::from_bits(word & 0xFFFF_0000));
                    sum[0] = S::fma(first, b0[0], S::fma(second, b0[1], sum[0]));
                    sum[1] = S::fma(first, b1[0], S::fma(second, b1[1], sum[1]));
                }
            }
        }
        sums
    }
    #[inline(always)]
    unsafe fn store(sums: Self::Sums, c: *mut f32, c_row: usize) {
        for (r, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's contract.
            unsafe {
                S::store(c.add(r * c_row), sum[0]);
                S::store(c.add(r * c_row + S::LANES), sum[1]);
            }
        }
    }
    #[inline(always)]
    unsafe fn round(x: *const f32, n: usize, high: *mut u16, low: *mut u16) {
        let padded = n.next_multiple_of(STEP);
        // SAFETY: the caller's contract.
        unsafe {
            for i in 0..n {
                *high.add(i) = nearest(*x.add(i));
            }
            std::slice::from_raw_parts_mut(high.add(n), padded - n).fill(0);
            if low.is_null() {
                return;
            }
            for i in 0..n {
                let kept = f32::from_bits(u32::from(*high.add(i)) << 16);
                *low.add(i) = if kept.is_finite() { nearest(*x.add(i) - kept) } else { 0 };
            }
            std::slice::from_raw_parts_mut(low.add(n), padded - n).fill(0);
        }
    }
    #[inline(always)]
    unsafe fn tile(t: &PairTile) {
        // SAFETY: the caller's contract.
        unsafe { tile_body::<Self>(t) }
    }
}

/// AVX512-BF16: tiles of 12 × 32.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub(crate) struct Avx512Bf16;

#[cfg(target_arch = "x86_64")]
mod avx512_bf16 {
    use super::*;
    use std::{arch::x86_64::*, mem::transmute};

    // SAFETY of every block below: `Tiles`' contract; the instructions exist and pointers are valid. Vectors of bf16
    // and of integers are the same bits.
    impl Tiles for Avx512Bf16 {
        type S = Avx512;
        type Sums = [[__m512; 2]; 12];
        const ROWS: usize = 12;
        const COLS: usize = 32;

        #[inline(always)]
        unsafe fn zero() -> Self::Sums {
            // SAFETY: see above.
            [[unsafe { _mm512_setzero_ps() }; 2]; 12]
        }
        #[inline(always)]
        unsafe fn load(c: *const f32, c_row: usize) -> Self::Sums {
            // SAFETY: see above.
            std::array::from_fn(|r| unsafe {
                [_mm512_loadu_ps(c.add(r * c_row)), _mm512_loadu_ps(c.add(r * c_row + 16))]
            })
        }
        #[inline(always)]
        unsafe fn multiply_add(
            mut sums: Self::Sums,
            pairs: usize,
            (mut a, a_row): (*const u32, usize),
            mut b: *const u32,
        ) -> Self::Sums {
            for _ in 0..pairs / 4 {
                // SAFETY: see above; pairs are a multiple of sixteen.
                unsafe {
                    for p in 0..4 {
                        let b0 = transmute::<__m512i, __m512bh>(_mm512_loadu_si512(b.add(p * 32).cast()));
                        let b1 = transmute::<__m512i, __m512bh>(_mm512_loadu_si512(b.add(p * 32 + 16).cast()));
                        for (r, sum) in sums.iter_mut().enumerate() {
                            let word = _mm512_set1_epi32(*a.add(r * a_row + p) as i32);
                            let word = transmute::<__m512i, __m512bh>(word);
                            sum[0] = _mm512_dpbf16_ps(sum[0], word, b0);
                            sum[1] = _mm512_dpbf16_ps(sum[1], word, b1);
                        }
                    }
                    a = a.add(4);
                    b = b.add(4 * 32);
                }
            }
            sums
        }
        #[inline(always)]
        unsafe fn store(sums: Self::Sums, c: *mut f32, c_row: usize) {
            for (r, sum) in sums.iter().enumerate() {
                // SAFETY: see above.
                unsafe {
                    _mm512_storeu_ps(c.add(r * c_row), sum[0]);
                    _mm512_storeu_ps(c.add(r * c_row + 16), sum[1]);
                }
            }
        }
        #[inline(always)]
        unsafe fn round(x: *const f32, n: usize, high: *mut u16, low: *mut u16) {
            // SAFETY: see above; both parts have room for `n` rounded up.
            unsafe {
                let finite = _mm512_set1_ps(f32::INFINITY);
                let mut i = 0;
                while i < n.next_multiple_of(STEP) {
                    let left = n.saturating_sub(i);
                    let v = if left >= 16 { Avx512::load(x.add(i)) } else { Avx512::load_n(x.wrapping_add(i), left) };
                    let kept = _mm512_cvtneps_pbh(v);
                    _mm256_storeu_si256(high.add(i).cast(), transmute::<__m256bh, __m256i>(kept));
                    if !low.is_null() {
                        let kept = _mm512_cvtpbh_ps(kept);
                        let mask = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(kept), finite);
                        let rest = _mm512_cvtneps_pbh(_mm512_maskz_sub_ps(mask, v, kept));
                        _mm256_storeu_si256(low.add(i).cast(), transmute::<__m256bh, __m256i>(rest));
                    }
                    i += 16;
                }
            }
        }
        #[inline(always)]
        unsafe fn tile(t: &PairTile) {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
            unsafe fn whole(t: &PairTile) {
                // SAFETY: the caller of `tile` vouches for the operands and the instructions.
                unsafe { tile_body::<Avx512Bf16>(t) }
            }
            // SAFETY: see above.
            unsafe { whole(t) }
        }
    }
}
