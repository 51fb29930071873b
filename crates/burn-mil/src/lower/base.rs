//! Shapes, copies, selection and comparison: what works on tensors of any kind.

use burn::backend::ir::{
    BaseOperationIr, CatOpIr, CreationOpIr, GatherNdOpIr, GatherOpIr, MaskFillOpIr, MaskWhereOpIr, RepeatDimOpIr,
    ScalarIr, ScatterNdOpIr, ScatterOpIr, SelectOpIr, ShapeOpIr, SliceAssignOpIr, SliceOpIr, TensorIr,
};
use burn::tensor::Slice;
use mil::{Bound, DType, ValueId};

use super::{Failure, Lowerer, axis, dims};

impl Lowerer<'_, '_> {
    pub(super) fn base(&mut self, op: &BaseOperationIr) -> Result<(), Failure> {
        use BaseOperationIr as Op;
        match op {
            Op::Reshape(op) => {
                let x = self.value(&op.input)?;
                let value = self.emit("reshape", [("x", x.into()), ("shape", dims(&op.out.shape)?)])?;
                self.bind(&op.out, value)
            }
            Op::SwapDims(op) => {
                let mut perm: Vec<usize> = (0..op.input.shape.num_dims()).collect();
                perm.swap(op.dim1, op.dim2);
                self.transpose(&op.input, &perm, &op.out)
            }
            Op::Permute(op) => self.transpose(&op.input, &op.axes, &op.out),
            Op::Flip(op) => {
                let x = self.value(&op.input)?;
                let value = self.emit("reverse", [("x", x.into()), ("axes", dims(&op.axes)?)])?;
                self.bind(&op.out, value)
            }
            Op::Expand(op) => self.expand(op),
            Op::Slice(op) => self.slice(op),
            Op::SliceAssign(op) => self.slice_assign(op),
            Op::Select(op) => self.select(op),
            Op::MaskWhere(op) => self.mask_where(op),
            Op::MaskFill(op) => self.mask_fill(op),
            Op::Gather(op) => self.gather(op),
            Op::Scatter(op) => self.scatter(op),
            Op::ScatterNd(op) => self.scatter_nd(op),
            Op::GatherNd(op) => self.gather_nd(op),
            Op::Equal(op) => self.compare("equal", &op.lhs, &op.rhs, &op.out),
            Op::NotEqual(op) => self.compare("not_equal", &op.lhs, &op.rhs, &op.out),
            Op::EqualElem(op) => self.compare_scalar("equal", &op.lhs, op.rhs, &op.out),
            Op::NotEqualElem(op) => self.compare_scalar("not_equal", &op.lhs, op.rhs, &op.out),
            Op::RepeatDim(op) => self.repeat(op),
            Op::Cat(op) => self.cat(op),
            Op::Cast(op) => self.cast(&op.input, &op.out),
            Op::Empty(op) | Op::Zeros(op) => self.filled(op, ScalarIr::Int(0)),
            Op::Ones(op) => self.filled(op, ScalarIr::Int(1)),
            Op::All(op) => self.reduce_bool("reduce_min", &op.input, None, &op.out),
            Op::Any(op) => self.reduce_bool("reduce_max", &op.input, None, &op.out),
            Op::AllDim(op) => self.reduce_bool("reduce_min", &op.input, Some(op.axis), &op.out),
            Op::AnyDim(op) => self.reduce_bool("reduce_max", &op.input, Some(op.axis), &op.out),
            Op::SelectAssign(_) => Err(Failure::Unsupported("scatter along an axis, or a concatenation of slices")),
            Op::Unfold(_) => Err(Failure::Unsupported("slices that are concatenated")),
        }
    }

    fn transpose(&mut self, input: &TensorIr, perm: &[usize], out: &TensorIr) -> Result<(), Failure> {
        let x = self.value(input)?;
        let value = self.emit("transpose", [("x", x.into()), ("perm", dims(perm)?)])?;
        self.bind(out, value)
    }

    /// New leading axes by a reshape, then copies along the axes of size one.
    fn expand(&mut self, op: &ShapeOpIr) -> Result<(), Failure> {
        let (from, to) = (op.input.shape.as_slice(), op.out.shape.as_slice());
        let mut aligned = vec![1; to.len().saturating_sub(from.len())];
        aligned.extend_from_slice(from);
        let reps: Option<Vec<usize>> = (aligned.iter().zip(to))
            .map(|(&have, &want)| match (have, want) {
                (have, want) if have == want => Some(1),
                (1, want) => Some(want),
                _ => None,
            })
            .collect();
        let reps = reps.ok_or(Failure::Unsupported("an expansion of axes of size one"))?;
        let mut x = self.value(&op.input)?;
        if aligned != from {
            x = self.emit("reshape", [("x", x.into()), ("shape", dims(&aligned)?)])?;
        }
        let value = match reps.iter().all(|n| *n == 1) {
            true => x,
            false => self.emit("tile", [("x", x.into()), ("reps", dims(&reps)?)])?,
        };
        self.bind(&op.out, value)
    }

