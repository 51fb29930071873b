//! The table of roles; there is one file for each group that shares features.

mod safety;
mod text;
mod unet;
mod vae;

use std::fmt;
use std::str::FromStr;

use crate::feature::FeatureSpec;
use crate::role::{Role, RoleSpec, Stage};

impl Role {
    /// Every role, in the order in which a pipeline is usually converted.
    pub const ALL: [Self; 5] = [Self::TextEncoder, Self::UNet, Self::VaeDecoder, Self::VaeEncoder, Self::SafetyChecker];

    /// What is the same for every model that plays it.
    #[must_use]
    pub const fn spec(self) -> &'static RoleSpec {
        match self {
            Self::TextEncoder => &text::ENCODER,
            Self::UNet => &unet::SPEC,
            Self::VaeDecoder => &vae::DECODER,
            Self::VaeEncoder => &vae::ENCODER,
            Self::SafetyChecker => &safety::CHECKER,
        }
    }

    /// The name used on the command line and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.spec().name
    }

    /// Whether its models denoise: what runs longest, is laid out for the device, and may be cut into chunks.
    #[must_use]
    pub fn is_denoiser(self) -> bool {
        self.spec().stage == Stage::Denoise
    }

    /// The role whose model takes inputs of exactly these names.
    #[must_use]
    pub fn of_inputs<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let takes = |role: &Self| {
            let inputs = role.spec().inputs;
            inputs.len() == names.len() && inputs.iter().all(|f| names.contains(&f.name))
        };
        Self::ALL.into_iter().find(takes)
    }
}

/// The input of that name, of whichever role; no two roles mean different things by one name.
#[must_use]
pub fn input(name: &str) -> Option<&'static FeatureSpec> {
    Role::ALL.into_iter().find_map(|role| role.spec().input(name))
}

/// Inputs that stay as they are from step to step of a picture.
pub fn steady_inputs() -> impl Iterator<Item = &'static str> {
    Role::ALL.into_iter().flat_map(|role| role.spec().inputs).filter(|feature| feature.is_steady).map(|f| f.name)
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no role {name:?}; one of {names}")
        })
    }
}
