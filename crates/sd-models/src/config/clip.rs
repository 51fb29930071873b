//! Configuration of the CLIP text encoder and of the safety checker's vision encoder.
//!
//! Defaults are those of transformers 4.44 and 5.24 `CLIPTextConfig` and `CLIPVisionConfig`; a nested configuration is
//! written without what equals them.

use sd_spec::keys::{CLIP_TEXT, CLIP_VISION, SAFETY_CHECKER, Table};

use super::Configuration;
use super::fields::{Fields, MAX_CHANNELS, MAX_LAYERS, MAX_SIDE, MAX_VOCABULARY};
use crate::{ModelError, Role};

const MAX_POSITIONS: usize = 1 << 16;

/// The non-linearity between the two layers of a CLIP feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipActivation {
    /// `x · sigmoid(1.702 x)`: OpenAI's CLIP, Stable Diffusion 1.x.
    QuickGelu,
    /// The exact GELU: OpenCLIP, Stable Diffusion 2.x and XL.
    Gelu,
}

/// Which position of the text the pooled output is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The first position with the largest id. transformers' rule for the many checkpoints whose
    /// `eos_token_id` is wrongly 2; right because CLIP's end token has the largest id.
    LargestId,
    /// The first position that holds this id.
    FirstOf(i64),
}

/// What the text and the vision tower have in common: a stack of equal transformer layers.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipTowerConfig {
    /// Width of the states.
    pub hidden_size: usize,
    /// Width inside the feed-forward blocks.
    pub intermediate_size: usize,
    /// Number of layers.
    pub n_layers: usize,
    /// Number of attention heads; divides `hidden_size`.
    pub n_heads: usize,
    /// Feed-forward non-linearity.
    pub activation: ClipActivation,
    /// Epsilon of every layer norm.
    pub layer_norm_eps: f64,
}

/// A CLIP text encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipTextConfig {
    /// The transformer stack.
    pub tower: ClipTowerConfig,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Longest text in tokens, start and end included.
    pub max_positions: usize,
    /// Where the pooled output comes from.
    pub pooling: Pooling,
    /// Width of `text_embeds`, for encoders with a projection (the second one of XL).
    pub projection_dim: Option<usize>,
}

/// The vision encoder inside the safety checker.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipVisionConfig {
    /// The transformer stack.
    pub tower: ClipTowerConfig,
    /// Side of the square input picture, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Channels of the input picture.
    pub n_channels: usize,
}

/// The safety checker.
#[derive(Clone, Debug, PartialEq)]
pub struct SafetyCheckerConfig {
    /// Its vision encoder.
    pub vision: ClipVisionConfig,
    /// Width of the embedding that is compared with the concepts.
    pub projection_dim: usize,
}

impl Configuration for ClipTextConfig {
    const ROLE: Role = Role::TextEncoder;
    const KEYS: Table = CLIP_TEXT;

    fn read(fields: &Fields) -> Result<Self, ModelError> {
        let pooling = match fields.integer_or("eos_token_id", 49_407)? {
            // transformers 4.44 CLIPTextTransformer.forward: "A config that had eos_token_id=2".
            2 => Pooling::LargestId,
            id => Pooling::FirstOf(id),
        };
        let projected = fields.lists("architectures", "CLIPTextModelWithProjection");
        Ok(Self {
            tower: ClipTowerConfig::read(fields, &TEXT_TOWER)?,
            vocab_size: fields.size_or("vocab_size", MAX_VOCABULARY, 49_408)?,
            max_positions: fields.size_or("max_position_embeddings", MAX_POSITIONS, 77)?,
            pooling,
            projection_dim: projected.then(|| fields.size_or("projection_dim", MAX_CHANNELS, 512)).transpose()?,
        })
    }
}

/// The object in the safety checker's file.
impl Configuration for ClipVisionConfig {
    const ROLE: Role = SafetyCheckerConfig::ROLE;
    const KEYS: Table = CLIP_VISION;

    fn read(fields: &Fields) -> Result<Self, ModelError> {
        let config = Self {
            tower: ClipTowerConfig::read(fields, &VISION_TOWER)?,
            image_size: fields.size_or("image_size", MAX_SIDE, 224)?,
            patch_size: fields.size_or("patch_size", MAX_SIDE, 32)?,
            n_channels: fields.size_or("num_channels", MAX_CHANNELS, 3)?,
        };
        if !config.image_size.is_multiple_of(config.patch_size) {
            let expected = format!("a divisor of image_size {}", config.image_size);
            return Err(fields.contradiction("patch_size", &expected));
        }
        Ok(config)
    }
}

impl ClipVisionConfig {
    /// Number of patches along one side.
    #[must_use]
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }
}

impl Configuration for SafetyCheckerConfig {
    const ROLE: Role = Role::SafetyChecker;
    const KEYS: Table = SAFETY_CHECKER;

    fn unknown(fields: &Fields) -> Vec<String> {
        let mut unknown = fields.unknown();
        if let Ok(vision) = fields.nested("vision_config", ClipVisionConfig::KEYS) {
            unknown.extend(vision.unknown());
        }
        unknown
    }

    fn read(fields: &Fields) -> Result<Self, ModelError> {
        // Files of early versions hold both; transformers takes all of this one where it is there.
        let key = if fields.has("vision_config_dict") { "vision_config_dict" } else { "vision_config" };
        Ok(Self {
            vision: ClipVisionConfig::read(&fields.nested(key, ClipVisionConfig::KEYS)?)?,
            projection_dim: fields.size_or("projection_dim", MAX_CHANNELS, 512)?,
        })
    }
}

/// Sizes of a tower that the file does not give.
struct TowerDefaults {
    hidden_size: usize,
    intermediate_size: usize,
    n_heads: usize,
}

const TEXT_TOWER: TowerDefaults = TowerDefaults { hidden_size: 512, intermediate_size: 2048, n_heads: 8 };
const VISION_TOWER: TowerDefaults = TowerDefaults { hidden_size: 768, intermediate_size: 3072, n_heads: 12 };

impl ClipTowerConfig {
    fn read(fields: &Fields, default: &TowerDefaults) -> Result<Self, ModelError> {
        let config = Self {
            hidden_size: fields.size_or("hidden_size", MAX_CHANNELS, default.hidden_size)?,
            intermediate_size: fields.size_or("intermediate_size", MAX_CHANNELS, default.intermediate_size)?,
            n_layers: fields.count_or("num_hidden_layers", MAX_LAYERS, 12)?,
            n_heads: fields.size_or("num_attention_heads", MAX_CHANNELS, default.n_heads)?,
            activation: read_activation(fields)?,
            layer_norm_eps: fields.positive_or("layer_norm_eps", 1e-5)?,
        };
        if !config.hidden_size.is_multiple_of(config.n_heads) {
            let expected = format!("a divisor of hidden_size {}", config.hidden_size);
            return Err(fields.contradiction("num_attention_heads", &expected));
        }
        Ok(config)
    }
}

fn read_activation(fields: &Fields) -> Result<ClipActivation, ModelError> {
    match fields.text_or("hidden_act", "quick_gelu")? {
        "quick_gelu" => Ok(ClipActivation::QuickGelu),
        "gelu" => Ok(ClipActivation::Gelu),
        other => Err(fields.unsupported("hidden_act", &other.into(), "quick_gelu, gelu")),
    }
}
