//! Removes operations that change nothing.
//!
//! ```text
//! %a = reshape(x=%x, shape=<shape of x>)
//! %b = add(x=%a, y=0)
//! %c = relu(x=%b)                          ==>   %c = relu(x=%x)
//! ```

use super::error::PassError;
use super::rewrite::{Rewriter, rewrite};
use crate::ir::{Function, Op, ValueId};

/// Removes identities, casts and reshapes to the same type, identity transpositions, and additions of 0 or
/// multiplications by 1 that do not broadcast.
///
/// # Errors
/// When an `identity` that has to carry a public name is refused, which does not happen.
pub fn remove_noops(function: &mut Function) -> Result<usize, PassError> {
    rewrite("remove_noops", function, |rw, op| {
        let Some(x) = source(rw, op) else { return Ok(false) };
        let out = op.output();
        // An output that is an input or another output needs a producer of its own.
        if rw.is_output(out) && (rw.def(x).is_none() || rw.is_output(x)) {
            return Ok(false);
        }
        rw.replace(out, x)?;
        Ok(true)
    })
}

/// The operand that the operation returns unchanged.
fn source(rw: &Rewriter<'_>, op: &Op) -> Option<ValueId> {
    let x = op.input("x")?;
    let same_type = || rw.ty(x) == rw.ty(op.output()) && rw.shape(x).is_some();
    let neutral = |param: &str, value: f32| {
        let y = op.input(param)?;
        (rw.scalar(y)? == value).then_some(())
    };
    let unchanged = match &*op.kind {
        "identity" | "cast" | "reshape" | "expand_dims" | "squeeze" | "tile" | "slice_by_size" => same_type(),
        "slice_by_index" => {
            let stride = |rank| rw.view(op).known_ints_of_len("stride", rank).ok();
            same_type() && stride(rw.tensor(x)?.rank())?.iter().all(|&s| s == 1)
        }
        "transpose" => rw.view(op).ints("perm")?.iter().enumerate().all(|(i, &p)| p == i as i64),
        "add" | "sub" => same_type() && neutral("y", 0.0).is_some(),
        "mul" | "real_div" => same_type() && neutral("y", 1.0).is_some(),
        "concat" => false,
        _ => false,
    };
    unchanged.then_some(x)
}
