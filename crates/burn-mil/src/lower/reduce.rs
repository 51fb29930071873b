//! Reductions, cumulative sums, sorting.

use burn::backend::ir::{NumericOperationIr, ReduceDimOpIr, ReduceOpIr, SortOpIr, TensorIr};
use mil::ValueId;

use super::{Failure, Lowerer, axis, dims};

impl Lowerer<'_, '_> {
    pub(super) fn reduction(&mut self, op: &NumericOperationIr) -> Result<(), Failure> {
        use NumericOperationIr as Op;
        match op {
            Op::Mean(op) => self.reduce_all("reduce_mean", op),
            Op::Sum(op) => self.reduce_all("reduce_sum", op),
            Op::Max(op) => self.reduce_all("reduce_max", op),
            Op::Min(op) => self.reduce_all("reduce_min", op),
            Op::MeanDim(op) => self.reduce_dim("reduce_mean", op),
            Op::SumDim(op) => self.reduce_dim("reduce_sum", op),
            Op::MaxDim(op) => self.reduce_dim("reduce_max", op),
            Op::MinDim(op) => self.reduce_dim("reduce_min", op),
            Op::SumDims(op) => {
                let x = self.value(&op.input)?;
                self.reduce("reduce_sum", x, &op.axes, &op.out)
            }
            Op::MaxAbs(op) => {
                let axes = all_axes(&op.input);
                self.reduce_size(&op.input, &axes, &op.out)
            }
            Op::MaxAbsDim(op) => self.reduce_size(&op.input, &[op.axis], &op.out),
            Op::ArgMax(op) => self.arg_extreme("reduce_argmax", &op.input, op.axis, &op.out),
            Op::ArgMin(op) => self.arg_extreme("reduce_argmin", &op.input, op.axis, &op.out),
            Op::MaxDimWithIndices(op) => {
                let x = self.value(&op.tensor)?;
                self.reduce("reduce_max", x, &[op.dim], &op.out)?;
                self.arg_extreme("reduce_argmax", &op.tensor, op.dim, &op.out_indices)
            }
            Op::MinDimWithIndices(op) => {
                let x = self.value(&op.tensor)?;
                self.reduce("reduce_min", x, &[op.dim], &op.out)?;
                self.arg_extreme("reduce_argmin", &op.tensor, op.dim, &op.out_indices)
            }
            Op::TopK(op) => self.top_k(&op.input, op.axis, Some(&op.out), None),
            Op::ArgTopK(op) => self.top_k(&op.input, op.axis, None, Some(&op.out)),
            Op::TopKWithIndices(op) => self.top_k(&op.tensor, op.dim, Some(&op.out), Some(&op.out_indices)),
            Op::CumSum(op) => {
                let x = self.value(&op.input)?;
                let value = self.emit("cumsum", [("x", x.into()), ("axis", axis(op.axis)?.into())])?;
                self.bind(&op.out, value)
            }
            Op::Sort(op) => {
                let order = self.order(op)?;
                self.sorted(&op.input, order, op.dim, &op.out)
            }
            Op::ArgSort(op) => {
                let order = self.order(op)?;
                self.bind(&op.out, order)
            }
            Op::SortWithIndices(op) => {
                let sort =
                    SortOpIr { input: op.input.clone(), dim: op.dim, descending: op.descending, out: op.out.clone() };
                let order = self.order(&sort)?;
                self.sorted(&op.input, order, op.dim, &op.out)?;
                self.bind(&op.out_indices, order)
            }
            Op::Prod(_) | Op::ProdDim(_) => Err(Failure::Unsupported("sums, means and extremes")),
            Op::CumProd(_) | Op::CumMin(_) | Op::CumMax(_) => Err(Failure::Unsupported("a cumulative sum")),
            _ => Err(Failure::Unsupported("arithmetic, a comparison or a reduction")),
        }
    }

    fn reduce_all(&mut self, kind: &'static str, op: &ReduceOpIr) -> Result<(), Failure> {
        let x = self.value(&op.input)?;
        self.reduce(kind, x, &all_axes(&op.input), &op.out)
    }

    fn reduce_dim(&mut self, kind: &'static str, op: &ReduceDimOpIr) -> Result<(), Failure> {
        let x = self.value(&op.input)?;
        self.reduce(kind, x, &[op.axis], &op.out)
    }

    fn reduce(&mut self, kind: &'static str, x: ValueId, axes: &[usize], out: &TensorIr) -> Result<(), Failure> {
        let value = self.emit(kind, [("x", x.into()), ("axes", dims(axes)?), ("keep_dims", true.into())])?;
        self.bind_reshaped(out, value)
    }

    /// The largest absolute value.
    fn reduce_size(&mut self, input: &TensorIr, axes: &[usize], out: &TensorIr) -> Result<(), Failure> {
        let x = self.value(input)?;
        let sizes = self.emit("abs", [("x", x.into())])?;
        self.reduce("reduce_max", sizes, axes, out)
    }

    fn arg_extreme(
        &mut self,
        kind: &'static str,
        input: &TensorIr,
        along: usize,
        out: &TensorIr,
    ) -> Result<(), Failure> {
        let x = self.value(input)?;
        let args = [("x", x.into()), ("axis", axis(along)?.into()), ("keep_dims", true.into())];
        let value = self.emit(kind, args)?;
        self.bind(out, value)
    }

    fn top_k(
        &mut self,
        input: &TensorIr,
        along: usize,
        values: Option<&TensorIr>,
        indices: Option<&TensorIr>,
    ) -> Result<(), Failure> {
        let k = values.or(indices).map_or(0, |out| out.shape[along]);
        let x = self.value(input)?;
        let args =
            vec![("x", x.into()), ("k", axis(k)?.into()), ("axis", axis(along)?.into()), ("ascending", false.into())];
        let found = self.emit_many("topk", args)?;
        values.map_or(Ok(()), |out| self.bind(out, found[0]))?;
        indices.map_or(Ok(()), |out| self.bind(out, found[1]))
    }

    fn order(&mut self, op: &SortOpIr) -> Result<ValueId, Failure> {
        let x = self.value(&op.input)?;
        let ascending = !op.descending;
        self.emit("argsort", [("x", x.into()), ("axis", axis(op.dim)?.into()), ("ascending", ascending.into())])
    }

    fn sorted(&mut self, input: &TensorIr, order: ValueId, along: usize, out: &TensorIr) -> Result<(), Failure> {
        let x = self.value(input)?;
        let args = [("x", x.into()), ("indices", order.into()), ("axis", axis(along)?.into())];
        let value = self.emit("gather_along_axis", args)?;
        self.bind(out, value)
    }
}

fn all_axes(tensor: &TensorIr) -> Vec<usize> {
    (0..tensor.shape.num_dims()).collect()
}
