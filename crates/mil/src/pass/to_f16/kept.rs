//! Which operations stay in f32, and why.

use super::{AttentionPrecision, HalfPrecision, SMALL_CONSTANT, is_full};
use crate::{
    constant::{Const, Literal},
    ir::{Function, Op, ValueId},
};
use host_tensor::DType;
use std::collections::{HashMap, HashSet};

/// Operations that are looked at between a softmax and its product: scale, mask, and what moves elements.
const MAX_BETWEEN: usize = 16;

/// Indices of the operations that stay in f32.
pub(super) fn kept_in_f32(f: &Function, choices: HalfPrecision<'_>) -> HashSet<usize> {
    let defs: HashMap<ValueId, usize> =
        f.body.ops.iter().enumerate().flat_map(|(i, op)| op.outputs.iter().map(move |&v| (v, i))).collect();
    let mut kept: HashSet<usize> = HashSet::new();
    if choices.attention == AttentionPrecision::Full {
        kept.extend(scores(f, &defs));
    }
    kept.extend(super::states::kept(f, &defs));
    let mut stack: Vec<usize> = Vec::new();
    for (i, op) in f.body.ops.iter().enumerate() {
        if matches!(&*op.kind, "sin" | "cos") {
            stack.push(i);
        } else if op.operands().any(|v| beyond_half(f, v, choices)) {
            kept.insert(i);
        }
    }
    while let Some(i) = stack.pop() {
        if kept.insert(i) {
            let producers = f.body.ops[i].operands().filter_map(|v| defs.get(&v).copied());
            stack.extend(producers.filter(|&p| computes_angles(&f.body.ops[p].kind)));
        }
    }
    // What only moves kept values stays with them, so that one cast follows instead of several.
    for (i, op) in f.body.ops.iter().enumerate() {
        let moves = matches!(&*op.kind, "concat" | "reshape" | "slice_by_index" | "split" | "expand_dims" | "squeeze");
        let mut floats = op.operands().filter(|&v| is_f32(f, v) && f.literal(v).is_none()).peekable();
        if moves && floats.peek().is_some() && floats.all(|v| defs.get(&v).is_some_and(|p| kept.contains(p))) {
            kept.insert(i);
        }
    }
    kept
}

fn computes_angles(kind: &str) -> bool {
    matches!(
        kind,
        "mul" | "add" | "sub" | "real_div" | "reshape" | "expand_dims" | "squeeze" | "concat" | "tile" | "transpose"
    )
}

fn is_f32(f: &Function, v: ValueId) -> bool {
    is_full(f.ty(v))
}

/// True for an f32 constant with a finite value that f16 cannot hold.
fn beyond_half(f: &Function, v: ValueId, choices: HalfPrecision<'_>) -> bool {
    let Some(Literal::Tensor(c)) = f.literal(v) else { return false };
    if c.dtype() != DType::F32 || c.source_dtype() == DType::F16 {
        return false;
    }
    if let Some(known) = choices.beyond_half.and_then(|is_beyond| is_beyond(c)) {
        return known;
    }
    // A large constant is a weight, in which no number stands for infinity.
    if c.len() >= SMALL_CONSTANT * SMALL_CONSTANT {
        return c.source_exceptions().beyond_f16 > 0;
    }
    c.read().to_f32_vec().iter().any(|v| v.abs() > 65_504.0 && v.abs() < 1e38)
}

