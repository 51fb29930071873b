//! Gives a module the checkpoint's tensors as its parameters.

use std::collections::{BTreeMap, HashMap};

use burn_core::module::{Module, ModuleMapper, Param};
use burn_core::tensor::{Device, Tensor, TensorData};
use host_tensor::HostTensor;
use sd_models::weights::{Binding, parameters};
use sd_models::{ByteRelation, CheckpointTensor, LoadReport, Naming};

use super::error::BurnError;

/// The module with each parameter replaced by its tensor, as f32 on the device; none is initialised before.
pub(super) fn load<M: Module>(
    module: M,
    naming: Naming,
    tensors: &BTreeMap<&str, &HostTensor>,
    device: &Device,
) -> Result<M, BurnError> {
    let contents = tensors.iter().map(|(key, tensor)| CheckpointTensor {
        key: (*key).to_owned(),
        dtype: tensor.dtype(),
        shape: tensor.shape().to_vec(),
    });
    let bindings = LoadReport::new(naming, &parameters(&module), contents).into_bindings()?;
    let bindings = bindings.into_iter().map(|binding| (binding.path.clone(), binding)).collect();
    Ok(module.map(&mut Loader { bindings, tensors, device, path: Vec::new() }))
}

struct Loader<'a> {
    /// By path; every parameter has one, or [`load`] has failed.
    bindings: HashMap<String, Binding>,
    tensors: &'a BTreeMap<&'a str, &'a HostTensor>,
    device: &'a Device,
    /// Field names from the root to here.
    path: Vec<String>,
}

impl Loader<'_> {
    fn value(&self) -> Option<TensorData> {
        let binding = self.bindings.get(&self.path.join("."))?;
        let values = self.tensors.get(binding.key.as_str())?.to_f32_vec();
        let values = match (binding.relation, &binding.shape[..]) {
            (ByteRelation::Transposed, &[columns, rows]) => transposed(&values, rows, columns),
            _ => values,
        };
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

/// A matrix of `rows` by `columns` with both exchanged, tile by tile, so that neither side leaves the cache.
fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut out = vec![0.0; matrix.len()];
    for row_start in (0..rows).step_by(TILE) {
        for column_start in (0..columns).step_by(TILE) {
            for row in row_start..rows.min(row_start + TILE) {
                for column in column_start..columns.min(column_start + TILE) {
                    out[column * rows + row] = matrix[row * columns + column];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_that_fills_no_tile_is_transposed_whole() {
        let (rows, columns) = (33, 70);
        let matrix: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        let out = transposed(&matrix, rows, columns);
        for (i, value) in out.iter().enumerate() {
            assert_eq!(*value, matrix[i % rows * columns + i / rows]);
        }
    }
}
