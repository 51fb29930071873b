//! The denoiser.

use crate::feature::{Axis, Draw, FeatureSpec};
use crate::role::{Layout, PackageName, Role, RoleSpec, Stage};

pub(super) const SPEC: RoleSpec = RoleSpec {
    role: Role::UNet,
    name: "unet",
    folder: "unet",
    classes: &["UNet2DConditionModel"],
    package: PackageName { apple: "unet", swift: "Unet" },
    inputs: &[
        FeatureSpec::input(
            "sample",
            &[Axis::Batch, Axis::SampleChannels, Axis::LatentHeight, Axis::LatentWidth],
            Draw::Normal,
            "Latents to be denoised",
        ),
        FeatureSpec::input(
            "timestep",
            &[Axis::Batch],
            Draw::Step,
            "Step of the noise schedule at which the latents stand",
        ),
        FeatureSpec::input(
            "encoder_hidden_states",
            &[Axis::Batch, Axis::TextWidth, Axis::One, Axis::Tokens],
            Draw::Normal,
            "Text embeddings, channels first: batch, channels, 1, tokens",
        )
        .steady(),
    ],
    outputs: &[FeatureSpec::output(
        "noise_pred",
        &[Axis::Batch, Axis::NoiseChannels, Axis::LatentHeight, Axis::LatentWidth],
        "Predicted noise, of the latents' shape",
    )],
    summary: "Denoiser of Stable Diffusion: predicts the noise in latents under the condition of a text.",
    is_compressed: true,
    layout: Layout::ChannelsFirst,
    stage: Stage::Denoise,
};
