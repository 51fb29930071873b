//! A training from start to end: batches, targets, pauses, and what is told of it.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use host_tensor::HostTensor;
use safe_files::OutputFile;

use crate::data::{Data, paired_places, places, rows};
use crate::error::FinetuneError;
use crate::network::Samples;
use crate::tuner::Tuner;

/// Time between two saves.
const BETWEEN_SAVES: Duration = Duration::from_secs(60);

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Steps that are done, of those of the recipe.
    pub n_done: usize,
    /// Steps of the recipe.
    pub n_steps: usize,
    /// Mean squared error of the last step.
    pub loss: f64,
    /// Time for the steps of this run.
    pub seconds: f64,
    /// Time for what is left, as fast as this run was.
    pub seconds_left: f64,
}

impl Tuner {
    /// Takes all steps that are left; targets are what the network gives with its own weights, computed when they are first
    /// needed.
    ///
    /// The state is saved once a minute, at the end, and when `told` breaks off, which is [`FinetuneError::Stopped`].
    ///
    /// # Errors
    /// When the data do not fit the network, the device fails, or the state cannot be written.
    pub fn run(
        &mut self,
        data: &Data,
        state: Option<&OutputFile>,
        mut told: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), FinetuneError> {
        if self.recipe().guidance.is_some() && !data.has_pairs() {
            return Err(FinetuneError::NoPairs);
        }
        let save = |tuner: &Self| state.map_or(Ok(()), |file| tuner.save(file));
        let (begin, first) = (Instant::now(), self.n_done());
        let (mut saved, mut targets) = (Instant::now(), Targets::new(data.n_samples()));
        let n_steps = self.recipe().n_steps();
        while self.n_done() < n_steps {
            let (seed, batch) = (self.recipe().seed, self.recipe().batch);
            let choose = if self.recipe().guidance.is_some() { paired_places } else { places };
            let chosen = choose(seed, data.n_samples(), batch, self.n_done());
            let inputs = data.batch(&chosen);
            let wanted = targets.get(self, data, &chosen)?;
            let loss = self.step(&inputs, &wanted)?;
            let seconds = begin.elapsed().as_secs_f64();
            let per_step = seconds / (self.n_done() - first) as f64;
            let seconds_left = per_step * (n_steps - self.n_done()) as f64;
            if told(Progress { n_done: self.n_done(), n_steps, loss, seconds, seconds_left }).is_break() {
                save(self)?;
                return Err(FinetuneError::Stopped);
            }
            if saved.elapsed() > BETWEEN_SAVES {
                save(self)?;
                saved = Instant::now();
            }
        }
        save(self)
    }

    /// How far outputs are from the targets with weights as they would be stored now, over samples: the mean squared error,
    /// and that of an output of zeros, which it is measured by.
    ///
    /// # Errors
    /// As [`Tuner::run`].
    pub fn judge(&self, data: &Data, n_samples: usize) -> Result<(f64, f64), FinetuneError> {
        let n_samples = n_samples.min(data.n_samples());
        let (mut error, mut power, mut n) = (0.0, 0.0, 0);
        for from in (0..n_samples).step_by(self.recipe().batch) {
            let chosen: Vec<usize> = (from..n_samples.min(from + self.recipe().batch)).collect();
            let inputs = data.batch(&chosen);
            let (wanted, found) = (self.targets(&inputs)?, self.outputs(&inputs)?);
            for (name, wanted) in &wanted {
                let (wanted, found) = (wanted.to_f32_vec(), found[name].to_f32_vec());
                let pairs = wanted.iter().zip(&found);
                error += pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
                power += wanted.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>();
                n += wanted.len();
            }
        }
        Ok((error / n.max(1) as f64, power / n.max(1) as f64))
    }
}

/// What the network gives with its own weights, of the samples that were needed so far.
struct Targets {
    known: Vec<Option<Samples>>,
}

impl Targets {
    fn new(n_samples: usize) -> Self {
        Self { known: vec![None; n_samples] }
    }

    fn get(&mut self, tuner: &Tuner, data: &Data, chosen: &[usize]) -> Result<Samples, FinetuneError> {
        let missing: Vec<usize> = chosen.iter().copied().filter(|&place| self.known[place].is_none()).collect();
        if !missing.is_empty() {
            let found = tuner.targets(&data.batch(&missing))?;
            for (row, &place) in missing.iter().enumerate() {
                let own = found.iter().map(|(name, tensor)| (name.clone(), rows(tensor, &[row])));
                self.known[place] = Some(own.collect());
            }
        }
        let known: Vec<&Samples> = chosen.iter().filter_map(|&place| self.known[place].as_ref()).collect();
        let names = known.first().into_iter().flat_map(|samples| samples.keys());
        Ok(names.map(|name| (name.clone(), stacked(known.iter().map(|samples| &samples[name])))).collect())
    }
}

/// Tensors of one sample each, one behind the other.
fn stacked<'a>(tensors: impl Iterator<Item = &'a HostTensor>) -> HostTensor {
    let tensors: Vec<&HostTensor> = tensors.collect();
    let shape = tensors.first().map_or(&[][..], |tensor| &tensor.shape()[1..]);
    let shape: Vec<usize> = std::iter::once(tensors.len()).chain(shape.iter().copied()).collect();
    HostTensor::from_f32(shape, tensors.iter().flat_map(|tensor| tensor.to_f32_vec()).collect())
}
