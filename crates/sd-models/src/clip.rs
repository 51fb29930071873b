//! CLIP: the text encoder of the pipeline and the vision encoder of the safety checker.

mod text;
mod tower;
mod vision;

pub use text::{ClipTextEncoder, ClipTextOutput, TextTransformer};
pub use tower::{Encoder, EncoderLayer, Mlp, SelfAttention};
pub use vision::{VisionModel, VisionTransformer};
