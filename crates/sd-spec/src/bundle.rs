//! Folders of Apple's Swift package, which Mochi Diffusion and the Diffusers app read too: what lies where in one.
//!
//! Names of models stand with their roles ([`PackageName`](crate::PackageName)); here is what they are made of.
//! (ml-stable-diffusion 1.1.1: `bundle_resources_for_swift_cli`, and the `+Resources.swift` of its three pipelines.)

use crate::family::Family;
use crate::role::{Bundled, Role};

/// The folder that Apple's converter makes of it, below the one that it writes to.
pub const FOLDER: &str = "Resources";

/// In how many parts these programs take a denoiser, if not in one.
pub const N_CHUNKS: u16 = 2;

/// What a role's model is called there, with the folder that it lies in and without an extension; none for a role that has no
/// place. `version` is the model's own name.
///
/// A refiner that draws alone is what a UNet is elsewhere: the Swift package tells it by how many numbers `time_ids` has.
#[must_use]
pub fn place(family: Family, role: Role, version: &str) -> Option<String> {
    let role = if family == Family::SdxlRefiner && role == Role::Refiner { Role::UNet } else { role };
    let package = role.spec().package;
    match package.bundled {
        Bundled::Whole | Bundled::WholeOrChunks => Some(package.swift.to_owned()),
        Bundled::Below(folder) => Some(format!("{folder}/{}", title_case(version))),
        Bundled::Nowhere => None,
    }
}

/// The name of a part of a model, by its number from 1.
#[must_use]
pub fn chunk(name: &str, number: usize) -> String {
    format!("{name}Chunk{number}")
}

/// A model's name as these folders have it: `lllyasviel/control_v11p_sd15_canny` is `LllyasvielControlV11PSd15Canny`.
///
/// Words are what `/`, `_` and `-` part; in them a letter is a capital where none stands before it, as Python's `str.title` has
/// it.
#[must_use]
pub fn title_case(name: &str) -> String {
    let mut titled = String::with_capacity(name.len());
    let mut follows_letter = false;
    for char in name.chars() {
        match (char, follows_letter) {
            ('/' | '\\' | '_' | '-', _) => {}
            (letter, true) => titled.extend(letter.to_lowercase()),
            (letter, false) => titled.extend(letter.to_uppercase()),
        }
        follows_letter = char.is_alphabetic();
    }
    titled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_title_cased_as_python_does_it() {
        for (name, titled) in [
            ("lllyasviel/sd-controlnet-mlsd", "LllyasvielSdControlnetMlsd"),
            ("lllyasviel/control_v11p_sd15_canny", "LllyasvielControlV11PSd15Canny"),
            ("tiny-controlnet", "TinyControlnet"),
            ("SDXL_Depth", "SdxlDepth"),
            ("a1.5b", "A1.5B"),
            ("", ""),
        ] {
            assert_eq!(title_case(name), titled);
        }
    }

    #[test]
    fn each_role_has_the_place_of_the_swift_package() {
        let of = |family, role| place(family, role, "x/sd-controlnet-canny");
        for (family, role, name) in [
            (Family::Sd, Role::TextEncoder, Some("TextEncoder")),
            (Family::Sd, Role::UNet, Some("Unet")),
            (Family::Sd, Role::ControlledUNet, Some("ControlledUnet")),
            (Family::Sd, Role::ControlNet, Some("controlnet/XSdControlnetCanny")),
            (Family::Sd, Role::VaeDecoder, Some("VAEDecoder")),
            (Family::Sd, Role::VaeEncoder, Some("VAEEncoder")),
            (Family::Sd, Role::SafetyChecker, Some("SafetyChecker")),
            (Family::Sd, Role::MultilingualProjection, Some("MultilingualTextEncoderProjection")),
            (Family::Sd, Role::Upscaler, None),
            (Family::Sdxl, Role::TextEncoder2, Some("TextEncoder2")),
            (Family::Sdxl, Role::Refiner, Some("UnetRefiner")),
            (Family::SdxlRefiner, Role::Refiner, Some("Unet")),
            (Family::Sd3, Role::TextEncoder3, Some("TextEncoderT5")),
            (Family::Sd3, Role::Mmdit, Some("MultiModalDiffusionTransformer")),
        ] {
            assert_eq!(of(family, role).as_deref(), name, "{role}");
        }
        assert_eq!(chunk("UnetRefiner", 2), "UnetRefinerChunk2");
    }
}
