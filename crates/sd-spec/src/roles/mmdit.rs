//! The denoiser that is a transformer over text and picture together.

use crate::feature::{Axis, Draw, FeatureSpec};
use crate::role::{Compression, Layout, PackageName, Role, RoleSpec, Stage};

pub(super) const SPEC: RoleSpec = RoleSpec {
    role: Role::Mmdit,
    name: "mmdit",
    folder: "transformer",
    stands_alone: false,
    classes: &["SD3Transformer2DModel"],
    package: PackageName::last("mmdit", "MultiModalDiffusionTransformer"),
    inputs: &[
        FeatureSpec::input(
            "latent_image_embeddings",
            &[Axis::Batch, Axis::SampleChannels, Axis::LatentHeight, Axis::LatentWidth],
            Draw::Normal,
            "Latents to be denoised",
        ),
        FeatureSpec::input(
            "timestep",
            &[Axis::Batch],
            Draw::Step,
            "Step of the noise schedule at which the latents stand, 0 to 1000",
        ),
        FeatureSpec::input(
            "token_level_text_embeddings",
            &[Axis::Batch, Axis::JointWidth, Axis::One, Axis::JointTokens],
            Draw::Normal,
            "Text embeddings of all encoders, channels first: batch, channels, 1, tokens",
        )
        .steady(),
        FeatureSpec::input(
            "pooled_text_embeddings",
            &[Axis::Batch, Axis::JointPooledWidth, Axis::One, Axis::One],
            Draw::Normal,
            "Pooled embeddings of the text, those of both CLIP encoders side by side",
        )
        .steady(),
    ],
    outputs: &[FeatureSpec::output(
        "denoiser_output",
        &[Axis::Batch, Axis::NoiseChannels, Axis::LatentHeight, Axis::LatentWidth],
        "Predicted velocity from picture to noise, of the latents' shape",
    )],
    summary: "Denoiser of Stable Diffusion 3: predicts the velocity of latents under the condition of a text.",
    compression: Compression::IN_DIRECTORY,
    is_denoiser: true,
    n_size_numbers: 0,
    oldest_macos: 13,
    layout: Layout::ChannelsFirst,
    stage: Stage::Denoise,
};
