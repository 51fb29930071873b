//! The table of roles; there is one file for each group that shares features.

mod mmdit;
mod safety;
mod text;
mod unet;
mod upscaler;
mod vae;

use std::fmt;
use std::str::FromStr;

use crate::feature::FeatureSpec;
use crate::role::{Role, RoleSpec};

impl Role {
    /// Every role, in the order in which a pipeline is usually converted.
    pub const ALL: [Self; 13] = [
        Self::TextEncoder,
        Self::TextEncoder2,
        Self::TextEncoder3,
        Self::UNet,
        Self::ControlledUNet,
        Self::Refiner,
        Self::ControlNet,
        Self::Mmdit,
        Self::VaeDecoder,
        Self::VaeEncoder,
        Self::SafetyChecker,
        Self::Upscaler,
        Self::MultilingualProjection,
    ];

    /// What is the same for every model that plays it.
    #[must_use]
    pub const fn spec(self) -> &'static RoleSpec {
        match self {
            Self::TextEncoder => &text::ENCODER,
            Self::TextEncoder2 => &text::ENCODER_2,
            Self::TextEncoder3 => &text::ENCODER_3,
            Self::UNet => &unet::SPEC,
            Self::ControlledUNet => &unet::CONTROLLED,
            Self::Refiner => &unet::REFINER,
            Self::ControlNet => &unet::CONTROL_NET,
            Self::Mmdit => &mmdit::SPEC,
            Self::VaeDecoder => &vae::DECODER,
            Self::VaeEncoder => &vae::ENCODER,
            Self::SafetyChecker => &safety::CHECKER,
            Self::Upscaler => &upscaler::SPEC,
            Self::MultilingualProjection => &text::MULTILINGUAL_PROJECTION,
        }
    }

    /// The name used on the command line and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.spec().name
    }

    /// Whether its models denoise ([`RoleSpec::is_denoiser`]).
    #[must_use]
    pub const fn is_denoiser(self) -> bool {
        self.spec().is_denoiser
    }

    /// Numbers of sizes and crop ([`RoleSpec::n_size_numbers`]).
    #[must_use]
    pub const fn n_size_numbers(self) -> usize {
        self.spec().n_size_numbers
    }

    /// The oldest macOS on which its models are of use ([`RoleSpec::oldest_macos`]).
    #[must_use]
    pub const fn oldest_macos(self) -> u8 {
        self.spec().oldest_macos
    }

    /// The roles whose models can take inputs of exactly these names.
    #[must_use]
    pub fn of_inputs<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let names: Vec<&str> = names.into_iter().collect();
        let is_known = |spec: &RoleSpec| names.iter().all(|name| spec.input(name).is_some());
        let is_whole = |spec: &RoleSpec| {
            let is_there = |feature: &FeatureSpec| names.iter().any(|name| feature.is_named(name));
            spec.inputs.iter().all(|feature| is_there(feature) || feature.presence.is_optional())
        };
        Self::ALL.into_iter().filter(|role| is_known(role.spec()) && is_whole(role.spec())).collect()
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
