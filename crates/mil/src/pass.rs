//! Passes: one rewrite each, exact up to floating-point re-association.
//!
//! A pass takes a function and returns how many rewrites it made; [`run`] runs a list of them in order.
//! One that fails says where ([`PassError`]) and leaves the function as it was.
//! Passes look at a function's own block; nested blocks (`cond`, `while_loop`) are left as they are.
//! None of them changes a weight: what is lossy belongs to compression, except [`to_f16`], which is the
//! conversion of precision itself.

mod attention;
mod boundary;
mod cancel_transposes;
mod channels_first;
mod dead_code;
mod error;
mod fold_constants;
mod fuse_batch_norm;
mod fuse_gelu;
mod fuse_group_norm;
mod fuse_layer_norm;
mod fuse_linear;
mod fuse_reduce_squeeze;
mod fuse_silu;
mod merge_reshapes;
mod merge_slices;
mod one_sample;
mod open_mask;
mod remove_noops;
mod remove_redundant;
mod resize_axis;
mod rewrite;
#[cfg(test)]
mod tests;
mod to_f16;

pub use attention::{AttentionLayout, expand_attention};
pub use boundary::{declare_input, declare_output, keep_inputs};
pub use cancel_transposes::cancel_transposes;
pub use channels_first::channels_first;
pub use dead_code::eliminate_dead_code;
pub use error::PassError;
pub use fold_constants::fold_constants;
pub use fuse_batch_norm::fuse_batch_norm;
pub use fuse_gelu::fuse_gelu;
pub use fuse_group_norm::fuse_group_norm;
pub use fuse_layer_norm::fuse_layer_norm;
pub use fuse_linear::fuse_linear;
pub use fuse_reduce_squeeze::fuse_reduce_squeeze;
pub use fuse_silu::fuse_silu;
pub use merge_reshapes::merge_reshapes;
pub use merge_slices::merge_slices;
pub use one_sample::one_sample;
pub use open_mask::open_mask;
pub use remove_noops::remove_noops;
pub use remove_redundant::{deduplicate_constants, remove_redundant};
pub use resize_axis::{Resize, resize_axis};
pub use to_f16::{AttentionPrecision, BeyondHalf, HalfPrecision, to_f16, to_f16_with};

use crate::ir::Function;

/// A pass: rewrites a function and says how often.
pub type Pass = fn(&mut Function) -> Result<usize, PassError>;

/// Passes with their names, in the order in which [`tidy`] runs them.
pub const TIDY: &[(&str, Pass)] = &[
    ("fold_constants", fold_constants),
    ("fuse_silu", fuse_silu),
    ("fuse_gelu", fuse_gelu),
    ("fuse_linear", fuse_linear),
    ("fuse_group_norm", fuse_group_norm),
    ("fuse_layer_norm", fuse_layer_norm),
    ("fuse_batch_norm", fuse_batch_norm),
    ("fuse_reduce_squeeze", fuse_reduce_squeeze),
    ("merge_slices", merge_slices),
    ("cancel_transposes", cancel_transposes),
    ("merge_reshapes", merge_reshapes),
    ("remove_noops", remove_noops),
    ("remove_redundant", remove_redundant),
    ("eliminate_dead_code", eliminate_dead_code),
    ("deduplicate_constants", deduplicate_constants),
];

/// Rounds of [`run`] after which passes undo each other's work rather than finish.
///
/// Nearly every rewrite shrinks the program, and programs settle in fewer than ten rounds.
const MAX_ROUNDS: usize = 256;

/// Runs passes in order until none of them finds anything, and returns the number of rewrites.
///
/// # Errors
/// The first error: what ran before that pass is done. Or, naming a pass that still rewrites, that the passes find
/// no end; every rewrite so far is done, and the function means what it meant.
pub fn run(function: &mut Function, passes: &[(&str, Pass)]) -> Result<usize, PassError> {
    let mut total = 0;
    let mut last = "";
    for _ in 0..MAX_ROUNDS {
        let before = total;
        for (name, pass) in passes {
            let n = pass(function)?;
            total += n;
            last = if n > 0 { name } else { last };
        }
        if total == before {
            return Ok(total);
        }
    }
    Err(PassError::new(last, format!("still finds something to rewrite after {MAX_ROUNDS} rounds of all passes")))
}

/// Runs every pass of [`TIDY`] until nothing changes.
///
/// # Errors
/// As [`run`].
pub fn tidy(function: &mut Function) -> Result<usize, PassError> {
    run(function, TIDY)
}
