//! Configuration of the denoiser (diffusers `UNet2DConditionModel`).
//!
//! Rules and defaults follow diffusers 0.30 `unet_2d_condition.py`.

use sd_spec::keys::UNET;

use super::fields::{Fields, MAX_BLOCKS, MAX_CHANNELS, MAX_LAYERS, MAX_RESNETS};
use super::{Configuration, Resolution};
use crate::{ModelError, Role};

/// The denoiser.
#[derive(Clone, Debug, PartialEq)]
pub struct UNetConfig {
    /// Channels of the noisy latent.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Latent size that the checkpoint was made for, corrected as [`CORRECTED_SIDE`] says.
    pub sample_size: Option<Resolution>,
    /// The side that the file has, where it was corrected.
    pub stated_side: Option<usize>,
    /// Width of the text states.
    pub cross_attention_dim: usize,
    /// Levels on the way down, finest first.
    pub down_blocks: Vec<UNetBlockConfig>,
    /// The attention of the middle block, which has the channels of the last down block; small distilled networks have
    /// no middle block at all.
    pub mid_block: Option<TransformerConfig>,
    /// Levels on the way up, coarsest first.
    pub up_blocks: Vec<UNetBlockConfig>,
    /// How a timestep becomes a vector.
    pub time: TimestepConfig,
    /// XL's second conditioning, if any.
    pub added: Option<AddedConditionConfig>,
    /// Groups of every group norm; divides every level's channels.
    pub norm_groups: usize,
    /// Epsilon of the residual blocks' group norms.
    pub norm_eps: f64,
    /// Padding of the stride-2 convolutions: 1 on every side, or 0 for one on the far sides only.
    pub downsample_padding: usize,
    /// Kernel side of the first convolution; odd.
    pub conv_in_kernel: usize,
    /// Kernel side of the last convolution; odd.
    pub conv_out_kernel: usize,
    /// Whether the sample is moved from `[0, 1]` to `[−1, 1]` first.
    pub center_input_sample: bool,
    /// Whether scores of attention, self and cross alike, and their softmax are in f32 whatever else is computed in.
    pub upcast_attention: bool,
}

/// One level of the denoiser.
#[derive(Clone, Debug, PartialEq)]
pub struct UNetBlockConfig {
    /// Channels at this level.
    pub channels: usize,
    /// Number of residual blocks.
    pub n_layers: usize,
    /// Attention after every residual block, if the level has any.
    pub attention: Option<TransformerConfig>,
}

/// The transformers of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformerConfig {
    /// Attention heads; divides the level's channels.
    pub n_heads: usize,
    /// Transformer blocks, one after another.
    pub n_layers: usize,
}

/// Sinusoidal timestep embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct TimestepConfig {
    /// Width of the sinusoid; even.
    pub channels: usize,
    /// Width after the two linear layers.
    pub embed_dim: usize,
    /// Cosines before sines.
    pub flip_sin_to_cos: bool,
    /// Subtracted from half the width in the exponent.
    pub freq_shift: f64,
}

/// XL's added conditioning (`text_time`): pooled text and six (refiner: five) numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedConditionConfig {
    /// Width of the sinusoid of each number; even.
    pub time_channels: usize,
    /// Width of the pooled text and all sinusoids together.
    pub input_dim: usize,
}

impl Configuration for UNetConfig {
    fn from_json(json: &[u8]) -> Result<Self, ModelError> {
        Self::read(&Fields::parse(Role::UNet, json, UNET)?)
    }

    fn unknown_keys(json: &[u8]) -> Result<Vec<String>, ModelError> {
        Ok(Fields::parse(Role::UNet, json, UNET)?.unknown())
    }
}

impl UNetConfig {
    pub(super) fn read(fields: &Fields) -> Result<Self, ModelError> {
        let channels = fields.sizes("block_out_channels", MAX_CHANNELS, MAX_BLOCKS)?;
        let norm_groups = fields.size_or("norm_num_groups", MAX_CHANNELS, 32)?;
        require_groups_divide(fields, norm_groups, &channels)?;
        let levels = Levels::read(fields, channels)?;
        let time = TimestepConfig::read(fields, levels.channels[0])?;
        Ok(Self {
            in_channels: fields.size_or("in_channels", MAX_CHANNELS, 4)?,
            out_channels: fields.size_or("out_channels", MAX_CHANNELS, 4)?,
            stated_side: read_stated_side(fields)?,
            sample_size: read_sample_size(fields)?,
            cross_attention_dim: read_cross_attention_dim(fields, levels.channels.len())?,
            mid_block: levels.mid(fields)?,
            down_blocks: levels.down(fields)?,
            up_blocks: levels.up(fields)?,
            added: AddedConditionConfig::read(fields)?,
            time,
            norm_groups,
            norm_eps: fields.positive_or("norm_eps", 1e-5)?,
            downsample_padding: fields.count_or("downsample_padding", 1, 1)?,
            conv_in_kernel: read_odd(fields, "conv_in_kernel")?,
            conv_out_kernel: read_odd(fields, "conv_out_kernel")?,
            center_input_sample: fields.flag_or("center_input_sample", false)?,
            // diffusers 0.42.1: every transformer of every block, the middle one included, has this value.
            upcast_attention: fields.flag_or("upcast_attention", false)?,
        })
    }

