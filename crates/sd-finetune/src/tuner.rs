//! The training: weights and palettes together, then palettes alone.

use std::sync::Arc;

use half::f16;
use rayon::prelude::*;
use sd_checkpoint::Weights;
use sd_models::NetworkConfig;
use sd_models::weights::Binding;
use sd_models::{ByteRelation, ModelError};

use burn_core::tensor::Device;

use crate::adam::Adam;
use crate::error::FinetuneError;
use crate::network::{Samples, Trained, build};
use crate::palettized::{Palettized, Pull, Tape, fault};
use crate::recipe::{Recipe, Stage};

/// What is trained of a parameter.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    /// Elements and palettes.
    Palettized(Box<Palettized>),
    /// Its numbers, which stay in half precision.
    Plain { numbers: Vec<f32>, adam: Adam },
}

/// A network in training.
pub struct Tuner {
    network: Box<dyn Trained>,
    pub(crate) recipe: Recipe,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) slots: Vec<Slot>,
    /// The network's own parameters, which the targets come from.
    teacher: Vec<Arc<Vec<f32>>>,
    /// Steps that are done.
    pub(crate) n_done: usize,
}

impl std::fmt::Debug for Tuner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tuner({} parameters, {} of {} steps)", self.slots.len(), self.n_done, self.recipe.n_steps())
    }
}

impl Tuner {
    /// Reads a network's weights, and finds the palettes that training begins with.
    ///
    /// # Errors
    /// When the weights are not the network's, or one cannot have palettes of this kind.
    pub fn new(
        config: &NetworkConfig,
        weights: &Weights,
        recipe: Recipe,
        device: &Device,
    ) -> Result<Self, FinetuneError> {
        recipe.check()?;
        let network = build(config, device);
        let report = config.load_report(device, weights.contents());
        let known = report.into_bindings().map_err(ModelError::from)?;
        let by_path = |path: &str| known.iter().find(|binding| binding.path == path).cloned();
        let bindings: Vec<Binding> = network.parameters().iter().filter_map(|p| by_path(&p.path)).collect();
        let slots = bindings.par_iter().map(|binding| slot(weights, binding, &recipe)).collect::<Result<_, _>>()?;
        let own = |binding: &Binding| weights.parameter(binding).map(|c| Arc::new(c.read().to_f32_vec()));
        let teacher = bindings.iter().filter_map(own).collect();
        Ok(Self { network, recipe, bindings, slots, teacher, n_done: 0 })
    }

    /// What the network gives with its own weights.
    ///
    /// # Errors
    /// When inputs are missing, or the device fails.
    pub fn targets(&self, inputs: &Samples) -> Result<Samples, FinetuneError> {
        self.network.outputs(&self.teacher, inputs)
    }

    /// What it gives with the palettes as they are, each value the nearest entry.
    ///
    /// # Errors
    /// As [`Tuner::targets`].
    pub fn outputs(&self, inputs: &Samples) -> Result<Samples, FinetuneError> {
        let values: Vec<_> = self.stored().map(|(binding, stored)| Arc::new(in_module(binding, stored))).collect();
        self.network.outputs(&values, inputs)
    }

    /// One step; says the mean squared error before it.
    ///
    /// # Errors
    /// As [`Tuner::targets`], and when targets do not fit.
    pub fn step(&mut self, inputs: &Samples, targets: &Samples) -> Result<f64, FinetuneError> {
        let stage = self.recipe.stage(self.n_done);
        if stage.pull == Pull::Hard {
            self.give_out();
        }
        let found: Vec<(Arc<Vec<f32>>, Tape)> = self
            .slots
            .par_iter()
            .zip(&self.bindings)
            .map(|(slot, binding)| {
                let (values, tape) = slot.values(stage.pull);
                (Arc::new(in_module(binding, values)), tape)
            })
            .collect();
        let (values, tapes): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let (loss, gradients) = self.network.gradients(&values, inputs, targets, self.recipe.guidance)?;
        self.n_done += 1;
        let slots = self.slots.par_iter_mut().zip(&self.bindings).zip(tapes).zip(gradients);
        slots.for_each(|(((slot, binding), tape), gradient)| slot.step(stage, &tape, &in_file(binding, gradient)));
        Ok(loss)
    }

