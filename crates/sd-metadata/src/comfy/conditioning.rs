//! From a sampler to its texts: encoders, ControlNets on the way, and prompts that are put together.

use std::collections::HashSet;

use super::graph::{Graph, NodeIdx};
use super::model;
use crate::field::Field;
use crate::json;
use crate::made::{Control, Made};

/// Which of a sampler's texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Positive,
    Negative,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
        }
    }
}

/// What is found on the way.
#[derive(Default)]
struct Texts {
    first: Vec<String>,
    second: Vec<String>,
    seen: HashSet<NodeIdx>,
    encoder: Option<NodeIdx>,
}

/// Follows both texts of a sampler.
pub(super) fn follow(graph: &mut Graph, sampler: NodeIdx, made: &mut Made) {
    let holder = graph.link(sampler, "guider").unwrap_or(sampler);
    for side in [Side::Positive, Side::Negative] {
        let mut texts = Texts::default();
        let basic = (side == Side::Positive).then(|| graph.link(holder, "conditioning")).flatten();
        match graph.link(holder, side.name()).or(basic) {
            Some(start) => walk(graph, start, side, &mut texts, made),
            None => texts.first.extend(graph.text(holder, side.name())),
        }
        if texts.first.len() > 1 {
            let n = texts.first.len();
            made.keep_wrong(format!("{} prompts", side.name()), n.to_string(), "joined here, a line for each");
        }
        let (first, second) = (texts.first.join("\n"), texts.second.join("\n"));
        let of = match side {
            Side::Positive => (Field::Prompt, Field::Prompt2),
            Side::Negative => (Field::Negative, Field::Negative2),
        };
        made.put(of.0, side.name(), &first);
        if second != first {
            made.put(of.1, side.name(), &second);
        }
        if let Some(encoder) = texts.encoder {
            model::text_encoder(graph, encoder, made);
        }
    }
}

/// Goes backwards until texts are found.
fn walk(graph: &mut Graph, start: NodeIdx, side: Side, texts: &mut Texts, made: &mut Made) {
    // What is put together of several waits its turn.
    let mut waiting = vec![start];
    while let Some(node) = waiting.pop() {
        if !texts.seen.insert(node) || graph.class(node) == "ConditioningZeroOut" {
            continue;
        }
        if graph.link(node, "control_net").is_some() {
            control(graph, node, made);
        }
        if graph.has(node, "guidance") && !made.has(Field::DistilledGuidance) && side == Side::Positive {
            model::put(graph, node, "guidance", Field::DistilledGuidance, made);
        }
        if encoded(graph, node, side, texts) {
            texts.encoder.get_or_insert(node);
            continue;
        }
        let several = ["conditioning_1", "conditioning_2", "conditioning_to", "conditioning_from"];
        let parts: Vec<NodeIdx> = several.iter().filter_map(|input| graph.link(node, input)).collect();
        if !parts.is_empty() {
            waiting.extend(parts.into_iter().rev());
            continue;
        }
        let on = ["conditioning", side.name(), "base_positive", "cond", ""];
        let next = on.iter().find_map(|input| graph.link(node, input));
        let any = next.or_else(|| graph.inputs(node).iter().find_map(|input| graph.link(node, input)));
        waiting.extend(any);
    }
}

/// Takes a node's texts, if it has any.
fn encoded(graph: &mut Graph, node: NodeIdx, side: Side, texts: &mut Texts) -> bool {
    // XL and Stable Diffusion 3 have one for each encoder: CLIP-L's is the first.
    for (first, second) in [("text_l", "text_g"), ("clip_l", "clip_g"), ("clip_l", "t5xxl")] {
        if graph.has(node, first) && graph.has(node, second) {
            let one = graph.text(node, first);
            let two = graph.text(node, second);
            // A third that says the same as one of these says nothing new.
            let third = graph.peek(node, "t5xxl").and_then(|text| text.as_str()).map(str::to_owned);
            if third.is_some() && (third == one || third == two) {
                graph.literal(node, "t5xxl");
            }
            texts.first.extend(one);
            texts.second.extend(two);
            return true;
        }
    }
    for input in ["text", side.name(), "prompt"] {
        let is_text = graph.peek(node, input).is_some_and(serde_json::Value::is_string);
        let is_linked = input == "text" && graph.link(node, input).is_some();
        if is_text || is_linked {
            texts.first.extend(graph.text(node, input).filter(|text| !text.trim().is_empty()));
            return true;
        }
    }
    false
}

/// Takes a ControlNet; both texts go through the same node, which is one all the same.
fn control(graph: &mut Graph, node: NodeIdx, made: &mut Made) {
    // A node's numbers are read once.
    let mut control = Control { weight: graph.number(node, "strength", made), ..Control::default() };
    control.start = graph.number(node, "start_percent", made);
    control.end = graph.number(node, "end_percent", made);
    if let Some(loader) = graph.link(node, "control_net") {
        control.model = graph.value(loader, "control_net_name").map(|name| json::text(&name));
    }
    let mut image = graph.link(node, "image");
    let mut seen = HashSet::new();
    while let Some(at) = image.filter(|at| seen.insert(*at)) {
        if graph.class(at).starts_with("LoadImage") {
            control.image = graph.value(at, "image").map(|name| json::text(&name));
            break;
        }
        control.module.get_or_insert_with(|| graph.class(at).to_owned());
        image = graph.inputs(at).iter().find_map(|input| graph.link(at, input));
    }
    if !made.controls.contains(&control) {
        made.controls.push(control);
    }
}
