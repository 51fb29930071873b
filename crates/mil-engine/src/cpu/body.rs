//! A function's body as the planner reads it: who defines and who uses each value.

use crate::reference;
use mil::{DType, Function, Literal, Op, ValueId, ops::View};

/// A function with its definitions and uses.
pub(super) struct Body<'f> {
    pub(super) function: &'f Function,
    pub(super) ops: &'f [Op],
    /// The operation that defines each value.
    defs: Vec<Option<usize>>,
    /// The operations that read each value, nested blocks included; twice where one reads it twice.
    uses: Vec<Vec<usize>>,
    /// Values that the function returns.
    returned: Vec<bool>,
}

impl<'f> Body<'f> {
    pub(super) fn new(function: &'f Function) -> Self {
        let n = function.values().len();
        let mut body = Self {
            function,
            ops: &function.body.ops,
            defs: vec![None; n],
            uses: vec![Vec::new(); n],
            returned: vec![false; n],
        };
        for (i, op) in body.ops.iter().enumerate() {
            op.outputs.iter().for_each(|id| body.defs[id.index()] = Some(i));
            op.for_each_use(&mut |id| body.uses[id.index()].push(i));
        }
        function.body.outputs.iter().for_each(|id| body.returned[id.index()] = true);
        body
    }

    /// The operation that defines a value.
    pub(super) fn def(&self, id: ValueId) -> Option<usize> {
        self.defs[id.index()]
    }

    /// The operation that defines a value, when it is of this kind.
    pub(super) fn def_of(&self, id: ValueId, kind: &str) -> Option<usize> {
        self.def(id).filter(|&i| self.ops[i].kind == kind)
    }

    /// The only operation that reads a value, when there is just one and the function does not return it.
    pub(super) fn only_use(&self, id: ValueId) -> Option<usize> {
        match self.uses[id.index()][..] {
            [one] if !self.returned[id.index()] => Some(one),
            _ => None,
        }
    }

    /// The operations that read a value; none when the function returns it.
    pub(super) fn inner_uses(&self, id: ValueId) -> &[usize] {
        if self.returned[id.index()] { &[] } else { &self.uses[id.index()] }
    }

    /// The shape, when it is known and nothing is empty.
    pub(super) fn shape(&self, id: ValueId) -> Option<Vec<usize>> {
        let shape = self.function.ty(id).as_tensor()?.static_shape()?;
        let n = host_tensor::element_count(&shape)?;
        (n > 0).then_some(shape)
    }

    /// The shape of a tensor of floats.
    pub(super) fn floats(&self, id: ValueId) -> Option<Vec<usize>> {
        self.dtype(id).filter(|d| d.is_float()).and_then(|_| self.shape(id))
    }

    pub(super) fn dtype(&self, id: ValueId) -> Option<DType> {
        self.function.ty(id).as_tensor().map(|ty| ty.dtype)
    }

    pub(super) fn literal(&self, id: ValueId) -> Option<&'f Literal> {
        self.function.literal(id)
    }

    /// A constant scalar, or a constant of one element.
    pub(super) fn scalar(&self, id: ValueId) -> Option<f32> {
        let constant = self.literal(id)?.as_const().filter(|c| c.len() == 1)?;
        constant.read().to_f32_vec().first().copied()
    }

    /// All elements of a constant tensor of floats.
    pub(super) fn constant(&self, id: ValueId) -> Option<Vec<f32>> {
        self.literal(id)?.as_const().filter(|c| c.dtype().is_float()).map(|c| c.read().to_f32_vec())
    }

    /// The parameters of an operation, with their defaults.
    pub(super) fn view<'a>(&'a self, op: &'a Op) -> View<'a> {
        View::of(self.function, op)
    }

    /// An axis parameter, counted from the front.
    pub(super) fn axis(&self, op: &Op, param: &str, rank: usize) -> Option<usize> {
        absolute(self.view(op).known_int(param).ok()?, rank)
    }

    /// The name of an operation, for messages and profiles.
    pub(super) fn name(&self, op: usize) -> String {
        let op = &self.ops[op];
        op.origin.as_ref().unwrap_or(&op.name).to_string()
    }
}

/// An axis counted from the front.
pub(super) fn absolute(axis: i64, rank: usize) -> Option<usize> {
    reference::axis("axis", axis, rank).ok()
}
