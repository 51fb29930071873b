//! ComfyUI: a graph of nodes, in the form that its API takes.
//!
//! What made the picture is found backwards: from what saves it to the last sampler, and from there along its inputs to texts,
//! models and the first latents. Values of nodes that nobody asked are kept by node and name.

mod conditioning;
mod graph;
mod latent;
mod model;

use serde_json::{Map, Value};

use crate::field::Field;
use crate::made::{Made, Refiner};
use crate::tool::Tool;
use graph::{Graph, NodeIdx};

/// Graphs with more samplers are read from the last one in the file.
const MAX_SAMPLERS: usize = 64;

/// Whether an object is a graph.
pub(crate) fn is_it(object: &Map<String, Value>) -> bool {
    object.values().any(|node| node.get("class_type").is_some_and(Value::is_string))
}

/// Reads a graph.
pub(crate) fn parse(object: Map<String, Value>) -> Made {
    let mut made = Made::by(Tool::ComfyUi);
    let mut graph = Graph::new(object, &mut made);
    match last_sampler(&graph) {
        Some(last) => {
            let main = refined(&mut graph, last, &mut made).unwrap_or(last);
            sampler(&mut graph, main, &mut made);
            conditioning::follow(&mut graph, main, &mut made);
            latent::follow(&mut graph, main, &mut made);
            model::vae(&mut graph, last, &mut made);
        }
        None => made.keep_wrong("graph", "", "none of its nodes is a sampler that is known"),
    }
    graph.keep_rest(&mut made);
    made
}

/// The sampler whose picture was saved; of several the one with the most samplers before it, then the last in the file.
fn last_sampler(graph: &Graph) -> Option<NodeIdx> {
    let all: Vec<NodeIdx> = graph.nodes().filter(|&node| is_sampler(graph, node)).collect();
    // What mends or enlarges parts of a picture is no maker of it, unless there is no other.
    let is_maker = |node: &NodeIdx| !["Detailer", "Upscale"].iter().any(|word| graph.class(*node).contains(word));
    let makers: Vec<NodeIdx> = all.iter().copied().filter(is_maker).collect();
    let samplers = if makers.is_empty() { all } else { makers };
    if samplers.len() > MAX_SAMPLERS {
        return samplers.last().copied();
    }
    let is_output = |node: &NodeIdx| ["Save", "Preview"].iter().any(|word| graph.class(*node).contains(word));
    let outputs: Vec<NodeIdx> = graph.nodes().filter(is_output).take(MAX_SAMPLERS).collect();
    let saved: Vec<NodeIdx> = outputs
        .iter()
        .filter_map(|&output| graph.before(output).into_iter().find(|node| samplers.contains(node)))
        .collect();
    let candidates = if saved.is_empty() { &samplers } else { &saved };
    let n_before = |node: NodeIdx| graph.before(node).iter().filter(|node| samplers.contains(node)).count();
    candidates.iter().copied().max_by_key(|&node| (n_before(node), node))
}

/// Whether a node denoises.
fn is_sampler(graph: &Graph, node: NodeIdx) -> bool {
    let has = |input| graph.has(node, input);
    (has("positive") && (has("sampler_name") || has("sampler"))) || (has("guider") && has("sampler"))
}

/// The sampler that a sampler without noise of its own goes on from, which is how refiners are put to work.
fn refined(graph: &mut Graph, last: NodeIdx, made: &mut Made) -> Option<NodeIdx> {
    graph.peek(last, "add_noise").filter(|value| value.as_str() == Some("disable"))?;
    let first = graph.link(last, "latent_image").filter(|&first| is_sampler(graph, first))?;
    let model = model::name(graph, last);
    if let Some(model) = model.filter(|model| model::name(graph, first).as_ref() != Some(model)) {
        model::mark_name(graph, last);
        let number = |input| graph.peek(last, input).and_then(Value::as_f64);
        let start = match (number("start_at_step"), number("steps")) {
            (Some(start), Some(steps)) if steps > 0.0 => Some(start / steps),
            _ => None,
        };
        made.refiner = Some(Refiner { model: Some(model), start });
    }
    Some(first)
}

/// The sampler's own numbers, wherever they stand.
fn sampler(graph: &mut Graph, node: NodeIdx, made: &mut Made) {
    let noise = graph.link(node, "noise");
    let sigmas = graph.link(node, "sigmas");
    let select = graph.link(node, "sampler");
    let guider = graph.link(node, "guider");
    let own: &[(&str, Field)] = &[
        ("seed", Field::Seed),
        ("noise_seed", Field::Seed),
        ("steps", Field::Steps),
        ("cfg", Field::Guidance),
        ("sampler_name", Field::Sampler),
        ("scheduler", Field::Schedule),
        ("denoise", Field::Strength),
        ("guidance", Field::DistilledGuidance),
    ];
    for node in [Some(node), noise, sigmas, select, guider].into_iter().flatten() {
        for (input, field) in own {
            if made.has(*field) {
                continue;
            }
            if let Some(value) = graph.value(node, input) {
                let key = graph.key(node, input);
                made.put(*field, &key, &crate::json::text(&value));
            }
        }
    }
    // A schedule that is a node of its own, such as KarrasScheduler.
    if let Some(class) = sigmas.map(|node| graph.class(node).to_owned()).filter(|_| made.schedule.is_none()) {
        made.schedule = Some(class.trim_end_matches("Scheduler").to_owned()).filter(|name| !name.is_empty());
    }
    if let Some(class) = select.map(|node| graph.class(node).to_owned()).filter(|_| made.sampler.is_none()) {
        made.sampler = Some(class.trim_start_matches("Sampler").to_owned()).filter(|name| !name.is_empty());
    }
    for start in [Some(node), guider].into_iter().flatten() {
        model::follow(graph, start, made);
    }
}
