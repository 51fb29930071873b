//! `read_state` and `write_state`: tensors that outlive a run.

use super::{
    Reference, Rounding,
    plan::{Step, shape_agrees},
    run::{Run, state_name},
    value::{Tensor, filled, round_all},
};
use crate::{EngineError, OpFault};
use mil::{Type, ValueId};
use std::{collections::BTreeMap, sync::Arc};

/// The states of one caller, by name; see [`Reference::new_states`].
#[derive(Debug, Clone)]
pub struct States {
    tensors: BTreeMap<Arc<str>, Tensor>,
}

impl Reference {
    /// Fresh states for [`Reference::run_with_states`], all zero.
    ///
    /// # Errors
    /// When a state has no fixed shape, or is larger than the limit.
    pub fn new_states(&self) -> Result<States, EngineError> {
        let mut tensors = BTreeMap::new();
        for &id in &self.function.inputs {
            let value = self.function.value(id);
            let Type::State(ty) = &value.ty else { continue };
            let shape = ty
                .static_shape()
                .filter(|s| host_tensor::element_count(s).is_some_and(|n| n <= self.options.max_elements));
            let zeros = shape.and_then(|s| Some(Tensor::new(s.clone(), filled(s.iter().product(), 0f32).ok()?)));
            let Some(zeros) = zeros else {
                let (name, ty) = (value.name.to_string(), value.ty.to_string());
                return Err(EngineError::BoundaryType { role: "state", name, ty });
            };
            tensors.insert(value.name.clone(), zeros);
        }
        Ok(States { tensors })
    }
}

/// `read_state(input)`: the state's tensor.
pub(super) fn read(run: &mut Run<'_>, step: &Step) -> Result<(), EngineError> {
    let name = state_name(run, bound(run, step, "input")?);
    let missing = || OpFault::Missing { param: name.to_string() };
    let tensor = run.states.tensors.get(&name).cloned().ok_or_else(|| run.fault(step, missing()))?;
    for &id in &step.op.outputs {
        run.set(id, tensor.clone());
    }
    Ok(())
}

/// `write_state(input, data)`: replaces the state's tensor.
pub(super) fn write(run: &mut Run<'_>, step: &Step) -> Result<(), EngineError> {
    let state = bound(run, step, "input")?;
    let mut tensor = run.get(bound(run, step, "data")?)?;
    let Type::State(ty) = run.engine.function.ty(state) else {
        let actual = run.engine.function.ty(state).to_string();
        return Err(run.fault(step, OpFault::Kind { param: "input".into(), expected: "a state", actual }));
    };
    if !shape_agrees(tensor.shape(), ty) {
        let actual = format!("{}{:?}", tensor.kind(), tensor.shape());
        return Err(run.fault(step, OpFault::Result { position: 0, declared: ty.to_string(), actual }));
    }
    if run.engine.options.rounding == Rounding::Declared {
        let rounded = tensor.floats_mut().map(|v| round_all(ty.dtype, v));
        rounded.map_err(|fault| run.fault(step, fault))?;
    }
    run.states.tensors.insert(state_name(run, state), tensor);
    Ok(())
}

fn bound(run: &Run<'_>, step: &Step, param: &str) -> Result<ValueId, EngineError> {
    step.op.input(param).ok_or_else(|| run.fault(step, OpFault::Missing { param: param.into() }))
}
