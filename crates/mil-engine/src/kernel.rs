//! Kernels: the loops that take the time, once for every instruction set.
//!
//! Each is written generically over [`simd::Simd`]; [`Kernels`] is a table of the functions compiled for one
//! instruction set. They take pointers and sizes, and deliberately know no operations, plans or threads.

#![allow(clippy::needless_range_loop, reason = "small matrices of vectors are clearer by index")]

pub(crate) mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod bf16;
pub(crate) mod bf16_gemm;
mod block;
pub(crate) mod epilogue;
pub(crate) mod gemm;
mod isa;
pub(crate) mod map;
pub(crate) mod math;
pub(crate) mod norm;
mod peak;
mod portable;
mod simd;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_bf16;
pub(crate) mod weights;
pub(crate) mod winograd;

pub(crate) use isa::kernels;
pub use isa::{Isa, UnknownIsa};

/// Declares the table, and fills it for each instruction set.
macro_rules! table {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $module:ident::$kernel:ident;)*) => {
        /// The kernels compiled for one instruction set.
        ///
        /// Calling one is `unsafe`: the instruction set must exist, and the operands must be as the kernel says.
        #[derive(Debug)]
        pub(crate) struct Kernels {
            $($(#[$doc])* pub(crate) $name: unsafe fn($($ty),*),)*
            /// Floating-point operations of one round of `peak`.
            pub(crate) peak_flops: usize,
        }

        const PORTABLE: Kernels = {
            $(unsafe fn $name($($arg: $ty),*) {
                // SAFETY: the caller's contract.
                unsafe { $module::$kernel::<portable::Portable>($($arg),*) }
            })*
            Kernels { $($name,)* peak_flops: peak::flops::<portable::Portable>() }
        };

        #[cfg(target_arch = "x86_64")]
        const AVX2: Kernels = {
            $(#[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn $name($($arg: $ty),*) {
                // SAFETY: the caller's contract.
                unsafe { $module::$kernel::<avx2::Avx2>($($arg),*) }
            })*
            Kernels { $($name,)* peak_flops: peak::flops::<avx2::Avx2>() }
        };

        #[cfg(target_arch = "x86_64")]
        const AVX512: Kernels = {
            $(#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            unsafe fn $name($($arg: $ty),*) {
                // SAFETY: the caller's contract.
                unsafe { $module::$kernel::<avx512::Avx512>($($arg),*) }
            })*
            Kernels { $($name,)* peak_flops: peak::flops::<avx512::Avx512>() }
        };
    };
}

table! {
    /// One item of a product.
    gemm(g: &gemm::Gemm, item: usize, scratch: *mut f32) -> gemm::item;
    /// One item of a product of operands in bf16.
    gemm_bf16(g: &gemm::Gemm, item: usize, scratch: *mut f32) -> bf16_gemm::single;
    /// One item of a product of operands in two bf16 parts.
    gemm_bf16x3(g: &gemm::Gemm, item: usize, scratch: *mut f32) -> bf16_gemm::double;
    /// A few tiles of a convolution's input.
    winograd_input(w: &winograd::Winograd, item: usize) -> winograd::input;
    /// One item of a convolution.
    winograd(w: &winograd::Winograd, item: usize, scratch: *mut f32) -> winograd::item;
    /// One block of queries.
    attention(a: &attention::Attention, item: usize, scratch: *mut f32) -> attention::item;
    /// Statistics of one chunk of rows.
    group_stats(g: &norm::GroupNorm, item: usize, scratch: *mut f32) -> norm::group_stats;
    /// One chunk of rows, normalised.
    group_apply(g: &norm::GroupNorm, item: usize) -> norm::group_apply;
    /// A few rows, normalised.
    layer_norm(l: &norm::LayerNorm, item: usize) -> norm::layer_norm;
    /// Some elements.
    map(m: &map::Map, item: usize) -> map::item;
    /// Decodes elements of one row of weights.
    decode(w: &weights::Matrix, row: usize, col: usize, n: usize, out: *mut f32) -> weights::decode;
    /// Many product tiles out of the first-level cache.
    peak(rounds: usize) -> peak::peak;
}

/// AVX-512 where products of bf16 pairs are an instruction.
#[cfg(target_arch = "x86_64")]
const AVX512_BF16: Kernels = {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
    unsafe fn single(g: &gemm::Gemm, item: usize, scratch: *mut f32) {
        // SAFETY: the caller's contract.
        unsafe { bf16_gemm::item::<bf16::Avx512Bf16, false>(g, item, scratch) }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
    unsafe fn double(g: &gemm::Gemm, item: usize, scratch: *mut f32) {
        // SAFETY: the caller's contract.
        unsafe { bf16_gemm::item::<bf16::Avx512Bf16, true>(g, item, scratch) }
    }
    Kernels { gemm_bf16: single, gemm_bf16x3: double, ..AVX512 }
};
