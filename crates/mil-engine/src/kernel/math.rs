//! Functions of whole vectors: exponentials and the activations made of them.
//!
//! Errors against `f64`, by the largest of 1, |x| and the result, for |x| up to 20, as the tests ask: e^x and tanh
//! 3·10⁻⁷, the GELU by the tangent 4·10⁻⁷, the other activations 2·10⁻⁷.

use super::simd::{Simd, exp2_below};

/// An activation, applied to each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Activation {
    /// The element itself.
    Identity,
    /// max(x, 0)
    Relu,
    /// x, and with the given factor where it is below 0: upscalers have 0.2.
    LeakyRelu(f32),
    /// x / (1 + e⁻ˣ)
    Silu,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// x·Φ(x), with the error function.
    Gelu,
    /// x·Φ(x), with the tangent that approximates it.
    GeluTanh,
    /// x / (1 + e⁻ᵃˣ), with the given a: CLIP's "quick" form has 1.702.
    Swish(f32),
}

/// 2^x; 2⁻¹²⁶ for what is below that, and 2¹²⁷ for what is above.
///
/// # Safety
/// The instruction set exists.
#[inline(always)]
pub(crate) unsafe fn exp2<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's contract.
    unsafe { exp2_below::<S>(S::min(x, S::splat(127.0))) }
}

/// e^x, with the reduction in two steps, so that large arguments keep their precision; infinite where `f32` ends.
///
/// # Safety
/// The instruction set exists.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    // SAFETY: the caller's contract.
    unsafe {
        let given = x;
        let x = S::min(S::max(x, S::splat(-87.3)), S::splat(88.0));
        let whole = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::fma(whole, S::splat(-HIGH), x);
        let r = S::fma(whole, S::splat(-LOW), r);
        let mut p = S::splat(1.0 / 720.0);
        for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = S::fma(p, r, S::splat(c));
        }
        let y = S::scale_exp2(p, whole);
        S::select_lt(S::splat(88.72), given, S::splat(f32::INFINITY), y)
    }
}

/// 1 / (1 + e^(−a·x))
///
/// # Safety
/// The instruction set exists.
#[inline(always)]
unsafe fn logistic<S: Simd>(x: S::V, a: f32) -> S::V {
    // SAFETY: the caller's contract.
    unsafe {
        // An error of the exponent, which grows with |x|, stands beside 1 or in what is next to nothing.
        let e = exp2::<S>(S::mul(x, S::splat(-a * std::f32::consts::LOG2_E)));
        S::recip(S::add(S::splat(1.0), e))
    }
}

/// tanh x = 2 / (1 + e⁻²ˣ) − 1, and x itself times a polynomial where that would lose digits.
///
/// # Safety
/// The instruction set exists.
#[inline(always)]
unsafe fn tanh<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's contract.
    unsafe {
        let far = S::sub(S::mul(S::splat(2.0), logistic::<S>(x, 2.0)), S::splat(1.0));
        let s = S::mul(x, x);
        let mut p = S::splat(-17.0 / 315.0);
        for c in [2.0 / 15.0, -1.0 / 3.0, 1.0] {
            p = S::fma(p, s, S::splat(c));
        }
        S::select_lt(s, S::splat(0.01), S::mul(x, p), far)
    }
}

/// The error function, by Abramowitz and Stegun's formula 7.1.26: absolute error 1.5·10⁻⁷.
///
/// # Safety
/// The instruction set exists.
#[inline(always)]
unsafe fn erf<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's contract.
    unsafe {
        let one = S::splat(1.0);
        // The reciprocal's range ends; the function is 1 long before.
        let size = S::min(S::max(x, S::sub(S::zero(), x)), S::splat(1e6));
        let t = S::recip(S::fma(S::splat(0.327_591_1), size, one));
        let mut p = S::splat(1.061_405_4);
        for c in [-1.453_152_1, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
            p = S::fma(p, t, S::splat(c));
        }
        let tail = S::mul(S::mul(p, t), exp2::<S>(S::mul(S::mul(x, x), S::splat(-std::f32::consts::LOG2_E))));
        let positive = S::sub(one, tail);
        S::select_lt(x, S::zero(), S::sub(S::zero(), positive), positive)
    }
}

impl Activation {
    /// The activation of a vector.
    ///
    /// # Safety
    /// The instruction set exists.
    #[inline(always)]
    pub(crate) unsafe fn apply<S: Simd>(self, x: S::V) -> S::V {
        // SAFETY: the caller's contract.
        unsafe {
            match self {
                Self::Identity => x,
                Self::Relu => S::select_lt(x, S::zero(), S::zero(), x),
                Self::LeakyRelu(a) => S::select_lt(x, S::zero(), S::mul(x, S::splat(a)), x),
                Self::Silu => S::mul(x, logistic::<S>(x, 1.0)),
                Self::Sigmoid => logistic::<S>(x, 1.0),
                Self::Tanh => tanh::<S>(x),
                Self::Swish(a) => S::mul(x, logistic::<S>(x, a)),
                Self::Gelu => {
                    let e = erf::<S>(S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2)));
                    S::mul(S::mul(x, S::splat(0.5)), S::add(S::splat(1.0), e))
                }
                Self::GeluTanh => {
                    let cube = S::mul(S::mul(x, x), x);
                    let y = S::fma(cube, S::splat(0.044_715), x);
                    let t = tanh::<S>(S::mul(y, S::splat(0.797_884_6)));
                    S::mul(S::mul(x, S::splat(0.5)), S::add(S::splat(1.0), t))
                }
            }
        }
    }
}
