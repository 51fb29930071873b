//! AVX-512 (F, BW, DQ, VL): sixteen lanes, tiles of 12 × 32.

use super::simd::{Simd, Tile, Weigh, tile_body, tiles, weights_body};
use std::arch::x86_64::*;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512;

const fn mask(n: usize) -> u16 {
    ((1u32 << n) - 1) as u16
}

// SAFETY of every block below: `Simd`'s contract; the instruction set exists and pointers are valid.
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const MR: usize = 12;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> __m512 {
        // SAFETY: see above; masked lanes are not touched.
        unsafe { _mm512_maskz_loadu_ps(mask(n), p) }
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: __m512, n: usize) {
        // SAFETY: see above; masked lanes are not touched.
        unsafe { _mm512_mask_storeu_ps(p, mask(n), v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    unsafe fn round(a: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_roundscale_ps::<0>(a) }
    }
    #[inline(always)]
    unsafe fn exp2_int(a: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), a) }
    }
    #[inline(always)]
    unsafe fn recip(a: __m512) -> __m512 {
        // SAFETY: see above. One step of Newton's method doubles the digits of the machine's estimate.
        unsafe {
            let r = _mm512_rcp14_ps(a);
            _mm512_mul_ps(r, _mm512_fnmadd_ps(a, r, _mm512_set1_ps(2.0)))
        }
    }
    #[inline(always)]
    unsafe fn scale_exp2(p: __m512, a: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_scalef_ps(p, a) }
    }
    #[inline(always)]
    unsafe fn select_lt(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    unsafe fn sum(a: __m512) -> f32 {
        // SAFETY: see above.
        unsafe { _mm512_reduce_add_ps(a) }
    }
    #[inline(always)]
    unsafe fn hmax(a: __m512) -> f32 {
        // SAFETY: see above.
        unsafe { _mm512_reduce_max_ps(a) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_pairs(p: *const u32) -> [__m512; 2] {
        // SAFETY: see above.
        unsafe {
            let words = _mm512_loadu_si512(p.cast());
            let high = _mm512_and_si512(words, _mm512_set1_epi32(-0x1_0000));
            [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(words)), _mm512_castsi512_ps(high)]
        }
    }
    #[inline(always)]
    unsafe fn transpose(src: *const f32, src_row: usize, dst: *mut f32, dst_row: usize) {
        // SAFETY: see above: sixteen rows and columns on either side.
        unsafe {
            let mut r = [_mm512_setzero_ps(); 16];
            for (i, row) in r.iter_mut().enumerate() {
                *row = _mm512_loadu_ps(src.add(i * src_row));
            }
            // Pairs of rows, then fours, within each 128-bit quarter.
            let mut t = r;
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            let d = |v: __m512| _mm512_castps_pd(v);
            let s = |v: __m512d| _mm512_castpd_ps(v);
            let mut f = t;
            for i in 0..4 {
                f[4 * i] = s(_mm512_unpacklo_pd(d(t[4 * i]), d(t[4 * i + 2])));
                f[4 * i + 1] = s(_mm512_unpackhi_pd(d(t[4 * i]), d(t[4 * i + 2])));
                f[4 * i + 2] = s(_mm512_unpacklo_pd(d(t[4 * i + 1]), d(t[4 * i + 3])));
                f[4 * i + 3] = s(_mm512_unpackhi_pd(d(t[4 * i + 1]), d(t[4 * i + 3])));
            }
            // f[4i + j] holds columns j, j+4, j+8, j+12 of rows 4i..4i+4, a quarter each.
            for j in 0..4 {
                let a = _mm512_shuffle_f32x4::<0x88>(f[j], f[4 + j]);
                let b = _mm512_shuffle_f32x4::<0xDD>(f[j], f[4 + j]);
                let c = _mm512_shuffle_f32x4::<0x88>(f[8 + j], f[12 + j]);
                let e = _mm512_shuffle_f32x4::<0xDD>(f[8 + j], f[12 + j]);
                _mm512_storeu_ps(dst.add(j * dst_row), _mm512_shuffle_f32x4::<0x88>(a, c));
                _mm512_storeu_ps(dst.add((j + 4) * dst_row), _mm512_shuffle_f32x4::<0x88>(b, e));
                _mm512_storeu_ps(dst.add((j + 8) * dst_row), _mm512_shuffle_f32x4::<0xDD>(a, c));
                _mm512_storeu_ps(dst.add((j + 12) * dst_row), _mm512_shuffle_f32x4::<0xDD>(b, e));
            }
        }
    }

    #[inline(always)]
    unsafe fn transpose_f16(src: *const u16, src_row: usize, dst: *mut f32, dst_row: usize) {
        // SAFETY: see above: sixteen rows and thirty-two columns.
        unsafe {
            let mut r = [_mm512_setzero_si512(); 16];
            for (i, row) in r.iter_mut().enumerate() {
                *row = _mm512_loadu_si512(src.add(i * src_row).cast());
            }
            // Pairs of rows, fours, eights, within each 128-bit quarter.
            let mut t = r;
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_epi16(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_epi16(r[2 * i], r[2 * i + 1]);
            }
            let mut f = t;
            for i in 0..4 {
                f[4 * i] = _mm512_unpacklo_epi32(t[4 * i], t[4 * i + 2]);
                f[4 * i + 1] = _mm512_unpackhi_epi32(t[4 * i], t[4 * i + 2]);
                f[4 * i + 2] = _mm512_unpacklo_epi32(t[4 * i + 1], t[4 * i + 3]);
                f[4 * i + 3] = _mm512_unpackhi_epi32(t[4 * i + 1], t[4 * i + 3]);
            }
            // Quarter q of columns[j] is column j + 8q of the upper eight rows, of columns[8 + j] that of the lower ones.
            let mut columns = f;
            for i in 0..4 {
                for half in [0, 8] {
                    columns[half + 2 * i] = _mm512_unpacklo_epi64(f[half + i], f[half + 4 + i]);
                    columns[half + 2 * i + 1] = _mm512_unpackhi_epi64(f[half + i], f[half + 4 + i]);
                }
            }
            let low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
            let high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
            for j in 0..8 {
                for (first, order) in [(j, low), (j + 16, high)] {
                    let both = _mm512_permutex2var_epi64(columns[j], order, columns[8 + j]);
                    _mm512_storeu_ps(dst.add(first * dst_row), _mm512_cvtph_ps(_mm512_castsi512_si256(both)));
                    let second = _mm512_extracti64x4_epi64::<1>(both);
                    _mm512_storeu_ps(dst.add((first + 8) * dst_row), _mm512_cvtph_ps(second));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        // SAFETY: see above; a prefetch reads nothing that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }

    tiles!(Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c", 1 2 3 4 5 6 7 8 9 10 11 12);
}
