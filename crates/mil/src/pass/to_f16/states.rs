//! Root-mean-square normalisations, and the states that they read.
//!
//! ```text
//! %u = mul(x=%branch, y=64)                  kept: a branch that was scaled down to fit
//! %x = add(x=%before, y=%u)                  kept, and so are the sums before
//! %m = reduce_mean(x=mul(x=%x, y=%x), …)     kept
//! %r = sqrt(x=add(x=%m, y=ε))                kept
//! %n = real_div(x=%x, y=%r)                  kept; what reads it is in f16
//! ```

use crate::{
    constant::Literal,
    ir::{Function, Op, ValueId},
};
use std::collections::{HashMap, HashSet};

/// Operations of such normalisations, and the sums that they read.
///
/// What is centred first is a layer's or a group's normalisation, whose numbers are small.
pub(super) fn kept(f: &Function, defs: &HashMap<ValueId, usize>) -> HashSet<usize> {
    let mut kept = HashSet::new();
    for (i, op) in f.body.ops.iter().enumerate() {
        if let Some((own, states)) = normalisation(f, defs, op) {
            kept.insert(i);
            kept.extend(own);
            sums(f, defs, states, &mut kept);
        }
    }
    kept
}

/// The operations behind a quotient by a root mean square, and what it normalises.
fn normalisation(f: &Function, defs: &HashMap<ValueId, usize>, op: &Op) -> Option<([usize; 4], ValueId)> {
    let of_kind = |v: ValueId, kinds: &[&str]| {
        let &i = defs.get(&v)?;
        let op = &f.body.ops[i];
        kinds.contains(&&*op.kind).then_some((i, op))
    };
    let states = op.input("x").filter(|_| op.kind == "real_div")?;
    let (root, op) = of_kind(op.input("y")?, &["sqrt"])?;
    let (sum, op) = of_kind(op.input("x")?, &["add"])?;
    let (mean, op) = of_kind(op.input("x")?, &["reduce_mean"])?;
    let (square, op) = of_kind(op.input("x")?, &["square", "mul"])?;
    let is_square = op.input("x") == Some(states) && op.input("y").is_none_or(|y| y == states);
    let is_centred = of_kind(states, &["sub"]).is_some();
    (is_square && !is_centred).then_some(([root, sum, mean, square], states))
}

/// Sums that make a value, and factors of their operands.
fn sums(f: &Function, defs: &HashMap<ValueId, usize>, states: ValueId, kept: &mut HashSet<usize>) {
    let mut stack = vec![states];
    while let Some(v) = stack.pop() {
        let Some(&i) = defs.get(&v) else { continue };
        let op = &f.body.ops[i];
        let is_number = |param| {
            let constant = op.input(param).and_then(|v| f.literal(v)).and_then(Literal::as_const);
            constant.is_some_and(|c| c.len() == 1)
        };
        let is_scaled = op.kind == "mul" && is_number("x") != is_number("y");
        if is_scaled {
            kept.insert(i);
        } else if op.kind == "add" && kept.insert(i) {
            stack.extend(op.operands());
        }
    }
}
