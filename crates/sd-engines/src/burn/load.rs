//! Gives a module the checkpoint's tensors as its parameters.

use std::collections::HashMap;

use burn_core::module::{ModuleMapper, Param};
use burn_core::tensor::{Device, Tensor, TensorData};
use sd_checkpoint::Weights;
use sd_models::weights::Binding;
use sd_models::{ModelError, Network};

use super::error::BurnError;

/// The module with each parameter replaced by its tensor, as f32 on the device; none is initialised before.
pub(super) fn load<N: Network>(module: N, weights: &Weights, device: &Device) -> Result<N, BurnError> {
    let bindings = module.load_report(weights.contents()).into_bindings().map_err(ModelError::from)?;
    let bindings = bindings.into_iter().map(|binding| (binding.path.clone(), binding)).collect();
    Ok(module.map(&mut Loader { bindings, weights, device, path: Vec::new() }))
}

struct Loader<'a> {
    /// By path; every parameter has one, or [`load`] has failed.
    bindings: HashMap<String, Binding>,
    weights: &'a Weights,
    device: &'a Device,
    /// Field names from the root to here.
    path: Vec<String>,
}

impl Loader<'_> {
    fn value(&self) -> Option<TensorData> {
        let binding = self.bindings.get(&self.path.join("."))?;
        let values = self.weights.parameter(binding)?.read().to_f32_vec();
        Some(TensorData::new(values, binding.shape.clone()))
    }
}

impl ModuleMapper for Loader<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.value() {
            Some(data) => Param::initialized(param.id, Tensor::from_data(data, self.device)),
            None => param,
        }
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}
