//! How near is near enough: signal-to-noise ratio and element-wise tolerance.

use host_tensor::HostTensor;

/// Peak signal-to-noise ratio in decibels: 20·log10(max|reference| / rms error).
///
/// Equal slices give +∞.
/// Slices of different lengths, and any `got` that is not finite, give −∞, so that a threshold catches them.
#[must_use]
pub fn psnr(reference: &[f32], got: &[f32]) -> f64 {
    if reference.len() != got.len() || got.iter().any(|x| !x.is_finite()) {
        return f64::NEG_INFINITY;
    }
    let peak = reference.iter().fold(0.0f64, |peak, &x| peak.max(f64::from(x).abs()));
    let squares: f64 = reference.iter().zip(got).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    if squares == 0.0 {
        return f64::INFINITY;
    }
    20.0 * (peak / (squares / reference.len() as f64).sqrt()).log10()
}

/// Asserts equal shapes and a PSNR of at least `min_db`; returns the PSNR.
///
/// # Panics
/// When the shapes differ or the PSNR is lower; the message names the tensor and the worst element.
#[track_caller]
pub fn assert_psnr(name: &str, reference: &HostTensor, got: &HostTensor, min_db: f64) -> f64 {
    assert_eq!(reference.shape(), got.shape(), "{name}: shape");
    let (reference, got) = (reference.to_f32_vec(), got.to_f32_vec());
    let db = psnr(&reference, &got);
    assert!(db >= min_db, "{name}: {db:.1} dB is below {min_db} dB; {}", worst(&reference, &got));
    db
}

/// Whether each |reference − got| ≤ `abs` + `rel`·|reference|.
///
/// # Errors
/// The lengths, or the first offending element and the worst one.
pub fn all_close(reference: &[f32], got: &[f32], rel: f32, abs: f32) -> Result<(), String> {
    if reference.len() != got.len() {
        return Err(format!("{} elements, expected {}", got.len(), reference.len()));
    }
    let far = |(a, b): (&f32, &f32)| {
        let within = (a - b).abs() <= abs + rel * a.abs();
        !within && a.to_bits() != b.to_bits()
    };
    let Some(first) = reference.iter().zip(got).position(far) else {
        return Ok(());
    };
    let n_far = reference.iter().zip(got).filter(|&pair| far(pair)).count();
    Err(format!(
        "{n_far} of {} elements differ by more than {abs:e} + {rel:e}·|x|; first at {first}: {:e}, expected {:e}; {}",
        got.len(),
        got[first],
        reference[first],
        worst(reference, got)
    ))
}

/// Asserts [`all_close`].
///
/// # Panics
/// When an element is farther off.
#[track_caller]
pub fn assert_all_close(name: &str, reference: &[f32], got: &[f32], rel: f32, abs: f32) {
    if let Err(fault) = all_close(reference, got, rel, abs) {
        panic!("{name}: {fault}");
    }
}

/// The element with the largest error, in words. A difference that is not a number is the largest.
fn worst(reference: &[f32], got: &[f32]) -> String {
    let error = |i: usize| {
        let e = (reference[i] - got[i]).abs();
        if e.is_nan() { f32::INFINITY } else { e }
    };
    (0..reference.len().min(got.len()))
        .max_by(|&a, &b| error(a).total_cmp(&error(b)))
        .map_or_else(String::new, |i| format!("worst at {i}: {:e}, expected {:e}", got[i], reference[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psnr_is_peak_over_rms_error_in_decibels() {
        // rms error 0.01 against a peak of 1: 40 dB.
        let db = psnr(&[1.0, -0.5], &[1.01, -0.51]);
        assert!((db - 40.0).abs() < 1e-4, "{db}");
        assert_eq!(psnr(&[1.0], &[1.0]), f64::INFINITY);
    }

    #[test]
    fn psnr_of_something_else_is_minus_infinity() {
        for got in [&[1.0, f32::NAN][..], &[1.0, f32::INFINITY], &[1.0]] {
            assert_eq!(psnr(&[1.0, 1.0], got), f64::NEG_INFINITY);
        }
        assert_eq!(psnr(&[0.0], &[1.0]), f64::NEG_INFINITY);
    }

    #[test]
    #[should_panic(expected = "out: 40.0 dB is below 60 dB; worst at 1: 0e0, expected 1e-2")]
    fn a_low_psnr_fails_with_the_name_and_the_worst_element() {
        let reference = HostTensor::from_f32([4], vec![0.5, 0.01, 0.0, 0.0]);
        let got = HostTensor::from_f32([4], vec![0.5, 0.0, 0.0, 0.0]);
        assert_psnr("out", &reference, &got, 60.0);
    }

    #[test]
    fn closeness_adds_the_relative_and_the_absolute_part() {
        assert!(all_close(&[100.0, 0.0], &[100.9, 0.05], 0.01, 0.1).is_ok());
        let fault = all_close(&[100.0, 0.0], &[100.9, 0.2], 0.01, 0.1).expect_err("0.2 is too far");
        assert!(fault.contains("1 of 2") && fault.contains("first at 1"), "{fault}");
        assert!(all_close(&[f32::INFINITY], &[f32::INFINITY], 0.0, 0.0).is_ok());
        assert!(all_close(&[1.0], &[f32::NAN], 1.0, 1.0).is_err());
        assert!(all_close(&[1.0], &[], 1.0, 1.0).is_err());
    }
}
