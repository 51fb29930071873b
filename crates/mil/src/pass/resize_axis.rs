//! One axis of an input with another size: what a program of so many tokens becomes for more of them.
//!
//! ```text
//! (%text: [1, 4, 1, 77])                                  (%text: [1, 4, 1, 154])
//! %y = reshape(x=%text, shape=[1, 2, 2, 77])      ==>     %y = reshape(x=%text, shape=[1, 2, 2, 154])
//! ```
//!
//! It is a specialisation, not an improvement: the function means something else afterwards, and no list of passes has it.
//! The axis is followed from the input through every operation to where it ends, in a product or a reduction; an output that
//! would still have it, and whatever names its size otherwise than as a size of a shape, is an error.

use super::error::{Failure, PassError, atomically};
use super::one_sample::{bind_ints, is_elementwise};
use crate::{
    ir::{Function, Op, ValueId},
    ops::{self, OpError, View},
    types::{Dim, Type},
};

/// Operations through which the axis is followed by their shapes; all elementwise ones are too.
const KNOWN: [&str; 20] = [
    "conv",
    "linear",
    "l2_norm",
    "layer_norm",
    "scaled_dot_product_attention",
    "softmax",
    "concat",
    "split",
    "stack",
    "reduce_mean",
    "reduce_sum",
    "reduce_max",
    "reduce_sum_square",
    "expand_dims",
    "squeeze",
    "reshape",
    "transpose",
    "slice_by_index",
    "einsum",
    "matmul",
];

/// An axis of an input, and the size that it is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize<'a> {
    /// Name of the input.
    pub input: &'a str,
    /// The axis, from 0, outermost first.
    pub axis: usize,
    /// Its new size.
    pub size: usize,
}

/// Gives an axis of an input another size, and everything that follows from it. Returns how many values changed their shape;
/// none where the axis has that size.
///
/// # Errors
/// For a function without such an axis, and for one in which the axis cannot be followed; it is then what it was.
pub fn resize_axis(function: &mut Function, resize: Resize<'_>) -> Result<usize, PassError> {
    let Resize { input, axis, size } = resize;
    atomically("resize_axis", function, |function| {
        let of_name = |value: &&ValueId| function.name_of(**value) == input;
        let missing = || OpError::new(format!("there is no input {input}"));
        let value = *function.inputs.iter().find(of_name).ok_or_else(missing)?;
        let sizes = shape(function.ty(value)).unwrap_or_default();
        let before = sizes.get(axis).copied().filter(|before| *before > 1 && size > 0);
        let Some(before) = before else {
            return Err(OpError::new(format!(
                "{input} {sizes:?} has no axis {axis} of a size that could become {size}"
            ))
            .into());
        };
        if before == size {
            return Ok(0);
        }
        let mut resizing = Resizing { before, after: size, axes: vec![None; function.values().len()], count: 0 };
        let Type::Tensor(mut ty) = function.ty(value).clone() else { return Ok(0) };
        ty.shape[axis] = Dim::Size(size);
        function.set_ty(value, Type::Tensor(ty));
        resizing.mark(value, axis);
        for i in 0..function.body.ops.len() {
            let mut op = function.body.ops[i].clone();
            resizing.visit(function, &mut op).map_err(|error| Failure { op: Some(op.name.clone()), error })?;
            function.body.ops[i] = op;
        }
        let outputs = &function.body.outputs;
        match outputs.iter().find(|output| resizing.axis(**output).is_some()) {
            Some(output) => Err(OpError::new(format!("output {} has the axis", function.name_of(*output))).into()),
            None => Ok(resizing.count),
        }
    })
}

/// Where the axis lies in each value that has it.
struct Resizing {
    before: usize,
    after: usize,
    axes: Vec<Option<usize>>,
    count: usize,
}

impl Resizing {
    fn mark(&mut self, value: ValueId, axis: usize) {
        if let Some(place) = self.axes.get_mut(value.index()) {
            *place = Some(axis);
            self.count += 1;
        }
    }

    fn axis(&self, value: ValueId) -> Option<usize> {
        self.axes.get(value.index()).copied().flatten()
    }

