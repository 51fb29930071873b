//! Names of the autoencoder, whose ways are numbered by level in both layouts: up, LDM counts from the picture.

use sd_models::VaeConfig;

use super::names::{How, Leaf, Names};

const RESNET: &[Leaf] = &[
    Leaf("norm1", "norm1", How::Same),
    Leaf("conv1", "conv1", How::Same),
    Leaf("norm2", "norm2", How::Same),
    Leaf("conv2", "conv2", How::Same),
    Leaf("conv_shortcut", "nin_shortcut", How::Same),
];

const ATTENTION: &[Leaf] = &[
    Leaf("group_norm", "norm", How::Same),
    Leaf("to_q", "q", How::Squeezed),
    Leaf("to_k", "k", How::Squeezed),
    Leaf("to_v", "v", How::Squeezed),
    Leaf("to_out.0", "proj_out", How::Squeezed),
];

const ENDS: &[Leaf] = &[
    Leaf("conv_in", "conv_in", How::Same),
    Leaf("conv_norm_out", "norm_out", How::Same),
    Leaf("conv_out", "conv_out", How::Same),
];

/// The names of an autoencoder's modules, both halves.
pub(crate) fn vae(config: &VaeConfig) -> Names {
    let mut names = Names::default();
    let n_levels = config.block_out_channels.len();
    for level in 0..n_levels {
        let (diffusers, file) = (format!("encoder.down_blocks.{level}"), format!("encoder.down.{level}"));
        for layer in 0..config.layers_per_block {
            names.add(format!("{diffusers}.resnets.{layer}"), format!("{file}.block.{layer}"), RESNET);
        }
        names.add(format!("{diffusers}.downsamplers.0"), format!("{file}.downsample"), &[]);
        let (diffusers, file) = (format!("decoder.up_blocks.{level}"), format!("decoder.up.{}", n_levels - 1 - level));
        for layer in 0..=config.layers_per_block {
            names.add(format!("{diffusers}.resnets.{layer}"), format!("{file}.block.{layer}"), RESNET);
        }
        names.add(format!("{diffusers}.upsamplers.0"), format!("{file}.upsample"), &[]);
    }
    for half in ["encoder", "decoder"] {
        names.add(format!("{half}.mid_block.resnets.0"), format!("{half}.mid.block_1"), RESNET);
        names.add(format!("{half}.mid_block.attentions.0"), format!("{half}.mid.attn_1"), ATTENTION);
        names.add(format!("{half}.mid_block.resnets.1"), format!("{half}.mid.block_2"), RESNET);
        names.add(half, half, ENDS);
    }
    names.add("quant_conv", "quant_conv", &[]).add("post_quant_conv", "post_quant_conv", &[]);
    names
}