    /// Gives elements their entries, the first time that the recipe asks for it.
    fn give_out(&mut self) {
        self.slots.par_iter_mut().for_each(|slot| match slot {
            Slot::Palettized(weight) if weight.places.is_empty() => weight.give_out(),
            Slot::Palettized(_) => {}
            Slot::Plain { numbers, adam } => {
                if self.n_done == self.recipe.soft_steps {
                    *adam = Adam::new(numbers.len());
                }
            }
        });
    }

    /// Every parameter as it would be stored now, in the shape that the file has.
    pub(crate) fn stored(&self) -> impl Iterator<Item = (&Binding, Vec<f32>)> {
        self.bindings.iter().zip(&self.slots).map(|(binding, slot)| (binding, slot.stored()))
    }

    /// Steps that are done, of all.
    #[must_use]
    pub fn n_done(&self) -> usize {
        self.n_done
    }

    /// How it is trained.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }
}

/// What is trained of a parameter, as the recipe says.
fn slot(weights: &Weights, binding: &Binding, recipe: &Recipe) -> Result<Slot, FinetuneError> {
    let stored = weights.get(&binding.key).map(|weight| weight.constant().read());
    let Some(stored) = stored else { return Err(fault(&binding.key, "it is not in the checkpoint".into())) };
    if !recipe.palettizes(&binding.key, stored.shape()) {
        let numbers = stored.to_f32_vec();
        return Ok(Slot::Plain { adam: Adam::new(numbers.len()), numbers });
    }
    let group_size = recipe.group_size_of(stored.shape()[0]);
    let palettized = Palettized::new(&stored, recipe.n_bits, group_size);
    Ok(Slot::Palettized(Box::new(palettized.map_err(|reason| fault(&binding.key, reason))?)))
}

impl Slot {
    fn values(&self, pull: Pull) -> (Vec<f32>, Tape) {
        match self {
            Self::Palettized(weight) => weight.values(pull),
            Self::Plain { numbers, .. } => (rounded(numbers), Tape::default()),
        }
    }

    fn step(&mut self, stage: Stage, tape: &Tape, gradient: &[f32]) {
        match self {
            Self::Palettized(weight) => {
                let gradients = weight.gradients(stage.pull, tape, gradient);
                weight.step(tape, &gradients, stage.at, (stage.rates.elements, stage.rates.entries));
            }
            Self::Plain { numbers, adam } => {
                let n = numbers.len();
                adam.step(numbers, gradient, stage.at, n, &[stage.rates.plain]);
            }
        }
    }

    /// As it would be stored now.
    fn stored(&self) -> Vec<f32> {
        match self {
            Self::Plain { numbers, .. } => rounded(numbers),
            Self::Palettized(weight) if !weight.places.is_empty() => weight.given(),
            Self::Palettized(weight) => {
                let mut settled = weight.as_ref().clone();
                settled.give_out();
                settled.given()
            }
        }
    }
}

/// As half precision keeps them.
fn rounded(numbers: &[f32]) -> Vec<f32> {
    numbers.iter().map(|&number| f16::from_f32(number).to_f32()).collect()
}

/// From the file's order to the module's.
fn in_module(binding: &Binding, values: Vec<f32>) -> Vec<f32> {
    match binding.relation {
        ByteRelation::Identical => values,
        ByteRelation::Transposed => transposed(&values, binding.shape[1], binding.shape[0]),
    }
}

/// From the module's order to the file's.
fn in_file(binding: &Binding, values: Vec<f32>) -> Vec<f32> {
    match binding.relation {
        ByteRelation::Identical => values,
        ByteRelation::Transposed => transposed(&values, binding.shape[0], binding.shape[1]),
    }
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    /// Side of the squares that are turned at a time, so that both sides stay in the first-level cache.
    const SIDE: usize = 32;
    let mut turned = vec![0.0; values.len()];
    for top in (0..rows).step_by(SIDE) {
        for left in (0..columns).step_by(SIDE) {
            for row in top..rows.min(top + SIDE) {
                for column in left..columns.min(left + SIDE) {
                    turned[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    turned
}