    /// Width of the time embedding that every residual block receives.
    #[must_use]
    pub fn time_embed_dim(&self) -> usize {
        self.time.embed_dim
    }
}

/// Per-level values, finest level first.
struct Levels {
    channels: Vec<usize>,
    n_layers: Vec<usize>,
    n_heads: Vec<usize>,
    n_transformer_layers: Vec<usize>,
}

impl Levels {
    fn read(fields: &Fields, channels: Vec<usize>) -> Result<Self, ModelError> {
        let n = channels.len();
        // What diffusers calls attention_head_dim is the number of heads (its own comment says
        // so), unless num_attention_heads is given.
        let fallback = fields.size_per_block("attention_head_dim", MAX_CHANNELS, n, Some(8))?;
        let (key, n_heads) = match fields.has("num_attention_heads") {
            true => ("num_attention_heads", fields.size_per_block("num_attention_heads", MAX_CHANNELS, n, None)?),
            false => ("attention_head_dim", fallback),
        };
        for (&heads, &width) in n_heads.iter().zip(&channels) {
            if !width.is_multiple_of(heads) {
                let expected = format!("divisors of the block_out_channels {channels:?}");
                return Err(fields.contradiction(key, &expected));
            }
        }
        Ok(Self {
            n_layers: fields.size_per_block("layers_per_block", MAX_RESNETS, n, Some(2))?,
            n_transformer_layers: fields.size_per_block("transformer_layers_per_block", MAX_LAYERS, n, Some(1))?,
            n_heads,
            channels,
        })
    }

    /// `null` is no default here, but a network without a middle block (diffusers 0.42 `get_mid_block`).
    fn mid(&self, fields: &Fields) -> Result<Option<TransformerConfig>, ModelError> {
        const ONLY: &str = "UNetMidBlock2DCrossAttn";
        let key = "mid_block_type";
        if fields.is_null(key) {
            return Ok(None);
        }
        match fields.text_or(key, ONLY)? {
            ONLY => Ok(Some(self.transformer(self.channels.len() - 1))),
            other => Err(fields.unsupported(key, &other.into(), "UNetMidBlock2DCrossAttn, null")),
        }
    }

    fn transformer(&self, level: usize) -> TransformerConfig {
        TransformerConfig { n_heads: self.n_heads[level], n_layers: self.n_transformer_layers[level] }
    }

    fn down(&self, fields: &Fields) -> Result<Vec<UNetBlockConfig>, ModelError> {
        let kinds = fields.texts("down_block_types", self.channels.len())?;
        kinds
            .into_iter()
            .enumerate()
            .map(|(level, kind)| {
                let attends = match kind {
                    "CrossAttnDownBlock2D" => true,
                    "DownBlock2D" => false,
                    other => {
                        return Err(fields.unsupported(
                            "down_block_types",
                            &other.into(),
                            "CrossAttnDownBlock2D, DownBlock2D",
                        ));
                    }
                };
                Ok(UNetBlockConfig {
                    channels: self.channels[level],
                    n_layers: self.n_layers[level],
                    attention: attends.then(|| self.transformer(level)),
                })
            })
            .collect()
    }

    fn up(&self, fields: &Fields) -> Result<Vec<UNetBlockConfig>, ModelError> {
        let n = self.channels.len();
        let kinds = fields.texts("up_block_types", n)?;
        let key = "reverse_transformer_layers_per_block";
        let reversed = match fields.has(key) {
            true => fields.size_per_block(key, MAX_LAYERS, n, None)?,
            false => self.n_transformer_layers.iter().rev().copied().collect(),
        };
        kinds
            .into_iter()
            .enumerate()
            .map(|(step, kind)| {
                let level = n - 1 - step;
                let attends = match kind {
                    "CrossAttnUpBlock2D" => true,
                    "UpBlock2D" => false,
                    other => {
                        return Err(fields.unsupported(
                            "up_block_types",
                            &other.into(),
                            "CrossAttnUpBlock2D, UpBlock2D",
                        ));
                    }
                };
                Ok(UNetBlockConfig {
                    channels: self.channels[level],
                    n_layers: self.n_layers[level] + 1,
                    attention: attends
                        .then(|| TransformerConfig { n_heads: self.n_heads[level], n_layers: reversed[step] }),
                })
            })
            .collect()
    }
}

