//! Any network's configuration, by component.

use super::{ClipTextConfig, SafetyCheckerConfig, UNetConfig, VaeConfig};
use crate::Role;

/// The configuration of one component's network.
///
/// The two halves of the autoencoder share a configuration and are two networks.
#[derive(Clone, Debug)]
pub enum NetworkConfig {
    /// Of [`ClipTextEncoder`](crate::ClipTextEncoder).
    TextEncoder(ClipTextConfig),
    /// Of [`UNet`](crate::UNet).
    UNet(UNetConfig),
    /// Of [`VaeDecoder`](crate::VaeDecoder).
    VaeDecoder(VaeConfig),
    /// Of [`VaeEncoder`](crate::VaeEncoder).
    VaeEncoder(VaeConfig),
    /// Of [`SafetyChecker`](crate::SafetyChecker).
    SafetyChecker(SafetyCheckerConfig),
}

impl NetworkConfig {
    /// Whose configuration it is.
    pub const fn role(&self) -> Role {
        match self {
            Self::TextEncoder(_) => Role::TextEncoder,
            Self::UNet(_) => Role::UNet,
            Self::VaeDecoder(_) => Role::VaeDecoder,
            Self::VaeEncoder(_) => Role::VaeEncoder,
            Self::SafetyChecker(_) => Role::SafetyChecker,
        }
    }
}
