//! What made a picture, as plain values.

use serde::{Deserialize, Serialize};

use crate::tool::Tool;

/// The settings that a tool wrote into a picture; what it did not write is absent, and no default stands for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Made {
    /// What wrote them.
    pub tool: Tool,
    /// Its version, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The prompt, with its weights and `<lora:…>` as they stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The negative prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<String>,
    /// The second text encoder's prompt, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_2: Option<String>,
    /// The second text encoder's negative prompt, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_2: Option<String>,
    /// Steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// The sampler, by the tool's own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    /// The noise schedule, by the tool's own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The scale of classifier-free guidance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// The scale that a distilled model is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distilled_guidance: Option<f64>,
    /// The scale for the picture of a model that edits pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_guidance: Option<f64>,
    /// How much of the guided prediction is brought to the spread of the prompt's own, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance_rescale: Option<f64>,
    /// What weights in the prompts did, by the tool's name of it; usual where it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emphasis: Option<String>,
    /// The seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Pixels, of the first pass where there are two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its hash, as the tool writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_hash: Option<String>,
    /// The VAE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae: Option<String>,
    /// Its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae_hash: Option<String>,
    /// The layer of CLIP that gives the text, counted from the end: 1 is the last, as AUTOMATIC1111 counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_skip: Option<u64>,
    /// Denoising strength, 0 to 1: of image to image, or of the second pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// The second, larger pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hires: Option<Hires>,
    /// Noise of another seed that was mixed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variation: Option<Variation>,
    /// How much noise samplers add, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<f64>,
    /// What is added to the seed for the noise of samplers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ensd: Option<u64>,
    /// Where noise came from: `CPU`, `NV`, …; AUTOMATIC1111 means the GPU where it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rng: Option<String>,
    /// Whether the picture joins itself at its borders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiling: Option<bool>,
    /// LoRAs, those in the prompt first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<Lora>,
    /// The model that took the last steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refiner: Option<Refiner>,
    /// ControlNets and the like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Control>,
    /// The picture that it began with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_image: Option<String>,
    /// That picture's hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_image_hash: Option<String>,
    /// What became of its proportions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize_mode: Option<String>,
    /// What was repainted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inpaint: Option<Inpaint>,
    /// Everything else by its name, in the order that it stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Unknown>,
}

/// Pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Per row.
    pub width: u64,
    /// Rows.
    pub height: u64,
}

/// A second, larger pass; what it does not say is the first one's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Hires {
    /// How many times the size of the first pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Its size; 0 for a side that follows from the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Its steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// What enlarged the picture or its latents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upscaler: Option<String>,
    /// Its sampler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    /// Its noise schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Its prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Its negative prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<String>,
    /// Its guidance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Noise of another seed that was mixed in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variation {
    /// The other seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How much of it, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
}

/// A LoRA.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lora {
    /// Its name, as the tool writes it.
    pub name: String,
    /// How much it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// How much it counts in the text encoder, where that is another number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_weight: Option<f64>,
    /// Its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// The model that took the last steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refiner {
    /// Its name, with its hash in brackets where the tool writes it so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The share of the steps at which it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
}

/// A ControlNet, or another network that looks at a picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Control {
    /// The network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What became of the picture first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How strongly it guided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// The share of the steps at which it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// The share of the steps at which it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
    /// Everything else that is said of it, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other: Vec<(String, String)>,
}

/// What was repainted, by AUTOMATIC1111's words.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inpaint {
    /// The mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// How soft the mask was made, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blur: Option<f64>,
    /// Which side of the mask was repainted: `Inpaint masked`, `Inpaint not masked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// What stood there first: `fill`, `original`, `latent noise`, `latent nothing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// How much of the picture was drawn: `Whole picture`, `Only masked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub area: Option<String>,
    /// Pixels around the masked part, where only that was drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding: Option<u64>,
}

/// A setting that is not understood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unknown {
    /// Its name; parts of nested ones are joined by dots.
    pub key: String,
    /// Its value, JSON where it was no text.
    pub value: String,
    /// What was wrong with it, where its name is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Made {
    /// Settings of a tool that say nothing yet.
    #[must_use]
    pub fn by(tool: Tool) -> Self {
        Self { tool, ..Self::default() }
    }

    /// Keeps what is not understood.
    pub(crate) fn keep(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.unknown.push(Unknown { key: key.into(), value: value.into(), why: None });
    }

    /// Keeps what is wrong, and says why.
    pub(crate) fn keep_wrong(&mut self, key: impl Into<String>, value: impl Into<String>, why: impl Into<String>) {
        self.unknown.push(Unknown { key: key.into(), value: value.into(), why: Some(why.into()) });
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}
