//! Keys of the networks of diffusers.

use super::Answer::{Followed, NoEffect, Only};
use super::{DIFFUSERS, Row, Table};

const OTHER_LAYERS: &str = "only counts for a kind of layer that another key would ask for, and that is refused there";
const TRAINING: &str = "only counts in training";
const SAME_MAP: &str = "a 1×1 convolution and a linear layer are the same map with the same weights";

/// The denoiser: diffusers `UNet2DConditionModel`.
pub const UNET: Table = Table {
    name: "UNet2DConditionModel",
    classes: &["ConfigMixin", "UNet2DConditionModel"],
    rows: &[UNET_ROWS, WAY_DOWN_ROWS, DIFFUSERS],
    nulls: &["mid_block_type", "norm_num_groups"],
};

/// What a denoiser and the copy of its way down answer alike.
const WAY_DOWN_ROWS: &[Row] = &[
    ("in_channels", Followed),
    ("flip_sin_to_cos", Followed),
    ("freq_shift", Followed),
    ("down_block_types", Followed),
    ("mid_block_type", Followed),
    ("only_cross_attention", Only(&["false"])),
    ("block_out_channels", Followed),
    ("layers_per_block", Followed),
    ("downsample_padding", Followed),
    ("mid_block_scale_factor", Only(&["1"])),
    ("act_fn", Only(&["\"silu\"", "\"swish\""])),
    ("norm_num_groups", Followed),
    ("norm_eps", Followed),
    ("cross_attention_dim", Followed),
    ("transformer_layers_per_block", Followed),
    ("encoder_hid_dim", Only(&["null"])),
    ("encoder_hid_dim_type", Only(&["null"])),
    ("attention_head_dim", Followed),
    ("num_attention_heads", Followed),
    ("use_linear_projection", NoEffect(SAME_MAP)),
    ("class_embed_type", Only(&["null"])),
    ("addition_embed_type", Followed),
    ("addition_time_embed_dim", Followed),
    ("num_class_embeds", Only(&["null"])),
    ("upcast_attention", Followed),
    ("resnet_time_scale_shift", Only(&["\"default\""])),
    ("projection_class_embeddings_input_dim", Followed),
    ("addition_embed_type_num_heads", NoEffect(OTHER_LAYERS)),
];

const UNET_ROWS: &[Row] = &[
    ("_class_name", Only(&["\"UNet2DConditionModel\""])),
    // Pipelines correct sample_size by it.
    ("_diffusers_version", Followed),
    ("sample_size", Followed),
    ("out_channels", Followed),
    ("center_input_sample", Followed),
    ("up_block_types", Followed),
    ("dropout", NoEffect(TRAINING)),
    ("reverse_transformer_layers_per_block", Followed),
    ("dual_cross_attention", Only(&["false"])),
    ("resnet_skip_time_act", Only(&["false"])),
    ("resnet_out_scale_factor", Only(&["1"])),
    ("time_embedding_type", Only(&["\"positional\""])),
    ("time_embedding_dim", Followed),
    ("time_embedding_act_fn", Only(&["null"])),
    ("timestep_post_act", Only(&["null"])),
    ("time_cond_proj_dim", Followed),
    ("conv_in_kernel", Followed),
    ("conv_out_kernel", Followed),
    ("attention_type", Only(&["\"default\""])),
    ("class_embeddings_concat", Only(&["false"])),
    ("mid_block_only_cross_attention", Only(&["false"])),
    ("cross_attention_norm", Only(&["null"])),
    // Keys that diffusers itself once wrote and no longer defines.
    ("skip_time_act", Only(&["false"])),
    ("use_checkpoint", NoEffect(TRAINING)),
    ("use_memory_efficient_attention", NoEffect("another way to compute the same")),
];

/// A picture that guides: diffusers `ControlNetModel`.
pub const CONTROL_NET: Table = Table {
    name: "ControlNetModel",
    classes: &["ConfigMixin", "ControlNetModel"],
    rows: &[CONTROL_NET_ROWS, WAY_DOWN_ROWS, DIFFUSERS],
    nulls: &["mid_block_type"],
};

const CONTROL_NET_ROWS: &[Row] = &[
    ("_class_name", Only(&["\"ControlNetModel\""])),
    ("conditioning_channels", Followed),
    ("controlnet_conditioning_channel_order", Followed),
    ("conditioning_embedding_out_channels", Followed),
    // Reference-only networks give one number per channel, which is no residual of the latents' size.
    ("global_pool_conditions", Only(&["false"])),
];

/// The transformer of Stable Diffusion 3: diffusers `SD3Transformer2DModel`.
pub const SD3_TRANSFORMER: Table = Table {
    name: "SD3Transformer2DModel",
    classes: &["ConfigMixin", "SD3Transformer2DModel"],
    rows: &[SD3_TRANSFORMER_ROWS, DIFFUSERS],
    nulls: &[],
};