    fn repeat(&mut self, op: &RepeatDimOpIr) -> Result<(), Failure> {
        let mut reps = vec![1; op.tensor.shape.num_dims()];
        reps[op.dim] = op.times;
        let x = self.value(&op.tensor)?;
        let value = self.emit("tile", [("x", x.into()), ("reps", dims(&reps)?)])?;
        self.bind(&op.out, value)
    }

    fn slice(&mut self, op: &SliceOpIr) -> Result<(), Failure> {
        let bounds = Bounds::new(&op.ranges, &op.tensor.shape)?;
        let x = self.value(&op.tensor)?;
        let mut args = vec![("x", x.into()), ("begin", dims(&bounds.begin)?), ("end", dims(&bounds.end)?)];
        if bounds.stride.iter().any(|n| *n != 1) {
            args.push(("stride", dims(&bounds.stride)?));
        }
        let values = self.emit_many("slice_by_index", args)?;
        self.bind(&op.out, values[0])
    }

    fn slice_assign(&mut self, op: &SliceAssignOpIr) -> Result<(), Failure> {
        if self.emitter.function().opset < mil::Opset::CoreML8 {
            return Err(Failure::Unsupported("slice assignment in CoreML8 (iOS 18), or a concatenation of slices"));
        }
        let bounds = Bounds::new(&op.ranges, &op.tensor.shape)?;
        let (x, update) = (self.value(&op.tensor)?, self.value(&op.value)?);
        let mut args = vec![("x", x.into()), ("update", update.into())];
        args.extend([("begin", dims(&bounds.begin)?), ("end", dims(&bounds.end)?), ("stride", dims(&bounds.stride)?)]);
        let values = self.emit_many("slice_update", args)?;
        self.bind(&op.out, values[0])
    }

    fn select(&mut self, op: &SelectOpIr) -> Result<(), Failure> {
        let (x, indices) = (self.value(&op.tensor)?, self.value(&op.indices)?);
        let args = [("x", x.into()), ("indices", indices.into()), ("axis", axis(op.dim)?.into())];
        let value = self.emit("gather", args)?;
        self.bind(&op.out, value)
    }

    fn gather(&mut self, op: &GatherOpIr) -> Result<(), Failure> {
        let (x, indices) = (self.value(&op.tensor)?, self.value(&op.indices)?);
        let args = [("x", x.into()), ("indices", indices.into()), ("axis", axis(op.dim)?.into())];
        let value = self.emit("gather_along_axis", args)?;
        self.bind(&op.out, value)
    }

    fn gather_nd(&mut self, op: &GatherNdOpIr) -> Result<(), Failure> {
        let (x, indices) = (self.value(&op.data)?, self.value(&op.indices)?);
        let value = self.emit("gather_nd", [("x", x.into()), ("indices", indices.into())])?;
        self.bind(&op.out, value)
    }

    fn scatter(&mut self, op: &ScatterOpIr) -> Result<(), Failure> {
        let mode = scatter_mode(&op.update)?;
        let (data, indices, updates) = (self.value(&op.tensor)?, self.value(&op.indices)?, self.value(&op.value)?);
        let args = [
            ("data", data.into()),
            ("indices", indices.into()),
            ("updates", updates.into()),
            ("axis", axis(op.dim)?.into()),
            ("mode", mode.into()),
        ];
        let value = self.emit("scatter_along_axis", args)?;
        self.bind(&op.out, value)
    }

    fn scatter_nd(&mut self, op: &ScatterNdOpIr) -> Result<(), Failure> {
        let mode = scatter_mode(&op.reduction)?;
        let (data, indices, updates) = (self.value(&op.data)?, self.value(&op.indices)?, self.value(&op.values)?);
        let args =
            [("data", data.into()), ("indices", indices.into()), ("updates", updates.into()), ("mode", mode.into())];
        let value = self.emit("scatter_nd", args)?;
        self.bind(&op.out, value)
    }

    /// `value` where the mask is true.
    fn mask_where(&mut self, op: &MaskWhereOpIr) -> Result<(), Failure> {
        let (mask, value, x) = (self.value(&op.mask)?, self.value(&op.value)?, self.value(&op.tensor)?);
        let value = self.emit("select", [("cond", mask.into()), ("a", value.into()), ("b", x.into())])?;
        self.bind(&op.out, value)
    }

