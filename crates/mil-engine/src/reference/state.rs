//! States: tensors that outlive a run.

use super::value::{Tensor, filled};
use crate::EngineError;
use mil::{Function, Type};
use std::{collections::BTreeMap, sync::Arc};

/// The states of one caller, by name; see [`Reference::new_states`](super::Reference::new_states).
#[derive(Debug, Clone)]
pub struct States {
    tensors: BTreeMap<Arc<str>, Tensor>,
}

impl States {
    /// All states of a function, filled with zeros; none may have more elements than the limit.
    pub(super) fn new(function: &Function, limit: usize) -> Result<Self, EngineError> {
        let mut tensors = BTreeMap::new();
        for &id in &function.inputs {
            let value = function.value(id);
            let Type::State(ty) = &value.ty else { continue };
            let shape = ty.static_shape().filter(|s| host_tensor::element_count(s).is_some_and(|n| n <= limit));
            let zeros = shape.and_then(|s| Some(Tensor::new(s.clone(), filled(s.iter().product(), 0f32).ok()?)));
            let Some(zeros) = zeros else {
                let (name, ty) = (value.name.to_string(), value.ty.to_string());
                return Err(EngineError::BoundaryType { role: "state", name, ty });
            };
            tensors.insert(value.name.clone(), zeros);
        }
        Ok(Self { tensors })
    }

    /// The state of this name.
    pub(super) fn get(&self, name: &str) -> Option<Tensor> {
        self.tensors.get(name).cloned()
    }

    /// Replaces the state of this name.
    pub(super) fn set(&mut self, name: Arc<str>, tensor: Tensor) {
        self.tensors.insert(name, tensor);
    }
}
