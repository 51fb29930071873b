//! Configuration of the denoiser (diffusers `UNet2DConditionModel`).
//!
//! Rules and defaults follow diffusers 0.30 `unet_2d_condition.py`.

use sd_spec::keys::{Table, UNET};

use super::fields::{Depths, Fields, MAX_BLOCKS, MAX_CHANNELS, MAX_LAYERS, MAX_RESNETS};
use super::{Configuration, Resolution};
use crate::{ModelError, Role};

/// The denoiser.
#[derive(Clone, Debug, PartialEq)]
pub struct UNetConfig {
    /// Everything up to the coarsest level.
    pub way_down: WayDownConfig,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Latent size that the checkpoint was made for, corrected as [`CORRECTED_SIDE`] says.
    pub sample_size: Option<Resolution>,
    /// The side that the file has, where it was corrected.
    pub stated_side: Option<usize>,
    /// Levels on the way up, coarsest first.
    pub up_blocks: Vec<UNetBlockConfig>,
    /// Kernel side of the last convolution; odd.
    pub conv_out_kernel: usize,
    /// Whether the sample is moved from `[0, 1]` to `[−1, 1]` first.
    pub center_input_sample: bool,
}

/// The half of a denoiser that a `ControlNet` is a copy of: conditions, first convolution, levels on the way down, middle.
#[derive(Clone, Debug, PartialEq)]
pub struct WayDownConfig {
    /// Channels of the noisy latent.
    pub in_channels: usize,
    /// Width of the text states.
    pub cross_attention_dim: usize,
    /// Levels, finest first.
    pub down_blocks: Vec<UNetBlockConfig>,
    /// The middle block, which has the channels of the last down block; small distilled networks have none at all.
    pub mid_block: Option<UNetMidBlockConfig>,
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
    /// Whether scores of attention, self and cross alike, and their softmax are in f32 whatever else is computed in.
    pub upcast_attention: bool,
}

/// The middle block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UNetMidBlockConfig {
    /// Its transformer, between two residual blocks; without one there is one residual block.
    pub transformer: Option<TransformerConfig>,
}

/// One level of the denoiser.
#[derive(Clone, Debug, PartialEq)]
pub struct UNetBlockConfig {
    /// Channels at this level.
    pub channels: usize,
    /// Number of residual blocks.
    pub n_layers: usize,
    /// The transformer after each residual block, or none at all.
    pub transformers: Vec<TransformerConfig>,
}

/// One transformer.
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
    /// Width of the embedding of the guidance scale, for networks that guidance was distilled into.
    pub guidance_dim: Option<usize>,
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
    const ROLE: Role = Role::UNet;
    const KEYS: Table = UNET;

    fn read(fields: &Fields) -> Result<Self, ModelError> {
        let levels = Levels::read(fields)?;
        Ok(Self {
            way_down: WayDownConfig::read(fields, &levels)?,
            out_channels: fields.size_or("out_channels", MAX_CHANNELS, 4)?,
            stated_side: read_stated_side(fields)?,
            sample_size: read_sample_size(fields)?,
            up_blocks: levels.up(fields)?,
            conv_out_kernel: read_odd(fields, "conv_out_kernel")?,
            center_input_sample: fields.flag_or("center_input_sample", false)?,
        })
    }
}

/// One of the states that a denoiser hands from its way down to its way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residual {
    /// Its channels.
    pub channels: usize,
    /// How often height and width were halved.
    pub n_halvings: usize,
    /// Whether halving rounds up.
    pub rounds_up: bool,
}

impl Residual {
    /// Its side, of a latent's.
    #[must_use]
    pub fn side(&self, latent: usize) -> usize {
        let halve = |side: usize| if self.rounds_up { side.div_ceil(2) } else { side / 2 };
        (0..self.n_halvings).fold(latent, |side, _| halve(side))
    }
}

impl WayDownConfig {
    pub(super) fn read(fields: &Fields, levels: &Levels) -> Result<Self, ModelError> {
        let norm_groups = fields.size_or("norm_num_groups", MAX_CHANNELS, 32)?;
        require_groups_divide(fields, norm_groups, &levels.channels)?;
        Ok(Self {
            in_channels: fields.size_or("in_channels", MAX_CHANNELS, 4)?,
            cross_attention_dim: read_cross_attention_dim(fields, levels.channels.len())?,
            mid_block: levels.mid(fields)?,
            down_blocks: levels.down(fields)?,
            added: AddedConditionConfig::read(fields)?,
            time: TimestepConfig::read(fields, levels.channels[0])?,
            norm_groups,
            norm_eps: fields.positive_or("norm_eps", 1e-5)?,
            downsample_padding: fields.count_or("downsample_padding", 1, 1)?,
            conv_in_kernel: read_odd(fields, "conv_in_kernel")?,
            // diffusers 0.42.1: every transformer of every block, the middle one included, has this value.
            upcast_attention: fields.flag_or("upcast_attention", false)?,
        })
    }

