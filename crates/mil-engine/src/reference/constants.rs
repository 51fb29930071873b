//! Constants, read (and computed, where they must be) when they are first asked for, and kept.

use super::value::Tensor;
use crate::OpFault;
use mil::{Const, ValueId};
use std::sync::{Mutex, PoisonError};

/// Tensors of constants, by value number.
#[derive(Debug)]
pub(crate) struct Constants {
    cells: Vec<Mutex<Option<Tensor>>>,
}

impl Constants {
    /// Room for the constants of a function with this many values.
    pub(super) fn new(n_values: usize) -> Self {
        Self { cells: (0..n_values).map(|_| Mutex::new(None)).collect() }
    }

    fn cell(&self, id: ValueId) -> std::sync::MutexGuard<'_, Option<Tensor>> {
        // A poisoned cell holds a whole tensor or none.
        self.cells[id.index()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The constant as a tensor.
    pub(super) fn read(&self, id: ValueId, constant: &Const, limit: usize) -> Result<Tensor, OpFault> {
        if constant.len() > limit {
            return Err(OpFault::TooLarge { shape: constant.shape().to_vec(), limit });
        }
        Ok(self.cell(id).get_or_insert_with(|| Tensor::from_host(&constant.read())).clone())
    }

    /// What is kept of `id`.
    pub(super) fn get(&self, id: ValueId) -> Option<Tensor> {
        self.cell(id).clone()
    }

    /// Keeps a tensor that was decoded from constants.
    pub(super) fn keep(&self, id: ValueId, tensor: &Tensor) {
        *self.cell(id) = Some(tensor.clone());
    }

    /// Frees the tensor of `id`.
    pub(super) fn forget(&self, id: ValueId) {
        *self.cell(id) = None;
    }
}
