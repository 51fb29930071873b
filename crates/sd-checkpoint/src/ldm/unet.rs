//! Names of the UNet, and of the ControlNet that begins like it.
//!
//! LDM numbers the blocks of a way without regard to levels: down, the first convolution is block 0, then come the layers of
//! each level and its downsampler; up, the layers only, of which a level's last has the upsampler behind what else it has.

use sd_models::{ControlNetConfig, UNetBlockConfig, UNetConfig, WayDownConfig};

use super::names::{How, Leaf, Names};

const fn same(diffusers: &'static str, file: &'static str) -> Leaf {
    Leaf(diffusers, file, How::Same)
}

const RESNET: &[Leaf] = &[
    same("norm1", "in_layers.0"),
    same("conv1", "in_layers.2"),
    same("time_emb_proj", "emb_layers.1"),
    same("norm2", "out_layers.0"),
    same("conv2", "out_layers.3"),
    same("conv_shortcut", "skip_connection"),
];

/// A spatial transformer has the same names in both layouts.
const TRANSFORMER: &[Leaf] = &[];

const DOWNSAMPLER: &[Leaf] = &[same("conv", "op")];

const UPSAMPLER: &[Leaf] = &[same("conv", "conv")];

const HEAD: &[Leaf] = &[
    same("time_embedding.linear_1", "time_embed.0"),
    same("time_embedding.linear_2", "time_embed.2"),
    same("add_embedding.linear_1", "label_emb.0.0"),
    same("add_embedding.linear_2", "label_emb.0.2"),
    same("conv_in", "input_blocks.0.0"),
];

const TAIL: &[Leaf] = &[same("conv_norm_out", "out.0"), same("conv_out", "out.2")];

/// The names of a UNet's modules.
pub(crate) fn unet(config: &UNetConfig) -> Names {
    let mut names = Names::default();
    way_down(&mut names, &config.way_down);
    way_up(&mut names, &config.up_blocks);
    names.add("", "", TAIL);
    names
}

/// The names of a ControlNet's modules.
pub(crate) fn control_net(config: &ControlNetConfig) -> Names {
    let mut names = Names::default();
    hint(&mut names, config.hint_widths.len());
    way_down(&mut names, &config.way_down);
    for at in 0..config.way_down.residuals().len().saturating_sub(1) {
        names.add(format!("controlnet_down_blocks.{at}"), format!("zero_convs.{at}.0"), &[]);
    }
    names.add("controlnet_mid_block", "middle_block_out.0", &[]);
    names
}

/// The convolutions of the picture, which LDM counts together with what lies between them.
fn hint(names: &mut Names, n_widths: usize) {
    let n_blocks = 2 * n_widths.saturating_sub(1);
    let block = |at: usize| format!("input_hint_block.{}", 2 * at);
    names.add("controlnet_cond_embedding.conv_in", block(0), &[]);
    for at in 0..n_blocks {
        names.add(format!("controlnet_cond_embedding.blocks.{at}"), block(at + 1), &[]);
    }
    names.add("controlnet_cond_embedding.conv_out", block(n_blocks + 1), &[]);
}

fn way_down(names: &mut Names, config: &WayDownConfig) {
    let last = config.down_blocks.len().saturating_sub(1);
    let mut at = 1;
    for (level, block) in config.down_blocks.iter().enumerate() {
        for layer in 0..block.n_layers {
            names.add(format!("down_blocks.{level}.resnets.{layer}"), format!("input_blocks.{at}.0"), RESNET);
            if !block.transformers.is_empty() {
                let module = format!("down_blocks.{level}.attentions.{layer}");
                names.add(module, format!("input_blocks.{at}.1"), TRANSFORMER);
            }
            at += 1;
        }
        if level < last {
            names.add(format!("down_blocks.{level}.downsamplers.0"), format!("input_blocks.{at}.0"), DOWNSAMPLER);
            at += 1;
        }
    }
    names.add("mid_block.resnets.0", "middle_block.0", RESNET);
    names.add("mid_block.attentions.0", "middle_block.1", TRANSFORMER);
    names.add("mid_block.resnets.1", "middle_block.2", RESNET);
    names.add("", "", HEAD);
}

fn way_up(names: &mut Names, blocks: &[UNetBlockConfig]) {
    let mut at = 0;
    for (level, block) in blocks.iter().enumerate() {
        for layer in 0..block.n_layers {
            let file = |part: usize| format!("output_blocks.{at}.{part}");
            names.add(format!("up_blocks.{level}.resnets.{layer}"), file(0), RESNET);
            if !block.transformers.is_empty() {
                names.add(format!("up_blocks.{level}.attentions.{layer}"), file(1), TRANSFORMER);
            }
            if layer + 1 == block.n_layers && level + 1 < blocks.len() {
                let behind = 1 + usize::from(!block.transformers.is_empty());
                names.add(format!("up_blocks.{level}.upsamplers.0"), file(behind), UPSAMPLER);
            }
            at += 1;
        }
    }
}
