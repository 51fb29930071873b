//! SA-Solver: stochastic Adams, a predictor and a corrector that share one noise (arXiv 2309.05019), equal to diffusers'
//! `SASolverScheduler` with its own choice of τ: 1 between the time steps 200 and 800, 0 elsewhere.

use sd_spec::keys;
use serde::Deserialize;

use super::config::{PredictionType, SchedulerConfig};
use super::entry::{Entry, Family, SchedulerKind};
use super::options::WalkOptions;
use super::rectify::Rectify;
use super::rungs::{End, Layout, Rungs};
use super::schedule::SigmaKeys;
use super::walk::{Course, History, Scheduler, blend};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::SaSolver,
    class: "SASolverScheduler",
    name: "sa-solver",
    aliases: &["sa"],
    label: "SA Solver",
    summary: "Stochastic Adams, predictor and corrector of second order",
    near: &[],
    family: Family::BetasOrFlow,
    betas: None,
    takes: &[],
    keys: &keys::SA_SOLVER,
    words: &[],
    check: |config| SigmaKeys::of(config).and(config.own::<Keys>()).map(drop),
    build: |config, options| Ok(Box::new(SaSolver::new(config, options)?)),
};

/// Keys of its own.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    predictor_order: usize,
    corrector_order: usize,
    algorithm_type: String,
    lower_order_final: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            predictor_order: 2,
            corrector_order: 2,
            algorithm_type: "data_prediction".to_owned(),
            lower_order_final: true,
        }
    }
}

/// An SA-Solver walk.
#[derive(Debug)]
struct SaSolver {
    rungs: Rungs,
    prediction: PredictionType,
    takes_clean: bool,
    predictor_order: usize,
    corrector_order: usize,
    lower_order_final: bool,
    rectify: Rectify,
    history: History,
    last: Option<Last>,
    /// Steps that count towards the order.
    warm: usize,
}

/// What the corrector needs of the step before.
#[derive(Debug)]
struct Last {
    sample: Vec<f32>,
    noise: Vec<f32>,
    corrector_order: usize,
}

impl SaSolver {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        let layout = Layout { clips: true, end: End::SmallestOrLast, ..Layout::default() };
        Ok(Self {
            rungs: Rungs::of(config, options, layout)?,
            prediction: config.prediction_type,
            takes_clean: keys.algorithm_type != "noise_prediction",
            predictor_order: keys.predictor_order,
            corrector_order: keys.corrector_order,
            lower_order_final: keys.lower_order_final,
            rectify: Rectify::of(config, None)?,
            history: History::new(keys.predictor_order.max(keys.corrector_order - 1)),
            last: None,
            warm: 0,
        })
    }

    /// How much noise is added at a time step.
    fn tau(&self, step: usize) -> f64 {
        if (200.0..=800.0).contains(&self.rungs.timestep(step)) { 1.0 } else { 0.0 }
    }

    fn lambda(&self, step: usize) -> f64 {
        f64::from(self.rungs.level(step).lambda)
    }

    /// Goes from the level of step `from` to the next, by outputs at the levels of `nodes`, newest first.
    fn go(&self, from: usize, nodes: &[usize], outputs: &[&[f32]], noise: &[f32], sample: &mut [f32]) {
        let (start, end) = (self.rungs.level(from), self.rungs.level(from + 1));
        let (alpha, sigma) = (f64::from(end.alpha), f64::from(end.sigma));
        let (tau, h) = (self.tau(from), self.lambda(from + 1) - self.lambda(from));
        let c = 1.0 + tau * tau;
        let places: Vec<f64> = nodes.iter().map(|&step| self.lambda(step) - self.lambda(from + 1)).collect();
        let (exponent, gain) = if self.takes_clean { (c, c * alpha) } else { (-1.0, -c * sigma) };
        let mut weights = weights(&places, h, exponent);
        if self.takes_clean && nodes.len() == 2 {
            // diffusers' second-order terms, of the predictor and of the corrector.
            let rest = (h * c - 1.0 + (-c * h).exp()) / (c * c);
            let extra = match nodes[0] == from {
                true => (h * h / 2.0 - rest) / (self.lambda(from) - self.lambda(from - 1)),
                false if h == 0.0 => 0.0,
                false => h / 2.0 - rest / h,
            };
            weights[0] += extra;
            weights[1] -= extra;
        }
        let mut terms: Vec<(f64, &[f32])> =
            weights.iter().zip(outputs).map(|(weight, output)| (gain * weight, *output)).collect();
        let (keep, spread) = if self.takes_clean {
            let keep = (-tau * tau * h).exp() * sigma / f64::from(start.sigma);
            (keep, sigma * (1.0 - (-2.0 * tau * tau * h).exp()).max(0.0).sqrt())
        } else {
            (alpha / f64::from(start.alpha), tau * sigma * ((2.0 * h).exp() - 1.0).max(0.0).sqrt())
        };
        terms.push((spread, noise));
        blend(sample, keep, &terms);
    }
}

