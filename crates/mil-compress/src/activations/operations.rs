//! Which operations have products of integers, and what they read.

use crate::select::weights_of;
use mil::{Arg, DType, Function, Op, Program, ValueId, ops::View};
use std::collections::HashMap;

/// An operation that can read integers: its operands that are activations, or weights where they are constants.
struct Row {
    kind: &'static str,
    operands: &'static [&'static str],
}

/// Core ML has products of integers for these.
///
/// Others that coremltools quantizes too (additions, pooling, activations) have no products: they gain nothing but fewer
/// bytes to move, and lose a rounding each.
const ROWS: &[Row] = &[
    Row { kind: "conv", operands: &["x", "weight"] },
    Row { kind: "conv_transpose", operands: &["x", "weight"] },
    Row { kind: "linear", operands: &["x", "weight"] },
    Row { kind: "matmul", operands: &["x", "y"] },
    Row { kind: "einsum", operands: &["values"] },
];

/// Attention in one operation: its products lie between its operands, out of reach.
const FUSED_ATTENTION: &str = "scaled_dot_product_attention";

/// What an operation multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkKind {
    /// An activation and a weight.
    Layer,
    /// Two activations, as attention does.
    Attention,
}

/// A value that an operation reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operand {
    /// The value's name.
    pub value: String,
    /// Its element type.
    pub dtype: DType,
    /// Its elements, where its shape is known.
    pub n_elements: Option<usize>,
}

/// An operation whose activations can be quantized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizableOp {
    /// The function that has it.
    pub function: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// What it multiplies.
    pub work: WorkKind,
    /// The activations that it reads.
    pub activations: Vec<Operand>,
    /// The weights that it reads, as compression names them.
    pub weights: Vec<String>,
    /// Products that it computes; 0 where shapes are open.
    pub multiplications: u64,
    /// Name of the first operation of those that are computed together with it: attention in layouts for the Neural Engine is
    /// an operation for each head, and for parts of a head.
    pub group: String,
}

/// All operations of a program that can be quantized and are not, in order; nested blocks are not looked at.
#[must_use]
pub fn quantizable(program: &Program) -> Vec<QuantizableOp> {
    let weights = weights_of(program);
    let mut names: HashMap<(&str, ValueId), &str> = HashMap::new();
    for weight in weights.iter().filter(|weight| weight.shape.len() >= 2) {
        names.extend(weight.places.iter().map(|(function, value)| ((function.as_str(), *value), weight.name.as_str())));
    }
    let mut found = Vec::new();
    for (name, function) in &program.functions {
        let reader = Reader::new(function);
        let mut groups: HashMap<Vec<ValueId>, String> = HashMap::new();
        for op in &function.body.ops {
            let activations = reader.activations(op);
            if activations.is_empty() {
                continue;
            }
            let read = operands(op).into_iter().filter_map(|value| names.get(&(name.as_str(), value)));
            let weights: Vec<String> = read.map(|name| (*name).to_owned()).collect();
            let own = op.name.to_string();
            let group = match weights.is_empty() {
                true => groups.entry(reader.sources(&activations)).or_insert(own).clone(),
                false => own,
            };
            found.push(QuantizableOp {
                function: name.clone(),
                name: op.name.to_string(),
                kind: op.kind.to_string(),
                work: if weights.is_empty() { WorkKind::Attention } else { WorkKind::Layer },
                activations: activations.into_iter().map(|value| operand(function, value)).collect(),
                weights,
                multiplications: multiplications(function, op).unwrap_or(0),
                group,
            });
        }
    }
    found
}

/// How many operations compute attention in one piece, so that their products cannot be quantized.
#[must_use]
pub fn n_fused_attentions(program: &Program) -> usize {
    let of = |function: &Function| function.body.ops.iter().filter(|op| op.kind == FUSED_ATTENTION).count();
    program.functions.values().map(of).sum()
}

/// A function whose operations are looked at.
pub(super) struct Reader<'f> {
    function: &'f Function,
    defs: HashMap<ValueId, &'f Op>,
}

/// Operations that only look at a value otherwise, or change its scale: those between a layer and the heads of attention.
const VIEWS: [&str; 11] = [
    "cast",
    "expand_dims",
    "identity",
    "mul",
    "real_div",
    "reshape",
    "slice_by_index",
    "slice_by_size",
    "split",
    "squeeze",
    "transpose",
];

