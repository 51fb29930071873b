//! What a scheme costs at the outputs, by what it does to the output of the weight's own operation.

/// What is known of one way to store one weight: sums of squares over all that was run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// At the output of the operations that read the weight.
    pub local: f64,
    /// At the outputs of the program, where that was measured.
    pub output: Option<f64>,
}

/// The squared error at the program's outputs, of every scheme of one weight; `None` when no scheme was measured.
///
/// A change of a weight reaches the outputs through the same operations whatever the scheme, so that, as long as it is
/// small, the squared error there grows as the local one does. Between two schemes that were measured the exponent is
/// theirs (a straight line through logarithms), beyond them it is 1.
#[must_use]
pub fn estimate(errors: &[Errors]) -> Option<Vec<f64>> {
    let usable = |e: &&Errors| e.local > 0.0 && e.output.is_some_and(|output| output > 0.0);
    let mut known: Vec<(f64, f64)> =
        errors.iter().filter(usable).map(|e| (e.local.ln(), e.output.unwrap_or_default().ln())).collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    known.dedup_by(|a, b| a.0 == b.0);
    if errors.iter().all(|e| e.output.is_none()) {
        return None;
    }
    let of = |e: &Errors| match e.output {
        Some(output) => output,
        None if e.local > 0.0 && !known.is_empty() => line(&known, e.local.ln()).exp(),
        None => 0.0,
    };
    Some(errors.iter().map(of).collect())
}

/// The value at `x` of the line through known points, which goes on with a slope of 1 at both ends.
fn line(known: &[(f64, f64)], x: f64) -> f64 {
    let behind = known.partition_point(|&(at, _)| at <= x);
    match (behind.checked_sub(1).map(|i| known[i]), known.get(behind)) {
        (Some((x0, y0)), Some(&(x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        (Some((at, y)), None) | (None, Some(&(at, y))) => y + x - at,
        (None, None) => x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(errors: &[(f64, Option<f64>)], expected: &[f64]) {
        let errors: Vec<Errors> = errors.iter().map(|&(local, output)| Errors { local, output }).collect();
        let found = estimate(&errors).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found} {expected}");
        }
    }

    #[test]
    fn one_measurement_scales_the_local_errors() {
        check(&[(4.0, None), (1.0, Some(10.0)), (0.25, None), (0.0, None)], &[40.0, 10.0, 2.5, 0.0]);
    }

    #[test]
    fn between_two_the_exponent_is_theirs() {
        // From 1 to 100 the output grows by 10 000: as the square.
        check(&[(1.0, Some(1.0)), (10.0, None), (100.0, Some(1e4)), (1000.0, None)], &[1.0, 100.0, 1e4, 1e5]);
    }

    #[test]
    fn what_changes_nothing_costs_nothing() {
        check(&[(0.0, Some(0.0)), (0.0, None)], &[0.0, 0.0]);
        assert_eq!(estimate(&[Errors { local: 1.0, output: None }]), None);
    }
}