impl TimestepConfig {
    fn read(fields: &Fields, channels: usize) -> Result<Self, ModelError> {
        let config = Self {
            channels,
            embed_dim: fields.size_or("time_embedding_dim", 4 * MAX_CHANNELS, 4 * channels)?,
            flip_sin_to_cos: fields.flag_or("flip_sin_to_cos", true)?,
            freq_shift: fields.non_negative_or("freq_shift", 0.0)?,
        };
        if !channels.is_multiple_of(2) {
            return Err(fields.contradiction("block_out_channels", "an even first entry"));
        }
        if config.freq_shift >= (channels / 2) as f64 {
            let expected = format!("less than half of block_out_channels[0], {}", channels / 2);
            return Err(fields.contradiction("freq_shift", &expected));
        }
        Ok(config)
    }
}

impl AddedConditionConfig {
    fn read(fields: &Fields) -> Result<Option<Self>, ModelError> {
        match fields.text_or("addition_embed_type", "none")? {
            "none" => return Ok(None),
            "text_time" => {}
            other => {
                return Err(fields.unsupported("addition_embed_type", &other.into(), "null, text_time"));
            }
        }
        let config = Self {
            time_channels: fields.size("addition_time_embed_dim", MAX_CHANNELS)?,
            input_dim: fields.size("projection_class_embeddings_input_dim", MAX_CHANNELS)?,
        };
        if !config.time_channels.is_multiple_of(2) {
            return Err(fields.contradiction("addition_time_embed_dim", "an even size"));
        }
        Ok(Some(config))
    }
}

pub(super) fn require_groups_divide(fields: &Fields, norm_groups: usize, channels: &[usize]) -> Result<(), ModelError> {
    if channels.iter().all(|n| n.is_multiple_of(norm_groups)) {
        return Ok(());
    }
    let expected = format!("a divisor of all block_out_channels {channels:?}");
    Err(fields.contradiction("norm_num_groups", &expected))
}

/// The side that replaces a smaller `sample_size` in files of diffusers before 0.9.0, whose conversion script wrote 32 for
/// Stable Diffusion 1.x (diffusers 0.42 `StableDiffusionPipeline.__init__`).
pub const CORRECTED_SIDE: usize = 64;

fn read_sample_size(fields: &Fields) -> Result<Option<Resolution>, ModelError> {
    match read_stated_side(fields)? {
        Some(_) => Ok(Some(Resolution { height: CORRECTED_SIDE, width: CORRECTED_SIDE })),
        None => fields.resolution("sample_size"),
    }
}

/// A `sample_size` that is to be corrected.
fn read_stated_side(fields: &Fields) -> Result<Option<usize>, ModelError> {
    if !is_before_0_9(fields.text_or("_diffusers_version", "")?) {
        return Ok(None);
    }
    // A pair of numbers is taken as it stands, as in diffusers.
    let side = fields.resolution("sample_size")?.filter(|_| fields.is_number("sample_size"));
    Ok(side.map(|size| size.height).filter(|&side| side < CORRECTED_SIDE))
}

/// Whether a version such as `0.6.0` or `0.8.0.dev0` comes before 0.9.0; what is no version does not.
fn is_before_0_9(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    matches!((numbers.next().flatten(), numbers.next().flatten()), (Some(0), Some(minor)) if minor < 9)
}

/// One width for all levels; a list is accepted when its entries agree, since there is one text.
fn read_cross_attention_dim(fields: &Fields, n: usize) -> Result<usize, ModelError> {
    let key = "cross_attention_dim";
    let dims = fields.size_per_block(key, MAX_CHANNELS, n, Some(1280))?;
    if dims.iter().any(|dim| *dim != dims[0]) {
        return Err(fields.contradiction(key, "the same width for every block"));
    }
    Ok(dims[0])
}

fn read_odd(fields: &Fields, key: &str) -> Result<usize, ModelError> {
    let side = fields.size_or(key, 31, 3)?;
    if side.is_multiple_of(2) {
        return Err(fields.contradiction(key, "an odd kernel side"));
    }
    Ok(side)
}
