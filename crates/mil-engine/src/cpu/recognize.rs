//! Finds in a program what the kernels can do in one piece.
//!
//! Each pattern takes the operations that it stands for; what no pattern takes becomes a node of its own, and what
//! no kernel knows is left to the reference engine. Values between the operations of a pattern must have no other
//! readers.

mod attention;
mod found;
mod group_norm;
mod product;
mod quantized;
mod single;

use super::{
    body::Body,
    graph::{GroupNorm, Kind, Node},
};
use found::Found;

/// The nodes of a function, in an order in which they can be done.
///
/// Operations that decode constants are left out: weights are decoded where they are used.
pub(super) fn recognize(body: &Body<'_>) -> Vec<Node> {
    let mut found = Found::new(body);
    for op in 0..body.ops.len() {
        group_norm::find(&mut found, op);
    }
    for op in 0..body.ops.len() {
        attention::find(&mut found, op);
    }
    for op in 0..body.ops.len() {
        product::find(&mut found, op);
        quantized::find(&mut found, op);
    }
    for (i, op) in body.ops.iter().enumerate() {
        if found.is_free(i) && !op.is_constexpr() {
            let kind = single::kind(body, op).unwrap_or(Kind::Reference);
            found.add(&[i], kind);
        }
    }
    found.into_nodes()
}

/// The group normalisation that divides at an operation, and the operations that it stands for.
pub(super) fn group_norm(body: &Body<'_>, op: usize) -> Option<(Vec<usize>, GroupNorm)> {
    group_norm::match_norm(body, op)
}
