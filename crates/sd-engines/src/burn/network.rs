//! A network with its weights, run on features that come from the host and go back to it.

use std::fmt::Debug;

use burn_core::tensor::{Device, Int, Tensor, TensorData};
use host_tensor::HostTensor;
use sd_checkpoint::Weights;
use sd_models::{Features, Network, NetworkConfig, WithNetwork};
use sd_runtime::{Signature, Tensors};

use super::error::BurnError;
use super::load::load;

/// A network of whatever type, with its weights.
pub(super) trait Loaded: Debug + Send + Sync {
    /// Runs the network on inputs whose names and shapes were checked, for the outputs of the signature.
    fn forward(&self, inputs: &Tensors, signature: &Signature, device: &Device) -> Result<Tensors, BurnError>;
}

impl<N: Network> Loaded for N {
    fn forward(&self, inputs: &Tensors, signature: &Signature, device: &Device) -> Result<Tensors, BurnError> {
        let mut features = OnDevice { inputs, signature, device, outputs: Tensors::new() };
        self.call(&mut features)?;
        Ok(features.outputs)
    }
}

/// Builds a network with the checkpoint's tensors.
pub(super) fn build(config: &NetworkConfig, weights: &Weights, device: &Device) -> Result<Box<dyn Loaded>, BurnError> {
    config.with(Build { weights, device })
}

struct Build<'a> {
    weights: &'a Weights,
    device: &'a Device,
}

impl WithNetwork for Build<'_> {
    type Output = Result<Box<dyn Loaded>, BurnError>;

    fn run<N: Network>(self, config: &N::Config) -> Self::Output {
        let module = N::init(config, self.device);
        Ok(Box::new(load(module, self.weights, self.device)?))
    }
}

/// Features on their way to a device and back.
struct OnDevice<'a> {
    inputs: &'a Tensors,
    signature: &'a Signature,
    device: &'a Device,
    outputs: Tensors,
}

impl OnDevice<'_> {
    fn get(&self, name: &str, rank: usize) -> Result<&HostTensor, BurnError> {
        let tensor = self.inputs.get(name).ok_or_else(|| BurnError::MissingFeature { name: name.to_owned() })?;
        let found = tensor.shape();
        match found.len() == rank {
            true => Ok(tensor),
            false => Err(BurnError::FeatureRank { name: name.to_owned(), rank, found: found.to_vec() }),
        }
    }
}

impl Features for OnDevice<'_> {
    type Error = BurnError;

    fn has(&self, name: &str) -> bool {
        self.signature.input(name).is_some() || self.signature.output(name).is_some()
    }

    fn real<const D: usize>(&mut self, name: &str) -> Result<Tensor<D>, BurnError> {
        let tensor = self.get(name, D)?;
        Ok(Tensor::from_data(TensorData::new(tensor.to_f32_vec(), tensor.shape()), self.device))
    }

    /// Burn would panic at ids beyond the limit.
    fn ids<const D: usize>(&mut self, name: &str, limit: usize) -> Result<Tensor<D, Int>, BurnError> {
        let tensor = self.get(name, D)?;
        let ids = tensor.to_i64_vec();
        let is_known = |id: &i64| usize::try_from(*id).is_ok_and(|id| id < limit);
        match ids.iter().find(|id| !is_known(id)) {
            None => Ok(Tensor::from_data(TensorData::new(ids, tensor.shape()), self.device)),
            Some(&id) => Err(BurnError::TokenId { name: name.to_owned(), id, limit }),
        }
    }

    /// A result is back on the host as f32.
    fn give<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Result<(), BurnError> {
        let fail = |reason: String| BurnError::Device { name: name.to_owned(), reason };
        let shape = tensor.dims();
        let data = tensor.try_into_data().map_err(|e| fail(e.to_string()))?;
        let values = data.try_into_vec::<f32>().map_err(|e| fail(e.to_string()))?;
        self.outputs.insert(name.to_owned(), HostTensor::from_f32(shape, values));
        Ok(())
    }
}
