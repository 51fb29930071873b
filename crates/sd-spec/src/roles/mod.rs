//! The roles, one file for each group that shares features.

pub(crate) mod safety;
pub(crate) mod text;
pub(crate) mod unet;
pub(crate) mod vae;
