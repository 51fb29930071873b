//! The parts of a function that is cut at given places.

use crate::{
    constant::Literal,
    ir::{Arg, Block, Function, Op, ValueId},
    types::{TensorType, Type},
};
use host_tensor::DType;
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

/// The parts, which end before each of `cuts`.
pub(super) fn parts(function: &Function, cuts: &[usize]) -> Vec<Function> {
    let whole = Whole::new(function);
    let begins = std::iter::once(&0).chain(cuts);
    begins.zip(cuts).map(|(&from, &to)| whole.part(from, to)).collect()
}

/// A function, seen as steps between which it can be cut.
struct Whole<'f> {
    function: &'f Function,
    steps: Vec<&'f Op>,
    decoders: HashMap<ValueId, &'f Op>,
    /// Which step makes a value.
    made: HashMap<ValueId, usize>,
}

impl<'f> Whole<'f> {
    fn new(function: &'f Function) -> Self {
        let (decoders, steps): (Vec<&Op>, Vec<&Op>) = function.body.ops.iter().partition(|op| op.is_constexpr());
        let made = steps.iter().enumerate().flat_map(|(i, op)| op.outputs.iter().map(move |&v| (v, i))).collect();
        let decoders = decoders.into_iter().flat_map(|op| op.outputs.iter().map(move |&v| (v, op))).collect();
        Self { function, steps, decoders, made }
    }

    /// Values that steps read and other steps make, in the order in which they are made.
    fn read(&self, from: usize, to: usize) -> Vec<ValueId> {
        let mut read = BTreeSet::new();
        for op in &self.steps[from..to] {
            op.for_each_use(&mut |v| {
                if let Some(&at) = self.made.get(&v).filter(|&&at| at < from) {
                    let output = self.steps[at].outputs.iter().position(|&o| o == v).unwrap_or(0);
                    read.insert((at, output, v));
                }
            });
        }
        read.into_iter().map(|(.., v)| v).collect()
    }

    /// True for values that cross in another type than they have.
    fn is_widened(&self, v: ValueId) -> bool {
        let is_output = self.function.body.outputs.contains(&v);
        !is_output && self.function.ty(v).as_tensor().is_some_and(|t| t.dtype == DType::F16)
    }

    fn part(&self, from: usize, to: usize) -> Function {
        let f = self.function;
        let mut part = Part {
            whole: self,
            function: Function::new(f.name.clone(), f.opset),
            map: HashMap::new(),
            ops: Vec::new(),
        };
        part.function.attributes.clone_from(&f.attributes);
        part.inputs(from, to);
        for op in &self.steps[from..to] {
            part.step(op);
        }
        part.outputs(from, to);
        part.function.body.ops = part.ops;
        part.function
    }
}

struct Part<'w, 'f> {
    whole: &'w Whole<'f>,
    function: Function,
    map: HashMap<ValueId, ValueId>,
    ops: Vec<Op>,
}

impl Part<'_, '_> {
    fn inputs(&mut self, from: usize, to: usize) {
        let whole = self.whole;
        let mut used = BTreeSet::new();
        whole.steps[from..to].iter().for_each(|op| op.for_each_use(&mut |v| used.extend([v])));
        for &v in whole.function.inputs.iter().filter(|v| used.contains(v)) {
            let value = whole.function.value(v);
            self.input(&value.name.clone(), value.ty.clone(), v);
        }
        for v in whole.read(from, to) {
            let value = whole.function.value(v);
            let (name, ty) = (value.name.clone(), value.ty.clone());
            if !whole.is_widened(v) {
                self.input(&name, ty, v);
                continue;
            }
            let wide = self.input(&name, with_dtype(&ty, DType::F32), v);
            let back = self.cast(wide, &format!("{name}_to_fp16"), DType::F16);
            self.map.insert(v, back);
        }
    }

