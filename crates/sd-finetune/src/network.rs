//! A network of `sd-models` that computes a loss and its gradients.
//!
//! Values of parameters come from outside before every step, and gradients go back: how weights follow from what is trained
//! is not known here.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn_core::module::{ModuleMapper, ModuleVisitor, Param};
use burn_core::tensor::{Device, Gradients, Int, Tensor, TensorData};
use host_tensor::HostTensor;
use sd_models::weights::{Parameter, parameters};
use sd_models::{Features, Network, NetworkConfig, WithNetwork};

use crate::error::FinetuneError;

/// Samples of a network's inputs, or of its outputs: a tensor under each name, with samples as its first axis.
pub type Samples = BTreeMap<String, HostTensor>;

/// A network of whatever type.
pub trait Trained: Send {
    /// Its parameters in the order in which values are given and gradients come.
    fn parameters(&self) -> Vec<Parameter>;

    /// What it gives for these inputs, and with these parameters.
    ///
    /// # Errors
    /// When an input is missing or of another rank than the network takes, or the device fails.
    fn outputs(&self, values: &[Arc<Vec<f32>>], inputs: &Samples) -> Result<Samples, FinetuneError>;

    /// The mean squared error of the outputs, and its gradient by each parameter.
    ///
    /// With `guidance` samples are pairs, each of a negative prompt and then a prompt, and the mean squared error of what
    /// guidance makes of a pair is added.
    ///
    /// # Errors
    /// As [`Trained::outputs`], and when targets are missing or of another shape than the outputs.
    fn gradients(
        &self,
        values: &[Arc<Vec<f32>>],
        inputs: &Samples,
        targets: &Samples,
        guidance: Option<f32>,
    ) -> Result<(f64, Vec<Vec<f32>>), FinetuneError>;
}

/// Builds the network of a configuration, to be trained on a device.
#[must_use]
pub fn build(config: &NetworkConfig, device: &Device) -> Box<dyn Trained> {
    config.with(Build(device))
}

struct Build<'a>(&'a Device);

impl WithNetwork for Build<'_> {
    type Output = Box<dyn Trained>;

    fn run<N: Network>(self, config: &N::Config) -> Self::Output {
        let module = N::init(config, self.0);
        let known = parameters(&module);
        Box::new(OnDevice { module, device: self.0.clone(), known })
    }
}

struct OnDevice<N> {
    module: N,
    device: Device,
    known: Vec<Parameter>,
}

impl<N: Network> OnDevice<N> {
    /// The module with these values, tracked or not as the device says.
    fn with(&self, values: &[Arc<Vec<f32>>], device: &Device) -> N {
        let mut given = Given { values, known: &self.known, at: 0, device };
        self.module.clone().map(&mut given)
    }
}

impl<N: Network> Trained for OnDevice<N> {
    fn parameters(&self) -> Vec<Parameter> {
        self.known.clone()
    }

    fn outputs(&self, values: &[Arc<Vec<f32>>], inputs: &Samples) -> Result<Samples, FinetuneError> {
        let device = self.device.clone().without_autodiff();
        let mut step = Step::new(inputs, None, &device);
        self.with(values, &device).call(&mut step)?;
        Ok(step.outputs)
    }

    fn gradients(
        &self,
        values: &[Arc<Vec<f32>>],
        inputs: &Samples,
        targets: &Samples,
        guidance: Option<f32>,
    ) -> Result<(f64, Vec<Vec<f32>>), FinetuneError> {
        let device = self.device.clone().autodiff();
        let module = self.with(values, &device);
        let mut step = Step { guidance, ..Step::new(inputs, Some(targets), &device) };
        module.call(&mut step)?;
        let loss = step.loss.ok_or(FinetuneError::NoOutputs)?;
        let gradients = loss.backward();
        let value = values_of("loss", loss.inner())?;
        let mut taken = Taken { gradients, found: Vec::new(), fault: None };
        module.visit(&mut taken);
        match taken.fault {
            Some(fault) => Err(fault),
            None => Ok((f64::from(value[0]), taken.found)),
        }
    }
}

/// Puts values in the place of parameters.
struct Given<'a> {
    values: &'a [Arc<Vec<f32>>],
    known: &'a [Parameter],
    at: usize,
    device: &'a Device,
}

impl ModuleMapper for Given<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (values, known) = (&self.values[self.at], &self.known[self.at]);
        self.at += 1;
        let data = TensorData::new(values.to_vec(), known.shape.clone());
        let tensor = Tensor::from_data(data, self.device);
        let tensor = if self.device.is_autodiff() { tensor.require_grad() } else { tensor };
        Param::initialized(param.id, tensor)
    }
}

