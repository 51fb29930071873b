//! How noise levels are spread between the largest and the smallest: the curves themselves, without a model's schedule.
//!
//! Each gives levels that fall, without the end of the walk. What is computed from a model's own schedule (even time steps,
//! AYS, SGM uniform) is in `schedule`.

use super::beta;

/// A choice of noise levels, in place of those at evenly spread time steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Spread {
    /// Karras et al. (arXiv 2206.00364, equation 5) with rho = 7.
    Karras,
    /// Even in the logarithm.
    Exponential,
    /// k-diffusion's polynomial in the logarithm; with its rho of 1 the same as even in the logarithm.
    PolyExponential,
    /// Quantiles of the beta distribution with both parameters 0.6 (arXiv 2407.12173).
    Beta,
    /// Even in the log-SNR over the whole training schedule (arXiv 2211.01095).
    Lu,
    /// "Align your steps" for Stable Diffusion 1.5 (arXiv 2404.14507), interpolated in the logarithm.
    AlignYourSteps,
    /// The same for SDXL.
    AlignYourStepsXl,
    /// Even in time, from the noisiest step to one before the least noisy: what SGM takes for distilled models.
    SgmUniform,
    /// Even in time, both ends included.
    Uniform,
}

/// What a spread is called.
struct Row {
    spread: Spread,
    name: &'static str,
    /// The name that AUTOMATIC1111's web UI shows.
    label: &'static str,
}

const TABLE: [Row; 9] = [
    Row { spread: Spread::Karras, name: "karras", label: "Karras" },
    Row { spread: Spread::Exponential, name: "exponential", label: "Exponential" },
    Row { spread: Spread::PolyExponential, name: "polyexponential", label: "Polyexponential" },
    Row { spread: Spread::Beta, name: "beta", label: "Beta" },
    Row { spread: Spread::Lu, name: "lu", label: "Lu" },
    Row { spread: Spread::AlignYourSteps, name: "ays", label: "Align Your Steps" },
    Row { spread: Spread::AlignYourStepsXl, name: "ays-xl", label: "Align Your Steps XL" },
    Row { spread: Spread::SgmUniform, name: "sgm-uniform", label: "SGM Uniform" },
    Row { spread: Spread::Uniform, name: "uniform", label: "Uniform" },
];

impl Spread {
    /// Every spread.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [TABLE[0].spread; TABLE.len()];
        let mut idx = 1;
        while idx < TABLE.len() {
            all[idx] = TABLE[idx].spread;
            idx += 1;
        }
        all
    };

    /// The short name, which may follow a scheduler's.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The name that AUTOMATIC1111's web UI shows.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.row().label
    }

    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.spread == self).expect("invariant: the table has every spread")
    }
}

/// Eleven levels of "Align your steps" for ten steps, as its authors publish them.
pub(super) const ALIGN_YOUR_STEPS: [f64; 11] =
    [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029];

/// The same for SDXL.
pub(super) const ALIGN_YOUR_STEPS_XL: [f64; 11] =
    [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029];

/// Levels of Karras et al., falling.
pub(super) fn karras(largest: f64, smallest: f64, n: usize) -> Vec<f64> {
    karras_with(7.0, largest, smallest, n)
}

/// The same with another exponent.
pub(super) fn karras_with(rho: f64, largest: f64, smallest: f64, n: usize) -> Vec<f64> {
    let (high, low) = (largest.powf(1.0 / rho), smallest.powf(1.0 / rho));
    linspace(0.0, 1.0, n).into_iter().map(|ramp| (high + ramp * (low - high)).powf(rho)).collect()
}

/// Levels that fall evenly in their logarithm.
pub(super) fn exponential(largest: f64, smallest: f64, n: usize) -> Vec<f64> {
    linspace(largest.ln(), smallest.ln(), n).into_iter().map(f64::exp).collect()
}

/// Quantiles of the beta distribution between the ends.
pub(super) fn beta(largest: f64, smallest: f64, n: usize) -> Vec<f64> {
    let quantile = |ramp: f64| beta::quantile(1.0 - ramp);
    linspace(0.0, 1.0, n).into_iter().map(|ramp| smallest + quantile(ramp) * (largest - smallest)).collect()
}

/// `n` values on the curve through the given ones, interpolated in the logarithm; the same values where `n` is their number.
pub(super) fn log_linear(values: &[f64], n: usize) -> Vec<f64> {
    let last = values.len() - 1;
    let at = |ramp: f64| {
        let position = ramp * last as f64;
        let low = (position.floor() as usize).min(last - 1);
        let (a, b) = (values[low].ln(), values[low + 1].ln());
        (a + (b - a) * (position - low as f64)).exp()
    };
    linspace(0.0, 1.0, n).into_iter().map(at).collect()
}

/// `numpy.linspace` in f64.
pub(super) fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    if n <= 1 {
        return vec![start; n];
    }
    let step = (end - start) / (n - 1) as f64;
    let mut values: Vec<f64> = (0..n).map(|i| i as f64 * step + start).collect();
    values[n - 1] = end;
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spread_has_a_row_and_its_own_name() {
        let names: std::collections::BTreeSet<_> = Spread::ALL.into_iter().map(Spread::name).collect();
        assert_eq!(names.len(), Spread::ALL.len());
        assert!(Spread::ALL.into_iter().all(|spread| spread.row().spread == spread && !spread.label().is_empty()));
    }

    #[test]
    fn align_your_steps_passes_through_its_own_levels() {
        let eleven = log_linear(&ALIGN_YOUR_STEPS, 11);
        testkit::assert_all_close(
            "AYS",
            &ALIGN_YOUR_STEPS.map(|x| x as f32),
            &eleven.iter().map(|x| *x as f32).collect::<Vec<_>>(),
            1e-6,
            0.0,
        );
        // Half way between two levels is their geometric mean.
        let twenty_one = log_linear(&ALIGN_YOUR_STEPS, 21);
        assert!((twenty_one[1] - (14.615f64 * 6.475).sqrt()).abs() < 1e-12);
    }
}
