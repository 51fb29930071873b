//! What a denoiser is given beside the sample and the time step, by the name of its input.

use std::collections::BTreeMap;

/// Values of one batch element, by the denoiser's input.
pub(crate) type Features = BTreeMap<&'static str, Vec<f32>>;

/// What a picture is drawn from, and what it is guided away from.
pub(crate) struct Conditioning {
    pub(crate) prompt: Features,
    /// Present if guidance is active.
    pub(crate) negative: Option<Features>,
}

impl Conditioning {
    /// The prompt alone, for steps without guidance.
    pub(crate) fn unguided(&self) -> Self {
        Self { prompt: self.prompt.clone(), negative: None }
    }
}