    fn mask_fill(&mut self, op: &MaskFillOpIr) -> Result<(), Failure> {
        let (mask, x) = (self.value(&op.mask)?, self.value(&op.tensor)?);
        let value = self.scalar(op.value, &op.tensor)?;
        let value = self.emit("select", [("cond", mask.into()), ("a", value), ("b", x.into())])?;
        self.bind(&op.out, value)
    }

    fn cat(&mut self, op: &CatOpIr) -> Result<(), Failure> {
        let values: Vec<ValueId> = op.tensors.iter().map(|tensor| self.value(tensor)).collect::<Result<_, _>>()?;
        let args = [("values", values.into()), ("axis", axis(op.dim)?.into()), ("interleave", false.into())];
        let value = self.emit("concat", args)?;
        self.bind(&op.out, value)
    }

    pub(super) fn cast(&mut self, input: &TensorIr, out: &TensorIr) -> Result<(), Failure> {
        let x = self.value(input)?;
        let (from, to) = (self.dtype(input)?, self.dtype(out)?);
        let value = if from == to { x } else { self.cast_to(x, to)? };
        self.bind(out, value)
    }

    pub(super) fn cast_to(&mut self, x: ValueId, dtype: DType) -> Result<ValueId, Failure> {
        self.emit("cast", [("x", x.into()), ("dtype", dtype.name().into())])
    }

    fn filled(&mut self, op: &CreationOpIr, value: ScalarIr) -> Result<(), Failure> {
        self.fill(&op.out, value)
    }

    pub(super) fn fill(&mut self, out: &TensorIr, value: ScalarIr) -> Result<(), Failure> {
        let value = self.scalar(value, out)?;
        let value = self.emit("fill", [("shape", dims(&out.shape)?), ("value", value)])?;
        self.bind(out, value)
    }

    /// Comparison; booleans are compared as integers, which is what MIL's comparisons take.
    pub(super) fn compare(
        &mut self,
        kind: &'static str,
        lhs: &TensorIr,
        rhs: &TensorIr,
        out: &TensorIr,
    ) -> Result<(), Failure> {
        let (x, y) = (self.comparable(lhs)?, self.comparable(rhs)?);
        let value = self.emit(kind, [("x", x.into()), ("y", y.into())])?;
        self.bind(out, value)
    }

    pub(super) fn compare_scalar(
        &mut self,
        kind: &'static str,
        lhs: &TensorIr,
        rhs: ScalarIr,
        out: &TensorIr,
    ) -> Result<(), Failure> {
        let x = self.comparable(lhs)?;
        let y = match (self.dtype(lhs)?, rhs) {
            (DType::Bool, rhs) => Bound::from(i32::from(crate::types::as_f64(rhs) != 0.0)),
            _ => self.scalar(rhs, lhs)?,
        };
        let value = self.emit(kind, [("x", x.into()), ("y", y)])?;
        self.bind(out, value)
    }

    fn comparable(&mut self, tensor: &TensorIr) -> Result<ValueId, Failure> {
        let x = self.value(tensor)?;
        match self.dtype(tensor)? {
            DType::Bool => self.cast_to(x, DType::I32),
            _ => Ok(x),
        }
    }
}

/// Begin, end and stride of each axis.
struct Bounds {
    begin: Vec<usize>,
    end: Vec<usize>,
    stride: Vec<usize>,
}

impl Bounds {
    /// Burn's ranges may be fewer than the axes; the rest is taken whole.
    fn new(ranges: &[Slice], shape: &[usize]) -> Result<Self, Failure> {
        let mut bounds = Self { begin: vec![0; shape.len()], end: shape.to_vec(), stride: vec![1; shape.len()] };
        for (at, (range, &size)) in ranges.iter().zip(shape).enumerate() {
            let (range, step) = range.to_range_and_step(size);
            let step = usize::try_from(step).ok().filter(|step| *step > 0);
            bounds.stride[at] = step.ok_or(Failure::Unsupported("a slice with a positive step, and a flip"))?;
            (bounds.begin[at], bounds.end[at]) = (range.start, range.end);
        }
        Ok(bounds)
    }
}

fn scatter_mode(update: &impl std::fmt::Debug) -> Result<&'static str, Failure> {
    match format!("{update:?}").as_str() {
        "Assign" => Ok("update"),
        "Add" => Ok("add"),
        "Mul" => Ok("mul"),
        "Min" => Ok("min"),
        "Max" => Ok("max"),
        _ => Err(Failure::Unsupported("scatter that assigns, adds, multiplies, or keeps the extreme")),
    }
}
