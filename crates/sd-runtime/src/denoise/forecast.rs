//! Step forecasting: some outputs of the denoiser are foretold from those before instead of computed.
//!
//! What is foretold is the clean sample that an output means, which changes slowly along a walk where the output itself does
//! not ([`Clean`](super::clean::Clean) turns one into the other).
//! A polynomial of low degree is fitted to the last clean samples by ridge regression, value by value, and mixed with the line
//! through the last two.
//! Which steps are foretold depends on their number alone, never on the pictures, so a run's cost is known before it.
//! The rule is Spectrum's (arXiv 2603.01623), in the form and with the numbers that stable-diffusion.cpp gives it; there the
//! last block's output is foretold in the paper, and the clean sample in the program, as here.

mod ridge;

use std::collections::VecDeque;

use crate::forecasting::Forecasting;

/// Which steps are foretold, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rule {
    /// Share of the polynomial in a forecast, 0 to 1; the rest is the line's.
    weight: f64,
    /// Degree of the polynomial, in Chebyshev's basis.
    degree: usize,
    /// What is added to the squares of its coefficients: the more, the flatter it is.
    ridge: f64,
    /// Of how many steps at first one is computed.
    window: f64,
    /// By how much the window grows with each step that is computed.
    growth: f64,
    /// Steps at the beginning that are always computed.
    warm_up: usize,
    /// Share of the steps behind which all are computed again.
    until: f64,
}

impl Rule {
    /// Spectrum's numbers.
    const SPECTRUM: Self =
        Self { weight: 0.4, degree: 3, ridge: 1.0, window: 2.0, growth: 0.5, warm_up: 4, until: 0.9 };

    /// The numbers of a rule.
    const fn of(forecasting: Forecasting) -> Self {
        match forecasting {
            Forecasting::Spectrum => Self::SPECTRUM,
            Forecasting::Line => Self { weight: 0.0, ..Self::SPECTRUM },
        }
    }

    /// Which of so many steps are foretold.
    fn plan(&self, n_steps: usize) -> Vec<bool> {
        let end = (self.until * n_steps as f64).floor();
        let (mut window, mut n_foretold, mut n_computed) = (self.window, 0usize, 0usize);
        let is_foretold = |step: usize| {
            let in_window = (n_foretold + 1).checked_rem(window.floor() as usize).is_some_and(|rest| rest != 0);
            let foretold = step >= self.warm_up && (step as f64) < end && n_computed >= 2 && in_window;
            if foretold {
                n_foretold += 1;
            } else {
                n_computed += 1;
                n_foretold = 0;
                if step >= self.warm_up {
                    window += self.growth;
                }
            }
            foretold
        };
        (0..n_steps).map(is_foretold).collect()
    }

    /// How many computed samples a forecast looks back on.
    fn memory(&self) -> usize {
        (self.degree + 1).max(6)
    }
}

/// The walk of one sample, or of several side by side: what was computed, and what follows from it.
#[derive(Debug)]
pub(crate) struct Forecast {
    rule: Rule,
    plan: Vec<bool>,
    /// The last computed clean samples with their steps, the oldest first.
    computed: VecDeque<(usize, Vec<f32>)>,
}

impl Forecast {
    /// Before the first of so many steps; without a rule all are computed.
    pub(crate) fn new(forecasting: Option<Forecasting>, n_steps: usize) -> Self {
        Self::by(forecasting.map(Rule::of), n_steps)
    }

    fn by(rule: Option<Rule>, n_steps: usize) -> Self {
        let plan = rule.map_or_else(Vec::new, |rule| rule.plan(n_steps));
        Self { rule: rule.unwrap_or(Rule::SPECTRUM), plan, computed: VecDeque::new() }
    }

    /// Whether any step is foretold, so that it is worth while to [`keep`](Self::keep) the others.
    pub(crate) fn is_on(&self) -> bool {
        self.plan.contains(&true)
    }

