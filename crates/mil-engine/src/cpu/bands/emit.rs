//! Functions for bands and for what is whole: a part of a function's operations as a function of its own.
//!
//! Pictures come and go as floats with their channels last, `[1, rows, W, C]`, as the engine has them in memory anyhow.

use super::{
    layout::{Layout, Made},
    nodes::{Node, Rule, height, is_dynamic},
};
use crate::{
    EngineError,
    cpu::{body::Body, graph::GroupNorm},
    kernel::math::Activation,
};
use mil::{Arg, Bound, DType, Emitter, Function, Inputs, Literal, Op, OpError, Opset, Type, ValueId};
use std::{borrow::Cow, collections::HashMap, ops::Range};

/// What a band's function takes, in the order of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Rows of a picture.
    Rows(ValueId),
    /// What has no rows.
    Tensor(ValueId),
    /// The factors of a normalisation's channels.
    Factors(usize),
    /// The summands.
    Summands(usize),
}

/// A function of a part of the operations.
#[derive(Debug)]
pub(super) struct Emitted {
    pub(super) function: Function,
    pub(super) inputs: Vec<Input>,
}

/// The function of a band.
pub(super) fn band((body, nodes): (&Body<'_>, &[Node]), layout: &Layout) -> Result<Emitted, EngineError> {
    let mut function = Function::new("band", body.function.opset);
    let mut writer = Writer::new(body, &mut function);
    let written = writer.band(nodes, layout);
    let (inputs, ops) = (writer.inputs, writer.emitter.into_ops());
    function.body.outputs = vec![written.map_err(|fault| failed(body, &nodes[last(layout)], &fault))?];
    function.body.ops = ops;
    Ok(Emitted { function, inputs })
}

/// The function of a node that is whole: its outputs are what the node makes.
pub(super) fn whole(body: &Body<'_>, node: &Node) -> Result<Emitted, EngineError> {
    let mut function = Function::new("whole", body.function.opset);
    let mut writer = Writer::new(body, &mut function);
    let written = writer.whole(node);
    let (inputs, ops) = (writer.inputs, writer.emitter.into_ops());
    function.body.outputs = written.map_err(|fault| failed(body, node, &fault))?;
    function.body.ops = ops;
    Ok(Emitted { function, inputs })
}

fn last(layout: &Layout) -> usize {
    layout.nodes.last().map_or(0, |made| made.node)
}

fn failed(body: &Body<'_>, node: &Node, fault: &OpError) -> EngineError {
    let name = node.ops.last().map_or_else(String::new, |&op| body.name(op));
    EngineError::Plan { name, fault: format!("its rows cannot be computed by themselves: {fault}") }
}

struct Writer<'b, 'f, 'e> {
    body: &'b Body<'f>,
    emitter: Emitter<'e>,
    inputs: Vec<Input>,
    /// What there is of each value of the whole function.
    values: HashMap<ValueId, ValueId>,
}

impl<'b, 'f, 'e> Writer<'b, 'f, 'e> {
    fn new(body: &'b Body<'f>, function: &'e mut Function) -> Self {
        Self { body, emitter: Emitter::new(function), inputs: Vec::new(), values: HashMap::new() }
    }

    fn band(&mut self, nodes: &[Node], layout: &Layout) -> Result<ValueId, OpError> {
        for (&id, rows) in &layout.inputs {
            match rows {
                Some(rows) => self.rows(id, rows.len())?,
                None => self.tensor(id),
            }
        }
        for made in &layout.nodes {
            match &nodes[made.node].rule {
                Rule::Norm(norm) => self.norm(made, norm, layout)?,
                rule => self.row_by_row(made, (&nodes[made.node], rule), layout)?,
            }
        }
        let (result, rows) = &layout.result;
        let rows = self.part(*result, rows, layout)?;
        self.channels_last(rows)
    }

