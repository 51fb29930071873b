//! Finds in a program what the kernels can do in one piece.
//!
//! Each pattern takes the operations that it stands for; what no pattern takes becomes a node of its own, and what
//! no kernel knows is left to the reference engine. Values between the operations of a pattern must have no other
//! readers.

mod attention;
mod group_norm;
mod product;
mod single;

use super::{
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

impl Found<'_, '_> {
    /// Adds a node at the last of the operations that it stands for, unless one of them is taken.
    fn add(&mut self, ops: &[usize], kind: Kind) -> bool {
        let Some(&last) = ops.iter().max() else { return false };
        if ops.iter().any(|&i| self.taken[i]) {
            return false;
        }
        ops.iter().for_each(|&i| self.taken[i] = true);
        self.nodes.insert(last, Node { op: last, ops: ops.to_vec(), kind });
        true
    }
}

/// The nodes of a function, in an order in which they can be done.
///
/// Operations that decode constants are left out: weights are decoded where they are used.
pub(super) fn recognize(body: &Body<'_>) -> Vec<Node> {
    let mut found = Found { body, taken: vec![false; body.ops.len()], nodes: BTreeMap::new() };
    for op in 0..body.ops.len() {
        group_norm::find(&mut found, op);
    }
    for op in 0..body.ops.len() {
        attention::find(&mut found, op);
    }
    for op in 0..body.ops.len() {
        product::find(&mut found, op);
    }
    for (i, op) in body.ops.iter().enumerate() {
        if !found.taken[i] && !op.is_constexpr() {
            let kind = single::kind(body, op).unwrap_or(Kind::Reference);
            found.add(&[i], kind);
        }
    }
    found.nodes.into_values().collect()
}
