//! Rounding from `f64` to half precision, once.

use half::f16;

/// Rounds to the nearest f16, ties to even, in one rounding.
///
/// `half`'s own conversion goes through f32 where the processor has F16C, and drops the low half of the significand where it has not; both round one draw in two thousand the wrong way.
/// Rounding to odd first keeps what the second rounding needs to know.
#[must_use]
pub fn f16_from_f64(x: f64) -> f16 {
    let nearest = x as f32;
    if f64::from(nearest) == x || nearest.is_nan() {
        return f16::from_f32(nearest);
    }
    let bits = nearest.to_bits();
    if bits & 1 == 1 {
        return f16::from_f32(nearest);
    }
    // `nearest` is even and inexact: the odd neighbour on x's side carries the sticky bit.
    let away_from_zero = x.abs() > f64::from(nearest).abs();
    let odd = if away_from_zero { bits + 1 } else { bits - 1 };
    f16::from_f32(f32::from_bits(odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_rounding_happens_once() {
        // 1 + 2^-11 is half way between 1 and the next f16; a little more must round up.
        let tie = 1.0 + 2f64.powi(-11);
        assert_eq!(f16_from_f64(tie).to_f64(), 1.0);
        assert_eq!(f16_from_f64(tie + 2f64.powi(-40)).to_f64(), 1.0 + 2f64.powi(-10));
        assert_eq!(f16_from_f64(-(tie + 2f64.powi(-40))).to_f64(), -(1.0 + 2f64.powi(-10)));
        assert_eq!(f16_from_f64(tie - 2f64.powi(-40)).to_f64(), 1.0);
    }

    #[test]
    fn f16_rounding_keeps_signs_zeros_and_infinities() {
        assert!(f16_from_f64(-0.0).is_sign_negative());
        assert_eq!(f16_from_f64(1e-320).to_f32(), 0.0);
        assert_eq!(f16_from_f64(65519.9).to_f32(), 65504.0);
        assert!(f16_from_f64(65520.0).is_infinite());
        assert!(f16_from_f64(1e300).is_infinite());
        assert!(f16_from_f64(f64::NAN).is_nan());
    }
}