    fn whole(&mut self, node: &Node) -> Result<Vec<ValueId>, OpError> {
        for &id in &node.reads {
            match height(self.body, id) {
                Some(rows) => self.rows(id, rows)?,
                None => self.tensor(id),
            }
        }
        for &op in &node.ops {
            self.copy(&self.body.ops[op], HashMap::new(), Vec::new())?;
        }
        let mut outputs = Vec::with_capacity(node.makes.len());
        for &id in &node.makes {
            let value = self.value(id)?;
            outputs.push(if height(self.body, id).is_some() { self.channels_last(value)? } else { value });
        }
        Ok(outputs)
    }

    fn input(&mut self, what: Input, name: &str, ty: Type) -> ValueId {
        let function = self.emitter.function_mut();
        let id = function.add_value(name, ty);
        function.inputs.push(id);
        self.inputs.push(what);
        id
    }

    /// Rows of a picture that is there.
    fn rows(&mut self, id: ValueId, rows: usize) -> Result<(), OpError> {
        let Some([_, channels, _, width]) = self.picture(id) else { return Err(OpError::new("it is no picture")) };
        let ty = Type::tensor(DType::F32, &[1, rows, width, channels]);
        let name = self.body.function.name_of(id);
        let given = self.input(Input::Rows(id), name, ty);
        let x = self.emitter.op("transpose", name, [("x", given.into()), ("perm", [0, 3, 1, 2].into())])?;
        let x = self.as_declared(id, x)?;
        self.values.insert(id, x);
        Ok(())
    }

    fn tensor(&mut self, id: ValueId) {
        let (name, ty) = (self.body.function.name_of(id), self.body.function.ty(id).clone());
        let given = self.input(Input::Tensor(id), name, ty);
        self.values.insert(id, given);
    }

    fn picture(&self, id: ValueId) -> Option<[usize; 4]> {
        self.body.floats(id)?.try_into().ok()
    }

    /// Floats in the element type that a value of the whole function has; the engine rounds nothing by it.
    fn as_declared(&mut self, id: ValueId, x: ValueId) -> Result<ValueId, OpError> {
        match self.body.dtype(id) {
            Some(DType::F16) => self.emitter.op("cast", "declared", [("x", x.into()), ("dtype", "fp16".into())]),
            _ => Ok(x),
        }
    }

    /// A result as `[1, rows, W, C]` of f32.
    fn channels_last(&mut self, x: ValueId) -> Result<ValueId, OpError> {
        let is_single = self.emitter.function().ty(x).as_tensor().is_some_and(|ty| ty.dtype == DType::F32);
        let x = match is_single {
            true => x,
            false => self.emitter.op("cast", "single", [("x", x.into()), ("dtype", "fp32".into())])?,
        };
        self.emitter.op("transpose", "rows", [("x", x.into()), ("perm", [0, 2, 3, 1].into())])
    }

    /// Some rows of what there is of a picture.
    fn part(&mut self, id: ValueId, rows: &Range<usize>, layout: &Layout) -> Result<ValueId, OpError> {
        let value = self.value(id)?;
        let first = layout.offset(id, rows);
        let there = layout.rows.get(&id).map_or(rows.len(), Range::len);
        let Some([_, channels, _, width]) = self.picture(id).filter(|_| there != rows.len()) else { return Ok(value) };
        let int = |n: usize| i32::try_from(n).map_err(|_| OpError::new("it has too many rows"));
        let (begin, end) = ([0, 0, int(first)?, 0], [1, int(channels)?, int(first + rows.len())?, int(width)?]);
        let args = [("x", value.into()), ("begin", begin.into()), ("end", end.into())];
        self.emitter.op("slice_by_index", "part", args)
    }

    fn row_by_row(&mut self, made: &Made, (node, rule): (&Node, &Rule), layout: &Layout) -> Result<(), OpError> {
        let mut parts = HashMap::new();
        for (&id, rows) in &made.reads {
            parts.insert(id, self.part(id, rows, layout)?);
        }
        let [above, below] = made.missing.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
        for &op in &node.ops {
            let op = &self.body.ops[op];
            let changed: Vec<(&'static str, Bound)> = match rule {
                Rule::Window(rows) => {
                    let [left, right] = rows.columns.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
                    vec![("pad_type", "custom".into()), ("pad", [above, below, left, right].into())]
                }
                Rule::Shift(_) => {
                    let mut pad = self.body.view(op).known_ints("pad")?;
                    let rows = pad.len().saturating_sub(4);
                    for (to, n) in pad.iter_mut().skip(rows).zip([above, below]) {
                        *to = i64::from(n);
                    }
                    let pad: Vec<i32> = pad.iter().map(|&n| i32::try_from(n).unwrap_or(i32::MAX)).collect();
                    vec![("pad", pad.into())]
                }
                _ => Vec::new(),
            };
            self.copy(op, parts.clone(), changed)?;
        }
        Ok(())
    }

