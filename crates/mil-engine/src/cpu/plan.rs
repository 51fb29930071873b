//! From nodes to steps: every value gets a place and a layout, every node its kernel.
//!
//! Floats live in one arena, pictures and tokens with their channels last, whatever the program's own layout is;
//! reshapes, transpositions and slices are views where strides can say them. Tensors of integers and whatever the
//! reference engine computes live in its own values, and are copied where a kernel meets them. What is steady comes first,
//! and what later steps read of it lies outside of the arena.

mod attention;
mod finish;
mod lower;
mod places;
mod product;

use super::{
    body::Body,
    graph::{Kind, Node},
    memory::{Arena, Buffer},
    options::Options,
    steady::Steady,
    step::{Action, Step},
    stored,
    view::{View, natural_strides, row_major},
};
use crate::{EngineError, kernel::weights::Matrix, reference::Reference};
use mil::ValueId;
use places::Places;
use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

/// The name of steps after the last node, which decode what the function returns as it is.
const OUTPUTS: &str = "outputs";

/// What is to be run, with everything in its place.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) steps: Vec<Step>,
    /// Names of the steady inputs.
    pub(super) steady_inputs: Vec<String>,
    /// How many steps, the first ones, are done only when the steady inputs have changed.
    pub(super) n_steady: usize,
    /// Tensors of the reference engine that these steps make and others read.
    pub(super) kept_tensors: Vec<ValueId>,
    /// Bytes of all that others read of these steps' results.
    pub(super) kept_bytes: usize,
    /// Where each output is: in the arena, or among the reference engine's values.
    pub(super) outputs: Vec<Output>,
    /// Floats of scratch that a thread needs.
    pub(super) scratch: usize,
    /// The arena, what is kept, and the constants: the steps point into them, and nobody else reads them.
    #[allow(dead_code, reason = "steps hold pointers into it")]
    pub(super) memory: ([Arena; 2], Vec<Buffer>),
    pub(super) arena_floats: usize,
    /// Weights that stay in memory or in their file.
    pub(super) weight_bytes: usize,
}

/// Where an output is when the steps are done.
#[derive(Debug)]
pub(super) enum Output {
    /// In the arena or a constant.
    Floats {
        /// First element.
        start: *const f32,
        /// How it lies there.
        view: View,
    },
    /// Among the reference engine's values.
    Tensor(ValueId),
}

// SAFETY: the pointers are into memory that the plan owns; only a run writes there, and an engine runs one at a time.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

