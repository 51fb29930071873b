//! The UNet, and the ControlNet that begins like it.

use serde_json::{Map, Value, json};

use crate::ldm::kinds::{Heads, UNetRules};
use crate::ldm::tensors::Tensors;

/// A level of a way: the width of its blocks, and for each layer how many blocks its transformer has; 0 for none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Level {
    channels: usize,
    depths: Vec<usize>,
}

fn heads(rule: Heads, channels: usize) -> usize {
    match rule {
        Heads::Number(n) => n,
        Heads::OfWidth(width) => (channels / width).max(1),
    }
}

/// Whether transformers begin with a linear layer, as those of Stable Diffusion 2 and XL do; in Stable Diffusion 1 it is a
/// 1×1 convolution. None where there is no transformer.
pub(crate) fn attends_linearly(tensors: Tensors) -> Option<bool> {
    let first = |key: String| tensors.shape(&format!("{key}.proj_in.weight"));
    let shape = transformers().find_map(first)?;
    Some(shape.len() == 2)
}

/// More blocks of a way are not looked at.
const MAX_BLOCKS: usize = 256;

/// `config.json` of a `UNet2DConditionModel`.
pub(crate) fn unet(tensors: Tensors, rules: &UNetRules) -> Result<Value, String> {
    let down = down(tensors)?;
    let up = up(tensors)?;
    let mut config = way_down(tensors, rules, &down)?;
    config.insert("_class_name".into(), "UNet2DConditionModel".into());
    config.insert("sample_size".into(), rules.latent_side.into());
    config.insert("out_channels".into(), tensors.dim("out.2.weight", 0)?.into());
    check_mirror(&down, &up)?;
    let types = |level: &Level| if attends(level) { "CrossAttnUpBlock2D" } else { "UpBlock2D" };
    config.insert("up_block_types".into(), up.iter().map(types).collect::<Vec<_>>().into());
    // Without the key, diffusers takes the depths of the way down in reverse order.
    let is_told = |(up, down): (&Level, &Level)| {
        uniform(&up.depths) && uniform(&down.depths) && (up.depths[0] == down.depths[0] || !attends(up))
    };
    if !up.iter().zip(down.iter().rev()).all(is_told) {
        let depths: Vec<Value> = up.iter().map(|level| depths(level, 1)).collect();
        config.insert("reverse_transformer_layers_per_block".into(), depths.into());
    }
    Ok(config.into())
}

/// Refuses a way up that no configuration describes beside this way down.
fn check_mirror(down: &[Level], up: &[Level]) -> Result<(), String> {
    if up.len() != down.len() {
        return Err(format!("its way down has {} levels, and its way up {}", down.len(), up.len()));
    }
    let differs =
        |(up, down): &(&Level, &Level)| up.channels != down.channels || up.depths.len() != down.depths.len() + 1;
    match up.iter().zip(down.iter().rev()).find(differs) {
        Some((up, down)) => {
            let words = |level: &Level| format!("{} layers of {} channels", level.depths.len(), level.channels);
            Err(format!("a level of its way up has {}, and that of its way down {}", words(up), words(down)))
        }
        None => Ok(()),
    }
}

/// `config.json` of a `ControlNetModel`.
pub(crate) fn control_net(tensors: Tensors, rules: &UNetRules) -> Result<Value, String> {
    let mut config = way_down(tensors, rules, &down(tensors)?)?;
    config.insert("_class_name".into(), "ControlNetModel".into());
    let hint = |at: usize| format!("input_hint_block.{}.weight", 2 * at);
    let n = tensors.count(hint);
    // The first convolution, then two for each width but the last, then the one that leads into the UNet's width.
    let widths: Vec<usize> =
        (0..n.saturating_sub(1)).step_by(2).map(|at| tensors.dim(&hint(at), 0)).collect::<Result<_, _>>()?;
    config.insert("conditioning_channels".into(), tensors.dim(&hint(0), 1)?.into());
    config.insert("conditioning_embedding_out_channels".into(), widths.into());
    Ok(config.into())
}

