//! Random programs under construction, for tests that compare what becomes of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mil::{
    Bound, Emitter, OpError, Program, ValueId,
    text::{PrintOptions, print},
};
use testkit::Rng;

pub(crate) type Args = Vec<(&'static str, Bound)>;

/// A program under construction; every value may be an operand.
pub(crate) struct Growing<'r, 'f> {
    pub(crate) rng: &'r mut Rng,
    pub(crate) emitter: Emitter<'f>,
    pub(crate) pool: Vec<ValueId>,
}

impl Growing<'_, '_> {
    pub(crate) fn pick(&mut self) -> ValueId {
        // Late values more often, so that programs grow deep.
        let n = self.pool.len();
        self.pool[n - 1 - self.rng.below(n).min(self.rng.below(n))]
    }

    pub(crate) fn shape(&self, v: ValueId) -> Vec<usize> {
        self.emitter.function().ty(v).as_tensor().unwrap().static_shape().unwrap()
    }

    /// Adds an operation if its operands fit together.
    pub(crate) fn op(&mut self, kind: &'static str, args: Args) -> Result<ValueId, OpError> {
        let results = self.emitter.op_multi(kind, "v", args)?;
        self.pool.extend(&results);
        Ok(results[0])
    }

    /// A shape with an axis split in two (of `how` 0), or joined with the next (1), where that can be.
    pub(crate) fn split_or_joined(shape: &[usize], axis: usize, how: usize) -> Option<Vec<i32>> {
        let mut to: Vec<i32> = shape.iter().map(|&d| d as i32).collect();
        match how {
            0 if shape[axis].is_multiple_of(2) && shape.len() < 5 => {
                to[axis] /= 2;
                to.insert(axis, 2);
            }
            1 if axis + 1 < to.len() => {
                let joined = to.remove(axis) * to[axis];
                to[axis] = joined;
            }
            _ => return None,
        }
        Some(to)
    }

    /// What is empty, a scalar, or has more elements than this is not used again.
    pub(crate) fn keep_up_to(&mut self, most: usize) {
        let (f, all) = (self.emitter.function(), std::mem::take(&mut self.pool));
        let n_elements = |v: &ValueId| f.ty(*v).as_tensor()?.static_shape()?.into_iter().reduce(|n, d| n * d);
        self.pool = all.into_iter().filter(|v| n_elements(v).is_some_and(|n| (1..=most).contains(&n))).collect();
    }
}

/// A program as text, for messages.
pub(crate) fn text(program: &Program) -> String {
    print(program, &PrintOptions { dialect: None, blob_threshold: usize::MAX }).text
}
