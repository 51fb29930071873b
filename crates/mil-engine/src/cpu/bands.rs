//! A function of pictures in little memory: computed in bands of rows, again and again where it must be.
//!
//! What [`Cpu`] holds at a time, all features of a layer and of the next, may be more than there is: 2.7 GB for a
//! VAE at 1024×1024, and four times that at 2048×2048. Here everything between two normalisations is computed for a band
//! of rows at a time, by a plan of its own, and only what a later pass reads stays: in single precision where that fits the
//! limit, else in half, else not at all, so that it is computed twice. Statistics of a normalisation are those of the whole
//! picture, so bands leave no seams. What mixes all rows with all, as attention does, is done in one piece.

mod emit;
mod feature_map;
mod layout;
mod moments;
mod nodes;
mod pass;
mod schedule;
#[cfg(test)]
mod tests;

use super::{Cpu, body::Body, options::Options};
use crate::{
    EngineError,
    reference::{Feature, Reference},
};
use host_tensor::{HostTensor, Stop};
use mil::{Type, Valid};
use nodes::{Node, height};
use pass::Passing;
use schedule::Schedule;
use std::collections::BTreeMap;

/// A function that is computed in bands.
#[derive(Debug)]
pub struct Bands {
    reference: Reference,
    nodes: Vec<Node>,
    schedule: Schedule,
    options: Options,
    workspace: usize,
}

impl Bands {
    /// Schedules the function `main`, the only one or that of a name, so that it holds about so many bytes at a time. `None`
    /// when it is none of pictures that can be computed by rows.
    ///
    /// # Errors
    /// As [`Reference::compile`].
    pub fn compile(
        program: Valid<'_>,
        function: Option<&str>,
        options: Options,
        limit: usize,
    ) -> Result<Option<Self>, EngineError> {
        let reference = match function {
            Some(name) => Reference::compile_function(program, name, options.limits)?,
            None => Reference::compile(program, options.limits)?,
        };
        // An eighth is for what a band computes.
        let workspace = (limit / 8).clamp(1 << 20, 192 << 20);
        Ok(Self::scheduled(reference, options, [limit.saturating_sub(workspace), workspace]))
    }

    /// Keeps at most so many bytes from pass to pass, and about as many for a band.
    fn scheduled(reference: Reference, options: Options, [kept, workspace]: [usize; 2]) -> Option<Self> {
        let body = Body::new(reference.function());
        let has_states = body.function.inputs.iter().any(|&id| matches!(body.function.ty(id), Type::State(_)));
        let returned = &body.function.body.outputs;
        let by_rows = returned.iter().all(|&id| body.def(id).is_some() && height(&body, id).is_some());
        let nodes = nodes::nodes(&body).filter(|_| by_rows && !has_states)?;
        let schedule = schedule::schedule(&body, &nodes, kept);
        Some(Self { nodes, schedule, options, workspace, reference })
    }

    /// Inputs in signature order.
    #[must_use]
    pub fn inputs(&self) -> &[Feature] {
        self.reference.inputs()
    }

    /// Outputs in signature order.
    #[must_use]
    pub fn outputs(&self) -> &[Feature] {
        self.reference.outputs()
    }

    /// Bytes that it keeps at most from pass to pass, and about as many as a band takes; what is done in one piece comes
    /// on top.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.schedule.kept_bytes + self.workspace
    }

    /// Runs the function once, until `stop` is set.
    ///
    /// # Errors
    /// As [`Reference::run`], and when there is no memory.
    pub fn run(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        stop: &Stop,
    ) -> Result<BTreeMap<String, HostTensor>, EngineError> {
        Passing::new(self, inputs, stop)?.run()
    }

    fn body(&self) -> Body<'_> {
        Body::new(self.reference.function())
    }

    /// A function of a part of the operations, planned.
    fn plan(&self, function: &mil::Function) -> Result<Cpu, EngineError> {
        Cpu::compile_alone(function, self.options.clone())
    }
}