/// Takes the gradients of parameters out, in their order.
struct Taken {
    gradients: Gradients,
    found: Vec<Vec<f32>>,
    fault: Option<FinetuneError>,
}

impl ModuleVisitor for Taken {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let n = tensor.shape().num_elements();
        // What the loss does not depend on has none.
        let found = match tensor.grad_remove(&mut self.gradients) {
            Some(gradient) => values_of("gradient", gradient),
            None => Ok(vec![0.0; n]),
        };
        match found {
            Ok(values) => self.found.push(values),
            Err(fault) => self.fault = Some(fault),
        }
    }
}

fn values_of<const D: usize>(name: &str, tensor: Tensor<D>) -> Result<Vec<f32>, FinetuneError> {
    let fail = |reason: String| FinetuneError::Device { name: name.to_owned(), reason };
    let data = tensor.try_into_data().map_err(|e| fail(e.to_string()))?;
    data.try_into_vec::<f32>().map_err(|e| fail(e.to_string()))
}

/// One run: inputs on their way to the device, outputs compared with targets or brought back.
struct Step<'a> {
    inputs: &'a Samples,
    targets: Option<&'a Samples>,
    device: &'a Device,
    guidance: Option<f32>,
    loss: Option<Tensor<1>>,
    outputs: Samples,
}

impl<'a> Step<'a> {
    fn new(inputs: &'a Samples, targets: Option<&'a Samples>, device: &'a Device) -> Self {
        Self { inputs, targets, device, guidance: None, loss: None, outputs: Samples::new() }
    }
}

fn of_rank<'a>(samples: &'a Samples, name: &str, rank: usize) -> Result<&'a HostTensor, FinetuneError> {
    let tensor = samples.get(name).ok_or_else(|| FinetuneError::MissingFeature { name: name.to_owned() })?;
    match tensor.shape().len() == rank {
        true => Ok(tensor),
        false => Err(FinetuneError::FeatureRank { name: name.to_owned(), rank, found: tensor.shape().to_vec() }),
    }
}

fn mean_square<const D: usize>(error: Tensor<D>) -> Tensor<1> {
    (error.clone() * error).mean()
}

/// What guidance makes of pairs: negative prompt and prompt alternate along the first axis.
fn guided<const D: usize>(pairs: Tensor<D>, scale: f32) -> Tensor<3> {
    let n_pairs = pairs.dims()[0] / 2;
    let len = pairs.shape().num_elements() / (2 * n_pairs);
    let pairs = pairs.reshape([n_pairs, 2, len]);
    let (negative, prompt) = (pairs.clone().narrow(1, 0, 1), pairs.narrow(1, 1, 1));
    negative * (1.0 - scale) + prompt * scale
}

impl Features for Step<'_> {
    type Error = FinetuneError;

    fn has(&self, name: &str) -> bool {
        self.inputs.contains_key(name) || self.targets.is_some_and(|targets| targets.contains_key(name))
    }

    fn real<const D: usize>(&mut self, name: &str) -> Result<Tensor<D>, FinetuneError> {
        let tensor = of_rank(self.inputs, name, D)?;
        Ok(Tensor::from_data(TensorData::new(tensor.to_f32_vec(), tensor.shape()), self.device))
    }

    /// Burn would panic at ids beyond the limit.
    fn ids<const D: usize>(&mut self, name: &str, limit: usize) -> Result<Tensor<D, Int>, FinetuneError> {
        let tensor = of_rank(self.inputs, name, D)?;
        let ids = tensor.to_i64_vec();
        match ids.iter().find(|id| !usize::try_from(**id).is_ok_and(|id| id < limit)) {
            None => Ok(Tensor::from_data(TensorData::new(ids, tensor.shape()), self.device)),
            Some(&id) => Err(FinetuneError::TokenId { name: name.to_owned(), id, limit }),
        }
    }

    fn give<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Result<(), FinetuneError> {
        let Some(targets) = self.targets else {
            let shape = tensor.dims();
            self.outputs.insert(name.to_owned(), HostTensor::from_f32(shape, values_of(name, tensor)?));
            return Ok(());
        };
        let target = of_rank(targets, name, D)?;
        if target.shape() != tensor.dims() {
            let (expected, found) = (tensor.dims().to_vec(), target.shape().to_vec());
            return Err(FinetuneError::TargetShape { name: name.to_owned(), expected, found });
        }
        let target = Tensor::<D>::from_data(TensorData::new(target.to_f32_vec(), target.shape()), self.device);
        let error = tensor - target;
        let terms = [Some(mean_square(error.clone())), self.guidance.map(|scale| mean_square(guided(error, scale)))];
        self.loss = self.loss.take().into_iter().chain(terms.into_iter().flatten()).reduce(|sum, term| sum + term);
        Ok(())
    }
}
