//! The causal mask of a decoder as an input: for a caller who hides more than what comes later.
//!
//! ```text
//! (%x)                                             (%x, %mask: [1, 1, 77, 77])
//! %y = add(x=%scores, y=<0 and -inf above>)   ==>  %y = add(x=%scores, y=%mask)
//! ```
//!
//! It is a specialisation: the function takes one input more afterwards, and no list of passes has it. What the caller gives
//! takes the place of the mask and must hold it.

use super::error::{PassError, atomically};
use crate::{
    ir::{Function, ValueId},
    ops::OpError,
    types::Type,
};

/// What is added to a score so that nothing is left of it is below this.
const HIDDEN: f32 = -1e3;

/// Makes an input of that name of the causal masks that are added to scores, which must all be of one type. Returns how many
/// operations read it.
///
/// # Errors
/// For a function without such a mask, or with masks of several types; it is then what it was.
pub fn open_mask(function: &mut Function, name: &str) -> Result<usize, PassError> {
    atomically("open_mask", function, |function| {
        let masks = masks(function);
        let Some(ty) = masks.first().map(|mask| function.ty(*mask).clone()) else {
            return Err(OpError::new("no causal mask is added to scores").into());
        };
        if masks.iter().any(|mask| *function.ty(*mask) != ty) {
            return Err(OpError::new("there are causal masks of several types").into());
        }
        let taken = || OpError::new(format!("the name {name} is taken"));
        let input = function.add_named(name, ty, None).ok_or_else(taken)?;
        function.inputs.push(input);
        let mut count = 0;
        function.body.for_each_use_mut(&mut |value| {
            if masks.contains(value) {
                *value = input;
                count += 1;
            }
        });
        Ok(count)
    })
}

/// The constants that are causal masks of attention.
fn masks(function: &Function) -> Vec<ValueId> {
    let mut masks: Vec<ValueId> = Vec::new();
    for op in function.body.ops.iter().filter(|op| matches!(&*op.kind, "add" | "scaled_dot_product_attention")) {
        for operand in op.operands() {
            if !masks.contains(&operand) && is_causal(function, operand) {
                masks.push(operand);
            }
        }
    }
    masks
}

/// Whether a value is a constant of as many rows as columns, 0 up to the diagonal and hidden above it.
fn is_causal(function: &Function, value: ValueId) -> bool {
    let Type::Tensor(ty) = function.ty(value) else { return false };
    let shape = ty.static_shape().unwrap_or_default();
    let [outer @ .., rows, columns] = &shape[..] else { return false };
    if !ty.dtype.is_float() || rows != columns || *rows < 2 || outer.iter().any(|n| *n != 1) {
        return false;
    }
    let Some(values) = function.literal(value).and_then(|literal| literal.as_floats()) else { return false };
    values.chunks(*columns).enumerate().all(|(row, values)| {
        let (seen, hidden) = values.split_at(row + 1);
        seen.iter().all(|x| *x == 0.0) && hidden.iter().all(|x| *x < HIDDEN)
    })
}
