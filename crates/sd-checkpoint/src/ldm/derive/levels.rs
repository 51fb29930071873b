//! The levels of a UNet's ways, by the names of their blocks.

use crate::ldm::spelling::Spelling;
use crate::ldm::tensors::Tensors;

/// A level of a way: the width of its blocks, and for each layer how many blocks its transformer has; 0 for none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) channels: usize,
    pub(super) depths: Vec<usize>,
}

impl Level {
    pub(super) fn attends(&self) -> bool {
        self.depths.iter().any(|depth| *depth > 0)
    }

    /// Whether all of its layers are alike.
    pub(super) fn is_uniform(&self) -> bool {
        self.depths.iter().all(|depth| *depth == self.depths[0])
    }

    /// Adds a layer, if it is there: `key` is its last convolution's, `transformer` the module beside it.
    fn add(&mut self, tensors: Tensors, key: &str, transformer: &str) -> Result<bool, String> {
        if !tensors.has(key) {
            return Ok(false);
        }
        let (channels, depth) = (tensors.dim(key, 0)?, depth(tensors, transformer));
        if self.depths.is_empty() {
            self.channels = channels;
        } else if self.channels != channels || (self.depths[0] > 0) != (depth > 0) {
            return Err(format!("{}{key} differs from the others of its level", tensors.prefix()));
        }
        self.depths.push(depth);
        Ok(true)
    }
}

/// More blocks of a way are not looked at.
const MAX_BLOCKS: usize = 256;

/// How many blocks a transformer has; 0 where there is none.
fn depth(tensors: Tensors, module: &str) -> usize {
    tensors.count(|at| format!("{module}.transformer_blocks.{at}.norm1.weight"))
}

/// Where the way down and the middle may have transformers.
pub(super) fn transformers(spelling: Spelling) -> impl Iterator<Item = String> {
    let down = (0..MAX_BLOCKS).map(move |at| match spelling {
        Spelling::Original => format!("input_blocks.{at}.1"),
        Spelling::Diffusers => format!("down_blocks.{at}.attentions.0"),
    });
    down.chain([spelling.of("middle_block.1", "mid_block.attentions.0").to_owned()])
}

/// Depth of the middle's transformer; none where it has none.
pub(super) fn middle(tensors: Tensors, spelling: Spelling) -> Option<usize> {
    Some(depth(tensors, spelling.of("middle_block.1", "mid_block.attentions.0"))).filter(|&depth| depth > 0)
}

/// The way down.
pub(super) fn down(tensors: Tensors, spelling: Spelling) -> Result<Vec<Level>, String> {
    if spelling == Spelling::Diffusers {
        return by_level(tensors, "down_blocks");
    }
    let mut levels = vec![Level::default()];
    for at in 1..MAX_BLOCKS {
        let block = format!("input_blocks.{at}");
        if tensors.has(&format!("{block}.0.op.weight")) {
            levels.push(Level::default());
        } else if !numbered(tensors, &block, &mut levels)? {
            break;
        }
    }
    whole(levels)
}

/// The way up.
pub(super) fn up(tensors: Tensors, spelling: Spelling) -> Result<Vec<Level>, String> {
    if spelling == Spelling::Diffusers {
        return by_level(tensors, "up_blocks");
    }
    let mut levels = vec![Level::default()];
    for at in 0..MAX_BLOCKS {
        let block = format!("output_blocks.{at}");
        if !numbered(tensors, &block, &mut levels)? {
            break;
        }
        if (1..=2).any(|part| tensors.has(&format!("{block}.{part}.conv.weight"))) {
            levels.push(Level::default());
        }
    }
    whole(levels)
}

/// Adds a block to the last level, if it is one.
fn numbered(tensors: Tensors, block: &str, levels: &mut [Level]) -> Result<bool, String> {
    match levels.last_mut() {
        Some(level) => level.add(tensors, &format!("{block}.0.out_layers.3.weight"), &format!("{block}.1")),
        None => Ok(false),
    }
}

/// The levels of a way whose names say of which level a layer is.
fn by_level(tensors: Tensors, way: &str) -> Result<Vec<Level>, String> {
    let mut levels = Vec::new();
    for at in 0..MAX_BLOCKS {
        let mut level = Level::default();
        for layer in 0..MAX_BLOCKS {
            let convolution = format!("{way}.{at}.resnets.{layer}.conv2.weight");
            if !level.add(tensors, &convolution, &format!("{way}.{at}.attentions.{layer}"))? {
                break;
            }
        }
        if level.depths.is_empty() {
            break;
        }
        levels.push(level);
    }
    whole(levels)
}

fn whole(levels: Vec<Level>) -> Result<Vec<Level>, String> {
    match levels.is_empty() || levels.iter().any(|level| level.depths.is_empty()) {
        true => Err("a level of its UNet has no residual block".to_owned()),
        false => Ok(levels),
    }
}
