//! Every kind of model that draws: which checkpoint stands for it, and what is drawn with that and with packages of it.

use super::matrix::{Case, Verb};

/// A kind of model.
pub(super) struct Family {
    /// What its checkpoint is called in cases.
    pub(super) name: &'static str,
    /// What packages of it are called there.
    pub(super) packages: &'static str,
    pub(super) checkpoint: From,
    /// Options of the conversion.
    pub(super) convert: &'static str,
    /// Options of what is drawn, from the checkpoint and from packages.
    draws: &'static [&'static str],
}

/// Where a checkpoint comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    /// Golden data, put together with what is another's.
    Golden(&'static str),
    /// Random weights, for what golden data lacks: a checkpoint that edits pictures.
    Synth,
}

const fn family(
    [name, packages]: [&'static str; 2],
    checkpoint: From,
    convert: &'static str,
    draws: &'static [&'static str],
) -> Family {
    Family { name, packages, checkpoint, convert, draws }
}

pub(super) const FAMILIES: &[Family] = &[
    family(["family-1", "packages-1"], From::Golden("tiny-sd15"), "", &["--steps 3"]),
    family(["family-2", "packages-2"], From::Golden("tiny-sd21"), "", &["--steps 3 --guidance-rescale 0.7"]),
    family(["family-lcm", "packages-lcm"], From::Golden("tiny-lcm"), "", &["--steps 4 --guidance 3"]),
    family(
        ["family-inpaint", "packages-inpaint"],
        From::Golden("tiny-sd15-inpaint"),
        "",
        &["--steps 3 --image {picture} --mask {picture}"],
    ),
    family(["family-edit", "packages-edit"], From::Synth, "", &["--steps 3 --image {picture} --image-guidance 1.4"]),
    family(
        ["family-guided", "packages-guided"],
        From::Golden("tiny-sd15"),
        "--unet-support-controlnet --controlnet {golden}/tiny-controlnet",
        &[
            "--steps 3 --controlnet {golden}/tiny-controlnet --control-image {picture} --control-preprocess canny",
            "--steps 3 --controlnet {golden}/tiny-controlnet --control-image {picture} \
             --controlnet {golden}/tiny-sd15-controlnet-b --control-image {picture} --control-end 0.7",
        ],
    ),
    family(
        ["family-xl", "packages-xl"],
        From::Golden("tiny-sdxl"),
        "",
        &["--steps 3", "--steps 4 --refiner {golden}/tiny-sdxl-refiner --refiner-start 0.5"],
    ),
    family(
        ["family-xl-guided", "packages-xl-guided"],
        From::Golden("mini-sdxl"),
        "--unet-support-controlnet",
        &["--steps 3 --controlnet {golden}/mini-sdxl-controlnet --control-image {picture}"],
    ),
    family(
        ["family-refiner", "packages-refiner"],
        From::Golden("tiny-sdxl-refiner"),
        "",
        &["--steps 4 --image {picture} --strength 0.5 --aesthetic-score 7"],
    ),
    family(["family-3", "packages-3"], From::Golden("tiny-sd3"), "", &["--steps 3"]),
    family(["family-35-medium", "packages-35-medium"], From::Golden("tiny-sd35-medium"), "", &["--steps 3"]),
    family(["family-35-large", "packages-35-large"], From::Golden("tiny-sd35-large"), "", &["--steps 3 --low-memory"]),
];

/// What is drawn beside: by names among packages, and with a decoder that is not the model's.
const SINGLE: &[(&str, &str)] = &[
    ("packages-guided", "--steps 3 --controlnet tiny-controlnet --control-image {picture}"),
    ("family-1", "--steps 3 --taesd {golden}/tiny-taesd"),
    ("packages-1", "--steps 3 --taesd {golden}/tiny-taesd --count 2"),
];

/// What is drawn with every kind of model, from its checkpoint and from packages.
pub(super) fn cases() -> Vec<Case> {
    let case = |source, options: &str| Case { verb: Verb::Generate, source, options: options.to_owned() };
    let each = |family: &'static Family| {
        let both = [family.name, family.packages].into_iter();
        both.flat_map(move |source| family.draws.iter().map(move |draw| case(source, draw)))
    };
    let single = SINGLE.iter().map(|&(source, options)| case(source, options));
    FAMILIES.iter().flat_map(each).chain(single).collect()
}
