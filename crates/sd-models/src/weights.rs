//! How a network's parameters and a checkpoint's tensors belong together.
//!
//! Field names are the checkpoint's names, so most paths *are* keys. What differs:
//!
//! | in the module | in the checkpoint |
//! |---|---|
//! | `gamma`, `beta` of group norm and layer norm | `weight`, `bias` |
//! | `Linear.weight` as `[in, out]` | `[out, in]` |
//! | `Linear` for a 1×1 convolution | `[out, in, 1, 1]` |
//! | `to_q`, `to_k`, `to_v`, `to_out.0` of the autoencoder | also `query`, `key`, `value`, `proj_attn` (diffusers before 0.17) |
//! | `text_model.…`, `vision_model.vision_model.…` | also without the first part (transformers 5) |
//!
//! No tensor data passes through here: [`parameters`] reads paths and shapes off a module, and
//! [`LoadReport`] compares them with a checkpoint's table of contents.

mod parameters;
mod report;

pub(crate) use report::{COUNTER, OTHER_HALF};

pub use parameters::{ByteRelation, Parameter, parameters};
pub use report::{Binding, CheckpointTensor, Ignored, LoadReport, Naming, ShapeMismatch};
