//! The networks of a Stable Diffusion checkpoint, by name.

use std::fmt;

/// One network of a checkpoint.
///
/// The two halves of the autoencoder share one checkpoint file and are two components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// CLIP text encoder: token ids to text states.
    TextEncoder,
    /// The denoiser.
    UNet,
    /// Latents to pictures.
    VaeDecoder,
    /// Pictures to latent moments.
    VaeEncoder,
    /// CLIP vision encoder and concept scores.
    SafetyChecker,
}

impl Component {
    /// Every component, in the order in which a pipeline is usually converted.
    pub const ALL: [Self; 5] = [Self::TextEncoder, Self::UNet, Self::VaeDecoder, Self::VaeEncoder, Self::SafetyChecker];

    /// The name used on the command line and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TextEncoder => "text-encoder",
            Self::UNet => "unet",
            Self::VaeDecoder => "vae-decoder",
            Self::VaeEncoder => "vae-encoder",
            Self::SafetyChecker => "safety-checker",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
