//! `x · sigmoid(x)` is one operation.
//!
//! ```text
//! %s = sigmoid(x=%x)
//! %y = mul(x=%x, y=%s)      ==>   %y = silu(x=%x)
//! ```

use super::error::PassError;
use super::rewrite::rewrite;
use crate::ir::Function;

/// Fuses `mul(x, sigmoid(x))` into `silu`, when nothing else reads the sigmoid.
///
/// # Errors
/// When the fused operation is refused, which validated programs do not cause.
pub fn fuse_silu(function: &mut Function) -> Result<usize, PassError> {
    rewrite("fuse_silu", function, |rw, op| {
        if op.kind != "mul" {
            return Ok(false);
        }
        let (Some(a), Some(b)) = (op.input("x"), op.input("y")) else { return Ok(false) };
        for (x, s) in [(a, b), (b, a)] {
            let fits = rw.def_of(s, "sigmoid").is_some_and(|d| d.input("x") == Some(x));
            if fits && rw.single_use(s) && !rw.is_output(s) {
                return rw.replace_with(op, "silu", [("x", x.into())]);
            }
        }
        Ok(false)
    })
}