/// What UNet and ControlNet say alike.
fn way_down(tensors: Tensors, rules: &UNetRules, levels: &[Level]) -> Result<Map<String, Value>, String> {
    let middle = middle(tensors);
    let last = levels.last().ok_or("its way down has no level")?;
    let channels: Vec<usize> = levels.iter().map(|level| level.channels).collect();
    let n_layers: Vec<usize> = levels.iter().map(|level| level.depths.len()).collect();
    if let Some(depth) = middle.filter(|&depth| attends(last) && last.depths[0] != depth) {
        let own = last.depths[0];
        return Err(format!("its middle has a transformer of {depth} blocks, and the level before it of {own}"));
    }
    let types = |level: &Level| if attends(level) { "CrossAttnDownBlock2D" } else { "DownBlock2D" };
    let depths: Vec<Value> = levels.iter().map(|level| depths(level, middle.unwrap_or(1))).collect();
    let n_heads: Vec<usize> = channels.iter().map(|&width| heads(rules.heads, width)).collect();
    let Value::Object(mut config) = json!({
        "in_channels": tensors.dim("input_blocks.0.0.weight", 1)?,
        "block_out_channels": channels,
        "layers_per_block": one_or_all(n_layers.into_iter().map(Value::from).collect()),
        "down_block_types": levels.iter().map(types).collect::<Vec<_>>(),
        "mid_block_type": if middle.is_some() { "UNetMidBlock2DCrossAttn" } else { "UNetMidBlock2D" },
        "transformer_layers_per_block": one_or_all(depths),
        "attention_head_dim": one_or_all(n_heads.into_iter().map(Value::from).collect()),
        "use_linear_projection": attends_linearly(tensors).unwrap_or(false),
        "upcast_attention": rules.upcast_attention,
    }) else {
        return Err("no object".to_owned());
    };
    if let Some(width) = text_width(tensors) {
        config.insert("cross_attention_dim".into(), width.into());
    }
    if let Some(shape) = tensors.shape("label_emb.0.0.weight") {
        config.insert("addition_embed_type".into(), "text_time".into());
        config.insert("addition_time_embed_dim".into(), rules.added_time_width.into());
        config.insert("projection_class_embeddings_input_dim".into(), shape.get(1).copied().into());
    }
    Ok(config)
}

/// One value where all are the same.
fn one_or_all(values: Vec<Value>) -> Value {
    match values.split_first() {
        Some((first, rest)) if rest.iter().all(|other| other == first) => first.clone(),
        _ => values.into(),
    }
}

fn uniform(depths: &[usize]) -> bool {
    depths.iter().all(|depth| *depth == depths[0])
}

fn attends(level: &Level) -> bool {
    level.depths.iter().any(|depth| *depth > 0)
}

/// The depths of a level; without transformers they say nothing of it, but diffusers takes the last level's for the middle.
fn depths(level: &Level, without: usize) -> Value {
    match (attends(level), uniform(&level.depths)) {
        (false, _) => without.into(),
        (true, true) => level.depths[0].into(),
        (true, false) => level.depths.clone().into(),
    }
}

/// The width of the text: what keys are made of.
pub(crate) fn text_width(tensors: Tensors) -> Option<usize> {
    let key = |module: String| format!("{module}.transformer_blocks.0.attn2.to_k.weight");
    transformers().map(key).find_map(|key| tensors.dim(&key, 1).ok())
}

/// Where the way down and the middle may have transformers.
fn transformers() -> impl Iterator<Item = String> {
    (1..MAX_BLOCKS).map(|at| format!("input_blocks.{at}.1")).chain(["middle_block.1".to_owned()])
}

/// How many blocks a transformer has; 0 where there is none.
fn depth(tensors: Tensors, module: &str) -> usize {
    tensors.count(|at| format!("{module}.transformer_blocks.{at}.norm1.weight"))
}

/// Depth of the middle's transformer; none where the middle is one residual block.
fn middle(tensors: Tensors) -> Option<usize> {
    Some(depth(tensors, "middle_block.1")).filter(|&depth| depth > 0)
}

fn down(tensors: Tensors) -> Result<Vec<Level>, String> {
    let mut levels = vec![Level::default()];
    for at in 1..MAX_BLOCKS {
        if tensors.has(&format!("input_blocks.{at}.0.op.weight")) {
            levels.push(Level::default());
        } else if !layer(tensors, &format!("input_blocks.{at}"), &mut levels)? {
            break;
        }
    }
    whole(levels)
}

fn up(tensors: Tensors) -> Result<Vec<Level>, String> {
    let mut levels = vec![Level::default()];
    for at in 0..MAX_BLOCKS {
        let block = format!("output_blocks.{at}");
        if !layer(tensors, &block, &mut levels)? {
            break;
        }
        if (1..=2).any(|part| tensors.has(&format!("{block}.{part}.conv.weight"))) {
            levels.push(Level::default());
        }
    }
    whole(levels)
}

/// Adds a block to the last level, if it is one.
fn layer(tensors: Tensors, block: &str, levels: &mut [Level]) -> Result<bool, String> {
    let key = format!("{block}.0.out_layers.3.weight");
    if !tensors.has(&key) {
        return Ok(false);
    }
    let (channels, depth) = (tensors.dim(&key, 0)?, depth(tensors, &format!("{block}.1")));
    let Some(level) = levels.last_mut() else { return Ok(false) };
    if level.depths.is_empty() {
        level.channels = channels;
    } else if level.channels != channels || (level.depths[0] > 0) != (depth > 0) {
        return Err(format!("{}{block} differs from the others of its level", tensors.prefix()));
    }
    level.depths.push(depth);
    Ok(true)
}

fn whole(levels: Vec<Level>) -> Result<Vec<Level>, String> {
    match levels.iter().any(|level| level.depths.is_empty()) {
        true => Err("a level of its UNet has no residual block".to_owned()),
        false => Ok(levels),
    }
}