    /// A normalisation whose factors and summands are given.
    fn norm(&mut self, made: &Made, norm: &GroupNorm, layout: &Layout) -> Result<(), OpError> {
        let Some([_, channels, ..]) = self.picture(norm.x) else { return Err(OpError::new("it is no picture")) };
        let dtype = self.body.dtype(norm.x).unwrap_or(DType::F32);
        let rows = made.reads.get(&norm.x).cloned().unwrap_or_else(|| made.rows.clone());
        let x = self.part(norm.x, &rows, layout)?;
        let ty = Type::tensor(dtype, &[1, channels, 1, 1]);
        let factors = self.input(Input::Factors(made.node), "factors", ty.clone());
        let summands = self.input(Input::Summands(made.node), "summands", ty);
        let x = self.emitter.op("mul", "scaled", [("x", x.into()), ("y", factors.into())])?;
        let x = self.emitter.op("add", "normalised", [("x", x.into()), ("y", summands.into())])?;
        let x = match norm.activation {
            Activation::Silu => self.emitter.op("silu", "activated", [("x", x.into())])?,
            _ => x,
        };
        self.values.insert(norm.out, x);
        Ok(())
    }

    /// An operation with other operands, and some parameters changed.
    fn copy(
        &mut self,
        op: &Op,
        parts: HashMap<ValueId, ValueId>,
        changed: Vec<(&'static str, Bound)>,
    ) -> Result<(), OpError> {
        let mut inputs = Inputs::new();
        for (param, arg) in &op.inputs {
            let mut bound = Vec::with_capacity(arg.values().len());
            for &id in arg.values() {
                bound.push(match parts.get(&id) {
                    Some(&part) => part,
                    None => self.value(id)?,
                });
            }
            let arg = match arg {
                Arg::One(_) => Arg::One(bound[0]),
                Arg::Many(_) => Arg::Many(bound),
            };
            inputs.insert(param.clone(), arg);
        }
        for (param, literal) in changed {
            if let Bound::Literal(literal) = literal {
                let id = self.emitter.constant(param, literal);
                inputs.insert(Cow::Borrowed(param), Arg::One(id));
            }
        }
        self.emitter.set_origin(Some(op.origin.clone().unwrap_or_else(|| op.name.clone())));
        let made = self.emitter.emit(kind(op, self.body.function.opset)?, &op.name, inputs)?;
        self.values.extend(op.outputs.iter().copied().zip(made));
        Ok(())
    }

    /// What there is of a value; constants, and what decodes them, come along when they are first read.
    fn value(&mut self, id: ValueId) -> Result<ValueId, OpError> {
        if let Some(&value) = self.values.get(&id) {
            return Ok(value);
        }
        if let Some(literal) = self.body.literal(id) {
            let value = self.emitter.constant(self.body.function.name_of(id), Literal::clone(literal));
            self.values.insert(id, value);
            return Ok(value);
        }
        match self.body.def(id) {
            Some(op) if !is_dynamic(self.body, id) => {
                self.copy(&self.body.ops[op], HashMap::new(), Vec::new())?;
                self.values.get(&id).copied().ok_or_else(|| OpError::new("a weight is not decoded"))
            }
            _ => Err(OpError::new(format!("{} is not there", self.body.function.name_of(id)))),
        }
    }
}

/// The name of an operation as its specification has it.
fn kind(op: &Op, opset: Opset) -> Result<&'static str, OpError> {
    let spec = mil::ops::lookup(&op.kind, opset);
    spec.map(|spec| spec.kind).ok_or_else(|| OpError::new(format!("there is no operation {}", op.kind)))
}
