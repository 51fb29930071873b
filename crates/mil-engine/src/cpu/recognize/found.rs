//! Patterns found in a function, each of operations that no other has.

use crate::cpu::{
    body::Body,
    graph::{Kind, Node},
};
use std::collections::BTreeMap;

/// Patterns found so far.
pub(super) struct Found<'b, 'f> {
    pub(super) body: &'b Body<'f>,
    /// Operations that stand in a node other than at its place.
    taken: Vec<bool>,
    nodes: BTreeMap<usize, Node>,
}

impl<'b, 'f> Found<'b, 'f> {
    /// Nothing yet.
    pub(super) fn new(body: &'b Body<'f>) -> Self {
        Self { body, taken: vec![false; body.ops.len()], nodes: BTreeMap::new() }
    }

    /// Adds a node at the last of the operations that it stands for, unless one of them is taken.
    pub(super) fn add(&mut self, ops: &[usize], kind: Kind) -> bool {
        let Some(&last) = ops.iter().max() else { return false };
        if ops.iter().any(|&i| self.taken[i]) {
            return false;
        }
        ops.iter().for_each(|&i| self.taken[i] = true);
        self.nodes.insert(last, Node { op: last, ops: ops.to_vec(), kind });
        true
    }

    /// Whether no pattern has taken an operation.
    pub(super) fn is_free(&self, op: usize) -> bool {
        !self.taken[op]
    }

    /// The nodes, in an order in which they can be done.
    pub(super) fn into_nodes(self) -> Vec<Node> {
        self.nodes.into_values().collect()
    }
}
