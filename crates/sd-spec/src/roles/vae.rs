//! The two halves of the autoencoder.

use crate::feature::{Axis, Draw, FeatureSpec};
use crate::role::{Compression, Layout, PackageName, Role, RoleSpec, Stage};

const CLASSES: &[&str] = &["AutoencoderKL", "AutoencoderTiny"];
const PICTURE: &[Axis] = &[Axis::One, Axis::PictureChannels, Axis::PictureHeight, Axis::PictureWidth];

pub(super) const DECODER: RoleSpec = RoleSpec {
    role: Role::VaeDecoder,
    name: "vae-decoder",
    folder: "vae",
    stands_alone: false,
    classes: CLASSES,
    package: PackageName::last("vae_decoder", "VAEDecoder"),
    inputs: &[FeatureSpec::input(
        "z",
        &[Axis::One, Axis::LatentChannels, Axis::LatentHeight, Axis::LatentWidth],
        Draw::Latents,
        "Denoised latents, divided by the scaling factor",
    )],
    outputs: &[FeatureSpec::output("image", PICTURE, "Picture, channels first, −1 to 1")],
    summary: "Decoder of Stable Diffusion's autoencoder: turns latents into a picture.",
    compression: Compression::NEVER,
    is_denoiser: false,
    n_size_numbers: 0,
    oldest_macos: 13,
    layout: Layout::Plain,
    stage: Stage::Decode,
};

pub(super) const ENCODER: RoleSpec = RoleSpec {
    role: Role::VaeEncoder,
    name: "vae-encoder",
    folder: "vae",
    stands_alone: false,
    classes: CLASSES,
    package: PackageName::last("vae_encoder", "VAEEncoder"),
    inputs: &[FeatureSpec::input("x", PICTURE, Draw::Picture, "Picture, channels first, −1 to 1")],
    outputs: &[FeatureSpec::output(
        "latent",
        &[Axis::One, Axis::MomentChannels, Axis::LatentHeight, Axis::LatentWidth],
        "Mean and log-variance of the latents, one after the other along the channels",
    )],
    summary: "Encoder of Stable Diffusion's autoencoder: turns a picture into the distribution of its latents.",
    compression: Compression::NEVER,
    is_denoiser: false,
    n_size_numbers: 0,
    oldest_macos: 13,
    layout: Layout::Plain,
    stage: Stage::Encode,
};