    /// The states that are handed over, in the order in which they arise, and the middle block's result.
    #[must_use]
    pub fn residuals(&self) -> Vec<Residual> {
        let rounds_up = self.downsample_padding == 1;
        let at = |channels, n_halvings| Residual { channels, n_halvings, rounds_up };
        let last = self.down_blocks.len() - 1;
        let mut residuals = vec![at(self.down_blocks[0].channels, 0)];
        for (level, block) in self.down_blocks.iter().enumerate() {
            residuals.extend((0..block.n_layers).map(|_| at(block.channels, level)));
            residuals.extend((level < last).then(|| at(block.channels, level + 1)));
        }
        residuals.push(at(self.down_blocks[last].channels, last));
        residuals
    }
}

/// Per-level values, finest level first.
pub(super) struct Levels {
    channels: Vec<usize>,
    n_layers: Vec<usize>,
    n_heads: Vec<usize>,
    n_transformer_layers: Vec<Depths>,
}

impl Levels {
    pub(super) fn read(fields: &Fields) -> Result<Self, ModelError> {
        let channels = fields.sizes("block_out_channels", MAX_CHANNELS, MAX_BLOCKS)?;
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
            n_transformer_layers: fields.depths_per_block("transformer_layers_per_block", MAX_LAYERS, n)?,
            n_heads,
            channels,
        })
    }

    /// `null` is no default here, but a network without a middle block (diffusers 0.42 `get_mid_block`).
    fn mid(&self, fields: &Fields) -> Result<Option<UNetMidBlockConfig>, ModelError> {
        const ATTENDS: &str = "UNetMidBlock2DCrossAttn";
        let key = "mid_block_type";
        if fields.is_null(key) {
            return Ok(None);
        }
        let level = self.channels.len() - 1;
        match fields.text_or(key, ATTENDS)? {
            ATTENDS => {
                let n_layers = self.n_transformer_layers[level].of(0);
                let transformer = Some(TransformerConfig { n_heads: self.n_heads[level], n_layers });
                Ok(Some(UNetMidBlockConfig { transformer }))
            }
            "UNetMidBlock2D" => Ok(Some(UNetMidBlockConfig { transformer: None })),
            other => Err(fields.unsupported(key, &other.into(), "UNetMidBlock2DCrossAttn, UNetMidBlock2D, null")),
        }
    }

    /// The transformers after a level's residual blocks.
    fn transformers(
        &self,
        fields: &Fields,
        key: &str,
        level: usize,
        depths: &Depths,
        n: usize,
    ) -> Result<Vec<TransformerConfig>, ModelError> {
        if !depths.is_for(n) {
            return Err(
                fields.contradiction(key, &format!("one depth, or {n}, for block {level}, which has {n} layers"))
            );
        }
        Ok((0..n).map(|layer| TransformerConfig { n_heads: self.n_heads[level], n_layers: depths.of(layer) }).collect())
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
                let (n_layers, depths) = (self.n_layers[level], &self.n_transformer_layers[level]);
                let transformers = match attends {
                    true => self.transformers(fields, "transformer_layers_per_block", level, depths, n_layers)?,
                    false => Vec::new(),
                };
                Ok(UNetBlockConfig { channels: self.channels[level], n_layers, transformers })
            })
            .collect()
    }

    fn up(&self, fields: &Fields) -> Result<Vec<UNetBlockConfig>, ModelError> {
        let n = self.channels.len();
        let kinds = fields.texts("up_block_types", n)?;
        let key = "reverse_transformer_layers_per_block";
        let reversed: Vec<Depths> = match fields.has(key) {
            true => fields.depths_per_block(key, MAX_LAYERS, n)?,
            // diffusers 0.42 `_check_config`: depths by layer are not mirrored, since the way up has a layer more.
            false if self.n_transformer_layers.iter().any(|depths| matches!(depths, Depths::Each(_))) => {
                return Err(fields.missing(key));
            }
            false => self.n_transformer_layers.iter().rev().cloned().collect(),
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
                let n_layers = self.n_layers[level] + 1;
                let transformers = match attends {
                    true => self.transformers(fields, key, level, &reversed[step], n_layers)?,
                    false => Vec::new(),
                };
                Ok(UNetBlockConfig { channels: self.channels[level], n_layers, transformers })
            })
            .collect()
    }
}

impl TimestepConfig {
    fn read(fields: &Fields, channels: usize) -> Result<Self, ModelError> {
        let config = Self {
            channels,
            embed_dim: match fields.knows("time_embedding_dim") {
                true => fields.size_or("time_embedding_dim", 4 * MAX_CHANNELS, 4 * channels)?,
                false => 4 * channels,
            },
            guidance_dim: match fields.knows("time_cond_proj_dim") {
                true => fields.optional_size("time_cond_proj_dim", MAX_CHANNELS)?,
                false => None,
            },
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
    /// Width of the pooled text beside this many numbers; none where the numbers alone are wider than the layer takes.
    #[must_use]
    pub fn pooled_width(&self, n_numbers: usize) -> Option<usize> {
        self.input_dim.checked_sub(n_numbers * self.time_channels).filter(|&width| width > 0)
    }

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

/// A kernel's side: 3 where the class has no such key.
fn read_odd(fields: &Fields, key: &str) -> Result<usize, ModelError> {
    let side = if fields.knows(key) { fields.size_or(key, 31, 3)? } else { 3 };
    if side.is_multiple_of(2) {
        return Err(fields.contradiction(key, "an odd kernel side"));
    }
    Ok(side)
}
