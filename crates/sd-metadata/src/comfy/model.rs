//! From a sampler to its model: LoRAs on the way, and the loader at its end.

use std::collections::HashSet;

use serde_json::Value;

use super::graph::{Graph, NodeIdx};
use crate::field::Field;
use crate::json;
use crate::made::{Lora, Made};

/// Names under which loaders hold a model's file.
const FILES: &[&str] = &["ckpt_name", "unet_name", "model_name", "model_path", "base_ckpt_name"];

/// Follows a sampler's model.
pub(super) fn follow(graph: &mut Graph, sampler: NodeIdx, made: &mut Made) {
    let Some(start) = graph.link(sampler, "model").or_else(|| graph.link(sampler, "sdxl_tuple")) else { return };
    let mut loras = Vec::new();
    for node in chain(graph, start, &["model", "base_model", ""]) {
        lora(graph, node, &mut loras, made);
        if graph.has(node, "multiplier") && graph.class(node).contains("RescaleCFG") {
            put(graph, node, "multiplier", Field::GuidanceRescale, made);
        }
        for file in FILES {
            if made.model.is_none() {
                put(graph, node, file, Field::Model, made);
            }
        }
        if made.vae.is_none() && graph.peek(node, "vae_name").is_some_and(|name| name.as_str() != Some("Baked VAE")) {
            put(graph, node, "vae_name", Field::Vae, made);
        }
    }
    // The one that stands next to the loader was put in first.
    loras.into_iter().rev().for_each(|lora| made.add_lora(lora));
}

/// Follows the text encoder of a prompt: layers that are left out, and LoRAs that only it has.
pub(super) fn text_encoder(graph: &mut Graph, encode: NodeIdx, made: &mut Made) {
    for node in chain(graph, encode, &["clip", ""]) {
        for input in ["stop_at_clip_layer", "clip_skip"] {
            let layer = graph.peek(node, input).and_then(Value::as_i64).filter(|layer| *layer < 0);
            if let Some(layer) = layer.filter(|_| made.clip_skip.is_none()) {
                graph.literal(node, input);
                made.clip_skip = Some(layer.unsigned_abs());
            }
        }
    }
}

/// Nodes from here on, along the first of these inputs that each has.
fn chain(graph: &Graph, start: NodeIdx, inputs: &[&str]) -> Vec<NodeIdx> {
    let (mut nodes, mut seen) = (Vec::new(), HashSet::new());
    let mut next = Some(start);
    while let Some(node) = next.filter(|node| seen.insert(*node)) {
        nodes.push(node);
        next = inputs.iter().find_map(|input| graph.link(node, input));
    }
    nodes
}

/// Takes the LoRAs of a node, in whichever way it has them.
fn lora(graph: &mut Graph, node: NodeIdx, loras: &mut Vec<Lora>, made: &mut Made) {
    if let Some(name) = graph.value(node, "lora_name").map(|name| json::text(&name)).filter(|name| name != "None") {
        let mut weight = |input: &str| graph.number(node, input, made);
        let unet = weight("strength_model").or_else(|| weight("lora_model_strength")).or_else(|| weight("strength"));
        let text = weight("strength_clip").or_else(|| weight("lora_clip_strength"));
        let text = text.filter(|text| Some(*text) != unet);
        loras.push(Lora { name, weight: unet, text_weight: text, hash: None });
    }
    // rgthree's loader: `lora_1: {on, lora, strength}`.
    for input in graph.inputs(node).into_iter().rev() {
        let Some(Value::Object(entry)) = graph.peek(node, &input) else { continue };
        let Some(name) = entry.get("lora").and_then(Value::as_str).map(str::to_owned) else { continue };
        let number = |key: &str| entry.get(key).and_then(Value::as_f64);
        let weight = number("strength");
        let text_weight = number("strengthTwo").filter(|text| Some(*text) != weight);
        if entry.get("on") == Some(&Value::Bool(true)) {
            graph.literal(node, &input);
            loras.push(Lora { name, weight, text_weight, hash: None });
        }
    }
}

/// The model's file, without reading it.
pub(super) fn name(graph: &Graph, sampler: NodeIdx) -> Option<String> {
    let (node, file) = loader(graph, sampler)?;
    graph.peek(node, file).and_then(Value::as_str).map(str::to_owned)
}

/// Marks the model's file as read.
pub(super) fn mark_name(graph: &mut Graph, sampler: NodeIdx) {
    if let Some((node, file)) = loader(graph, sampler) {
        graph.literal(node, file);
    }
}

fn loader(graph: &Graph, sampler: NodeIdx) -> Option<(NodeIdx, &'static str)> {
    let nodes = chain(graph, graph.link(sampler, "model")?, &["model", ""]);
    nodes.into_iter().find_map(|node| Some((node, *FILES.iter().find(|file| graph.has(node, file))?)))
}

/// The VAE that decodes what the sampler gives, where it is a file of its own.
pub(super) fn vae(graph: &mut Graph, sampler: NodeIdx, made: &mut Made) {
    let decoders: Vec<NodeIdx> =
        graph.nodes().filter(|&node| graph.link(node, "samples") == Some(sampler) && graph.has(node, "vae")).collect();
    for decoder in decoders {
        if let Some(loader) = graph.link(decoder, "vae").filter(|_| made.vae.is_none()) {
            for node in chain(graph, loader, &["vae", ""]) {
                if made.vae.is_none() && !FILES.iter().any(|file| graph.has(node, file)) {
                    put(graph, node, "vae_name", Field::Vae, made);
                }
            }
        }
    }
}

/// Puts a node's value into a field.
pub(super) fn put(graph: &mut Graph, node: NodeIdx, input: &str, field: Field, made: &mut Made) {
    let key = graph.key(node, input);
    if let Some(value) = graph.value(node, input) {
        made.put(field, &key, &json::text(&value));
    }
}
