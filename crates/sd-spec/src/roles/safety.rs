//! The safety checker.

use crate::feature::{Axis, Draw, FeatureSpec};
use crate::role::{Compression, Layout, PackageName, Role, RoleSpec, Stage};

const IMAGES: &[Axis] = &[Axis::One, Axis::PictureHeight, Axis::PictureWidth, Axis::Fixed(3)];

pub(super) const CHECKER: RoleSpec = RoleSpec {
    role: Role::SafetyChecker,
    name: "safety-checker",
    folder: "safety_checker",
    stands_alone: false,
    classes: &["StableDiffusionSafetyChecker"],
    package: PackageName::last("safety_checker", "SafetyChecker"),
    inputs: &[
        FeatureSpec::input(
            "clip_input",
            &[Axis::One, Axis::ClipChannels, Axis::ClipSide, Axis::ClipSide],
            Draw::Normal,
            "Picture as CLIP wants it: resized, cropped, normalised, channels first",
        ),
        FeatureSpec::input("images", IMAGES, Draw::Unit, "Picture as the decoder made it, channels last"),
        FeatureSpec::input(
            "adjustment",
            &[Axis::One],
            Draw::Zero,
            "Added to the scores of special concepts: above 0 flags more, below less",
        ),
    ],
    outputs: &[
        FeatureSpec::output("filtered_images", IMAGES, "The picture, or black where a concept was found"),
        FeatureSpec::output(
            "has_nsfw_concepts",
            &[Axis::One, Axis::One, Axis::One, Axis::One],
            "1 where a concept was found, else 0",
        ),
        FeatureSpec::output(
            "concept_scores",
            &[Axis::One, Axis::Concepts],
            "Score of each concept; above 0 means found",
        ),
    ],
    summary: "Safety checker of Stable Diffusion: blanks pictures in which it finds unsafe concepts.",
    compression: Compression::NEVER,
    is_denoiser: false,
    n_size_numbers: 0,
    oldest_macos: 13,
    layout: Layout::Plain,
    stage: Stage::Check,
};
