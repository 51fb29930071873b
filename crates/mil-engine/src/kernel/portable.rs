//! Plain Rust for every machine: four lanes, tiles of 4 × 8.
//!
//! The compiler turns these loops into the vectors of the target's baseline: SSE2 on x86-64, NEON on AArch64,
//! where `mul_add` is one instruction too.

use super::simd::{Simd, Tile, Weigh, tile_body, weights_body};
use half::f16;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = 4;

#[inline(always)]
fn map(a: [f32; LANES], f: impl Fn(f32) -> f32) -> [f32; LANES] {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

// SAFETY of every block below: pointers are valid by `Simd`'s contract; there is no instruction set to ask for.
impl Simd for Portable {
    type V = [f32; LANES];
    const LANES: usize = LANES;
    const MR: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: see above.
        unsafe { p.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        // SAFETY: see above.
        unsafe { p.cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> Self::V {
        // SAFETY: see above; only `n` lanes are read.
        std::array::from_fn(|i| if i < n { unsafe { *p.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: Self::V, n: usize) {
        // SAFETY: see above; only `n` lanes are written.
        v.iter().take(n).enumerate().for_each(|(i, &x)| unsafe { *p.add(i) = x });
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn sqrt(a: Self::V) -> Self::V {
        map(a, f32::sqrt)
    }
    #[inline(always)]
    unsafe fn round(a: Self::V) -> Self::V {
        // Adding and taking away 1.5·2²³ rounds in the unit of the last place; larger numbers are integers.
        const MAGIC: f32 = 12_582_912.0;
        map(a, |x| if x.abs() < 4_194_304.0 { (x + MAGIC) - MAGIC } else { x })
    }
    #[inline(always)]
    unsafe fn exp2_int(a: Self::V) -> Self::V {
        map(a, |x| f32::from_bits(((x as i32).wrapping_add(127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] < b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    unsafe fn sum(a: Self::V) -> f32 {
        (a[0] + a[2]) + (a[1] + a[3])
    }
    #[inline(always)]
    unsafe fn hmax(a: Self::V) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self::V {
        // SAFETY: see above.
        std::array::from_fn(|i| f16::from_bits(unsafe { p.add(i).read_unaligned() }).to_f32())
    }
    #[inline(always)]
    unsafe fn load_pairs(p: *const u32) -> [Self::V; 2] {
        // SAFETY: see above.
        let words = unsafe { p.cast::<[u32; LANES]>().read_unaligned() };
        [words.map(|w| f32::from_bits(w << 16)), words.map(|w| f32::from_bits(w & 0xFFFF_0000))]
    }
    #[inline(always)]
    unsafe fn transpose(src: *const f32, src_row: usize, dst: *mut f32, dst_row: usize) {
        for i in 0..LANES {
            for j in 0..LANES {
                // SAFETY: see above: four rows and columns on either side.
                unsafe { *dst.add(j * dst_row + i) = *src.add(i * src_row + j) };
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_f16(src: *const u16, src_row: usize, dst: *mut f32, dst_row: usize) {
        for i in 0..LANES {
            for j in 0..2 * LANES {
                // SAFETY: see above: four rows and eight columns.
                let half = f16::from_bits(unsafe { src.add(i * src_row + j).read_unaligned() });
                // SAFETY: see above: as many columns and rows.
                unsafe { *dst.add(j * dst_row + i) = half.to_f32() };
            }
        }
    }
    unsafe fn tile(rows: usize, t: &Tile) {
        // SAFETY: the caller's contract.
        unsafe {
            match (rows, t.a_k == 1) {
                (1, true) => tile_body::<Self, 1, false>(t),
                (2, true) => tile_body::<Self, 2, false>(t),
                (3, true) => tile_body::<Self, 3, false>(t),
                (4, true) => tile_body::<Self, 4, false>(t),
                (1, false) => tile_body::<Self, 1, true>(t),
                (2, false) => tile_body::<Self, 2, true>(t),
                (3, false) => tile_body::<Self, 3, true>(t),
                (4, false) => tile_body::<Self, 4, true>(t),
                _ => unreachable!("invariant: a tile has 1 to MR rows"),
            }
        }
    }
    unsafe fn tile_of_weights(rows: usize, t: &Tile, w: &Weigh) {
        // SAFETY: the caller's contract.
        unsafe {
            match rows {
                1 => weights_body::<Self, 1>(t, w),
                2 => weights_body::<Self, 2>(t, w),
                3 => weights_body::<Self, 3>(t, w),
                4 => weights_body::<Self, 4>(t, w),
                _ => unreachable!("invariant: a tile has 1 to MR rows"),
            }
        }
    }
}
