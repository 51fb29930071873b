//! What a walk may be asked for beyond the configuration: the keywords that diffusers' `set_timesteps` and `step` take.

use crate::error::{Result, RuntimeError};

/// How a walk is laid out and taken.
///
/// A scheduler refuses what it has no use for, so that nothing is silently ignored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WalkOptions {
    /// Number of steps; not used where time steps or sigmas are given.
    pub steps: usize,
    /// How many of the first steps are left out, as when a walk begins with a picture.
    pub start: usize,
    /// The time steps to take, falling.
    pub timesteps: Option<Vec<f64>>,
    /// The noise levels to take, falling; of `EulerDiscreteScheduler` with the last, which is the end.
    pub sigmas: Option<Vec<f64>>,
    /// How far dynamic shifting shifts, which depends on the picture's size.
    pub mu: Option<f64>,
    /// Steps that a model was distilled from.
    pub original_steps: Option<usize>,
    /// Share of the distilled steps that are used, from the least noisy on.
    pub strength: Option<f64>,
    /// How much noise is added on the way, 0 to 1.
    pub eta: Option<f64>,
    /// Compute the noise anew from a clean sample that was clipped.
    pub use_clipped_model_output: bool,
    /// Noise that is added before each step.
    pub churn: Option<Churn>,
    /// Most outputs that a linear multistep method combines.
    pub order: Option<usize>,
}

/// Noise that is added before a step and removed by it (arXiv 2206.00364, algorithm 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// How much, over the whole walk.
    pub amount: f64,
    /// Standard deviation of the noise.
    pub noise: f64,
    /// Smallest sigma at which it is added.
    pub sigma_min: f64,
    /// Largest sigma at which it is added.
    pub sigma_max: f64,
}

impl Default for Churn {
    fn default() -> Self {
        Self { amount: 0.0, noise: 1.0, sigma_min: 0.0, sigma_max: f64::INFINITY }
    }
}

impl Churn {
    /// The share by which sigma grows before a step, at most √2 − 1.
    pub(super) fn gamma(self, sigma: f64, n_steps: usize) -> f64 {
        match (self.sigma_min..=self.sigma_max).contains(&sigma) {
            true => (self.amount / n_steps as f64).min(std::f64::consts::SQRT_2 - 1.0),
            false => 0.0,
        }
    }
}

/// An option that only some schedulers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    Timesteps,
    Sigmas,
    Mu,
    OriginalSteps,
    Strength,
    Eta,
    ClippedOutput,
    Churn,
    Order,
}

impl Take {
    /// What it is called in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Timesteps => "timesteps",
            Self::Sigmas => "sigmas",
            Self::Mu => "mu",
            Self::OriginalSteps => "original_inference_steps",
            Self::Strength => "strength of a distilled schedule",
            Self::Eta => "eta",
            Self::ClippedOutput => "use_clipped_model_output",
            Self::Churn => "churn",
            Self::Order => "order",
        }
    }
}

impl WalkOptions {
    /// Options for a number of steps, everything else as by default.
    #[must_use]
    pub fn steps(steps: usize) -> Self {
        Self { steps, ..Self::default() }
    }

    /// Those that were given of the ones that only some schedulers take.
    pub(super) fn given(&self) -> impl Iterator<Item = Take> {
        [
            (self.timesteps.is_some(), Take::Timesteps),
            (self.sigmas.is_some(), Take::Sigmas),
            (self.mu.is_some(), Take::Mu),
            (self.original_steps.is_some(), Take::OriginalSteps),
            (self.strength.is_some(), Take::Strength),
            (self.eta.is_some(), Take::Eta),
            (self.use_clipped_model_output, Take::ClippedOutput),
            (self.churn.is_some(), Take::Churn),
            (self.order.is_some(), Take::Order),
        ]
        .into_iter()
        .filter_map(|(is_given, take)| is_given.then_some(take))
    }

    /// Refuses lists and numbers that no walk can be made of.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for numbers that are out of range, [`RuntimeError::StepCount`] for no step or too many.
    pub(super) fn check(&self, train: usize) -> Result<()> {
        let fail = |reason: String| Err(RuntimeError::Options(reason));
        for (name, list) in [("time steps", &self.timesteps), ("sigmas", &self.sigmas)] {
            let Some(list) = list else { continue };
            if list.is_empty() || list.len() > train + 1 {
                return fail(format!("{} {name} are given; between 1 and {train} are possible", list.len()));
            }
            if let Some(bad) = list.iter().find(|x| !(x.is_finite() && **x >= 0.0)) {
                return fail(format!("{name} hold {bad}, which is none"));
            }
            if let Some(pair) = list.windows(2).find(|pair| pair[1] >= pair[0]) {
                return fail(format!("{name} must fall, and {} follows {}", pair[1], pair[0]));
            }
        }
        if let (Some(first), true) = (self.timesteps.as_ref().and_then(|list| list.first()), true)
            && *first >= train as f64
        {
            return fail(format!("time step {first} is not below {train}, the number of training steps"));
        }
        if self.timesteps.is_some() && self.sigmas.is_some() {
            return fail("both time steps and sigmas are given; only one can be followed".into());
        }
        if let Some(eta) = self.eta.filter(|eta| !(0.0..=1.0).contains(eta)) {
            return fail(format!("eta {eta} is not between 0 and 1"));
        }
        if let Some(strength) = self.strength.filter(|s| !(*s > 0.0 && *s <= 1.0)) {
            return fail(format!("strength {strength} is not above 0 and at most 1"));
        }
        if let Some(mu) = self.mu.filter(|mu| !mu.is_finite()) {
            return fail(format!("mu {mu} is not a number"));
        }
        if let Some(order) = self.order.filter(|order| !(1..=8).contains(order)) {
            return fail(format!("order {order} is not between 1 and 8"));
        }
        if let Some(Churn { amount, noise, .. }) = self.churn
            && !(amount >= 0.0 && amount.is_finite() && noise >= 0.0 && noise.is_finite())
        {
            return fail(format!("churn {amount} with noise {noise} is negative or no number"));
        }
        let has_list = self.timesteps.is_some() || self.sigmas.is_some();
        match self.steps {
            1.. if self.steps <= train => Ok(()),
            _ if has_list => Ok(()),
            steps => Err(RuntimeError::StepCount { steps, max: train }),
        }
    }
}
