//! Flow matching: a sample is (1 − σ) times the clean sample plus σ times noise, and the model gives the velocity between
//! the two. Here is how its walks are laid out; how they are taken is in files of their own.

use serde::Deserialize;
use serde_json::Value;

use super::config::SchedulerConfig;
use super::options::WalkOptions;
use super::spread::{self, linspace};
use super::walk::{Course, StepGuard, mix};
use crate::error::{Result, RuntimeError};

/// Keys of flow-matching schedulers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Keys {
    shift: f64,
    use_dynamic_shifting: bool,
    invert_sigmas: bool,
    shift_terminal: Option<f64>,
    use_karras_sigmas: bool,
    use_exponential_sigmas: bool,
    use_beta_sigmas: bool,
    time_shift_type: TimeShift,
    pub(super) stochastic_sampling: bool,
}

/// How dynamic shifting shifts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TimeShift {
    Exponential,
    Linear,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            shift: 1.0,
            use_dynamic_shifting: false,
            invert_sigmas: false,
            shift_terminal: None,
            use_karras_sigmas: false,
            use_exponential_sigmas: false,
            use_beta_sigmas: false,
            time_shift_type: TimeShift::Exponential,
            stochastic_sampling: false,
        }
    }
}

impl SchedulerConfig {
    /// How far dynamic shifting shifts for a picture of so many patches: on the line through `base_shift` at
    /// `base_image_seq_len` and `max_shift` at `max_image_seq_len` (diffusers 0.42, `calculate_shift`). `None` without
    /// dynamic shifting.
    #[must_use]
    pub fn dynamic_shift(&self, n_patches: usize) -> Option<f64> {
        let number = |key: &str, or: f64| self.source.get(key).and_then(Value::as_f64).unwrap_or(or);
        let is_dynamic = self.source.get("use_dynamic_shifting").and_then(Value::as_bool).unwrap_or(false);
        let (few, many) = (number("base_image_seq_len", 256.0), number("max_image_seq_len", 4096.0));
        let (least, most) = (number("base_shift", 0.5), number("max_shift", 1.15));
        is_dynamic.then(|| least + (n_patches as f64 - few) * (most - least) / (many - few))
    }
}

/// A curve between two ends.
type Curve = fn(f64, f64, usize) -> Vec<f64>;

impl Keys {
    /// Those of a file.
    ///
    /// # Errors
    /// [`RuntimeError::Json`] for a value of another type, [`RuntimeError::SchedulerConfig`] for one that is out of range and
    /// for choices that exclude each other.
    pub(super) fn of(config: &SchedulerConfig) -> Result<Self> {
        let keys: Self = config.own()?;
        let fail = |reason: String| Err(RuntimeError::SchedulerConfig(reason));
        if !(keys.shift > 0.0 && keys.shift.is_finite()) {
            return fail(format!("shift {} is not positive", keys.shift));
        }
        if let Some(terminal) = keys.shift_terminal.filter(|t| !(0.0..1.0).contains(t)) {
            return fail(format!("shift_terminal {terminal} is not between 0 and 1"));
        }
        let on: Vec<&str> = keys.curves().filter(|(is_on, ..)| *is_on).map(|(_, name, _)| name).collect();
        match on[..] {
            [first, second, ..] => fail(format!("{first} and {second} are both true, and only one can be followed")),
            _ => Ok(keys),
        }
    }

    fn curves(&self) -> impl Iterator<Item = (bool, &'static str, Curve)> {
        [
            (self.use_karras_sigmas, "use_karras_sigmas", spread::karras as Curve),
            (self.use_exponential_sigmas, "use_exponential_sigmas", spread::exponential as Curve),
            (self.use_beta_sigmas, "use_beta_sigmas", spread::beta as Curve),
        ]
        .into_iter()
    }

    /// Moves a sigma towards the noise, as the configuration says, or the size of the picture.
    fn shifted(&self, sigma: f64, mu: Option<f64>) -> f64 {
        let by = |shift: f64| shift / (shift + (1.0 / sigma - 1.0));
        match (mu, self.time_shift_type) {
            (Some(mu), TimeShift::Exponential) => by(mu.exp()),
            (Some(mu), TimeShift::Linear) => by(mu),
            (None, _) => shift(sigma, self.shift),
        }
    }
}

/// A shift by a constant factor.
fn shift(sigma: f64, shift: f64) -> f64 {
    shift * sigma / (1.0 + (shift - 1.0) * sigma)
}

/// Stretches falling sigmas so that the last of them is `terminal`.
pub(super) fn stretch(sigmas: &mut [f64], terminal: f64) {
    let Some(last) = sigmas.last() else { return };
    let scale = (1.0 - last) / (1.0 - terminal);
    sigmas.iter_mut().for_each(|s| *s = 1.0 - (1.0 - *s) / scale);
}

/// A walk through flow matching's sigmas.
#[derive(Debug)]
pub(super) struct Stream {
    /// Time steps of the calls that are made.
    timesteps: Vec<f32>,
    /// Sigma of the sample of each.
    inputs: Vec<f32>,
    /// Sigmas of the whole walk, and its end.
    sigmas: Vec<f32>,
    skipped: usize,
    guard: StepGuard,
}

