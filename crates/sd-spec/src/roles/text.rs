//! Text encoders.

use crate::feature::{Axis, Draw, FeatureSpec, Presence, TextState};
use crate::role::{Compression, Layout, PackageName, Role, RoleSpec, Stage};

const IDS: FeatureSpec =
    FeatureSpec::ids("input_ids", &[Axis::One, Axis::Tokens], "Token ids of the text, padded to full length");

const INPUTS: &[FeatureSpec] = &[IDS];

const PENULTIMATE: FeatureSpec = FeatureSpec::output(
    "hidden_embeds",
    &[Axis::One, Axis::Tokens, Axis::TextWidth],
    "One embedding per token, of the last layer but one",
);

const PROJECTED: FeatureSpec = FeatureSpec::output(
    "pooled_outputs",
    &[Axis::One, Axis::ProjectedWidth],
    "The embedding at the end-of-text token, projected where the encoder has a projection",
);

pub(super) const ENCODER: RoleSpec = RoleSpec {
    role: Role::TextEncoder,
    name: "text-encoder",
    folder: "text_encoder",
    stands_alone: false,
    classes: &["CLIPTextModel", "CLIPTextModelWithProjection"],
    package: PackageName::last("text_encoder", "TextEncoder"),
    inputs: INPUTS,
    outputs: &[
        FeatureSpec::output(
            "last_hidden_state",
            &[Axis::One, Axis::Tokens, Axis::TextWidth],
            "One embedding per token, after the final normalisation",
        )
        .of(Presence::OfText(TextState::Last)),
        PENULTIMATE.of(Presence::OfText(TextState::Penultimate)),
        FeatureSpec::output(
            "pooled_outputs",
            &[Axis::One, Axis::PooledWidth],
            "The embedding at the end-of-text token",
        )
        .of(Presence::OfText(TextState::Last)),
        PROJECTED.of(Presence::OfText(TextState::Penultimate)),
    ],
    summary: "Text encoder of Stable Diffusion: turns token ids into embeddings that condition the denoiser.",
    compression: Compression::ALWAYS,
    is_denoiser: false,
    n_size_numbers: 0,
    oldest_macos: 13,
    layout: Layout::Plain,
    stage: Stage::Text,
};

pub(super) const ENCODER_2: RoleSpec = RoleSpec {
    role: Role::TextEncoder2,
    name: "text-encoder-2",
    folder: "text_encoder_2",
    stands_alone: false,
    classes: &["CLIPTextModelWithProjection", "CLIPTextModel"],
    package: PackageName::last("text_encoder_2", "TextEncoder2"),
    inputs: INPUTS,
    outputs: &[PENULTIMATE, PROJECTED],
    summary: "Second text encoder of Stable Diffusion XL and 3: turns token ids into embeddings that condition the denoiser.",
    compression: Compression::ALWAYS,
    is_denoiser: false,
    n_size_numbers: 0,
    oldest_macos: 13,
    layout: Layout::Plain,
    stage: Stage::Text,
};

pub(super) const ENCODER_3: RoleSpec = RoleSpec {
    role: Role::TextEncoder3,
    name: "text-encoder-3",
    folder: "text_encoder_3",
    stands_alone: false,
    classes: &["T5EncoderModel"],
    package: PackageName::last("text_encoder_3", "TextEncoderT5"),
    inputs: &[
        IDS,
        // diffusers does not mask, nor do released weights expect it.
        FeatureSpec::mask(
            "attention_mask",
            &[Axis::One, Axis::Tokens],
            "1 for each token that counts, 0 for padding, which no token attends to then",
        ),
    ],
    outputs: &[FeatureSpec::output(
        "encoder_hidden_states",
        &[Axis::One, Axis::Tokens, Axis::TextWidth],
        "One embedding per token, after the final normalisation",
    )],
    summary: "Third text encoder of Stable Diffusion 3: turns token ids into embeddings that condition the denoiser.",
    compression: Compression::IN_DIRECTORY,
    is_denoiser: false,
    n_size_numbers: 0,
    oldest_macos: 13,
    layout: Layout::Plain,
    stage: Stage::Text,
};

/// Vectors that `NLContextualEmbedding` gives for a text, and their width (macOS 14 and iOS 17).
const EMBEDDING_LENGTH: usize = 256;
const EMBEDDING_WIDTH: usize = 512;

/// ml-stable-diffusion 1.1.1, `multilingual_projection.py`: names, shapes and the name of the package.
pub(super) const MULTILINGUAL_PROJECTION: RoleSpec = RoleSpec {
    role: Role::MultilingualProjection,
    name: "multilingual-projection",
    folder: "multilingual_projection",
    stands_alone: true,
    classes: &["Linear"],
    package: PackageName::whole("MultilingualTextEncoderProjection"),
    inputs: &[FeatureSpec::input(
        "nlcontextualembeddings_output",
        &[Axis::One, Axis::Fixed(EMBEDDING_LENGTH), Axis::Fixed(EMBEDDING_WIDTH)],
        Draw::Normal,
        "Contextual embeddings of the text, as NLContextualEmbedding gives them",
    )
    .in_single()],
    outputs: &[FeatureSpec::output(
        "encoder_hidden_states",
        &[Axis::One, Axis::TextWidth, Axis::One, Axis::Fixed(EMBEDDING_LENGTH)],
        "Text embeddings, channels first: batch, channels, 1, embeddings",
    )],
    summary: "Projection of Stable Diffusion's multilingual text path: turns contextual embeddings of any script into \
              embeddings that condition the denoiser.",
    compression: Compression::NEVER,
    is_denoiser: false,
    n_size_numbers: 0,
    // The first one with NLContextualEmbedding.
    oldest_macos: 14,
    layout: Layout::Plain,
    stage: Stage::Text,
};
