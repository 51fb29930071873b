//! The levels on the way down and the middle, which a `ControlNet` has a copy of.

use burn::tensor::Tensor;

use super::blocks::{BlockContext, DownBlock, UNetMidBlock};
use crate::WayDownConfig;

pub(crate) fn init_down_blocks(config: &WayDownConfig, context: &BlockContext<'_>) -> Vec<DownBlock> {
    let blocks = &config.down_blocks;
    let last = blocks.len() - 1;
    blocks
        .iter()
        .enumerate()
        .map(|(level, block)| {
            let from = blocks[level.saturating_sub(1)].channels;
            let padding = (level < last).then_some(config.downsample_padding);
            DownBlock::init(block, from, padding, context)
        })
        .collect()
}

pub(crate) fn init_mid_block(config: &WayDownConfig, context: &BlockContext<'_>) -> Option<UNetMidBlock> {
    let coarsest = config.down_blocks[config.down_blocks.len() - 1].channels;
    config.mid_block.as_ref().map(|block| UNetMidBlock::init(block, coarsest, context))
}

/// The middle block's result, and the states on the way to it, that of the first convolution included.
///
/// # Shapes
/// - x: `[B, C, h, w]`, of the first convolution
/// - activated_time: `[B, T]`, after SiLU
/// - text: `[B, S, D]`
pub(crate) fn walk_down(
    mut x: Tensor<4>,
    down_blocks: &[DownBlock],
    mid_block: Option<&UNetMidBlock>,
    activated_time: &Tensor<2>,
    text: &Tensor<3>,
) -> (Tensor<4>, Vec<Tensor<4>>) {
    let mut skips = vec![x.clone()];
    for block in down_blocks {
        x = block.forward(x, activated_time, text, &mut skips);
    }
    if let Some(block) = mid_block {
        x = block.forward(x, activated_time, text);
    }
    (x, skips)
}
