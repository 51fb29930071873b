//! Floating-point numbers in C99 hexadecimal notation, as `printf("%a")` writes them.
//!
//! Every fp16, bf16, fp32 and fp64 is exactly an `f64`, so one notation serves all; the mantissa is
//! normalised, for subnormals too.

use std::fmt::Write;

const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;

/// Appends `x`: `0x1.8p-3`, `-0x0p+0`, `inf`, `-inf` or `nan`.
pub(super) fn write_hex(out: &mut String, x: f64) {
    if x.is_nan() {
        out.push_str("nan");
        return;
    }
    if x.is_sign_negative() {
        out.push('-');
    }
    if x.is_infinite() {
        out.push_str("inf");
        return;
    }
    if x == 0.0 {
        out.push_str("0x0p+0");
        return;
    }
    let (mut fraction, mut exponent) = split(x);
    if exponent == -1023 {
        let shift = fraction.leading_zeros() - (63 - MANTISSA_BITS);
        fraction <<= shift;
        exponent -= shift as i32 - 1;
    }
    out.push_str("0x1");
    let mut rest = fraction << (64 - MANTISSA_BITS);
    if rest != 0 {
        out.push('.');
    }
    while rest != 0 {
        let digit = (rest >> 60) as u32;
        out.push(char::from_digit(digit, 16).expect("invariant: four bits"));
        rest <<= 4;
    }
    write!(out, "p{exponent:+}").expect("invariant: a String takes everything");
}

/// Stored fraction and unbiased exponent; -1023 for subnormals.
fn split(x: f64) -> (u64, i32) {
    let bits = x.to_bits();
    let exponent = (bits >> MANTISSA_BITS & 0x7FF) as i32 - 1023;
    (bits & ((1 << MANTISSA_BITS) - 1), exponent)
}

/// Reads hexadecimal or decimal notation, an integer, `inf` or `nan`, each with an optional minus.
///
/// Numbers beyond the range of `f64` become infinite, which the caller refuses.
pub(super) fn parse(text: &str) -> Option<f64> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let value = match magnitude {
        "inf" => f64::INFINITY,
        "nan" => f64::NAN,
        _ => match magnitude.strip_prefix("0x").or_else(|| magnitude.strip_prefix("0X")) {
            Some(hex) => parse_hex(hex)?,
            // Rust also reads `infinity`, `+1` and `.5`; this language does not.
            None if magnitude.starts_with(|c: char| c.is_ascii_digit()) => magnitude.parse().ok()?,
            None => return None,
        },
    };
    Some(if negative { -value } else { value })
}

/// `1.8p-3`, without the `0x`; the exponent may be missing.
fn parse_hex(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.split_once(['p', 'P']) {
        Some((digits, exponent)) => (digits, parse_exponent(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() {
        return None;
    }
    let (mut mantissa, mut scale) = (0u64, 0i64);
    for (i, c) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(c.to_digit(16)?);
        let after_point = i >= whole.len();
        if mantissa >> 59 == 0 {
            mantissa = mantissa << 4 | digit;
            scale -= if after_point { 4 } else { 0 };
        } else {
            // Beyond the bits that count; one of them remembers that something was there.
            mantissa |= u64::from(digit != 0);
            scale += if after_point { 0 } else { 4 };
        }
    }
    Some(times_power_of_two(mantissa as f64, scale.saturating_add(exponent)))
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.parse::<i64>().unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// `x · 2^exponent`, in steps that f64 can hold.
fn times_power_of_two(mut x: f64, exponent: i64) -> f64 {
    const STEP: i64 = 512;
    let mut rest = exponent.clamp(-8 * STEP, 8 * STEP);
    while rest != 0 {
        let step = rest.clamp(-STEP, STEP);
        x *= f64::from_bits(((1023 + step) as u64) << MANTISSA_BITS);
        rest -= step;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::{parse, write_hex};
    use host_tensor::f16;
    use proptest::prelude::*;

    fn hex(x: f64) -> String {
        let mut out = String::new();
        write_hex(&mut out, x);
        out
    }

    #[test]
    fn floats_print_as_percent_a_does() {
        let cases = [
            (1.0, "0x1p+0"),
            (-0.0, "-0x0p+0"),
            (0.0, "0x0p+0"),
            (f64::from(0.1f32), "0x1.99999ap-4"),
            (f64::from(0.2f64 as f32), "0x1.99999ap-3"),
            (-10.5, "-0x1.5p+3"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (f64::from(f32::from_bits(1)), "0x1p-149"),
            (f64::from_bits(1), "0x1p-1074"),
            (f64::from_bits(0x000F_FFFF_FFFF_FFFF), "0x1.ffffffffffffep-1023"),
            (f64::MIN_POSITIVE, "0x1p-1022"),
            (f64::MAX, "0x1.fffffffffffffp+1023"),
        ];
        for (x, text) in cases {
            assert_eq!(hex(x), text);
        }
    }

    #[test]
    fn half_subnormals_print_with_a_normalised_mantissa() {
        // The values of coremlc's fixture `fp16-subnormal-cast`.
        let printed: Vec<String> = [0x0001u16, 0x00A8, 0x03FF, 0x0400, 0x80A8]
            .into_iter()
            .map(|bits| hex(f16::from_bits(bits).to_f64()))
            .collect();
        assert_eq!(printed, ["0x1p-24", "0x1.5p-17", "0x1.ff8p-15", "0x1p-14", "-0x1.5p-17"]);
    }

    #[test]
    fn other_notations_are_read_too() {
        let cases = [
            ("3", 3.0),
            ("-2.5e-3", -2.5e-3),
            ("1e3", 1000.0),
            ("0x10", 16.0),
            ("0xA.8P1", 21.0),
            ("0x1.00000000000000001p0", 1.0),
            ("0x100000000000000000000000p-92", 1.0),
            ("0x1p99999999999999999999", f64::INFINITY),
            ("0x1p-99999999999999999999", 0.0),
        ];
        for (text, x) in cases {
            assert_eq!(parse(text), Some(x), "{text}");
        }
        let just_above_half = format!("0x1.{}8{}1p0", "0".repeat(13), "0".repeat(15));
        assert_eq!(parse(&just_above_half), Some(1.0 + f64::EPSILON));
        for text in
            ["", "-", "+1", ".5", "0x", "0x1p", "0x1p+", "1.5.2", "infinity", "0xg", "0X.8p1", "--1", "0x1.8.8p0"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn hexadecimal_notation_loses_nothing(bits in any::<u64>()) {
            let x = f64::from_bits(bits);
            let back = parse(&hex(x)).unwrap();
            prop_assert!(back.to_bits() == bits || (x.is_nan() && back.is_nan()));
        }
    }
}
