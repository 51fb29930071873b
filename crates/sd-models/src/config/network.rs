//! Any network's configuration, by component.

use super::{ClipTextConfig, SafetyCheckerConfig, UNetConfig, VaeConfig};
use crate::Component;

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
    pub const fn component(&self) -> Component {
        match self {
            Self::TextEncoder(_) => Component::TextEncoder,
            Self::UNet(_) => Component::UNet,
            Self::VaeDecoder(_) => Component::VaeDecoder,
            Self::VaeEncoder(_) => Component::VaeEncoder,
            Self::SafetyChecker(_) => Component::SafetyChecker,
        }
    }
}