/// Makes an action once addresses are known.
type Make = Box<dyn FnOnce(&Places<'_>) -> Result<Action, EngineError>>;

/// A step without addresses.
struct Draft {
    node: usize,
    kernel: &'static str,
    detail: String,
    flops: f64,
    make: Make,
    /// Tensors of the reference engine that the step reads.
    reads: Vec<ValueId>,
}

/// A plan in the making.
pub(super) struct Planner<'b, 'f> {
    body: &'b Body<'f>,
    reference: &'b Reference,
    nodes: Vec<Node>,
    steady: Steady,
    /// The node that is being lowered.
    node: usize,
    buffers: Vec<Buffer>,
    views: HashMap<ValueId, View>,
    constants: HashMap<ValueId, View>,
    /// Values that the reference engine has when the next step begins.
    tensors: BTreeSet<ValueId>,
    /// Where a value is to be written, because it is part of another.
    parts: HashMap<ValueId, View>,
    matrices: HashMap<(ValueId, usize), Arc<Matrix>>,
    drafts: Vec<Draft>,
    scratch: usize,
    options: &'b Options,
}

impl<'b, 'f> Planner<'b, 'f> {
    /// Plans a function's nodes, the steady ones first.
    ///
    /// # Errors
    /// When a weight cannot be decoded, or there is no memory; and when the plan would not hold together.
    pub(super) fn plan(
        body: &'b Body<'f>,
        reference: &'b Reference,
        nodes: Vec<Node>,
        steady: Steady,
        options: &'b Options,
    ) -> Result<Planned, EngineError> {
        let mut planner = Self {
            body,
            reference,
            nodes,
            steady,
            node: 0,
            buffers: Vec::new(),
            views: HashMap::new(),
            constants: HashMap::new(),
            tensors: body.function.inputs.iter().copied().collect(),
            parts: HashMap::new(),
            matrices: HashMap::new(),
            drafts: Vec::new(),
            scratch: 0,
            options,
        };
        planner.place_parts();
        let n_nodes = planner.steady.n_nodes;
        planner.lower_all(0..n_nodes)?;
        let (n_steady, steady_tensors) = (planner.drafts.len(), planner.tensors.clone());
        planner.lower_all(n_nodes..planner.nodes.len())?;
        planner.finish(n_steady, &steady_tensors)
    }

    fn lower_all(&mut self, nodes: Range<usize>) -> Result<(), EngineError> {
        for node in nodes {
            self.node = node;
            self.lower(node)?;
        }
        Ok(())
    }

    /// Operands of concatenations are written where they belong, by whoever computes them; a steady operand of one that
    /// is not is copied, so that it alone is kept.
    fn place_parts(&mut self) {
        for node in &self.nodes {
            let Kind::Concat { values, axis, out } = &node.kind else { continue };
            let Some(shape) = self.body.floats(*out) else { continue };
            let strides = natural_strides(&shape, *axis == 1);
            let buffer = self.buffers.len();
            self.buffers.push(Buffer::computed(shape.iter().product()));
            let whole = View { buffer, offset: 0, shape: shape.clone(), strides };
            let mut begin = vec![0; shape.len()];
            for value in values {
                let Some(part) = self.body.floats(*value) else { continue };
                let view = whole.slice(&begin, &vec![1; shape.len()], &part);
                begin[*axis] += part[*axis];
                let is_kept = self.steady.has(*value) && !self.steady.has(*out);
                if self.body.literal(*value).is_none() && !is_kept {
                    self.parts.entry(*value).or_insert(view);
                }
            }
            self.views.insert(*out, whole);
        }
    }

    /// Adds a step that uses these buffers.
    fn push<'v>(
        &mut self,
        kernel: &'static str,
        (detail, flops): (String, f64),
        views: impl IntoIterator<Item = &'v View>,
        make: impl FnOnce(&Places<'_>) -> Result<Action, EngineError> + 'static,
    ) {
        let step = self.drafts.len();
        for view in views {
            self.buffers[view.buffer].used_at(step);
        }
        let make = Box::new(make);
        self.drafts.push(Draft { node: self.node, kernel, detail, flops, make, reads: Vec::new() });
    }

    /// Adds a step that reads tensors of the reference engine.
    fn push_reading(&mut self, kernel: &'static str, view: Option<&View>, reads: Vec<ValueId>, action: Make) {
        self.push(kernel, (String::new(), 0.0), view, action);
        if let Some(draft) = self.drafts.last_mut() {
            draft.reads = reads;
        }
    }

    /// A new buffer as a view.
    fn fresh(&mut self, shape: &[usize], strides: Vec<usize>) -> View {
        let buffer = self.buffers.len();
        let last: usize = shape.iter().zip(&strides).map(|(n, stride)| n.saturating_sub(1) * stride).sum();
        self.buffers.push(Buffer::computed(last + 1));
        View { buffer, offset: 0, shape: shape.to_vec(), strides }
    }

    /// Floats that only the next step uses.
    fn temporary(&mut self, len: usize) -> View {
        self.fresh(&[len], vec![1])
    }

    /// Where a result is written: as part of another, or in a buffer of its own with these strides.
    fn result(&mut self, out: ValueId, shape: &[usize], strides: Vec<usize>) -> View {
        match self.parts.get(&out) {
            Some(view) if view.shape == shape => view.clone(),
            _ => self.fresh(shape, strides),
        }
    }

    /// Constant floats as a view.
    fn constant_view(&mut self, values: Vec<f32>) -> View {
        let (shape, buffer) = (vec![values.len()], self.buffers.len());
        self.buffers.push(Buffer::constant(values));
        View { buffer, offset: 0, shape, strides: vec![1] }
    }

    /// An operand as floats in the arena or in a constant.
    fn view(&mut self, id: ValueId) -> Result<View, EngineError> {
        if let Some(view) = self.views.get(&id).or_else(|| self.constants.get(&id)) {
            return Ok(view.clone());
        }
        let shape = self.floats(id)?;
        if let Some(constant) = self.body.literal(id).and_then(|l| l.as_const()) {
            let flat = self.constant_view(constant.read().to_f32_vec());
            let view = View { strides: row_major(&shape), shape, ..flat };
            self.constants.insert(id, view.clone());
            return Ok(view);
        }
        if self.decoded(id) {
            // A decoded weight that a kernel reads as it is.
            let flat = self.constant_view(self.reference.decode(id)?.to_f32_vec());
            let view = View { strides: row_major(&shape), shape, ..flat };
            self.constants.insert(id, view.clone());
            return Ok(view);
        }
        let view = self.fresh(&shape, row_major(&shape));
        let to = view.clone();
        let make: Make = Box::new(move |p| Ok(Action::Import { id, to: p.of(&to)?, len: to.len() }));
        self.push_reading("import", Some(&view), vec![id], make);
        self.views.insert(id, view.clone());
        Ok(view)
    }

    /// True when a value is decoded from constants.
    fn decoded(&self, id: ValueId) -> bool {
        self.body.def(id).is_some_and(|i| self.body.ops[i].is_constexpr())
    }

    /// Sees to it that the reference engine has a value.
    fn tensor(&mut self, id: ValueId) {
        if self.tensors.contains(&id) {
            return;
        }
        if let Some(view) = self.views.get(&id).cloned() {
            let from = view.clone();
            self.push("export", (String::new(), 0.0), [&view], move |p| {
                Ok(Action::Export { id, from: p.of(&from)?.cast_const(), view: from })
            });
            self.tensors.insert(id);
        } else if self.decoded(id)
            && let Some(op) = self.body.def(id)
        {
            self.reference_step(op);
        }
    }

    /// Lets the reference engine execute an operation.
    fn reference_step(&mut self, op: usize) {
        let mut reads = Vec::new();
        self.body.ops[op].for_each_use(&mut |id| reads.push(id));
        reads.sort_unstable();
        reads.dedup();
        reads.iter().for_each(|&id| self.tensor(id));
        reads.retain(|id| self.tensors.contains(id));
        self.push_reading("reference", None, reads, Box::new(move |_| Ok(Action::Reference { op })));
        self.tensors.extend(self.body.ops[op].outputs.iter().copied());
        self.body.ops[op].outputs.iter().for_each(|id| {
            self.views.remove(id);
        });
    }

    /// The weight as a matrix of so many rows.
    fn matrix(&mut self, id: ValueId, rows: usize) -> Result<Arc<Matrix>, EngineError> {
        if let Some(matrix) = self.matrices.get(&(id, rows)) {
            return Ok(matrix.clone());
        }
        let matrix = Arc::new(stored::matrix(self.body, id, rows, self.options.weights, || self.reference.decode(id))?);
        self.matrices.insert((id, rows), matrix.clone());
        Ok(matrix)
    }

    /// The shape of a value that a kernel reads or writes as floats.
    fn floats(&self, id: ValueId) -> Result<Vec<usize>, EngineError> {
        let name = self.body.function.name_of(id);
        self.body.floats(id).ok_or_else(|| self.fault(format!("{name} is not of floats in a fixed shape")))
    }

    /// The error of the node that is being lowered.
    fn fault(&self, fault: impl Into<String>) -> EngineError {
        let node = self.nodes.get(self.node);
        let name = node.map_or_else(|| OUTPUTS.to_owned(), |node| self.body.name(node.op));
        EngineError::Plan { name, fault: fault.into() }
    }

    /// How many threads will run the plan.
    fn threads(&self) -> usize {
        self.options.threads.unwrap_or(1)
    }

    /// Notes how much scratch a step's threads need.
    fn needs_scratch(&mut self, floats: usize) {
        self.scratch = self.scratch.max(floats);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cpu::graph::Node, kernel::map, kernel::math::Activation, reference};
    use mil::{DType, FunctionBuilder, Opset, Type};

    #[test]
    fn a_node_that_does_not_fit_its_values_is_an_error() {
        let mut b = FunctionBuilder::new("main", Opset::CoreML6);
        let x = b.input("x", Type::tensor(DType::F32, &[2, 3]));
        let n = b.input("n", Type::tensor(DType::I32, &[2]));
        let mut e = b.emitter();
        let y = e.op("relu", "y", [("x", x.into())]).unwrap();
        let ops = e.into_ops();
        let program = b.finish_program(ops, &[y]);
        let function = program.main().unwrap();
        let check = |kind: Kind, fault: &str| {
            let reference = Reference::new(function, reference::Options::default()).unwrap();
            let (body, nodes) = (Body::new(function), vec![Node { op: 0, ops: vec![0], kind }]);
            let plan = Planner::plan(&body, &reference, nodes, Steady::default(), &Options::default());
            let error = plan.unwrap_err().to_string();
            assert!(error.starts_with(&format!("y: no plan for the fast engine: {fault}; ")), "{error}");
        };
        check(Kind::Upsample { x, factors: [2, 2], out: y }, "it is no picture of four dimensions");
        check(Kind::Reshape { x, out: n }, "n is not of floats in a fixed shape");
        check(Kind::Concat { values: vec![x], axis: 0, out: n }, "the concatenation has no place");
        check(Kind::Rows { table: x, indices: n, out: n }, "n is not of floats in a fixed shape");
        let relu = map::Op::Unary(Activation::Relu);
        check(Kind::Map { op: relu, operands: vec![], out: y }, "it has no operand");
        check(Kind::Map { op: relu, operands: vec![n], out: y }, "n is not of floats in a fixed shape");
    }
}