    /// Takes the clean sample of a step that was computed.
    ///
    /// One with values that are not finite, as where nothing of it is left in the noise, is as good as none.
    pub(crate) fn keep(&mut self, step: usize, clean: Vec<f32>) {
        if clean.iter().any(|x| !x.is_finite()) {
            return;
        }
        if self.computed.len() == self.rule.memory() {
            self.computed.pop_front();
        }
        self.computed.push_back((step, clean));
    }

    /// The clean sample of a step, or nothing where the step is to be computed.
    pub(crate) fn clean(&self, step: usize) -> Option<Vec<f32>> {
        if !self.plan.get(step).copied().unwrap_or(false) {
            return None;
        }
        if self.computed.len() < 2 {
            // What was computed meant no clean sample.
            return None;
        }
        let steps: Vec<usize> = self.computed.iter().map(|&(step, _)| step).collect();
        let mut shares = ridge::shares(&steps, step, self.rule.degree, self.rule.ridge)?;
        shares.iter_mut().for_each(|share| *share *= self.rule.weight);
        // The line through the last two, half a step on.
        if let [.., before, last] = &mut shares[..] {
            *last += 1.5 * (1.0 - self.rule.weight);
            *before -= 0.5 * (1.0 - self.rule.weight);
        }
        let (_, newest) = self.computed.back()?;
        let at = |i: usize| -> f64 {
            self.computed.iter().zip(&shares).map(|((_, sample), share)| share * f64::from(sample[i])).sum()
        };
        Some((0..newest.len()).map(|i| at(i) as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn computed(n_steps: usize) -> usize {
        Rule::SPECTRUM.plan(n_steps).iter().filter(|foretold| !**foretold).count()
    }

    #[test]
    fn as_many_steps_are_computed_as_spectrum_computes() {
        // Counts of stable-diffusion.cpp's rule; 20 and 30 are the ones it was published with (1.82 and 2.14 times faster).
        let counts = [(10, 7), (15, 9), (20, 11), (25, 13), (30, 14), (40, 16), (50, 19)];
        for (n_steps, n_computed) in counts {
            assert_eq!(computed(n_steps), n_computed, "{n_steps} steps");
        }
        let steps = Rule::SPECTRUM.plan(20);
        let computed: Vec<usize> = (0..20).filter(|&i| !steps[i]).collect();
        assert_eq!(computed, [0, 1, 2, 3, 5, 7, 10, 13, 17, 18, 19]);
    }

    #[test]
    fn few_steps_are_all_computed() {
        for n_steps in 0..=5 {
            assert_eq!(computed(n_steps), n_steps);
        }
        let never = Rule { window: 0.0, growth: 0.0, ..Rule::SPECTRUM };
        assert!(!Forecast::by(Some(never), 20).is_on());
        assert!(!Forecast::new(None, 20).is_on());
        assert!(Forecast::new(Some(Forecasting::Spectrum), 20).is_on());
    }

    /// The formula as it is written, with the normal equations' matrix inverted by cofactors.
    fn plainly(rule: &Rule, computed: &[(usize, f64)], step: usize) -> f64 {
        let tau = |step: usize| 2.0 * step as f64 / 50.0 - 1.0;
        let basis = |step: usize| {
            let t = tau(step);
            vec![1.0, t, 2.0 * t * t - 1.0, 4.0 * t * t * t - 3.0 * t]
        };
        let rows: Vec<Vec<f64>> = computed.iter().map(|&(step, _)| basis(step)).collect();
        let gram = |i: usize, j: usize| -> f64 {
            rows.iter().map(|row| row[i] * row[j]).sum::<f64>() + if i == j { rule.ridge } else { 0.0 }
        };
        let matrix: Vec<Vec<f64>> = (0..4).map(|i| (0..4).map(|j| gram(i, j)).collect()).collect();
        let right: Vec<f64> =
            (0..4).map(|i| rows.iter().zip(computed).map(|(row, (_, value))| row[i] * value).sum()).collect();
        let whole = determinant(&matrix);
        // Cramer's rule.
        let coefficient = |column: usize| {
            let mut replaced = matrix.clone();
            replaced.iter_mut().zip(&right).for_each(|(row, &value)| row[column] = value);
            determinant(&replaced) / whole
        };
        let polynomial: f64 = basis(step).iter().enumerate().map(|(i, t)| t * coefficient(i)).sum();
        let [.., (_, before), (_, last)] = computed else { panic!("two at least") };
        (1.0 - rule.weight) * (last + 0.5 * (last - before)) + rule.weight * polynomial
    }

    fn determinant(matrix: &[Vec<f64>]) -> f64 {
        let [first, rest @ ..] = matrix else { return 1.0 };
        let minor = |column: usize| -> Vec<Vec<f64>> {
            let without =
                |row: &Vec<f64>| row.iter().enumerate().filter(|(i, _)| *i != column).map(|(_, v)| *v).collect();
            rest.iter().map(without).collect()
        };
        let sign = |column: usize| if column.is_multiple_of(2) { 1.0 } else { -1.0 };
        first.iter().enumerate().map(|(column, value)| sign(column) * value * determinant(&minor(column))).sum()
    }

    #[test]
    fn forecasts_are_those_of_the_formula() {
        let rule = Rule::SPECTRUM;
        let mut forecast = Forecast::by(Some(rule), 20);
        let mut kept: Vec<Vec<(usize, f64)>> = vec![Vec::new(); 3];
        let value = |step: usize, lane: usize| ((step * (lane + 2)) as f32 * 0.37).sin() * 3.0;
        let mut n_foretold = 0;
        for step in 0..20 {
            let lanes: Vec<f32> = (0..3).map(|lane| value(step, lane)).collect();
            let Some(clean) = forecast.clean(step) else {
                kept.iter_mut().zip(&lanes).for_each(|(kept, &value)| {
                    kept.push((step, f64::from(value)));
                    if kept.len() > 6 {
                        kept.remove(0);
                    }
                });
                forecast.keep(step, lanes);
                continue;
            };
            n_foretold += 1;
            for (got, kept) in clean.iter().zip(&kept) {
                let want = plainly(&rule, kept, step);
                assert!((f64::from(*got) - want).abs() < 1e-5 * want.abs().max(1.0), "step {step}: {got} for {want}");
            }
        }
        assert_eq!(n_foretold, 9);
    }

    #[test]
    fn the_line_goes_on_from_the_last_two() {
        let mut forecast = Forecast::new(Some(Forecasting::Line), 20);
        assert_eq!("line".parse::<Forecasting>().unwrap(), Forecasting::Line);
        assert!("x".parse::<Forecasting>().unwrap_err().to_string().contains("spectrum, line"));
        forecast.keep(2, vec![1.0, f32::NAN]);
        assert!(forecast.clean(4).is_none());
        (0..4).for_each(|step| forecast.keep(step, vec![step as f32, 1.0]));
        assert!(forecast.clean(5).is_none(), "step 5 is computed");
        let clean = forecast.clean(4).unwrap();
        assert!((clean[0] - 3.5).abs() < 1e-6 && (clean[1] - 1.0).abs() < 1e-6, "{clean:?}");
    }

    #[test]
    fn what_stays_the_same_is_nearly_foretold() {
        let rule = Rule { ridge: 1e-9, ..Rule::SPECTRUM };
        let mut forecast = Forecast::by(Some(rule), 20);
        (0..4).for_each(|step| forecast.keep(step, vec![2.5, -1.0]));
        let clean = forecast.clean(4).unwrap();
        assert!((clean[0] - 2.5).abs() < 1e-3 && (clean[1] + 1.0).abs() < 1e-3, "{clean:?}");
        // With the ridge it shrinks a little, as Spectrum's does.
        let mut forecast = Forecast::new(Some(Forecasting::Spectrum), 20);
        (0..4).for_each(|step| forecast.keep(step, vec![2.5]));
        let clean = forecast.clean(4).unwrap();
        assert!((2.2..2.5).contains(&clean[0]), "{clean:?}");
    }
}