    fn input(&mut self, name: &str, ty: Type, of: ValueId) -> ValueId {
        let id =
            self.function.add_named(name, ty, None).expect("invariant: values of a function have names of their own");
        self.function.inputs.push(id);
        self.map.insert(of, id);
        id
    }

    fn cast(&mut self, x: ValueId, name: &str, dtype: DType) -> ValueId {
        let ty = with_dtype(self.function.ty(x), dtype);
        let result = self.function.add_value(name, ty);
        let constant = self.function.add_constant(&format!("{name}_dtype"), Literal::string(dtype.name()));
        let inputs = [("x", x), ("dtype", constant)].map(|(p, v)| (Cow::Borrowed(p), Arg::One(v)));
        let name = self.function.name_of(result).into();
        self.ops.push(Op {
            kind: Cow::Borrowed("cast"),
            name,
            inputs: inputs.into_iter().collect(),
            outputs: vec![result],
            blocks: Vec::new(),
            origin: None,
        });
        result
    }

    /// Copies a step, and before it the decoders of constants that it is the first to read.
    fn step(&mut self, op: &Op) {
        let mut read = Vec::new();
        op.for_each_use(&mut |v| read.push(v));
        read.into_iter().for_each(|v| self.decode(v));
        let copy = self.copy(op);
        self.ops.push(copy);
    }

    fn decode(&mut self, v: ValueId) {
        let Some(op) = self.whole.decoders.get(&v).filter(|_| !self.map.contains_key(&v)) else { return };
        op.operands().for_each(|v| self.decode(v));
        let copy = self.copy(op);
        self.ops.push(copy);
    }

    fn copy(&mut self, op: &Op) -> Op {
        let inputs = op.inputs.iter().map(|(param, arg)| {
            let mut arg = arg.clone();
            arg.values_mut().iter_mut().for_each(|v| *v = self.value(*v));
            (param.clone(), arg)
        });
        let inputs = inputs.collect();
        let blocks = op.blocks.iter().map(|b| self.block(b)).collect();
        let outputs = op.outputs.iter().map(|&v| self.value(v)).collect();
        Op { kind: op.kind.clone(), name: op.name.clone(), inputs, outputs, blocks, origin: op.origin.clone() }
    }

    fn block(&mut self, block: &Block) -> Block {
        let inputs = block.inputs.iter().map(|&v| self.value(v)).collect();
        let ops = block.ops.iter().map(|op| self.copy(op)).collect();
        Block { inputs, ops, outputs: block.outputs.iter().map(|&v| self.value(v)).collect() }
    }

    /// The value in this part that stands for one of the whole.
    fn value(&mut self, v: ValueId) -> ValueId {
        if let Some(&known) = self.map.get(&v) {
            return known;
        }
        let value = self.whole.function.value(v);
        let name = self.function.fresh_name(&value.name);
        let id = self.function.add_named(&name, value.ty.clone(), value.literal.clone());
        let id = id.expect("invariant: the name is fresh");
        self.map.insert(v, id);
        id
    }

    fn outputs(&mut self, from: usize, to: usize) {
        let whole = self.whole;
        let here = |v: &ValueId| whole.made.get(v).is_some_and(|at| (from..to).contains(at));
        let mut outputs: Vec<ValueId> = whole.read(to, whole.steps.len()).into_iter().filter(|v| here(v)).collect();
        outputs.extend(whole.function.body.outputs.iter().filter(|v| here(v)));
        let mut done = BTreeSet::new();
        for v in outputs.into_iter().filter(|&v| done.insert(v)) {
            let name = whole.function.name_of(v).to_owned();
            let mut id = self.value(v);
            if whole.is_widened(v) {
                id = self.cast(id, &format!("{name}_to_fp32"), DType::F32);
            }
            self.function.rename(id, &name);
            self.function.body.outputs.push(id);
        }
    }
}

fn with_dtype(ty: &Type, dtype: DType) -> Type {
    match ty {
        Type::Tensor(t) => Type::Tensor(TensorType { dtype, shape: t.shape.clone() }),
        other => other.clone(),
    }
}
