//! `UNet2DConditionModel` as diffusers stores it, for SD 1.x, 2.x and XL, and the half of it that a `ControlNet` copies.

use serde_json::{Value, json};

use super::{
    presets::{Library, Network},
    tensors::{Bias, TensorList, TensorSpec},
};

/// The hyper-parameters in which the presets differ.
#[derive(Debug, Clone)]
pub(super) struct UNet {
    /// Side of the square latent that the model was made for.
    pub(super) sample_size: usize,
    /// Channels of the sample: latents, and what stands beside them.
    pub(super) in_channels: usize,
    /// Channels of each level, from the finest.
    pub(super) channels: Vec<usize>,
    /// Whether each level has transformers; the middle has one.
    pub(super) attends: Vec<bool>,
    /// Depth of each level's transformers, stated even where it has none; the middle has the depth of the last.
    pub(super) transformer_depths: Vec<usize>,
    /// Heads of each level (diffusers' `attention_head_dim`, which for these models holds head counts).
    pub(super) n_heads: Vec<usize>,
    pub(super) layers_per_block: usize,
    pub(super) cross_attention_dim: usize,
    /// How a transformer's tokens are projected.
    pub(super) projection: Projection,
    pub(super) upcast_attention: bool,
    /// SDXL's pooled text and sizes, as an addition to the time embedding.
    pub(super) addition: Option<Addition>,
}

/// How a transformer goes from feature maps to tokens and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Projection {
    /// A 1×1 convolution (SD 1.x).
    Conv,
    /// A linear layer (SD 2.x, XL).
    Linear,
}

/// `addition_embed_type` `text_time`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addition {
    /// Width of the sinusoidal embedding of each size.
    pub(super) time_dim: usize,
    /// Width of the pooled text and all embedded sizes together.
    pub(super) n_in: usize,
}

const LATENT_CHANNELS: usize = 4;

/// An untrained network's prediction is not noise, so that a sampler divides the latents by its smallest
/// sqrt(alpha) (1/15 for SD's schedule); these gains keep latents and features within f16 all the same.
const CONV_IN_GAIN: f32 = 0.3;
const CONV_OUT_GAIN: f32 = 0.1;

impl Network for UNet {
    fn class(&self) -> (Library, &'static str) {
        (Library::Diffusers, "UNet2DConditionModel")
    }

    fn config(&self, _torch_dtype: &str) -> Value {
        let mut config = self.way_down_config();
        let own = json!({
            "attention_type": "default",
            "center_input_sample": false,
            "class_embeddings_concat": false,
            "conv_in_kernel": 3,
            "conv_out_kernel": 3,
            "cross_attention_norm": null,
            "dropout": 0.0,
            "dual_cross_attention": false,
            "mid_block_only_cross_attention": null,
            "out_channels": LATENT_CHANNELS,
            "resnet_out_scale_factor": 1.0,
            "resnet_skip_time_act": false,
            "reverse_transformer_layers_per_block": null,
            "sample_size": self.sample_size,
            "time_cond_proj_dim": null,
            "time_embedding_act_fn": null,
            "time_embedding_dim": null,
            "time_embedding_type": "positional",
            "timestep_post_act": null,
            "up_block_types": kinds("CrossAttnUpBlock2D", "UpBlock2D", self.attends.iter().rev()),
        });
        extend(&mut config, self.class().1, own);
        config
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let mut list = TensorList::default();
        self.way_down(&mut list);
        self.up_blocks(&mut list);
        list.norm("conv_norm_out", self.channels[0]);
        list.conv_with_gain("conv_out", LATENT_CHANNELS, self.channels[0], 3, CONV_OUT_GAIN);
        list.0
    }
}

/// The kind of each level's block.
fn kinds<'a>(with: &str, without: &str, attends: impl Iterator<Item = &'a bool>) -> Vec<String> {
    attends.map(|&attends| if attends { with } else { without }.to_owned()).collect()
}

