//! Text encoders.

use crate::feature::{Axis, FeatureSpec};
use crate::role::{Layout, PackageName, Role, RoleSpec, Stage};

pub(super) const ENCODER: RoleSpec = RoleSpec {
    role: Role::TextEncoder,
    name: "text-encoder",
    folder: "text_encoder",
    classes: &["CLIPTextModel", "CLIPTextModelWithProjection"],
    package: PackageName { apple: "text_encoder", swift: "TextEncoder" },
    inputs: &[FeatureSpec::ids(
        "input_ids",
        &[Axis::One, Axis::Tokens],
        "Token ids of the text, padded to full length",
    )],
    outputs: &[
        FeatureSpec::output(
            "last_hidden_state",
            &[Axis::One, Axis::Tokens, Axis::TextWidth],
            "One embedding per token, after the final normalisation",
        ),
        FeatureSpec::output(
            "pooled_outputs",
            &[Axis::One, Axis::PooledWidth],
            "The embedding at the end-of-text token",
        ),
    ],
    summary: "Text encoder of Stable Diffusion: turns token ids into embeddings that condition the denoiser.",
    is_compressed: true,
    layout: Layout::Plain,
    stage: Stage::Text,
};
