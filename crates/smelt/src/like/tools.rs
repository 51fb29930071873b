//! What tools do where their settings say nothing: a row for each.

use sd_metadata::{Made, Tool};
use sd_runtime::pipeline::Seeds;
use sd_runtime::prompt::Emphasis;
use sd_runtime::rng::RandomKind;

use super::count::Counting;

/// What a strength says of a picture without a second pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// That it began with another.
    Begun,
    /// The same, where it is below 1.
    BegunBelowOne,
    /// Nothing: it is written in any case, or there is none.
    Nothing,
}

/// The noise levels of a sampler of which no others are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Levels {
    /// k-diffusion's: even in time, both ends included.
    KDiffusion,
    /// Those of the checkpoint's scheduler.
    Checkpoint,
}

/// A negative prompt that is missing, or empty, which these settings do not tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoNegative {
    /// What Stable Diffusion XL has in its place may be zeros.
    Missing,
    /// An empty text, which is encoded.
    Empty,
}

/// What a tool does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    tool: Tool,
    /// Where its noise comes from; none where that is not known.
    noise: Option<RandomKind>,
    pub(super) seeds: Seeds,
    pub(super) counting: Counting,
    pub(super) strength: Strength,
    pub(super) levels: Levels,
    pub(super) no_negative: NoNegative,
    /// How it reads prompts.
    pub(super) emphasis: Emphasis,
}

/// AUTOMATIC1111's web UI, and what came of it.
const WEB_UI: Habits = Habits {
    tool: Tool::Automatic1111,
    // On the GPU, unless `RNG` says another.
    noise: Some(RandomKind::Nvidia),
    seeds: Seeds::Each,
    counting: Counting::WebUi,
    strength: Strength::Begun,
    levels: Levels::KDiffusion,
    // `sd_models_xl.py` has zeros for an empty one.
    no_negative: NoNegative::Missing,
    emphasis: Emphasis::Original,
};

/// ComfyUI, and what has it inside.
const COMFY: Habits = Habits {
    tool: Tool::ComfyUi,
    noise: Some(RandomKind::Torch),
    seeds: Seeds::Stream,
    counting: Counting::Longer,
    strength: Strength::Nothing,
    levels: Levels::KDiffusion,
    no_negative: NoNegative::Empty,
    emphasis: Emphasis::Comfy,
};

/// InvokeAI, which runs schedulers of diffusers.
const INVOKE: Habits = Habits {
    tool: Tool::InvokeAi,
    noise: Some(RandomKind::Torch),
    seeds: Seeds::Each,
    counting: Counting::Share,
    strength: Strength::BegunBelowOne,
    levels: Levels::Checkpoint,
    no_negative: NoNegative::Empty,
    emphasis: Emphasis::Compel,
};

const TABLE: [Habits; 12] = [
    WEB_UI,
    Habits { tool: Tool::Forge, ..WEB_UI },
    Habits { tool: Tool::SdNext, counting: Counting::Share, levels: Levels::Checkpoint, ..WEB_UI },
    COMFY,
    Habits { tool: Tool::StableDiffusionCpp, strength: Strength::Nothing, ..WEB_UI },
    Habits {
        tool: Tool::DrawThings,
        // `seed_mode` says it.
        noise: None,
        counting: Counting::Share,
        strength: Strength::BegunBelowOne,
        levels: Levels::Checkpoint,
        no_negative: NoNegative::Empty,
        ..WEB_UI
    },
    Habits {
        tool: Tool::MochiDiffusion,
        // As Apple's pipelines.
        noise: Some(RandomKind::Numpy),
        strength: Strength::Nothing,
        emphasis: Emphasis::Plain,
        ..INVOKE
    },
    INVOKE,
    Habits { tool: Tool::SwarmUi, ..COMFY },
    Habits { tool: Tool::Fooocus, emphasis: Emphasis::Original, ..COMFY },
    Habits { tool: Tool::NovelAi, noise: None, strength: Strength::BegunBelowOne, ..WEB_UI },
    Habits {
        tool: Tool::Smelt,
        noise: Some(RandomKind::Numpy),
        seeds: Seeds::Stream,
        counting: Counting::Share,
        strength: Strength::Nothing,
        levels: Levels::Checkpoint,
        no_negative: NoNegative::Missing,
        emphasis: Emphasis::Plain,
    },
];

/// What a tool does; what came of the web UI and has no row does as that.
pub(super) fn habits(tool: Tool) -> &'static Habits {
    TABLE.iter().find(|habits| habits.tool == tool).unwrap_or(&TABLE[0])
}

/// Where a picture's noise came from, or what is not known of it.
pub(super) fn noise(made: &Made) -> Result<RandomKind, (&'static str, String)> {
    if made.tool == Tool::DrawThings {
        let mode = made.unknown.iter().find(|entry| matches!(entry.key.as_str(), "seed_mode" | "v2.seedMode"));
        return match mode.map_or("", |entry| entry.value.as_str()) {
            "Torch CPU Compatible" => Ok(RandomKind::Torch),
            "Nvidia GPU Compatible" => Ok(RandomKind::Nvidia),
            own => Err(("seed_mode", own.to_owned())),
        };
    }
    let Some(said) = &made.rng else { return usual(made) };
    match said.to_lowercase().as_str() {
        "cpu" => Ok(RandomKind::Torch),
        "nv" | "gpu" | "cuda" => Ok(RandomKind::Nvidia),
        other => other.parse().map_err(|_| ("RNG", said.clone())),
    }
}

/// The same where it does not say.
fn usual(made: &Made) -> Result<RandomKind, (&'static str, String)> {
    // InvokeAI drew noise on the GPU until it wrote where.
    let is_old = made.tool == Tool::InvokeAi && made.version.as_deref().is_none_or(|version| version.starts_with("2."));
    match habits(made.tool).noise {
        Some(_) if is_old => Ok(RandomKind::Nvidia),
        Some(noise) => Ok(noise),
        None => Err(("RNG", String::new())),
    }
}

/// Whether a tool is the web UI or came of it, with its samplers.
pub(super) const fn is_web_ui(tool: Tool) -> bool {
    matches!(tool, Tool::Automatic1111 | Tool::Forge)
}
