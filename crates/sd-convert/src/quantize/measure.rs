//! What a model's outputs lose when layers are quantized.

use super::{Layer, Loss, Sample, observe::only, run_each};
use crate::ConvertError;
use host_tensor::{HostTensor, Stop};
use mil::Program;
use mil_compress::{Config, Limits, Memory, Plan, RunError, Scheme, compress, quantize_activations};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

/// A model whose outputs on some samples are known, and that is run again with layers quantized.
#[derive(Debug)]
pub struct Measuring<'p> {
    program: &'p Program,
    /// The same with all weights of 8 bits, when it was needed.
    small: Option<Program>,
    weights: Scheme,
    limits: &'p Limits,
    samples: &'p [Sample],
    /// By sample and output: the rows that count.
    clean: Vec<BTreeMap<String, Vec<f32>>>,
}

impl<'p> Measuring<'p> {
    /// Runs a program as it is.
    ///
    /// # Errors
    /// When it cannot be run, or has several functions.
    pub fn new(
        program: &'p Program,
        (weights, limits): (Scheme, &'p Limits),
        samples: &'p [Sample],
        stop: &Stop,
    ) -> Result<Self, ConvertError> {
        only(program)?;
        let mut clean = Vec::new();
        run_each(program, samples, stop, &mut |idx, outputs| {
            clean.push(counted(&samples[idx], &outputs));
            Ok(())
        })?;
        Ok(Self { program, small: None, weights, limits, samples, clean })
    }

    /// What is lost when one layer alone has weights and activations of 8 bits.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn layer(&self, layer: &Layer, stop: &Stop) -> Result<Loss, ConvertError> {
        let mut config = Config { min_elements: 0, raise_opset: true, ..Config::new(self.weights) };
        config.only = layer.ops.iter().flat_map(|op| op.weights.iter().cloned()).collect();
        let small = match config.only.is_empty() {
            true => self.program.clone(),
            false => compressed(self.program, &config)?,
        };
        self.loss(&quantize_activations(&small, &names([layer]), self.limits)?.0, stop)
    }

    /// What is lost when all weights have 8 bits, and the activations of these layers.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn together<'l>(
        &mut self,
        layers: impl IntoIterator<Item = &'l Layer>,
        stop: &Stop,
    ) -> Result<Loss, ConvertError> {
        if self.small.is_none() {
            self.small = Some(compressed(self.program, &weights_config(self.weights, []))?);
        }
        let small = self.small.as_ref().unwrap_or(self.program);
        self.loss(&quantize_activations(small, &names(layers), self.limits)?.0, stop)
    }

    fn loss(&self, program: &Program, stop: &Stop) -> Result<Loss, ConvertError> {
        let (mut squares, mut n, mut decibels) = (0.0, 0, Vec::new());
        run_each(program, self.samples, stop, &mut |idx, outputs| {
            let got = counted(&self.samples[idx], &outputs);
            let (mut own, mut own_n, mut peak) = (0.0, 0, 0.0f64);
            for (name, want) in &self.clean[idx] {
                let got = got.get(name).map_or(&[][..], Vec::as_slice);
                own += want.iter().zip(got).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
                own_n += want.len();
                peak = want.iter().fold(peak, |peak, x| peak.max(f64::from(x.abs())));
            }
            decibels.push(psnr(peak, own / own_n.max(1) as f64));
            (squares, n) = (squares + own, n + own_n);
            Ok(())
        })?;
        let psnr = decibels.iter().sum::<f64>() / decibels.len().max(1) as f64;
        Ok(Loss { mean_square: squares / n.max(1) as f64, psnr })
    }
}

/// Which weights have 8 bits: those that layers read whose activations have too, and all others of some size.
#[must_use]
pub fn weights_config<'l>(scheme: Scheme, layers: impl IntoIterator<Item = &'l Layer>) -> Config {
    let mut config = Config::new(scheme);
    let weights = layers.into_iter().flat_map(|layer| layer.ops.iter().flat_map(|op| op.weights.iter()));
    config.names = weights.map(|name| (mil_compress::Name::Pattern(name.clone()), scheme)).collect();
    config
}

fn names<'l>(layers: impl IntoIterator<Item = &'l Layer>) -> BTreeSet<(String, String)> {
    let ops = layers.into_iter().flat_map(|layer| &layer.ops);
    ops.map(|op| (op.function.clone(), op.name.clone())).collect()
}

fn compressed(program: &Program, config: &Config) -> Result<Program, ConvertError> {
    let plan = Plan::new(program, config)?;
    let go_on = &mut |_: mil_compress::Progress| ControlFlow::Continue(());
    match compress(program, &plan, &mut Memory::default(), false, go_on) {
        Ok((program, _)) => Ok(program),
        Err(RunError::Compress(error)) => Err(error.into()),
        Err(RunError::Store(never)) => match never {},
    }
}

/// The rows of each output that count.
fn counted(sample: &Sample, outputs: &BTreeMap<String, HostTensor>) -> BTreeMap<String, Vec<f32>> {
    let rows = |tensor: &HostTensor| {
        let mut values = tensor.to_f32_vec();
        let n = tensor.shape().first().copied().unwrap_or(1).max(1);
        values.truncate(values.len() / n * sample.n_rows.min(n));
        values
    };
    outputs.iter().map(|(name, tensor)| (name.clone(), rows(tensor))).collect()
}

/// Peak signal-to-noise ratio in dB.
fn psnr(peak: f64, mean_square: f64) -> f64 {
    /// What no loss counts for in a mean.
    const MOST: f64 = 120.0;
    if mean_square == 0.0 { MOST } else { (10.0 * (peak * peak / mean_square).log10()).min(MOST) }
}
