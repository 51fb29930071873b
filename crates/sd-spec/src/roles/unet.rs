//! Denoisers that are UNets, and what guides them.

use crate::feature::{Axis, Draw, FeatureSpec, Presence};
use crate::role::{Bundled, Compression, Layout, PackageName, Role, RoleSpec, Stage};

const SAMPLE: FeatureSpec = FeatureSpec::input(
    "sample",
    &[Axis::Batch, Axis::SampleChannels, Axis::LatentHeight, Axis::LatentWidth],
    Draw::Normal,
    "Latents to be denoised",
);

const TIMESTEP: FeatureSpec =
    FeatureSpec::input("timestep", &[Axis::Batch], Draw::Step, "Step of the noise schedule at which the latents stand");

const TEXT: FeatureSpec = FeatureSpec::input(
    "encoder_hidden_states",
    &[Axis::Batch, Axis::TextWidth, Axis::One, Axis::Tokens],
    Draw::Normal,
    "Text embeddings, channels first: batch, channels, 1, tokens",
)
.steady();

/// Original height and width, crop from top and left, target height and width.
const SIZES_AND_CROP: usize = 6;
/// The aesthetic score in the place of the target.
const SIZES_CROP_AND_SCORE: usize = 5;

const TIME_IDS: FeatureSpec = FeatureSpec::input(
    "time_ids",
    &[Axis::Batch, Axis::SizeNumbers],
    Draw::Sizes,
    "Original height and width, crop from top and left, then target height and width or the aesthetic score",
)
.of(Presence::WhereKnown)
.steady();

const TEXT_EMBEDS: FeatureSpec = FeatureSpec::input(
    "text_embeds",
    &[Axis::Batch, Axis::ProjectedWidth],
    Draw::Normal,
    "Pooled embedding of the text",
)
.of(Presence::WhereKnown)
.steady();

const GUIDANCE: FeatureSpec = FeatureSpec::input(
    "timestep_cond",
    &[Axis::Batch, Axis::GuidanceWidth],
    Draw::Normal,
    "Sines and cosines of the guidance scale, for networks that guidance was distilled into",
)
.of(Presence::WhereKnown)
.steady();

const INPUTS: &[FeatureSpec] = &[SAMPLE, TIMESTEP, TEXT, TIME_IDS, TEXT_EMBEDS, GUIDANCE];

const RESIDUAL_NAME: &str = "additional_residual_";

const OUTPUTS: &[FeatureSpec] = &[FeatureSpec::output(
    "noise_pred",
    &[Axis::Batch, Axis::NoiseChannels, Axis::LatentHeight, Axis::LatentWidth],
    "Predicted noise, of the latents' shape",
)];

pub(super) const SPEC: RoleSpec = RoleSpec {
    role: Role::UNet,
    name: "unet",
    folder: "unet",
    stands_alone: false,
    classes: &["UNet2DConditionModel"],
    package: PackageName::last("unet", "Unet").bundled(Bundled::WholeOrChunks),
    inputs: INPUTS,
    outputs: OUTPUTS,
    summary: "Denoiser of Stable Diffusion: predicts the noise in latents under the condition of a text.",
    compression: Compression::ALWAYS,
    is_denoiser: true,
    n_size_numbers: SIZES_AND_CROP,
    oldest_macos: 13,
    layout: Layout::ChannelsFirst,
    stage: Stage::Denoise,
};

pub(super) const CONTROLLED: RoleSpec = RoleSpec {
    role: Role::ControlledUNet,
    name: "control-unet",
    package: PackageName::last("control-unet", "ControlledUnet").bundled(Bundled::WholeOrChunks),
    inputs: &[
        SAMPLE,
        TIMESTEP,
        TEXT,
        TIME_IDS,
        TEXT_EMBEDS,
        GUIDANCE,
        FeatureSpec::input(
            RESIDUAL_NAME,
            &[Axis::Batch, Axis::ResidualChannels, Axis::ResidualHeight, Axis::ResidualWidth],
            Draw::Normal,
            "What ControlNets add to a state of the UNet; that of the middle block comes last",
        )
        .of(Presence::Numbered),
    ],
    summary: "Denoiser of Stable Diffusion that ControlNets guide: predicts the noise in latents under the condition of a \
              text and of pictures.",
    ..SPEC
};

pub(super) const REFINER: RoleSpec = RoleSpec {
    role: Role::Refiner,
    name: "refiner",
    package: PackageName::last("refiner", "UnetRefiner").bundled(Bundled::WholeOrChunks),
    n_size_numbers: SIZES_CROP_AND_SCORE,
    summary: "Refiner of Stable Diffusion XL: predicts the noise in latents of the last steps under the condition of a text.",
    ..SPEC
};

pub(super) const CONTROL_NET: RoleSpec = RoleSpec {
    role: Role::ControlNet,
    name: "controlnet",
    folder: "controlnet",
    stands_alone: true,
    classes: &["ControlNetModel"],
    package: PackageName::first("ControlNet").bundled(Bundled::Below("controlnet")),
    inputs: &[
        SAMPLE,
        TIMESTEP,
        TEXT,
        TIME_IDS,
        TEXT_EMBEDS,
        FeatureSpec::input(
            "controlnet_cond",
            &[Axis::Batch, Axis::HintChannels, Axis::PictureHeight, Axis::PictureWidth],
            Draw::Unit,
            "Picture that guides, channels first, 0 to 1",
        )
        .steady(),
    ],
    outputs: &[FeatureSpec::output(
        RESIDUAL_NAME,
        &[Axis::Batch, Axis::ResidualChannels, Axis::ResidualHeight, Axis::ResidualWidth],
        "What is added to a state of the UNet; that of the middle block comes last",
    )
    .of(Presence::Numbered)],
    summary: "ControlNet of Stable Diffusion: what a picture that guides adds to the denoiser.",
    compression: Compression::ALWAYS,
    // It guides another's.
    is_denoiser: false,
    n_size_numbers: SIZES_AND_CROP,
    oldest_macos: 13,
    layout: Layout::ChannelsFirst,
    stage: Stage::Denoise,
};
