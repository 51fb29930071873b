//! Nodes, their inputs and what links them; which values were read.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Map, Value};

use crate::json;
use crate::made::Made;

/// A node's place in the file.
pub(super) type NodeIdx = usize;

/// How far a value may be handed on.
const MAX_HOPS: usize = 32;
/// The most inputs that texts are put together of, so that graphs that meet themselves end.
const MAX_TEXT_NODES: usize = 256;

/// Names under which nodes hold the one value that they give.
const VALUES: &[&str] = &[
    "value",
    "text",
    "string",
    "seed",
    "noise_seed",
    "int",
    "float",
    "number",
    "prompt",
    "Text",
    "Value",
    "text_0",
    "text2",
    "populated_text",
    "wildcard_text",
];

struct Node {
    id: String,
    class: String,
    inputs: Map<String, Value>,
}

/// A graph.
pub(super) struct Graph {
    nodes: Vec<Node>,
    by_id: HashMap<String, NodeIdx>,
    read: HashSet<(NodeIdx, String)>,
}

impl Graph {
    /// Takes an object apart; what is no node is kept.
    pub(super) fn new(object: Map<String, Value>, made: &mut Made) -> Self {
        let mut graph = Self { nodes: Vec::new(), by_id: HashMap::new(), read: HashSet::new() };
        for (id, mut node) in object {
            let inputs = node.get_mut("inputs").map(Value::take);
            match (node.get("class_type").and_then(Value::as_str), inputs) {
                (Some(class), Some(Value::Object(inputs))) => {
                    graph.by_id.insert(id.clone(), graph.nodes.len());
                    graph.nodes.push(Node { id, class: class.to_owned(), inputs });
                }
                (Some(class), None) => {
                    graph.by_id.insert(id.clone(), graph.nodes.len());
                    graph.nodes.push(Node { id, class: class.to_owned(), inputs: Map::new() });
                }
                (_, inputs) => {
                    if let (Some(object), Some(inputs)) = (node.as_object_mut(), inputs) {
                        object.insert("inputs".to_owned(), inputs);
                    }
                    made.keep_wrong(id, node.to_string(), "no node of a graph");
                }
            }
        }
        graph
    }

    /// All nodes, in the file's order.
    pub(super) fn nodes(&self) -> std::ops::Range<NodeIdx> {
        0..self.nodes.len()
    }

    /// What a node is.
    pub(super) fn class(&self, node: NodeIdx) -> &str {
        &self.nodes[node].class
    }

    /// What a value is called where it is kept.
    pub(super) fn key(&self, node: NodeIdx, input: &str) -> String {
        format!("{} {}.{input}", self.nodes[node].id, self.nodes[node].class)
    }

    /// Whether a node has an input.
    pub(super) fn has(&self, node: NodeIdx, input: &str) -> bool {
        self.nodes[node].inputs.contains_key(input)
    }

    /// An input as it stands.
    pub(super) fn peek(&self, node: NodeIdx, input: &str) -> Option<&Value> {
        self.nodes[node].inputs.get(input)
    }

    /// Names of a node's inputs.
    pub(super) fn inputs(&self, node: NodeIdx) -> Vec<String> {
        self.nodes[node].inputs.keys().cloned().collect()
    }

    /// The node that an input comes from.
    pub(super) fn link(&self, node: NodeIdx, input: &str) -> Option<NodeIdx> {
        self.target(self.peek(node, input)?)
    }

    /// `["4", 0]`: the node's name, and which of its outputs.
    fn target(&self, value: &Value) -> Option<NodeIdx> {
        match value.as_array()?.as_slice() {
            [id, slot] if slot.is_u64() => match id {
                Value::String(id) => self.by_id.get(id).copied(),
                Value::Number(id) => self.by_id.get(&id.to_string()).copied(),
                _ => None,
            },
            _ => None,
        }
    }

    /// An input that is no link, and is read by this.
    pub(super) fn literal(&mut self, node: NodeIdx, input: &str) -> Option<Value> {
        let value = self.peek(node, input).filter(|value| !value.is_null() && self.target(value).is_none())?.clone();
        self.read.insert((node, input.to_owned()));
        Some(value)
    }

    /// An input's value, handed on by as many nodes as there are.
    pub(super) fn value(&mut self, node: NodeIdx, input: &str) -> Option<Value> {
        let (mut node, mut input) = (node, input.to_owned());
        for _ in 0..MAX_HOPS {
            if let Some(value) = self.literal(node, &input) {
                return Some(value);
            }
            node = self.link(node, &input)?;
            let names = std::iter::once(input.as_str()).chain(VALUES.iter().copied());
            let found = names.map(str::to_owned).find(|name| self.has(node, name));
            // A node that does nothing but hand on.
            input = match found {
                Some(name) => name,
                None => self.inputs(node).into_iter().find(|name| self.link(node, name).is_some())?,
            };
        }
        None
    }

    /// An input's number; what is none is kept.
    pub(super) fn number(&mut self, node: NodeIdx, input: &str, made: &mut Made) -> Option<f64> {
        let value = self.value(node, input)?;
        let number = value.as_f64().filter(|number| *number >= 0.0 || !matches!(input, "width" | "height"));
        if number.is_none() {
            made.keep_wrong(self.key(node, input), json::text(&value), "not a number that can stand there");
        }
        number
    }

    /// An input's text, put together where nodes put texts together.
    pub(super) fn text(&mut self, node: NodeIdx, input: &str) -> Option<String> {
        self.text_within(node, input, &mut MAX_TEXT_NODES.clone())
    }

    fn text_within(&mut self, node: NodeIdx, input: &str, budget: &mut usize) -> Option<String> {
        *budget = budget.checked_sub(1)?;
        if let Some(value) = self.literal(node, input) {
            return Some(json::text(&value));
        }
        let from = self.link(node, input)?;
        let delimiter = self.literal(from, "delimiter").map(|value| json::text(&value));
        let parts = [
            ["string_a", "string_b", "", ""],
            ["text_a", "text_b", "text_c", "text_d"],
            ["text1", "text2", "text3", "text4"],
        ];
        if let Some(parts) = parts.iter().find(|parts| self.has(from, parts[0]) && self.has(from, parts[1])) {
            let texts: Vec<String> = parts.iter().filter_map(|part| self.text_within(from, part, budget)).collect();
            return Some(texts.join(delimiter.as_deref().unwrap_or_default()));
        }
        let names = std::iter::once(input).chain(VALUES.iter().copied());
        let found = names.map(str::to_owned).find(|name| self.has(from, name));
        let next = found.or_else(|| self.inputs(from).into_iter().find(|name| self.link(from, name).is_some()))?;
        self.text_within(from, &next, budget)
    }

    /// All nodes that a node's inputs come from, near ones first.
    pub(super) fn before(&self, node: NodeIdx) -> Vec<NodeIdx> {
        let mut seen = HashSet::from([node]);
        let mut queue = VecDeque::from([node]);
        let mut before = Vec::new();
        while let Some(node) = queue.pop_front() {
            for from in self.nodes[node].inputs.values().filter_map(|value| self.target(value)) {
                if seen.insert(from) {
                    before.push(from);
                    queue.push_back(from);
                }
            }
        }
        before
    }

    /// Keeps every value that was not read.
    pub(super) fn keep_rest(self, made: &mut Made) {
        for (idx, node) in self.nodes.iter().enumerate() {
            for (input, value) in &node.inputs {
                let is_read = self.target(value).is_some() || self.read.contains(&(idx, input.clone()));
                if !is_read && !value.is_null() {
                    made.keep(self.key(idx, input), json::text(value));
                }
            }
        }
    }
}