const SD3_TRANSFORMER_ROWS: &[Row] = &[
    ("_class_name", Only(&["\"SD3Transformer2DModel\""])),
    ("sample_size", Followed),
    ("patch_size", Followed),
    ("in_channels", Followed),
    ("num_layers", Followed),
    ("attention_head_dim", Followed),
    ("num_attention_heads", Followed),
    ("joint_attention_dim", Followed),
    ("caption_projection_dim", Followed),
    ("pooled_projection_dim", Followed),
    ("out_channels", Followed),
    ("pos_embed_max_size", Followed),
    ("dual_attention_layers", Followed),
    ("qk_norm", Only(&["\"rms_norm\""])),
];

/// The autoencoder: diffusers `AutoencoderKL`.
pub const AUTOENCODER_KL: Table = Table {
    name: "AutoencoderKL",
    classes: &["ConfigMixin", "AutoencoderKL"],
    rows: &[AUTOENCODER_KL_ROWS, DIFFUSERS],
    nulls: &["norm_num_groups"],
};

const AUTOENCODER_KL_ROWS: &[Row] = &[
    ("_class_name", Only(&["\"AutoencoderKL\""])),
    ("in_channels", Followed),
    ("out_channels", Followed),
    ("down_block_types", Followed),
    ("up_block_types", Followed),
    ("block_out_channels", Followed),
    ("layers_per_block", Followed),
    ("act_fn", Only(&["\"silu\"", "\"swish\""])),
    ("latent_channels", Followed),
    ("norm_num_groups", Followed),
    ("sample_size", Followed),
    ("scaling_factor", Followed),
    ("shift_factor", Followed),
    ("latents_mean", Only(&["null"])),
    ("latents_std", Only(&["null"])),
    // For XL; all others are looked at for overflow, whatever this says.
    ("force_upcast", Followed),
    ("use_quant_conv", Followed),
    ("use_post_quant_conv", Followed),
    ("mid_block_add_attention", Followed),
];

/// The small autoencoder: diffusers `AutoencoderTiny`, known as TAESD.
pub const AUTOENCODER_TINY: Table = Table {
    name: "AutoencoderTiny",
    classes: &["ConfigMixin", "AutoencoderTiny"],
    rows: &[AUTOENCODER_TINY_ROWS, DIFFUSERS],
    nulls: &[],
};

const AUTOENCODER_TINY_ROWS: &[Row] = &[
    ("_class_name", Only(&["\"AutoencoderTiny\""])),
    ("in_channels", Followed),
    ("out_channels", Followed),
    ("encoder_block_out_channels", Followed),
    ("decoder_block_out_channels", Followed),
    // diffusers registers it beside the two above, with the decoder's value.
    ("block_out_channels", NoEffect("repeats decoder_block_out_channels")),
    ("act_fn", Only(&["\"relu\""])),
    ("upsample_fn", Only(&["\"nearest\""])),
    ("latent_channels", Followed),
    ("upsampling_scaling_factor", Only(&["2"])),
    ("num_encoder_blocks", Followed),
    ("num_decoder_blocks", Followed),
    ("latent_magnitude", NoEffect(STORING)),
    ("latent_shift", NoEffect(STORING)),
    (
        "force_upcast",
        NoEffect("a half-precision VAE is looked at for overflow when it is converted, whatever this says"),
    ),
    ("scaling_factor", Followed),
    ("shift_factor", Only(&["0", "0.0", "null"])),
];

const STORING: &str = "only counts where latents are stored as bytes";

/// One layer of PyTorch, `torch.nn.Linear`, whose file has no configuration: what is read off its tensors.
pub const LINEAR: Table = Table { name: "Linear", classes: &[], rows: &[LINEAR_ROWS], nulls: &[] };

const LINEAR_ROWS: &[Row] = &[
    ("_class_name", Only(&["\"Linear\""])),
    ("in_features", Followed),
    ("out_features", Followed),
    ("bias", Followed),
];

/// An upscaler of the ESRGAN kind, BasicSR's `RRDBNet`, whose files have no configuration: what is read off its tensors.
pub const RRDB_NET: Table = Table { name: "RRDBNet", classes: &[], rows: &[RRDB_NET_ROWS], nulls: &[] };

const RRDB_NET_ROWS: &[Row] = &[
    ("_class_name", Only(&["\"RRDBNet\""])),
    ("num_ch", Followed),
    ("num_feat", Followed),
    ("num_block", Followed),
    ("num_grow_ch", Followed),
    ("num_upsample", Followed),
    ("unshuffle", Followed),
];
