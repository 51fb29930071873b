//! The tensors of a file below a prefix: which there are, and their shapes.

use crate::{Weight, Weights};

/// The tensors of a file whose keys begin with a prefix, by what stands behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tensors<'a> {
    weights: &'a Weights,
    prefix: &'a str,
}

impl<'a> Tensors<'a> {
    pub(crate) const fn new(weights: &'a Weights, prefix: &'a str) -> Self {
        Self { weights, prefix }
    }

    pub(crate) const fn prefix(&self) -> &'a str {
        self.prefix
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Weight> {
        self.weights.get(&format!("{}{key}", self.prefix))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// One dimension of a tensor that must be there.
    ///
    /// # Errors
    /// What is missing, by the file's name.
    pub(crate) fn dim(&self, key: &str, axis: usize) -> Result<usize, String> {
        let weight = self.get(key).ok_or_else(|| format!("it has no {}{key}", self.prefix))?;
        let shape = weight.shape();
        shape.get(axis).copied().ok_or_else(|| format!("{}{key} has shape {shape:?}", self.prefix))
    }

    /// The shape of a tensor, if it is there.
    pub(crate) fn shape(&self, key: &str) -> Option<Vec<usize>> {
        Some(self.get(key)?.shape())
    }

    /// How many there are of what is numbered from 0.
    pub(crate) fn count(&self, key: impl Fn(usize) -> String) -> usize {
        (0..).take_while(|&at| self.has(&key(at))).count()
    }
}
