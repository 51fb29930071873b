//! What makes finished pictures larger.

use crate::feature::{Axis, Draw, FeatureSpec};
use crate::role::{Compression, Layout, PackageName, Role, RoleSpec, Stage};

pub(super) const SPEC: RoleSpec = RoleSpec {
    role: Role::Upscaler,
    name: "upscaler",
    folder: "upscaler",
    stands_alone: true,
    classes: &["RRDBNet"],
    package: PackageName::first("Upscaler"),
    inputs: &[FeatureSpec::input(
        "picture",
        &[Axis::One, Axis::PictureChannels, Axis::PictureHeight, Axis::PictureWidth],
        Draw::Unit,
        "Picture, or a part of it, channels first, 0 to 1",
    )],
    outputs: &[FeatureSpec::output(
        "upscaled",
        &[Axis::One, Axis::PictureChannels, Axis::UpscaledHeight, Axis::UpscaledWidth],
        "The same picture, enlarged, channels first, 0 to 1 and a little beyond",
    )],
    summary: "Upscaler: makes a picture larger, and draws what it takes for the details.",
    compression: Compression::NEVER,
    is_denoiser: false,
    n_size_numbers: 0,
    oldest_macos: 13,
    layout: Layout::Plain,
    stage: Stage::Upscale,
};