/// Names the class, and adds its own keys to those that it shares.
pub(super) fn extend(config: &mut Value, class: &str, own: Value) {
    config["_class_name"] = class.into();
    if let (Value::Object(config), Value::Object(own)) = (config, own) {
        config.extend(own);
    }
}

impl UNet {
    /// The keys that a `ControlNet` has too.
    pub(super) fn way_down_config(&self) -> Value {
        json!({
            "_diffusers_version": "0.30.2",
            "act_fn": "silu",
            "addition_embed_type": self.addition.map(|_| "text_time"),
            "addition_embed_type_num_heads": 64,
            "addition_time_embed_dim": self.addition.map(|addition| addition.time_dim),
            "attention_head_dim": one_or_all(&self.n_heads),
            "block_out_channels": self.channels,
            "class_embed_type": null,
            "cross_attention_dim": self.cross_attention_dim,
            "down_block_types": kinds("CrossAttnDownBlock2D", "DownBlock2D", self.attends.iter()),
            "downsample_padding": 1,
            "encoder_hid_dim": null,
            "encoder_hid_dim_type": null,
            "flip_sin_to_cos": true,
            "freq_shift": 0,
            "in_channels": self.in_channels,
            "layers_per_block": self.layers_per_block,
            "mid_block_scale_factor": 1,
            "mid_block_type": "UNetMidBlock2DCrossAttn",
            "norm_eps": 1e-05,
            "norm_num_groups": 32,
            "num_attention_heads": null,
            "num_class_embeds": null,
            "only_cross_attention": false,
            "projection_class_embeddings_input_dim": self.addition.map(|addition| addition.n_in),
            "resnet_time_scale_shift": "default",
            "transformer_layers_per_block": one_or_all(&self.transformer_depths),
            "upcast_attention": self.upcast_attention,
            "use_linear_projection": self.projection == Projection::Linear,
        })
    }

    /// Conditions, first convolution, levels on the way down, middle.
    pub(super) fn way_down(&self, list: &mut TensorList) {
        let (first, time_dim) = (self.channels[0], self.time_dim());
        list.conv_with_gain("conv_in", first, self.in_channels, 3, CONV_IN_GAIN);
        list.linear("time_embedding.linear_1", time_dim, first, Bias::With);
        list.linear("time_embedding.linear_2", time_dim, time_dim, Bias::With);
        if let Some(addition) = self.addition {
            list.linear("add_embedding.linear_1", time_dim, addition.n_in, Bias::With);
            list.linear("add_embedding.linear_2", time_dim, time_dim, Bias::With);
        }
        self.down_blocks(list);
        self.mid_block(list);
    }

    fn time_dim(&self) -> usize {
        4 * self.channels[0]
    }

    /// Depth of a level's transformers, if it has any.
    fn depth(&self, level: usize) -> Option<usize> {
        self.attends[level].then(|| self.transformer_depths[level])
    }

    fn down_blocks(&self, list: &mut TensorList) {
        let mut n_in = self.channels[0];
        for (level, &n_out) in self.channels.iter().enumerate() {
            let block = format!("down_blocks.{level}");
            for layer in 0..self.layers_per_block {
                let layer_in = if layer == 0 { n_in } else { n_out };
                resnet(list, &format!("{block}.resnets.{layer}"), layer_in, n_out, Some(self.time_dim()));
                self.transformer(list, &format!("{block}.attentions.{layer}"), n_out, self.depth(level));
            }
            if level + 1 < self.channels.len() {
                list.conv(&format!("{block}.downsamplers.0.conv"), n_out, n_out, 3);
            }
            n_in = n_out;
        }
    }

    /// Channels of the states that the way down hands over.
    pub(super) fn skips(&self) -> Vec<usize> {
        let n_levels = self.channels.len();
        let of_level =
            |(level, &n): (usize, &usize)| vec![n; self.layers_per_block + usize::from(level + 1 < n_levels)];
        let levels = self.channels.iter().enumerate().flat_map(of_level);
        std::iter::once(self.channels[0]).chain(levels).collect()
    }