impl<'f> Reader<'f> {
    pub(super) fn new(function: &'f Function) -> Self {
        let defs = function.body.ops.iter().flat_map(|op| op.outputs.iter().map(move |value| (*value, op))).collect();
        Self { function, defs }
    }

    /// The values that an operation's integers would stand for, each once; those that are decoded integers already are not
    /// among them.
    pub(super) fn activations(&self, op: &Op) -> Vec<ValueId> {
        let mut found = Vec::new();
        for value in operands(op) {
            let is_made = |kind: &str| self.defs.get(&value).is_some_and(|def| def.kind == kind);
            let is_constant =
                self.function.literal(value).is_some() || self.defs.get(&value).is_some_and(|def| def.is_constexpr());
            if !is_constant && !is_made("dequantize") && is_real(self.function, value) && !found.contains(&value) {
                found.push(value);
            }
        }
        found
    }

    /// What values are views of: results of layers. Those of a softmax, of which each head has its own, do not count
    /// beside others.
    fn sources(&self, values: &[ValueId]) -> Vec<ValueId> {
        let all: Vec<ValueId> = values.iter().map(|value| self.source(*value)).collect();
        let is_softmax = |value: &ValueId| self.defs.get(value).is_some_and(|op| op.kind == "softmax");
        let shared: Vec<ValueId> = all.iter().copied().filter(|value| !is_softmax(value)).collect();
        if shared.is_empty() { all } else { shared }
    }

    fn source(&self, mut value: ValueId) -> ValueId {
        while let Some(op) = self.defs.get(&value).filter(|op| VIEWS.contains(&&*op.kind)) {
            let inner = |v: &ValueId| self.function.literal(*v).is_none() && is_real(self.function, *v);
            let Some(next) = op.operands().find(inner) else { break };
            value = next;
        }
        value
    }
}

/// The values that an operation multiplies; none where it has no row.
fn operands(op: &Op) -> Vec<ValueId> {
    let row = ROWS.iter().find(|row| row.kind == op.kind);
    let params = row.map_or(&[][..], |row| row.operands).iter();
    params.flat_map(|param| op.input_values(param).iter().copied()).collect()
}

/// The same, for replacement.
pub(super) fn for_each_operand(op: &mut Op, f: &mut impl FnMut(&mut ValueId)) {
    let Some(row) = ROWS.iter().find(|row| row.kind == op.kind) else { return };
    let bound = op.inputs.iter_mut().filter(|(param, _)| row.operands.contains(&param.as_ref()));
    bound.flat_map(|(_, arg): (_, &mut Arg)| arg.values_mut()).for_each(f);
}

fn is_real(function: &Function, value: ValueId) -> bool {
    function.ty(value).as_tensor().is_some_and(|ty| matches!(ty.dtype, DType::F16 | DType::F32))
}

fn operand(function: &Function, value: ValueId) -> Operand {
    let ty = function.ty(value).as_tensor();
    let n_elements = ty.and_then(|ty| ty.static_shape()).map(|shape| shape.iter().product());
    let dtype = ty.map_or(DType::F32, |ty| ty.dtype);
    Operand { value: function.name_of(value).to_owned(), dtype, n_elements }
}

/// Products of two numbers that an operation computes, where its shapes are known.
fn multiplications(function: &Function, op: &Op) -> Option<u64> {
    let shape = |value: ValueId| function.ty(value).as_tensor()?.static_shape();
    let elements = |value: ValueId| Some(shape(value)?.iter().map(|n| *n as u64).product::<u64>());
    let of_each = |weight: ValueId, axis: usize| {
        let n = *shape(weight)?.get(axis)? as u64;
        elements(weight)?.checked_div(n)
    };
    let result = elements(op.output())?;
    let each = match &*op.kind {
        "conv" | "linear" => of_each(op.input("weight")?, 0)?,
        // Every element of the operand meets a filter for each output channel.
        "conv_transpose" => return Some(elements(op.input("x")?)? * of_each(op.input("weight")?, 0)?),
        "matmul" => {
            let (x, swap) = (shape(op.input("x")?)?, View::of(function, op).known_bool("transpose_x").ok()?);
            *x.iter().rev().nth(usize::from(swap && x.len() > 1))? as u64
        }
        "einsum" => *shape(*op.input_values("values").first()?)?.last()? as u64,
        _ => return None,
    };
    Some(result * each)
}