/// Integrals from −h to 0, times `exp(c·u)`, of the polynomials that are 1 at one of the places and 0 at the others.
fn weights(places: &[f64], h: f64, c: f64) -> Vec<f64> {
    let n = places.len();
    let decay = (-c * h).exp();
    let mut moments = vec![(1.0 - decay) / c];
    for k in 1..n {
        let lower = (-h).powi(k as i32) * decay;
        moments.push((-lower - k as f64 * moments[k - 1]) / c);
    }
    let weight = |which: usize| -> f64 {
        let mut polynomial = vec![1.0];
        for (_, other) in places.iter().enumerate().filter(|(k, _)| *k != which) {
            // Times (u − other) / (place − other), lowest power first.
            let scale = 1.0 / (places[which] - other);
            let mut product = vec![0.0; polynomial.len() + 1];
            for (power, factor) in polynomial.iter().enumerate() {
                product[power] -= factor * other * scale;
                product[power + 1] += factor * scale;
            }
            polynomial = product;
        }
        polynomial.iter().zip(&moments).map(|(factor, moment)| factor * moment).sum()
    };
    (0..n).map(weight).collect()
}

impl Scheduler for SaSolver {
    fn course(&self) -> &dyn Course {
        &self.rungs
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn RandomSource,
    ) -> Result<()> {
        let step = self.rungs.admit(step_index, model_output, sample)?;
        let mut output = self.rungs.clean(step, self.prediction, model_output, sample);
        self.rectify.apply(&mut output);
        if !self.takes_clean {
            output = self.rungs.noise(step, PredictionType::Sample, &output, sample);
        }
        if let Some(Last { sample: before, noise, corrector_order }) = self.last.take() {
            let nodes: Vec<usize> = (0..corrector_order).map(|back| step - back).collect();
            let earlier = (0..corrector_order - 1).map(|back| self.history.ago(back));
            let outputs: Vec<&[f32]> = std::iter::once(&output[..]).chain(earlier).collect();
            sample.copy_from_slice(&before);
            self.go(step - 1, &nodes, &outputs, &noise, sample);
        }
        self.history.push(output);
        let draws = noise.normals_f32(sample.len());
        let left = if self.lower_order_final { self.rungs.len() - step } else { usize::MAX - 1 };
        let order = self.predictor_order.min(left).min(self.warm + 1);
        let corrector_order = self.corrector_order.min(left + 1).min(self.warm + 2);
        let before = sample.to_vec();
        let nodes: Vec<usize> = (0..order).map(|back| step - back).collect();
        let outputs: Vec<&[f32]> = (0..order).map(|back| self.history.ago(back)).collect();
        self.go(step, &nodes, &outputs, &draws, sample);
        self.last = Some(Last { sample: before, noise: draws, corrector_order });
        self.warm = (self.warm + 1).min(self.predictor_order.max(self.corrector_order - 1));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::weights;

    #[test]
    fn weights_integrate_polynomials_exactly() {
        let (h, c) = (0.7f64, 2.0f64);
        let places = [-0.7, -1.5, -2.0];
        let sum = |f: fn(f64) -> f64| -> f64 { weights(&places, h, c).iter().zip(places).map(|(w, u)| w * f(u)).sum() };
        let one = (1.0 - (-c * h).exp()) / c;
        assert!((sum(|_| 1.0) - one).abs() < 1e-12);
        // ∫ u·e^{cu} = [u·e^{cu}/c − e^{cu}/c²].
        let at = |u: f64| (u / c - 1.0 / (c * c)) * (c * u).exp();
        assert!((sum(|u| u) - (at(0.0) - at(-h))).abs() < 1e-12);
    }
}
