//! Equal operations on equal operands, and equal constants, are kept once.
//!
//! ```text
//! %a = sub(x=%x, y=%m)
//! %b = sub(x=%x, y=%m)
//! %c = add(x=%a, y=%b)      ==>   %c = add(x=%a, y=%a)
//! ```

use super::error::PassError;
use super::rewrite::rewrite;
use crate::{
    constant::{Literal, SourceId},
    ir::{Function, Inputs, ValueId},
    types::Type,
};
use host_tensor::DType;
use std::collections::HashMap;

/// Removes an operation when an equal one stands before it; state and control flow are left alone.
///
/// # Errors
/// When an `identity` that has to carry a public name is refused, which does not happen.
pub fn remove_redundant(function: &mut Function) -> Result<usize, PassError> {
    let mut seen: HashMap<Vec<u8>, Vec<(Inputs, Vec<ValueId>)>> = HashMap::new();
    rewrite("remove_redundant", function, |rw, op| {
        let effects = !op.blocks.is_empty() || op.outputs.is_empty() || op.kind == "read_state";
        if effects || op.kind.starts_with("random_") || op.outputs.iter().any(|&v| rw.is_output(v)) {
            return Ok(false);
        }
        let known = seen.entry(op.kind.as_bytes().to_vec()).or_default();
        let first = op.operands().next();
        // The first operand decides nearly always; comparing whole inputs only then keeps this linear.
        if let Some((_, outputs)) = known
            .iter()
            .rev()
            .take(64)
            .find(|(i, _)| i.values().flat_map(|a| a.values()).next().copied() == first && *i == op.inputs)
        {
            for (&old, &new) in op.outputs.iter().zip(outputs) {
                rw.replace(old, new)?;
            }
            return Ok(true);
        }
        known.push((op.inputs.clone(), op.outputs.clone()));
        Ok(false)
    })
}

/// What tells two constants apart without reading large ones.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Small(Type, Vec<u8>),
    View(DType, Vec<usize>, DType, SourceId),
}

/// Large constants are compared by the bytes that they view, not by content.
const CONTENT_BYTES: usize = 4096;

/// Lets equal constants be one value.
///
/// Small ones are equal by content, large ones when they view the same bytes (tied weights do).
///
/// # Errors
/// None; the signature is that of every pass.
pub fn deduplicate_constants(function: &mut Function) -> Result<usize, PassError> {
    let mut first: HashMap<Key, Vec<ValueId>> = HashMap::new();
    let mut replaced: HashMap<ValueId, ValueId> = HashMap::new();
    for id in function.constants_in_order().into_iter().flatten() {
        let Some(literal) = function.literal(id) else { continue };
        let Some(key) = key(literal) else { continue };
        let peers = first.entry(key).or_default();
        let same = |&other: &ValueId| match (function.literal(other), literal) {
            (Some(Literal::Tensor(a)), Literal::Tensor(b)) if b.source_bytes() > CONTENT_BYTES => a.same_view(b),
            (Some(a), b) => a == b,
            (None, _) => false,
        };
        match peers.iter().copied().find(same) {
            Some(other) => {
                replaced.insert(id, other);
            }
            None => peers.push(id),
        }
    }
    function.body.for_each_use_mut(&mut |v| {
        if let Some(&new) = replaced.get(v) {
            *v = new;
        }
    });
    Ok(replaced.len())
}

fn key(literal: &Literal) -> Option<Key> {
    match literal {
        Literal::Tensor(c) if c.source_bytes() <= CONTENT_BYTES => {
            Some(Key::Small(literal.ty(), c.read().bytes().to_vec()))
        }
        Literal::Tensor(c) => Some(Key::View(c.dtype(), c.shape().to_vec(), c.source_dtype(), c.source_id())),
        Literal::Strings { shape, values } if shape.is_empty() => {
            Some(Key::Small(literal.ty(), values.first()?.as_bytes().to_vec()))
        }
        _ => None,
    }
}
