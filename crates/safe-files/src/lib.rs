//! Files of the outside world: read with a cap and named for what they are, written whole or not at all.
//!
//! - [`read`] takes small files of a checkpoint or package: capped, without a byte order mark, and never a Git LFS pointer
//!   for the file that it stands for.
//!
//! Nothing here knows what a file means; formats are the callers'.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod kind;
mod read;

pub use kind::{FileKind, kind_of};
pub use read::{ReadError, read, read_if_present, read_text, read_text_if_present, strip_bom};
