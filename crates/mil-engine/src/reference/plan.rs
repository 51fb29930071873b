//! What is decided once, before any run: which kernel executes each operation, and when each value dies.

use super::{families, kernels::Kernel};
use crate::{EngineError, OpSite};
use mil::{Block, Function, Op, TensorType, ValueId};
use std::collections::{HashMap, HashSet};

/// Operations that the interpreter executes itself, because they hold blocks or touch states.
pub(super) const STRUCTURAL: [&str; 4] = ["cond", "while_loop", "read_state", "write_state"];

/// Blocks may be nested this deep.
const MAX_DEPTH: usize = 64;

/// A block, ready to run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) inputs: Vec<ValueId>,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<ValueId>,
}

/// One operation, ready to run.
#[derive(Debug)]
pub(super) struct Step {
    /// Position in execution order, for messages.
    pub(super) index: usize,
    /// The operation; its blocks are in `blocks`.
    pub(super) op: Op,
    pub(super) action: Action,
    pub(super) blocks: Vec<Plan>,
    /// Computed values that are not needed after this step.
    pub(super) dying: Vec<ValueId>,
    /// Constants that are not needed after this step.
    pub(super) dying_constants: Vec<ValueId>,
}

/// Who executes a step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Kernel(&'static Kernel),
    Cond,
    While,
    ReadState,
    WriteState,
}

impl Plan {
    /// Plans a function's body.
    pub(super) fn new(function: &Function) -> Result<Self, EngineError> {
        let kernels = families::all().map(|k| (k.kind, k)).collect();
        let mut planner = Planner { function, kernels, n_ops: 0 };
        let mut plan = planner.block(&function.body, &function.inputs, 0)?;
        // Constants are shared by all blocks: they die only where the function's own body is done with them.
        let last = last_uses(&function.body);
        for (id, step) in last {
            if let (Some(_), Some(step)) = (function.literal(id), step.and_then(|i| plan.steps.get_mut(i))) {
                step.dying_constants.push(id);
            }
        }
        plan.inputs.clone_from(&function.inputs);
        Ok(plan)
    }
}

struct Planner<'f> {
    function: &'f Function,
    kernels: HashMap<&'static str, &'static Kernel>,
    n_ops: usize,
}

impl Planner<'_> {
    fn block(&mut self, block: &Block, inputs: &[ValueId], depth: usize) -> Result<Plan, EngineError> {
        let last = last_uses(block);
        let mut own: HashSet<ValueId> = inputs.iter().copied().collect();
        own.extend(block.ops.iter().flat_map(|op| op.outputs.iter().copied()));
        let mut steps = Vec::with_capacity(block.ops.len());
        for op in &block.ops {
            steps.push(self.step(op, depth)?);
        }
        for (i, op) in block.ops.iter().enumerate() {
            let unused = op.outputs.iter().copied().filter(|id| !last.contains_key(id));
            steps[i].dying.extend(unused);
        }
        for (id, step) in last {
            if let (true, Some(i)) = (own.contains(&id), step) {
                steps[i].dying.push(id);
            }
        }
        Ok(Plan { inputs: block.inputs.clone(), steps, outputs: block.outputs.clone() })
    }

    fn step(&mut self, op: &Op, depth: usize) -> Result<Step, EngineError> {
        let index = self.n_ops;
        self.n_ops += 1;
        if depth >= MAX_DEPTH {
            return Err(EngineError::TooDeep { site: self.site(op, index), limit: MAX_DEPTH });
        }
        let action = match &*op.kind {
            "cond" => Action::Cond,
            "while_loop" => Action::While,
            "read_state" => Action::ReadState,
            "write_state" => Action::WriteState,
            kind => match self.kernels.get(kind) {
                Some(kernel) => Action::Kernel(kernel),
                None => return Err(EngineError::UnknownOp { site: self.site(op, index) }),
            },
        };
        let blocks = op.blocks.iter().map(|b| self.block(b, &b.inputs, depth + 1)).collect::<Result<_, _>>()?;
        let op = Op { blocks: Vec::new(), ..op.clone() };
        Ok(Step { index, op, action, blocks, dying: Vec::new(), dying_constants: Vec::new() })
    }

    fn site(&self, op: &Op, index: usize) -> Box<OpSite> {
        Box::new(OpSite {
            index,
            name: op.origin.as_ref().unwrap_or(&op.name).to_string(),
            kind: op.kind.to_string(),
            operands: declared_operands(self.function, op),
        })
    }
}

/// The last operation of `block` that reads each value; `None` for what the block returns.
fn last_uses(block: &Block) -> HashMap<ValueId, Option<usize>> {
    let mut last = HashMap::new();
    for (i, op) in block.ops.iter().enumerate() {
        op.for_each_use(&mut |id| {
            last.insert(id, Some(i));
        });
    }
    last.extend(block.outputs.iter().map(|&id| (id, None)));
    last
}

/// An operation's operands with their declared types.
pub(super) fn declared_operands(function: &Function, op: &Op) -> String {
    let bound = op.inputs.iter().map(|(param, arg)| {
        let types: Vec<String> = arg.values().iter().map(|&id| function.ty(id).to_string()).collect();
        format!("{param}={}", types.join(", "))
    });
    bound.collect::<Vec<_>>().join(", ")
}

/// True when a tensor of this shape may stand where `ty` is declared.
pub(super) fn shape_agrees(shape: &[usize], ty: &TensorType) -> bool {
    shape.len() == ty.rank() && shape.iter().zip(&ty.shape).all(|(&d, declared)| declared.size().is_none_or(|s| s == d))
}
