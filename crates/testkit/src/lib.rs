//! Checks, tolerances and golden data for the tests of every crate.
//!
//! Its assertions panic, because that is how a test fails; it is a dev-dependency and nothing else.
//! It knows tensors and files, and deliberately nothing of MIL, Burn or diffusion.

pub mod fuzz;
mod hash;
pub mod hub;
pub mod memory;
mod places;
mod rng;
mod summary;
pub mod tally;
mod tolerance;
mod weights;

pub use hash::sha256;
pub use places::{demo, golden, golden_path, workspace_root};
pub use rng::Rng;
pub use summary::{Feature, Summary, SummaryOp};
pub use tolerance::{all_close, assert_all_close, assert_psnr, psnr};
pub use weights::{load_metadata, load_safetensors};