    fn mid_block(&self, list: &mut TensorList) {
        let n_channels = self.channels[self.channels.len() - 1];
        for layer in 0..2 {
            resnet(list, &format!("mid_block.resnets.{layer}"), n_channels, n_channels, Some(self.time_dim()));
        }
        self.transformer(list, "mid_block.attentions.0", n_channels, self.transformer_depths.last().copied());
    }

    /// Each layer takes a skip connection: the last one of a block the input of the matching down block's level.
    fn up_blocks(&self, list: &mut TensorList) {
        let n_levels = self.channels.len();
        let mut n_previous = self.channels[n_levels - 1];
        for (index, level) in (0..n_levels).rev().enumerate() {
            let block = format!("up_blocks.{index}");
            let n_out = self.channels[level];
            let n_below = self.channels[level.saturating_sub(1)];
            for layer in 0..=self.layers_per_block {
                let n_skip = if layer == self.layers_per_block { n_below } else { n_out };
                let n_in = if layer == 0 { n_previous } else { n_out };
                resnet(list, &format!("{block}.resnets.{layer}"), n_in + n_skip, n_out, Some(self.time_dim()));
                self.transformer(list, &format!("{block}.attentions.{layer}"), n_out, self.depth(level));
            }
            if level > 0 {
                list.conv(&format!("{block}.upsamplers.0.conv"), n_out, n_out, 3);
            }
            n_previous = n_out;
        }
    }

    /// `Transformer2DModel` of the given depth; nothing without one.
    fn transformer(&self, list: &mut TensorList, name: &str, n_channels: usize, depth: Option<usize>) {
        let Some(depth) = depth else { return };
        list.norm(&format!("{name}.norm"), n_channels);
        for projection in ["proj_in", "proj_out"] {
            let name = format!("{name}.{projection}");
            match self.projection {
                Projection::Conv => list.conv(&name, n_channels, n_channels, 1),
                Projection::Linear => list.linear(&name, n_channels, n_channels, Bias::With),
            }
        }
        for block in 0..depth {
            let at = |part: &str| format!("{name}.transformer_blocks.{block}.{part}");
            for norm in ["norm1", "norm2", "norm3"] {
                list.norm(&at(norm), n_channels);
            }
            for (attention, n_context) in [("attn1", n_channels), ("attn2", self.cross_attention_dim)] {
                list.linear(&at(&format!("{attention}.to_q")), n_channels, n_channels, Bias::Without);
                list.linear(&at(&format!("{attention}.to_k")), n_channels, n_context, Bias::Without);
                list.linear(&at(&format!("{attention}.to_v")), n_channels, n_context, Bias::Without);
                list.linear(&at(&format!("{attention}.to_out.0")), n_channels, n_channels, Bias::With);
            }
            list.linear(&at("ff.net.0.proj"), 8 * n_channels, n_channels, Bias::With);
            list.linear(&at("ff.net.2"), n_channels, 4 * n_channels, Bias::With);
        }
    }
}

/// `ResnetBlock2D`, which the VAE has too, there without a time embedding.
pub(super) fn resnet(list: &mut TensorList, name: &str, n_in: usize, n_out: usize, time_dim: Option<usize>) {
    let at = |part: &str| format!("{name}.{part}");
    list.norm(&at("norm1"), n_in);
    list.conv(&at("conv1"), n_out, n_in, 3);
    if let Some(time_dim) = time_dim {
        list.linear(&at("time_emb_proj"), n_out, time_dim, Bias::With);
    }
    list.norm(&at("norm2"), n_out);
    list.conv(&at("conv2"), n_out, n_out, 3);
    if n_in != n_out {
        list.conv(&at("conv_shortcut"), n_out, n_in, 1);
    }
}

/// One number where all are equal, the list otherwise.
fn one_or_all(numbers: &[usize]) -> Value {
    match numbers {
        [first, rest @ ..] if rest.iter().all(|n| n == first) => json!(first),
        _ => json!(numbers),
    }
}
