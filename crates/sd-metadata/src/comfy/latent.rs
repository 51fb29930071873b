//! From a sampler to what it began with: empty latents, a picture, or what another sampler drew, made larger.

use std::collections::HashSet;

use serde_json::Value;

use super::graph::{Graph, NodeIdx};
use super::model::put;
use crate::field::Field;
use crate::made::{Hires, Made, Size};

/// Inputs that hold latents or pictures, in the order that they are gone along.
const ON: &[&str] = &["latent_image", "samples", "latent", "pixels", "image", "images", "optional_latent", ""];

/// Follows a sampler's latents.
pub(super) fn follow(graph: &mut Graph, sampler: NodeIdx, made: &mut Made) {
    let (mut seen, mut larger) = (HashSet::from([sampler]), None);
    let mut is_second_pass = false;
    let mut next = ON.iter().find_map(|input| graph.link(sampler, input));
    while let Some(node) = next.filter(|node| seen.insert(*node)) {
        let class = graph.class(node).to_owned();
        if super::is_sampler(graph, node) {
            is_second_pass = true;
        } else if class.contains("Upscale") || class.contains("Scale") {
            larger.get_or_insert(node);
        } else if class.starts_with("LoadImage") {
            put(graph, node, "image", Field::InitImage, made);
        } else if made.size.is_none() {
            size(graph, node, made);
        }
        if class.contains("Inpaint") || class == "SetLatentNoiseMask" {
            mask(graph, node, made);
        }
        next = ON.iter().find_map(|input| graph.link(node, input));
    }
    match larger {
        Some(node) if is_second_pass => hires(graph, node, made),
        Some(node) if made.size.is_none() => size(graph, node, made),
        _ => {}
    }
    // All of the noise is what a picture from nothing has anyway.
    if made.strength == Some(1.0) && made.init_image.is_none() && made.hires.is_none() {
        made.strength = None;
    }
}

/// Takes a size, if the node has a whole one.
fn size(graph: &mut Graph, node: NodeIdx, made: &mut Made) {
    let mut side = |inputs: [&str; 2]| {
        let input = inputs.into_iter().find(|input| graph.has(node, input))?;
        let number = graph.number(node, input, made)?;
        (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
    };
    let width = side(["width", "empty_latent_width"]);
    let height = side(["height", "empty_latent_height"]);
    if let (Some(width), Some(height)) = (width, height) {
        made.size = Some(Size { width, height });
    }
}

/// Takes the mask's picture.
fn mask(graph: &mut Graph, node: NodeIdx, made: &mut Made) {
    let Some(mask) = graph.link(node, "mask") else { return };
    if graph.class(mask).starts_with("LoadImage") && graph.has(mask, "channel") {
        put(graph, mask, "image", Field::Mask, made);
    }
    made.inpaint.get_or_insert_default();
}

/// Takes how latents or a picture were made larger between two samplers.
fn hires(graph: &mut Graph, node: NodeIdx, made: &mut Made) {
    let first = made.size.take();
    size(graph, node, made);
    let size = std::mem::replace(&mut made.size, first);
    let hires = Hires { size, steps: made.steps, ..Hires::default() };
    made.hires = Some(hires);
    put(graph, node, "upscale_method", Field::HiresUpscaler, made);
    for input in ["scale_by", "scale", "upscale_by"] {
        if graph.peek(node, input).is_some_and(|value| value.is_number() || value.is_array()) {
            put(graph, node, input, Field::HiresScale, made);
        }
    }
    if let Some(loader) = graph.link(node, "upscale_model") {
        put(graph, loader, "model_name", Field::HiresUpscaler, made);
    } else if let Some(before) = graph.link(node, "image").filter(|before| graph.has(*before, "upscale_model")) {
        // A network enlarges, and a filter brings that to the size that is wanted.
        if let Some(loader) = graph.link(before, "upscale_model") {
            let filter = made.hires.as_mut().and_then(|hires| hires.upscaler.take());
            put(graph, loader, "model_name", Field::HiresUpscaler, made);
            if let Some(filter) = filter {
                made.keep(graph.key(node, "upscale_method"), Value::from(filter).as_str().unwrap_or_default());
            }
        }
    }
}
