//! The exponential function of numbers up to zero, in a form that compilers make vectors of.

/// `eˣ` for `x ≤ 0`, to 3 in the last place of f32; 0 below −87.
#[inline]
pub(crate) fn exp_nonpositive(x: f32) -> f32 {
    /// Below it the result is no normal number of f32.
    const LEAST: f32 = -87.0;
    // Adding and subtracting 1.5·2²³ rounds to the nearest whole number.
    const ROUNDING: f32 = 12_582_912.0;
    let is_nothing = x < LEAST;
    let x = x.max(LEAST);
    let power = (x * std::f32::consts::LOG2_E + ROUNDING) - ROUNDING;
    // ln 2 in two parts, so that the rest keeps its digits.
    let rest = (x - power * 0.693_359_4) + power * 2.121_944_4e-4;
    let series = 1.0 / 5040.0;
    let series = series * rest + 1.0 / 720.0;
    let series = series * rest + 1.0 / 120.0;
    let series = series * rest + 1.0 / 24.0;
    let series = series * rest + 1.0 / 6.0;
    let series = series * rest + 0.5;
    let series = (series * rest + 1.0) * rest + 1.0;
    let found = f32::from_bits(((power as i32 + 127) << 23) as u32) * series;
    if is_nothing { 0.0 } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_exponential_function() {
        for step in 0..87_000 {
            let x = -0.001 * step as f32;
            let (expected, found) = (f64::from(x).exp(), f64::from(exp_nonpositive(x)));
            assert!((found / expected - 1.0).abs() < 3e-7, "{x}: {found}, not {expected}");
        }
        assert_eq!(exp_nonpositive(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_nonpositive(-87.1), 0.0);
        assert_eq!(exp_nonpositive(0.0), 1.0);
    }
}
