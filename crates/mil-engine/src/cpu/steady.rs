//! Steady inputs: those of which the caller says that they rarely change from run to run.
//!
//! What depends on them and on constants only is computed when they change, and kept outside of the arena. It
//! deliberately does not look for what else could be computed once: a program without steady inputs is left alone.

use super::{body::Body, graph::Node};
use crate::reference::Tensor;
use host_tensor::HostTensor;
use mil::{Op, Type, ValueId};
use std::collections::BTreeMap;

/// Most bytes that are kept for steady inputs: the keys and values of a text for Stable Diffusion XL are 110 MB.
/// A plan that would keep more keeps nothing.
pub(super) const MOST_BYTES: usize = 256 << 20;

/// What of a function is steady.
#[derive(Debug, Default)]
pub(super) struct Steady {
    /// Names of the steady inputs.
    pub(super) inputs: Vec<String>,
    /// For each value, whether it depends on constants and steady inputs only; empty when there are no such inputs.
    values: Vec<bool>,
    /// How many nodes come first because all that they stand for is steady.
    pub(super) n_nodes: usize,
}

impl Steady {
    /// Finds what is steady when the inputs of these names are, and moves it to the front of `nodes`.
    ///
    /// Names that are no inputs are no fault: of several programs that run one after another, each has some of them.
    pub(super) fn find(body: &Body<'_>, names: &[String], nodes: &mut Vec<Node>) -> Self {
        let function = body.function;
        let mut values: Vec<bool> = function.values().iter().map(|v| v.literal.is_some()).collect();
        let mut inputs = Vec::new();
        for &id in &function.inputs {
            let name = function.name_of(id).to_string();
            if names.contains(&name) && !matches!(function.ty(id), Type::State(_)) {
                values[id.index()] = true;
                inputs.push(name);
            }
        }
        if inputs.is_empty() {
            return Self::default();
        }
        let mut ops = Vec::with_capacity(body.ops.len());
        for op in body.ops {
            let mut all = is_pure(op) && op.outputs.iter().all(|&id| body.shape(id).is_some());
            op.for_each_use(&mut |id| all &= values[id.index()]);
            op.outputs.iter().for_each(|id| values[id.index()] = all);
            ops.push(all);
        }
        let (steady, other): (Vec<_>, Vec<_>) =
            std::mem::take(nodes).into_iter().partition(|node| node.ops.iter().all(|&i| ops[i]));
        let n_nodes = steady.len();
        nodes.extend(steady.into_iter().chain(other));
        Self { inputs, values, n_nodes }
    }

    /// Whether a value depends on constants and steady inputs only.
    pub(super) fn has(&self, id: ValueId) -> bool {
        self.values.get(id.index()).copied().unwrap_or(false)
    }
}

/// True when an operation gives the same for the same operands, and does nothing else.
fn is_pure(op: &Op) -> bool {
    let kind = &*op.kind;
    op.blocks.is_empty() && !kind.ends_with("_state") && !kind.starts_with("random_")
}

/// What runs leave for the next: for which steady inputs the steady steps have been done, and the reference engine's
/// tensors among their results.
#[derive(Debug)]
pub(super) struct Kept {
    inputs: Vec<HostTensor>,
    pub(super) tensors: Vec<(ValueId, Tensor)>,
}

impl Kept {
    /// What was computed for these inputs; all names are among them.
    pub(super) fn new(
        names: &[String],
        inputs: &BTreeMap<String, HostTensor>,
        tensors: Vec<(ValueId, Tensor)>,
    ) -> Self {
        Self { inputs: names.iter().filter_map(|name| inputs.get(name).cloned()).collect(), tensors }
    }

    /// Whether it was computed for inputs of the same bytes.
    pub(super) fn is_for(&self, names: &[String], inputs: &BTreeMap<String, HostTensor>) -> bool {
        names.iter().map(|name| inputs.get(name)).eq(self.inputs.iter().map(Some))
    }
}
