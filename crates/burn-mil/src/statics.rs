//! Tensors that are known before the program runs: parameters and literals, and views of them.
//!
//! Burn reshapes and transposes weights before it uses them (`nn::Linear` adds leading ones). Here such an
//! operation changes the view and is never emitted, so that a weight reaches `linear` or `conv` as the bytes
//! that the checkpoint holds.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use burn::backend::capture::TensorId;
use burn::backend::ir::{BaseOperationIr, OperationIr, SliceOpIr};
use mil::{Const, ConstError, DType};

/// A value that is known before the program runs.
#[derive(Clone, Debug)]
pub(crate) struct Static {
    /// The value before the last reshape; so a transposed matrix with leading ones stays a view.
    base: Const,
    shape: Vec<usize>,
    /// The parameter's path, or a word for a literal.
    pub(crate) name: Arc<str>,
    /// Whether the name is a parameter's path.
    pub(crate) is_parameter: bool,
}

/// All static tensors of a graph.
pub(crate) type Statics = HashMap<TensorId, Static>;

impl Static {
    pub(crate) fn new(value: Const, name: Arc<str>, is_parameter: bool) -> Self {
        Self { shape: value.shape().to_vec(), base: value, name, is_parameter }
    }

    /// The value in its present shape.
    pub(crate) fn value(&self) -> Result<Const, ConstError> {
        self.base.reshape(self.shape.clone())
    }

    /// The value as a tensor of this rank, if only leading ones are more or fewer.
    pub(crate) fn of_rank(&self, rank: usize) -> Option<Const> {
        let excess = self.shape.len().checked_sub(rank)?;
        let (ones, shape) = self.shape.split_at(excess);
        if ones.iter().any(|n| *n != 1) {
            return None;
        }
        match self.base.shape() == shape {
            true => Some(self.base.clone()),
            false => self.base.reshape(shape).ok(),
        }
    }

    fn reshaped(&self, shape: Vec<usize>) -> Option<Self> {
        (host_tensor::element_count(&shape) == Some(self.base.len())).then(|| Self { shape, ..self.clone() })
    }

    fn permuted(&self, perm: &[usize]) -> Option<Self> {
        let value = match self.base.shape() == self.shape {
            true => self.base.transpose(perm),
            false => self.value().and_then(|value| value.transpose(perm)),
        };
        value.ok().map(|base| Self { shape: base.shape().to_vec(), base, ..self.clone() })
    }

    /// A part without gaps.
    fn sliced(&self, op: &SliceOpIr) -> Option<Self> {
        let mut parts: Vec<Range<usize>> = self.shape.iter().map(|&size| 0..size).collect();
        for (part, slice) in parts.iter_mut().zip(&op.ranges) {
            let (range, step) = slice.to_range_and_step(part.end);
            (step == 1).then(|| *part = range)?;
        }
        let base = self.value().ok()?.crop(&parts).ok()?;
        Some(Self { shape: base.shape().to_vec(), base, ..self.clone() })
    }

    fn cast(&self, dtype: DType) -> Self {
        Self { base: self.base.cast(dtype), ..self.clone() }
    }
}

/// The static result of a view of a static tensor; `None` for every other operation.
pub(crate) fn view(operation: &OperationIr, statics: &Statics) -> Option<(TensorId, Static)> {
    let (OperationIr::BaseFloat(base) | OperationIr::BaseInt(base) | OperationIr::BaseBool(base)) = operation else {
        return None;
    };
    match base {
        BaseOperationIr::Reshape(op) => {
            let view = statics.get(&op.input.id)?.reshaped(op.out.shape.to_vec())?;
            Some((op.out.id, view))
        }
        BaseOperationIr::SwapDims(op) => {
            let mut perm: Vec<usize> = (0..op.input.shape.num_dims()).collect();
            perm.swap(op.dim1, op.dim2);
            Some((op.out.id, statics.get(&op.input.id)?.permuted(&perm)?))
        }
        BaseOperationIr::Slice(op) => Some((op.out.id, statics.get(&op.tensor.id)?.sliced(op)?)),
        BaseOperationIr::Permute(op) => Some((op.out.id, statics.get(&op.input.id)?.permuted(&op.axes)?)),
        BaseOperationIr::Cast(op) => {
            let (from, to) = (crate::types::dtype(op.input.dtype).ok()?, crate::types::dtype(op.out.dtype).ok()?);
            let known = statics.get(&op.input.id)?;
            (from.is_float() == to.is_float()).then(|| (op.out.id, known.cast(to)))
        }
        _ => None,
    }
}
