//! The driver under the passes: operations are taken out one by one and kept or replaced.
//!
//! A visitor sees each operation with its operands already replaced, and every operand's producer already
//! in the new list, so patterns look backwards with [`Rewriter::def`].

use super::error::{Failure, PassError, atomically};
use crate::{
    builder::{Bound, Emitter},
    constant::Literal,
    ir::{Function, Op, ValueId},
    ops::{OpError, View},
    types::{TensorType, Type},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// State of one rewrite.
pub(crate) struct Rewriter<'f> {
    emitter: Emitter<'f>,
    /// Index in the new list of the operation that produces a value.
    defs: HashMap<ValueId, usize>,
    uses: HashMap<ValueId, usize>,
    replaced: HashMap<ValueId, ValueId>,
    outputs: HashSet<ValueId>,
    name: Arc<str>,
    rewrites: usize,
}

/// Visits every operation of the function's own block in order; `visit` returns true when it has replaced
/// the operation's results, false to keep it. Returns the number of replaced operations.
///
/// # Errors
/// The first of `visit`; the function is then what it was.
pub(super) fn rewrite(
    pass: &'static str,
    function: &mut Function,
    visit: impl FnMut(&mut Rewriter<'_>, &Op) -> Result<bool, OpError>,
) -> Result<usize, PassError> {
    atomically(pass, function, |function| visit_all(function, visit))
}

/// As [`rewrite`], for a pass that does more; an error leaves the function in pieces.
pub(super) fn visit_all(
    function: &mut Function,
    mut visit: impl FnMut(&mut Rewriter<'_>, &Op) -> Result<bool, OpError>,
) -> Result<usize, Failure> {
    let ops = std::mem::take(&mut function.body.ops);
    let mut outputs = std::mem::take(&mut function.body.outputs);
    let mut uses: HashMap<ValueId, usize> = HashMap::new();
    let mut count = |v: ValueId| *uses.entry(v).or_default() += 1;
    ops.iter().for_each(|op| op.for_each_use(&mut count));
    outputs.iter().copied().for_each(&mut count);
    let mut rw = Rewriter {
        emitter: Emitter::new(function),
        defs: HashMap::new(),
        uses,
        replaced: HashMap::new(),
        outputs: outputs.iter().copied().collect(),
        name: "".into(),
        rewrites: 0,
    };
    for mut op in ops {
        op.for_each_use_mut(&mut |v| *v = rw.resolve(*v));
        rw.name = op.name.clone();
        rw.emitter.set_origin(op.origin.clone());
        if visit(&mut rw, &op).map_err(|error| Failure { op: Some(op.name.clone()), error })? {
            rw.rewrites += 1;
        } else {
            rw.keep(op);
        }
    }
    for v in &mut outputs {
        *v = rw.resolve(*v);
    }
    let rewrites = rw.rewrites;
    let ops = rw.emitter.into_ops();
    function.body.ops = ops;
    function.body.outputs = outputs;
    Ok(rewrites)
}

impl Rewriter<'_> {
    fn resolve(&self, mut v: ValueId) -> ValueId {
        while let Some(&new) = self.replaced.get(&v) {
            v = new;
        }
        v
    }

    pub(crate) fn function(&self) -> &Function {
        self.emitter.function()
    }

    pub(crate) fn function_mut(&mut self) -> &mut Function {
        self.emitter.function_mut()
    }

    /// The operation that produces `v`, if it is not an input or a constant.
    pub(crate) fn def(&self, v: ValueId) -> Option<&Op> {
        self.defs.get(&v).map(|&i| &self.emitter.ops()[i])
    }

    /// The operation that produces `v`, if it is of this kind.
    pub(crate) fn def_of(&self, v: ValueId, kind: &str) -> Option<&Op> {
        self.def(v).filter(|op| op.kind == kind)
    }

    /// True when exactly one place reads `v`.
    pub(crate) fn single_use(&self, v: ValueId) -> bool {
        self.uses.get(&v) == Some(&1)
    }

    pub(crate) fn is_output(&self, v: ValueId) -> bool {
        self.outputs.contains(&v)
    }

    pub(crate) fn ty(&self, v: ValueId) -> &Type {
        self.function().ty(v)
    }

    pub(crate) fn tensor(&self, v: ValueId) -> Option<&TensorType> {
        self.ty(v).as_tensor()
    }

    /// The shape of a tensor whose dimensions are all known.
    pub(crate) fn shape(&self, v: ValueId) -> Option<Vec<usize>> {
        self.tensor(v)?.static_shape()
    }

    pub(crate) fn literal(&self, v: ValueId) -> Option<&Literal> {
        self.function().literal(v)
    }

    /// The parameters of an operation, with their defaults.
    pub(crate) fn view<'a>(&'a self, op: &'a Op) -> View<'a> {
        View::of(self.function(), op)
    }

    /// The single float of a constant with one element.
    pub(crate) fn scalar(&self, v: ValueId) -> Option<f32> {
        let c = self.literal(v)?.as_const()?;
        (c.len() == 1).then(|| c.read().to_f32_vec()[0])
    }

    /// Adds an operation named after the one that is being visited.
    pub(crate) fn op<const N: usize>(
        &mut self,
        kind: &'static str,
        args: [(&'static str, Bound); N],
    ) -> Result<ValueId, OpError> {
        Ok(self.op_multi(kind, args.into_iter().collect())?[0])
    }

    /// As [`Rewriter::op`], for any number of results.
    pub(crate) fn op_multi(
        &mut self,
        kind: &'static str,
        args: Vec<(&'static str, Bound)>,
    ) -> Result<Vec<ValueId>, OpError> {
        let name = self.name.clone();
        let outputs = self.emitter.op_multi(kind, &name, args)?;
        let index = self.emitter.ops().len() - 1;
        self.defs.extend(outputs.iter().map(|&v| (v, index)));
        Ok(outputs)
    }

    /// Adds a constant.
    pub(crate) fn constant(&mut self, name: &str, literal: Literal) -> ValueId {
        self.emitter.constant(name, literal)
    }

    /// Keeps an operation as it is.
    pub(crate) fn keep(&mut self, op: Op) {
        let index = self.emitter.ops().len();
        self.defs.extend(op.outputs.iter().map(|&v| (v, index)));
        self.emitter.keep(op);
    }

    /// Lets `new` stand for `old` in everything that follows.
    ///
    /// A result of the function keeps its public name; when `new` cannot take it (it is an input, a
    /// constant, or a result itself), an `identity` carries it.
    pub(crate) fn replace(&mut self, old: ValueId, new: ValueId) -> Result<(), OpError> {
        let mut new = new;
        if self.is_output(old) {
            if self.def(new).is_none() || self.is_output(new) {
                new = self.op("identity", [("x", new.into())])?;
            }
            let name = self.function().name_of(old).to_owned();
            self.function_mut().rename(new, &name);
            self.outputs.insert(new);
        }
        *self.uses.entry(new).or_default() += self.uses.get(&old).copied().unwrap_or(0);
        self.replaced.insert(old, new);
        Ok(())
    }

    /// Replaces the single result of the visited operation; the new operation takes over its name.
    pub(crate) fn replace_with<const N: usize>(
        &mut self,
        old: &Op,
        kind: &'static str,
        args: [(&'static str, Bound); N],
    ) -> Result<bool, OpError> {
        let new = self.op(kind, args)?;
        self.replace(old.output(), new)?;
        Ok(true)
    }
}
