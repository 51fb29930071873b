//! Checkpoints in one file, in the layouts of the programs that trained them: LDM (Stable Diffusion 1 and 2), SGM (XL) and
//! Stability's own of Stable Diffusion 3.
//!
//! Names are rules ([`names`]), with a table for each network below it. Here nothing is computed: what differs from diffusers'
//! layout is a view of the file's tensors.

pub(crate) mod names;
pub(crate) mod unet;

#[cfg(test)]
mod tests;
