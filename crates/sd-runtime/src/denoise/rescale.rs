//! Guidance rescale (arXiv 2305.08891, section 3.4): strong guidance spreads a prediction too far, and this takes some of it
//! back.

/// Brings a share of a guided prediction to the standard deviation of the prompt's own, in place.
pub(super) fn rescale(guided: &mut [f32], prompt: &[f32], share: f32) {
    let factor = deviation(prompt) / deviation(guided);
    let share = f64::from(share);
    // A prediction of one value everywhere has no deviation to divide by, and none to bring back.
    if factor.is_finite() {
        let factor = share * factor + (1.0 - share);
        guided.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
    }
}

/// Standard deviation of a sample (with n − 1), as PyTorch computes it.
fn deviation(values: &[f32]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
    (squares / (n - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_share_gives_the_deviation_of_the_prompt() {
        let prompt = [1.0, 3.0, 5.0];
        let mut guided = [10.0, 20.0, 60.0];
        rescale(&mut guided, &prompt, 1.0);
        assert!((deviation(&guided) - 2.0).abs() < 1e-6);
        let mut half = [10.0, 20.0, 60.0];
        rescale(&mut half, &prompt, 0.5);
        testkit::assert_all_close("half", &[(10.0 + guided[0]) / 2.0, (20.0 + guided[1]) / 2.0], &half[..2], 1e-6, 0.0);
        let mut flat = [1.0; 3];
        rescale(&mut flat, &prompt, 1.0);
        assert_eq!(flat, [1.0; 3]);
    }
}
