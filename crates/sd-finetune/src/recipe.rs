//! How a network is trained: which weights get palettes, how long, and how far numbers move in a step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::FinetuneError;
use crate::palettized::Pull;

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Width of an index: 1 to 4 bits.
    pub n_bits: u8,
    /// Output channels that share a palette; a whole weight where there is none.
    ///
    /// Weights whose channels it does not divide take the largest number below it that does.
    pub group_size: Option<usize>,
    /// Weights of at most so many elements stay as they are, as do those of one dimension.
    pub min_elements: usize,
    /// Parts of keys whose weights get no palettes.
    pub skip: Vec<String>,
    /// Samples of a step.
    pub batch: usize,
    /// The guidance that pictures are drawn with, where it counts too: it is mostly a difference of two outputs, times a
    /// number, and errors that they do not share grow with it. Samples are pairs then.
    pub guidance: Option<f32>,
    /// Steps in which weights and palettes are trained, by differentiable k-means.
    pub soft_steps: usize,
    /// Steps behind them in which each weight has its entry, and only palettes are trained.
    pub hard_steps: usize,
    /// Iterations of k-means in a step; with none, palettes are trained by their gradient alone.
    pub n_iterations: usize,
    /// The temperature of the first step and of the last soft one, in squares of the distance between neighbouring entries.
    pub temperatures: (f32, f32),
    /// How far numbers move at first; along half a cosine it falls to nothing in each of the two parts.
    pub soft_rates: Rates,
    /// The same for the second part.
    pub hard_rates: Rates,
    /// What the order of samples follows from.
    pub seed: u64,
}

/// How far a number moves in a step whose gradient keeps its sign.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Elements of weights with palettes, as a share of the distance between neighbouring entries.
    pub elements: f32,
    /// Entries of palettes, as a share of the same.
    pub entries: f32,
    /// All that has no palette: biases, normalisations, small weights.
    pub plain: f32,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            n_bits: 2,
            group_size: None,
            min_elements: 2048,
            skip: Vec::new(),
            batch: 16,
            guidance: None,
            soft_steps: 1200,
            hard_steps: 300,
            n_iterations: 0,
            temperatures: (0.4, 0.01),
            soft_rates: Rates { elements: 8e-3, entries: 2e-3, plain: 5e-4 },
            hard_rates: Rates { elements: 0.0, entries: 2e-3, plain: 3e-4 },
            seed: 1,
        }
    }
}

/// What a step is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stage {
    pub(crate) pull: Pull,
    pub(crate) rates: Rates,
    /// Which of its part, from 1.
    pub(crate) at: usize,
}

impl Recipe {
    /// All steps.
    #[must_use]
    pub const fn n_steps(&self) -> usize {
        self.soft_steps + self.hard_steps
    }

    /// Refuses what cannot be trained.
    pub(crate) fn check(&self) -> Result<(), FinetuneError> {
        let (first, last) = self.temperatures;
        let reason = match () {
            () if !(1..=4).contains(&self.n_bits) => format!("{} bits; palettes of 1 to 4 can be trained", self.n_bits),
            () if self.group_size == Some(0) => "groups of no channels".to_owned(),
            () if self.batch == 0 => "batches of no samples".to_owned(),
            () if self.guidance.is_some() && !self.batch.is_multiple_of(2) => {
                format!("pairs for guidance in batches of {}; give an even number", self.batch)
            }
            () if self.guidance.is_some_and(|scale| !scale.is_finite()) => "guidance that is no number".to_owned(),
            () if self.n_steps() == 0 => "no steps".to_owned(),
            () if !(first.is_finite() && last > 0.0 && first >= last) => {
                format!("temperatures from {first} to {last}; they fall, and end above 0")
            }
            () => return Ok(()),
        };
        Err(FinetuneError::Recipe { reason })
    }

    /// Whether a weight gets palettes.
    pub(crate) fn palettizes(&self, key: &str, shape: &[usize]) -> bool {
        let is_skipped = self.skip.iter().any(|part| key.contains(part.as_str()));
        shape.len() >= 2 && shape.iter().product::<usize>() > self.min_elements && !is_skipped
    }

    /// Channels of a group, of so many.
    pub(crate) fn group_size_of(&self, n_channels: usize) -> Option<usize> {
        let wanted = self.group_size?.min(n_channels);
        (1..=wanted).rev().find(|size| n_channels.is_multiple_of(*size))
    }

    /// What a step is of, counted from 0.
    pub(crate) fn stage(&self, step: usize) -> Stage {
        match step.checked_sub(self.soft_steps) {
            None => {
                let way = step as f64 / self.soft_steps as f64;
                let (first, last) = (f64::from(self.temperatures.0), f64::from(self.temperatures.1));
                let temperature = (first * (last / first).powf(way)) as f32;
                let pull = Pull::Soft { temperature, n_iterations: self.n_iterations };
                Stage { pull, rates: self.soft_rates.at(way), at: step + 1 }
            }
            Some(step) => {
                let way = step as f64 / self.hard_steps.max(1) as f64;
                Stage { pull: Pull::Hard, rates: self.hard_rates.at(way), at: step + 1 }
            }
        }
    }
}

impl Rates {
    /// Along half a cosine, after a short rise.
    fn at(self, way: f64) -> Self {
        let rise = (way / 0.03).clamp(0.02, 1.0);
        let share = (rise * (0.5 + 0.5 * (PI * way).cos())) as f32;
        Self { elements: self.elements * share, entries: self.entries * share, plain: self.plain * share }
    }
}
