//! The list of networks, and any network's configuration.
//!
//! Whoever records, loads or runs networks does it for all of them at once, by [`NetworkConfig::with`]; the next one is one more
//! name at the end of this file.

use burn::tensor::Device;
use sd_spec::Role;
use serde_json::Value;

use crate::config::Configuration;
use crate::network::{Facts, Network, WithNetwork};
use crate::weights::{CheckpointTensor, LoadReport, Parameter, parameters};
use crate::{
    ClipTextEncoder, ControlNet, Mmdit, ModelError, MultilingualProjection, RrdbNet, SafetyChecker, T5Encoder,
    TinyDecoder, TinyEncoder, UNet, VaeDecoder, VaeEncoder,
};

/// The class that a `config.json` names, as diffusers and as transformers write it.
fn class_of(json: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(json).ok()?;
    let class = json.get("_class_name").or_else(|| json.get("architectures")?.get(0))?;
    class.as_str().map(str::to_owned)
}

/// One network of the list.
struct Entry {
    roles: &'static [Role],
    classes: &'static [&'static str],
    read: fn(&[u8]) -> Result<NetworkConfig, ModelError>,
    unknown_keys: fn(&[u8]) -> Result<Vec<String>, ModelError>,
}

/// The network that reads a role's `config.json`: that of the class which the file names, or the role's first where it
/// names none of them, which then refuses another's.
fn entry(role: Role, json: &[u8]) -> Result<&'static Entry, ModelError> {
    let class = class_of(json);
    let of_role = || ENTRIES.iter().filter(|entry| entry.roles.contains(&role));
    let named = of_role().find(|entry| class.as_deref().is_some_and(|class| entry.classes.contains(&class)));
    named.or_else(|| of_role().next()).ok_or(ModelError::NoNetwork { role })
}

impl NetworkConfig {
    /// Reads the `config.json` of a role, by the class that it names.
    ///
    /// # Errors
    /// A [`ModelError`] that names key and value.
    pub fn read(role: Role, json: &[u8]) -> Result<Self, ModelError> {
        (entry(role, json)?.read)(json)
    }

    /// Keys of a role's `config.json` that no table knows, with the keys of the objects around them.
    ///
    /// They may be misspelt, or of a version that this one does not know; what they ask for is not done.
    ///
    /// # Errors
    /// As [`NetworkConfig::read`], for values that are refused.
    pub fn unknown_keys(role: Role, json: &[u8]) -> Result<Vec<String>, ModelError> {
        (entry(role, json)?.unknown_keys)(json)
    }

    /// Every parameter of its network; none is initialised on the device.
    #[must_use]
    pub fn parameters(&self, device: &Device) -> Vec<Parameter> {
        struct Read<'a>(&'a Device);
        impl WithNetwork for Read<'_> {
            type Output = Vec<Parameter>;
            fn run<N: Network>(self, config: &N::Config) -> Vec<Parameter> {
                parameters(&N::init(config, self.0))
            }
        }
        self.with(Read(device))
    }

    /// Compares its network with a checkpoint's table of contents; nothing is initialised on the device.
    pub fn load_report(&self, device: &Device, tensors: impl IntoIterator<Item = CheckpointTensor>) -> LoadReport {
        struct Compare<'a, T>(&'a Device, T);
        impl<T: IntoIterator<Item = CheckpointTensor>> WithNetwork for Compare<'_, T> {
            type Output = LoadReport;
            fn run<N: Network>(self, config: &N::Config) -> LoadReport {
                N::init(config, self.0).load_report(self.1)
            }
        }
        self.with(Compare(device, tensors))
    }
}

macro_rules! networks {
    ($($network:ident),* $(,)?) => {
        /// The configuration of a network.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum NetworkConfig {
            $(#[doc = concat!("Of [`", stringify!($network), "`].")] $network(<$network as Network>::Config)),*
        }

        const ENTRIES: &[Entry] = &[$(Entry {
            roles: <$network as Network>::ROLES,
            classes: <$network as Network>::CLASSES,
            read: |json| <$network as Network>::Config::from_json(json).map(NetworkConfig::$network),
            unknown_keys: <$network as Network>::Config::unknown_keys,
        }),*];

        impl NetworkConfig {
            /// The roles that its network can play.
            #[must_use]
            pub const fn roles(&self) -> &'static [Role] {
                match self {
                    $(Self::$network(_) => <$network as Network>::ROLES),*
                }
            }

            /// What it says to those who do not build the network.
            #[must_use]
            pub fn facts(&self) -> Facts {
                match self {
                    $(Self::$network(config) => <$network as Network>::facts(config)),*
                }
            }

            /// Does something with the network's type.
            pub fn with<W: WithNetwork>(&self, work: W) -> W::Output {
                match self {
                    $(Self::$network(config) => work.run::<$network>(config)),*
                }
            }
        }
    };
}

networks![
    ClipTextEncoder,
    T5Encoder,
    UNet,
    ControlNet,
    Mmdit,
    VaeDecoder,
    VaeEncoder,
    TinyDecoder,
    TinyEncoder,
    SafetyChecker,
    MultilingualProjection,
    RrdbNet,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_class_of_a_role_has_a_network_and_every_network_a_role() {
        for role in Role::ALL {
            let declared: BTreeSet<&str> = role.spec().classes.iter().copied().collect();
            let networks = ENTRIES.iter().filter(|entry| entry.roles.contains(&role));
            let there: Vec<&str> = networks.flat_map(|entry| entry.classes).copied().collect();
            assert_eq!(there.iter().copied().collect::<BTreeSet<_>>(), declared, "networks of the {role}");
            assert_eq!(there.len(), declared.len(), "a class of the {role} has two networks");
        }
    }

    #[test]
    fn a_class_chooses_its_network_and_another_is_refused_by_the_first() {
        let vae = |class: &str| {
            let json = format!(
                r#"{{{class}"block_out_channels": [32], "down_block_types": ["DownEncoderBlock2D"],
                    "up_block_types": ["UpDecoderBlock2D"]}}"#
            );
            NetworkConfig::read(Role::VaeDecoder, json.as_bytes())
        };
        assert!(matches!(vae(""), Ok(NetworkConfig::VaeDecoder(_))));
        assert!(matches!(vae(r#""_class_name": "AutoencoderKL", "#), Ok(NetworkConfig::VaeDecoder(_))));
        let error = vae(r#""_class_name": "VQModel", "#).expect_err("another class").to_string();
        assert!(error.contains("VQModel"), "{error}");
    }
}
