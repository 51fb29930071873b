//! Of two reshapes in a row only the last matters.
//!
//! ```text
//! %a = reshape(x=%x, shape=[2, 6])
//! %b = reshape(x=%a, shape=[3, 4])   ==>   %b = reshape(x=%x, shape=[3, 4])
//! ```

use super::error::PassError;
use super::rewrite::rewrite;
use crate::ir::Function;

/// Lets a reshape read the operand of the reshape (or `expand_dims`, `squeeze`) before it.
///
/// # Errors
/// When the merged operation is refused, which validated programs do not cause.
pub fn merge_reshapes(function: &mut Function) -> Result<usize, PassError> {
    rewrite("merge_reshapes", function, |rw, op| {
        if !is_reshape(&op.kind) {
            return Ok(false);
        }
        let Some(source) =
            op.input("x").and_then(|x| rw.def(x)).filter(|d| is_reshape(&d.kind)).and_then(|d| d.input("x"))
        else {
            return Ok(false);
        };
        let Some(shape) = rw.shape(op.output()) else { return Ok(false) };
        let shape: Vec<i32> = shape.iter().map(|&d| i32::try_from(d).unwrap_or(i32::MAX)).collect();
        if shape.is_empty() {
            return Ok(false);
        }
        rw.replace_with(op, "reshape", [("x", source.into()), ("shape", shape.into())])
    })
}

fn is_reshape(kind: &str) -> bool {
    matches!(kind, "reshape" | "expand_dims" | "squeeze")
}
