//! Conditioning: what a denoiser is given beside the sample and the time step, by the name of its input.
//!
//! Each family of checkpoints makes it in a way of its own, from the prompt's ids.

pub(crate) mod sd;

use std::collections::BTreeMap;

/// Values of one batch element, by the denoiser's input.
pub(crate) type Features = BTreeMap<&'static str, Vec<f32>>;

/// What a picture is drawn from, and what it is guided away from.
pub(crate) struct Conditioning {
    pub(crate) prompt: Features,
    /// Present if guidance is active.
    pub(crate) negative: Option<Features>,
}