    fn visit(&mut self, function: &mut Function, op: &mut Op) -> Result<(), OpError> {
        if !op.operands().any(|operand| self.axis(operand).is_some()) {
            return Ok(());
        }
        if !op.blocks.is_empty() {
            return Err(OpError::new(format!("{} has blocks, in which the axis is not followed", op.kind)));
        }
        match &*op.kind {
            "reshape" => self.adapt_reshape(function, op)?,
            "slice_by_index" => self.adapt_slice(function, op)?,
            "layer_norm" | "l2_norm" => self.check_apart(function, op)?,
            kind if KNOWN.contains(&kind) || is_elementwise(kind) => {}
            kind => return Err(OpError::new(format!("nothing is known of what {kind} makes of the axis"))),
        }
        let before: Vec<Type> = op.outputs.iter().map(|&output| function.ty(output).clone()).collect();
        let after = ops::infer(&op.kind, &View::of(function, op), function.opset)?;
        for ((&output, before), after) in op.outputs.iter().zip(&before).zip(after) {
            if let Some(axis) = self.place(before, &after)? {
                self.mark(output, axis);
            }
            function.set_ty(output, after);
        }
        Ok(())
    }

    /// The axis of a result: the only one that has another size than before, if any has.
    fn place(&self, before: &Type, after: &Type) -> Result<Option<usize>, OpError> {
        let other = || OpError::new(format!("{before} became {after}, which is more than another size of the axis"));
        let (Some(old), Some(new)) = (shape(before), shape(after)) else { return Err(other()) };
        if old.len() != new.len() {
            return Err(other());
        }
        let mut changed = (0..old.len()).filter(|&i| old[i] != new[i]);
        match (changed.next(), changed.next()) {
            (None, _) => Ok(None),
            (Some(axis), None) if (old[axis], new[axis]) == (self.before, self.after) => Ok(Some(axis)),
            _ => Err(other()),
        }
    }

    /// The operand `x` with its axis.
    fn operand(&self, op: &Op) -> Result<(ValueId, usize), OpError> {
        let x = op.input("x").and_then(|x| Some((x, self.axis(x)?)));
        x.ok_or_else(|| OpError::new("the axis is a parameter's"))
    }

    /// Puts the new size where the shape names the old one.
    fn adapt_reshape(&self, function: &mut Function, op: &mut Op) -> Result<(), OpError> {
        let (x, axis) = self.operand(op)?;
        let mut list = View::of(function, op).known_ints("shape")?;
        let outer: usize = shape(function.ty(x)).unwrap_or_default()[..axis].iter().product();
        let result = op.outputs.first().and_then(|&output| shape(function.ty(output))).unwrap_or_default();
        let is_place = |i: &usize| result[*i] == self.before && result[..*i].iter().product::<usize>() == outer;
        let Some(place) = (0..result.len()).find(is_place) else {
            return Err(OpError::new(format!("shape {list:?} puts the axis together with others")));
        };
        // -1 and 0 say that the size follows from others.
        if list.get(place).is_none_or(|size| *size <= 0) {
            return Ok(());
        }
        list[place] = i64::try_from(self.after).unwrap_or(i64::MAX);
        bind_ints(function, op, "shape", &list)
    }

    /// A slice must take the whole axis.
    fn adapt_slice(&self, function: &mut Function, op: &mut Op) -> Result<(), OpError> {
        let (x, axis) = self.operand(op)?;
        let view = View::of(function, op);
        let rank = shape(function.ty(x)).unwrap_or_default().len();
        let flag = |param: &str| view.known_flags(param, rank).map(|flags| flags.get(axis).copied().unwrap_or(false));
        let (begin, mut end) = (view.known_ints_of_len("begin", rank)?, view.known_ints_of_len("end", rank)?);
        let stride = view.known_ints_of_len("stride", rank)?;
        let is_whole = (flag("begin_mask")? || begin[axis] == 0)
            && (flag("end_mask")? || usize::try_from(end[axis]) == Ok(self.before))
            && stride[axis] == 1
            && !flag("squeeze_mask")?;
        if !is_whole {
            return Err(OpError::new("a slice takes a part of the axis"));
        }
        if flag("end_mask")? {
            return Ok(());
        }
        end[axis] = i64::try_from(self.after).unwrap_or(i64::MAX);
        bind_ints(function, op, "end", &end)
    }

    /// The axis may not be normalised over: what lies at one place of it would change with its size.
    fn check_apart(&self, function: &Function, op: &Op) -> Result<(), OpError> {
        let (x, axis) = self.operand(op)?;
        let rank = shape(function.ty(x)).unwrap_or_default().len();
        let axes = match &*op.kind {
            "layer_norm" => View::of(function, op).known_axes("axes", rank)?,
            // Over everything but the samples.
            _ => (1..rank as i64).collect(),
        };
        let is_own = |other: &i64| *other == axis as i64 || *other + rank as i64 == axis as i64;
        match axes.iter().any(is_own) {
            true => Err(OpError::new(format!("{} normalises over the axis", op.kind))),
            false => Ok(()),
        }
    }
}

/// The sizes of a tensor, where all are known.
fn shape(ty: &Type) -> Option<Vec<usize>> {
    ty.as_tensor().and_then(|tensor| tensor.static_shape())
}
