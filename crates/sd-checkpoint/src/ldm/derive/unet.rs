//! The UNet, and the ControlNet that begins like it.

use serde_json::{Map, Value, json};

use super::levels::{Level, down, middle, transformers, up};
use crate::ldm::kinds::{Heads, UNetRules};
use crate::ldm::spelling::Spelling;
use crate::ldm::tensors::Tensors;

fn heads(rule: Heads, channels: usize) -> usize {
    match rule {
        Heads::Number(n) => n,
        Heads::OfWidth(width) => (channels / width).max(1),
    }
}

/// Whether transformers begin with a linear layer, as those of Stable Diffusion 2 and XL do; in Stable Diffusion 1 it is a
/// 1×1 convolution. None where there is no transformer.
pub(crate) fn attends_linearly(tensors: Tensors, spelling: Spelling) -> Option<bool> {
    let first = |key: String| tensors.shape(&format!("{key}.proj_in.weight"));
    let shape = transformers(spelling).find_map(first)?;
    Some(shape.len() == 2)
}

/// The width of the text: what keys are made of.
pub(crate) fn text_width(tensors: Tensors, spelling: Spelling) -> Option<usize> {
    let key = |module: String| format!("{module}.transformer_blocks.0.attn2.to_k.weight");
    transformers(spelling).map(key).find_map(|key| tensors.dim(&key, 1).ok())
}

/// `config.json` of a `UNet2DConditionModel`.
pub(crate) fn unet(tensors: Tensors, spelling: Spelling, rules: &UNetRules) -> Result<Value, String> {
    let down = down(tensors, spelling)?;
    let up = up(tensors, spelling)?;
    let mut config = way_down(tensors, spelling, rules, &down)?;
    config.insert("_class_name".into(), "UNet2DConditionModel".into());
    config.insert("sample_size".into(), rules.latent_side.into());
    config.insert("out_channels".into(), tensors.dim(spelling.of("out.2.weight", "conv_out.weight"), 0)?.into());
    check_mirror(&down, &up)?;
    let types = |level: &Level| if level.attends() { "CrossAttnUpBlock2D" } else { "UpBlock2D" };
    config.insert("up_block_types".into(), up.iter().map(types).collect::<Vec<_>>().into());
    // Without the key, diffusers takes the depths of the way down in reverse order.
    let is_told = |(up, down): (&Level, &Level)| {
        up.is_uniform() && down.is_uniform() && (up.depths[0] == down.depths[0] || !up.attends())
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
pub(crate) fn control_net(tensors: Tensors, spelling: Spelling, rules: &UNetRules) -> Result<Value, String> {
    let mut config = way_down(tensors, spelling, rules, &down(tensors, spelling)?)?;
    config.insert("_class_name".into(), "ControlNetModel".into());
    let hint = |at: usize| match (spelling, at) {
        (Spelling::Original, at) => format!("input_hint_block.{}.weight", 2 * at),
        (Spelling::Diffusers, 0) => "controlnet_cond_embedding.conv_in.weight".to_owned(),
        (Spelling::Diffusers, at) => format!("controlnet_cond_embedding.blocks.{}.weight", at - 1),
    };
    // The first convolution, then two for each width but the last, then the one that leads into the UNet's width, which
    // diffusers does not number.
    let n = tensors.count(hint).saturating_sub(usize::from(spelling == Spelling::Original));
    let widths: Vec<usize> = (0..n).step_by(2).map(|at| tensors.dim(&hint(at), 0)).collect::<Result<_, _>>()?;
    config.insert("conditioning_channels".into(), tensors.dim(&hint(0), 1)?.into());
    config.insert("conditioning_embedding_out_channels".into(), widths.into());
    Ok(config.into())
}

/// What UNet and ControlNet say alike.
fn way_down(
    tensors: Tensors,
    spelling: Spelling,
    rules: &UNetRules,
    levels: &[Level],
) -> Result<Map<String, Value>, String> {
    let middle = middle(tensors, spelling);
    let last = levels.last().ok_or("its way down has no level")?;
    let channels: Vec<usize> = levels.iter().map(|level| level.channels).collect();
    let n_layers: Vec<usize> = levels.iter().map(|level| level.depths.len()).collect();
    if let Some(depth) = middle.filter(|&depth| last.attends() && last.depths[0] != depth) {
        let own = last.depths[0];
        return Err(format!("its middle has a transformer of {depth} blocks, and the level before it of {own}"));
    }
    let types = |level: &Level| if level.attends() { "CrossAttnDownBlock2D" } else { "DownBlock2D" };
    let depths: Vec<Value> = levels.iter().map(|level| depths(level, middle.unwrap_or(1))).collect();
    let n_heads: Vec<usize> = channels.iter().map(|&width| heads(rules.heads, width)).collect();
    let Value::Object(mut config) = json!({
        "in_channels": tensors.dim(spelling.first_convolution(), 1)?,
        "block_out_channels": channels,
        "layers_per_block": one_or_all(n_layers.into_iter().map(Value::from).collect()),
        "down_block_types": levels.iter().map(types).collect::<Vec<_>>(),
        "mid_block_type": middle_type(tensors, spelling, middle),
        "transformer_layers_per_block": one_or_all(depths),
        "attention_head_dim": one_or_all(n_heads.into_iter().map(Value::from).collect()),
        "use_linear_projection": attends_linearly(tensors, spelling).unwrap_or(false),
        "upcast_attention": rules.upcast_attention,
    }) else {
        return Err("no object".to_owned());
    };
    if let Some(width) = text_width(tensors, spelling) {
        config.insert("cross_attention_dim".into(), width.into());
    }
    if let Some(shape) = tensors.shape(spelling.added_conditions()) {
        config.insert("addition_embed_type".into(), "text_time".into());
        config.insert("addition_time_embed_dim".into(), rules.added_time_width.into());
        config.insert("projection_class_embeddings_input_dim".into(), shape.get(1).copied().into());
    }
    // Only diffusers has a name for what distilled networks are told of guidance.
    if let Some(shape) = tensors.shape("time_embedding.cond_proj.weight") {
        config.insert("time_cond_proj_dim".into(), shape.get(1).copied().into());
    }
    Ok(config)
}

/// The middle's class; distilled networks may have none.
fn middle_type(tensors: Tensors, spelling: Spelling, depth: Option<usize>) -> Option<&'static str> {
    let first = spelling.of("middle_block.0.in_layers.2.weight", "mid_block.resnets.0.conv1.weight");
    match depth {
        Some(_) => Some("UNetMidBlock2DCrossAttn"),
        None => tensors.has(first).then_some("UNetMidBlock2D"),
    }
}

/// One value where all are the same.
fn one_or_all(values: Vec<Value>) -> Value {
    match values.split_first() {
        Some((first, rest)) if rest.iter().all(|other| other == first) => first.clone(),
        _ => values.into(),
    }
}

/// The depths of a level; without transformers they say nothing of it, but diffusers takes the last level's for the middle.
fn depths(level: &Level, without: usize) -> Value {
    match (level.attends(), level.is_uniform()) {
        (false, _) => without.into(),
        (true, true) => level.depths[0].into(),
        (true, false) => level.depths.clone().into(),
    }
}