/// The operations that make attention's scores and weights: each softmax over a product of two computed values, what
/// lies between them, and what only brings the product's operands into form.
///
/// ```text
/// %s = mul(x=%q, y=scale)                    kept, for only a kept operation reads it
/// %l = matmul(x=%s, y=%k)                    kept
/// %a = add(x=%l, y=%mask)                    kept, may be missing
/// %w = softmax(x=%a)                         kept
/// %y = matmul(x=%w, y=%v)                    in f16
/// ```
fn scores(f: &Function, defs: &HashMap<ValueId, usize>) -> HashSet<usize> {
    let ops = &f.body.ops;
    let mut kept = HashSet::new();
    for (i, op) in ops.iter().enumerate() {
        match &*op.kind {
            "scaled_dot_product_attention" => drop(kept.insert(i)),
            "softmax" => {
                if let Some(behind) = op.input("x").and_then(|x| product_behind(f, defs, x)) {
                    kept.extend(behind);
                    kept.insert(i);
                }
            }
            _ => {}
        }
    }
    let readers = readers(f);
    for (i, op) in ops.iter().enumerate().rev() {
        let all_kept = |v: &ValueId| readers[v.index()].as_ref().is_some_and(|r| r.iter().all(|r| kept.contains(r)));
        let is_read = op.outputs.iter().any(|v| readers[v.index()].as_ref().is_some_and(|r| !r.is_empty()));
        if brings_into_form(f, op) && is_read && op.outputs.iter().all(all_kept) {
            kept.insert(i);
        }
    }
    kept
}

/// The operations from a softmax's operand back to the product that it is made of, if it is made of one.
fn product_behind(f: &Function, defs: &HashMap<ValueId, usize>, logits: ValueId) -> Option<Vec<usize>> {
    let mut seen = HashSet::new();
    path_to_product(f, defs, logits, &mut seen)
}

/// Looks at every operation once, so that time is linear however often sums share operands.
fn path_to_product(
    f: &Function,
    defs: &HashMap<ValueId, usize>,
    at: ValueId,
    seen: &mut HashSet<usize>,
) -> Option<Vec<usize>> {
    let &i = defs.get(&at)?;
    if !seen.insert(i) || seen.len() > MAX_BETWEEN {
        return None;
    }
    let op = &f.body.ops[i];
    let computed = |v: &ValueId| f.literal(*v).is_none() && is_f32(f, *v);
    let behind = match &*op.kind {
        "matmul" | "einsum" => {
            return (op.operands().filter(computed).count() == 2).then(|| vec![i]);
        }
        // The scores are the operand of the result's own shape; a mask may be another.
        "add" | "sub" | "mul" | "real_div" | "maximum" | "minimum" => {
            let is_whole = |v: &ValueId| computed(v) && f.ty(*v) == f.ty(at);
            let operands = [op.input("x")?, op.input("y")?].into_iter().filter(is_whole);
            operands.into_iter().find_map(|v| path_to_product(f, defs, v, seen))
        }
        kind if moves(kind) => path_to_product(f, defs, op.input("x")?, seen),
        _ => None,
    };
    behind.map(|mut path| {
        path.push(i);
        path
    })
}

/// By value: the operations of the function's own block that read it; `None` where an output or a nested block does.
fn readers(f: &Function) -> Vec<Option<Vec<usize>>> {
    let mut readers = vec![Some(Vec::new()); f.values().len()];
    for (i, op) in f.body.ops.iter().enumerate() {
        op.operands().for_each(|v| {
            if let Some(list) = &mut readers[v.index()] {
                list.push(i);
            }
        });
        op.blocks.iter().for_each(|block| block.for_each_use(&mut |v| readers[v.index()] = None));
    }
    f.body.outputs.iter().for_each(|v| readers[v.index()] = None);
    readers
}

fn moves(kind: &str) -> bool {
    matches!(kind, "reshape" | "transpose" | "split" | "slice_by_index" | "expand_dims" | "squeeze")
}

/// True for what moves elements, or multiplies them by one number.
fn brings_into_form(f: &Function, op: &Op) -> bool {
    let is_scalar = |param: &str| {
        let literal = op.input(param).and_then(|v| f.literal(v)).and_then(Literal::as_const);
        literal.is_some_and(|c: &Const| c.len() == 1)
    };
    match &*op.kind {
        "mul" | "real_div" => is_scalar("x") != is_scalar("y"),
        kind => moves(kind),
    }
}