impl Stream {
    /// Lays out a walk.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for a shift that is missing or of no use, and for sigmas above 1.
    pub(super) fn of(config: &SchedulerConfig, keys: &Keys, options: &WalkOptions) -> Result<(Vec<f32>, Vec<f32>)> {
        let train = config.num_train_timesteps as f64;
        match (options.mu, keys.use_dynamic_shifting) {
            (None, true) => {
                return Err(RuntimeError::Options(
                    "use_dynamic_shifting needs mu, which depends on the picture's size".into(),
                ));
            }
            (Some(_), false) => {
                return Err(RuntimeError::Options("mu is given, which counts only with use_dynamic_shifting".into()));
            }
            _ => {}
        }
        let mut sigmas = match (&options.sigmas, &options.timesteps) {
            (Some(given), _) => given.iter().map(|&s| f64::from(s as f32)).collect(),
            (None, Some(given)) => given.iter().map(|&t| f64::from(t as f32) / train).collect(),
            (None, None) => own_sigmas(config, keys, options.steps),
        };
        if let Some(bad) = sigmas.iter().find(|s| !(**s > 0.0 && **s <= 1.0)) {
            return Err(RuntimeError::Options(format!("sigma {bad} of flow matching is not above 0 and at most 1")));
        }
        sigmas.iter_mut().for_each(|s| *s = keys.shifted(*s, options.mu));
        if let Some(terminal) = keys.shift_terminal.filter(|t| *t != 0.0) {
            stretch(&mut sigmas, terminal);
        }
        if let Some((.., curve)) = keys.curves().find(|(is_on, ..)| *is_on) {
            sigmas = curve(sigmas[0], sigmas[sigmas.len() - 1], sigmas.len());
        }
        let mut sigmas: Vec<f32> = sigmas.into_iter().map(|s| s as f32).collect();
        if keys.invert_sigmas {
            sigmas.iter_mut().for_each(|s| *s = 1.0 - *s);
        }
        let timesteps = match &options.timesteps {
            Some(given) if !keys.invert_sigmas => given.iter().map(|&t| t as f32).collect(),
            _ => sigmas.iter().map(|s| s * train as f32).collect(),
        };
        sigmas.push(if keys.invert_sigmas { 1.0 } else { 0.0 });
        Ok((timesteps, sigmas))
    }

    /// A walk that asks the model once for each step.
    pub(super) fn single(config: &SchedulerConfig, keys: &Keys, options: &WalkOptions) -> Result<Self> {
        let (timesteps, sigmas) = Self::of(config, keys, options)?;
        let calls = timesteps.into_iter().zip(sigmas.clone()).collect();
        Ok(Self::new(calls, sigmas, options.start))
    }

    /// A walk that asks it twice for each step but the last, the second time at the step's end.
    pub(super) fn double(config: &SchedulerConfig, keys: &Keys, options: &WalkOptions) -> Result<Self> {
        let (timesteps, sigmas) = Self::of(config, keys, options)?;
        let both: Vec<(f32, f32)> = timesteps.into_iter().zip(sigmas.clone()).collect();
        let calls = both.iter().take(1).chain(both.iter().skip(1).flat_map(|call| [call, call])).copied().collect();
        Ok(Self::new(calls, sigmas, 2 * options.start))
    }

    fn new(calls: Vec<(f32, f32)>, sigmas: Vec<f32>, skipped: usize) -> Self {
        let (timesteps, inputs) = calls.into_iter().skip(skipped).unzip();
        Self { timesteps, inputs, sigmas, skipped, guard: StepGuard::default() }
    }

    /// Checks that a call is due, and gives its number in the whole walk.
    pub(super) fn admit(&mut self, index: usize, output: &[f32], sample: &[f32]) -> Result<usize> {
        self.guard.admit(self.timesteps.len(), index, output, sample)?;
        Ok(index + self.skipped)
    }

    /// Sigmas at a step's beginning and end.
    pub(super) fn ends(&self, step: usize) -> (f32, f32) {
        (self.sigmas[step], self.sigmas[step + 1])
    }
}

impl Course for Stream {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, index: usize, clean: &[f32], noise: &mut [f32]) {
        let sigma = self.inputs.get(index).copied().unwrap_or(0.0);
        mix(1.0 - sigma, clean, sigma, noise);
    }
}

/// Sigmas before shifting, which the configuration's constant shift has already moved at both ends: diffusers shifts twice.
fn own_sigmas(config: &SchedulerConfig, keys: &Keys, n: usize) -> Vec<f64> {
    let train = config.num_train_timesteps as f64;
    let end = |sigma: f64| match keys.use_dynamic_shifting {
        true => f64::from(sigma as f32),
        false => f64::from(shift(sigma, keys.shift) as f32),
    };
    linspace(end(1.0) * train, end(1.0 / train) * train, n).into_iter().map(|t| t / train).collect()
}
