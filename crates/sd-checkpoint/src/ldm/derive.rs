//! Configurations that follow from the names and shapes of a file's tensors, as diffusers and transformers write them.
//!
//! What shapes do not say, such as the number of heads, is the rule of a [kind](super::kinds). Values are not checked here:
//! whoever reads the configuration does.

mod encoders;
mod levels;
mod mmdit;
mod tiny;
mod unet;
mod vae;

pub(crate) use encoders::{clip_of_open_clip, clip_of_transformers, t5};
pub(crate) use mmdit::mmdit;
pub(crate) use tiny::{tiny, tiny_latents};
pub(crate) use unet::{attends_linearly, control_net, text_width, unet};
pub(crate) use vae::vae;
