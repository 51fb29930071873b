//! Files of the outside world: read with a cap and named for what they are, written whole or not at all.
//!
//! - [`read`] takes small files of a checkpoint or package: capped, without a byte order mark, and never a Git LFS pointer
//!   for the file that it stands for.
//! - [`Outputs`] holds what one command writes and reads, and refuses it before any work: files and packages whose place
//!   cannot be written, two outputs with one name, and outputs that would replace an input. What it gives out
//!   ([`OutputFile`], [`OutputFolder`]) is the way to write files and to make folders.
//! - [`StagedDir`] is a directory that appears whole or not at all, [`Tree`] one that is copied so, and [`move_folder`]
//!   keeps one that somebody else made; [`remove_folder`] takes one away that another stands for now.
//! - [`link_or_copy`] and [`Flusher`] serve large files within staged directories, and [`Scratch`] what is only needed while
//!   something beside it is made.
//! - [`Growing`], [`Lock`], [`point_to`] and [`free_bytes`] serve a cache that several processes fill, over several runs.
//!
//! This is the only crate of the product that creates, renames, copies or removes anything.
//! Nothing here knows what a file means; formats are the callers'.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod error;
mod flush;
mod growing;
mod kind;
mod lock;
mod moved;
mod named;
mod outputs;
mod place;
mod read;
mod removed;
mod room;
mod scratch;
mod share;
mod staged;
mod tree;
mod write;

pub use error::{WriteError, is_closed_pipe};
pub use flush::{Flusher, reserve};
pub use growing::Growing;
pub use kind::{FileKind, kind_of};
pub use lock::Lock;
pub use moved::{Moved, move_folder};
pub use named::{Below, Folder, NamedFiles};
pub use outputs::{OutputFolder, Outputs, is_stream, remove_empty_folders};
pub use read::{ReadError, read, read_if_present, read_text, read_text_if_present, strip_bom};
pub use removed::remove_folder;
pub use room::free_bytes;
pub use scratch::Scratch;
pub use share::{Shared, link_or_copy, point_to};
pub use staged::{Existing, Residue, StagedDir};
pub use tree::Tree;
pub use write::OutputFile;

// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
