//! Attention in every spelling: two contractions with a softmax between them, per head or for all, tokens first or
//! last; and the operation of iOS 18.
//!
//! ```text
//! %s = einsum(values=(%k, %q), equation="bkhc,bchq->bkhq")        or matmul
//! %t = mul(x=%s, y=scale)                                         may be missing
//! %u = add(x=%t, y=%mask)                                         may be missing
//! %w = softmax(x=%u, axis=1)
//! %y = einsum(values=(%v, %w), equation="bchk,bkhq->bchq")        or matmul        ==>  %y = attention(%q, %k, %v)
//! ```
//!
//! Casts between float types may stand before and after the softmax, where a program computes it in another precision
//! than the products: results are in f32 here whatever is declared.

use super::found::Found;
use crate::cpu::{
    body::Body,
    graph::{Attention, Kind, Roles},
};
use mil::{DType, Op, ValueId};

pub(super) fn find(found: &mut Found<'_, '_>, op: usize) {
    let matched = match &*found.body.ops[op].kind {
        "softmax" => softmax(found.body, op),
        "scaled_dot_product_attention" => whole(found.body, op).map(|a| (vec![op], a)),
        _ => None,
    };
    if let Some((ops, attention)) = matched {
        found.add(&ops, Kind::Attention(attention));
    }
}

/// A sum of products over two operands, a letter for each dimension.
struct Contraction {
    operands: [ValueId; 2],
    letters: [Vec<char>; 2],
    out: Vec<char>,
}

fn contraction(body: &Body<'_>, op: &Op) -> Option<Contraction> {
    match &*op.kind {
        "matmul" => {
            let operands = [op.input("x")?, op.input("y")?];
            let shapes = [body.floats(operands[0])?, body.floats(operands[1])?];
            let rank = shapes[0].len();
            let same = rank >= 2 && shapes[1].len() == rank && shapes[0][..rank - 2] == shapes[1][..rank - 2];
            if !same {
                return None;
            }
            let batch: Vec<char> = ('a'..='h').take(rank - 2).collect();
            let [tx, ty] =
                [body.view(op).known_bool("transpose_x").ok()?, body.view(op).known_bool("transpose_y").ok()?];
            let with = |two: [char; 2], turned: bool| {
                let two = if turned { [two[1], two[0]] } else { two };
                [&batch[..], &two].concat()
            };
            let letters = [with(['m', 'k'], tx), with(['k', 'n'], ty)];
            Some(Contraction { operands, letters, out: with(['m', 'n'], false) })
        }
        "einsum" => {
            let &[a, b] = op.input_values("values") else { return None };
            let (from, out) = body.view(op).known_text("equation").ok()?.split_once("->")?;
            let (x, y) = from.split_once(',')?;
            let letters = [x, y].map(|s| s.trim().chars().collect::<Vec<_>>());
            let fits = body.floats(a)?.len() == letters[0].len() && body.floats(b)?.len() == letters[1].len();
            let out: Vec<char> = out.trim().chars().collect();
            let plain = [&letters[0], &letters[1], &out].iter().all(|l| distinct(l));
            (fits && plain).then_some(Contraction { operands: [a, b], letters, out })
        }
        _ => None,
    }
}

fn distinct(letters: &[char]) -> bool {
    letters.iter().enumerate().all(|(i, l)| l.is_ascii_alphabetic() && !letters[..i].contains(l))
}

fn only<T: Copy>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

fn softmax(body: &Body<'_>, at: usize) -> Option<(Vec<usize>, Attention)> {
    let op = &body.ops[at];
    let logits = op.input("x")?;
    let shape = body.floats(logits)?;
    let axis = body.axis(op, "axis", shape.len())?;
    let mut ops = vec![at];
    let (scores, scale, mask) = scores(body, logits, &mut ops)?;
    let scores_at = body.def(scores)?;
    body.only_use(scores)?;
    let first = contraction(body, &body.ops[scores_at])?;
    let key = *first.out.get(axis)?;
    // The operand without the softmax's dimension holds the queries.
    let qi = only([0, 1].into_iter().filter(|&i| !first.letters[i].contains(&key)))?;
    let (ql, kl) = (&first.letters[qi], &first.letters[1 - qi]);
    let element = only(ql.iter().copied().filter(|l| kl.contains(l) && !first.out.contains(l)))?;
    let query = only(ql.iter().copied().filter(|l| !kl.contains(l) && first.out.contains(l)))?;
    let batch: Vec<char> = first.out.iter().copied().filter(|&l| l != key && l != query).collect();
    let whole = |l: &[char], n: usize| l.len() == batch.len() + n && batch.iter().all(|b| l.contains(b));
    if !whole(ql, 2) || !whole(kl, 2) || first.out.len() != batch.len() + 2 {
        return None;
    }

    let (weights, second_at) = through_casts(body, op.output(), &mut ops)?;
    let second = contraction(body, &body.ops[second_at])?;
    let wi = only([0, 1].into_iter().filter(|&i| second.operands[i] == weights))?;
    let (wl, vl) = (&second.letters[wi], &second.letters[1 - wi]);
    // Letters of the second contraction for roles of the first.
    let renamed = |l: char| first.out.iter().position(|&o| o == l).map(|i| wl[i]);
    let (key2, query2) = (renamed(key)?, renamed(query)?);
    let batch2: Vec<char> = batch.iter().map(|&l| renamed(l)).collect::<Option<_>>()?;
    let value = only(vl.iter().copied().filter(|l| !wl.contains(l) && second.out.contains(l)))?;
    let fits = vl.contains(&key2)
        && !vl.contains(&query2)
        && !second.out.contains(&key2)
        && second.out.contains(&query2)
        && [vl, &second.out].iter().all(|l| l.len() == batch2.len() + 2 && batch2.iter().all(|b| l.contains(b)));
    if !fits {
        return None;
    }
    ops.extend([scores_at, second_at]);
    let out = body.ops[second_at].output();
    let attention = Attention {
        q: roles(first.operands[qi], ql, &batch, query, element)?,
        k: roles(first.operands[1 - qi], kl, &batch, key, element)?,
        v: roles(second.operands[1 - wi], vl, &batch2, key2, value)?,
        out: roles(out, &second.out, &batch2, query2, value)?,
        mask: match mask {
            Some(mask) => Some(roles(mask, &first.out, &batch, query, key)?),
            None => None,
        },
        scale,
        nothing: f32::NAN,
    };
    two_batches(body, &attention).then_some((ops, attention))
}

fn roles(value: ValueId, letters: &[char], batch: &[char], token: char, element: char) -> Option<Roles> {
    let place = |l: char| letters.iter().position(|&x| x == l);
    let batch = batch.iter().map(|&l| place(l)).collect::<Option<_>>()?;
    Some(Roles { value, batch, token: place(token)?, element: place(element)? })
}

/// The kernel has two batch dimensions; those of one do not count.
fn two_batches(body: &Body<'_>, a: &Attention) -> bool {
    let Some(shape) = body.shape(a.q.value) else { return false };
    body.floats(a.out.value).is_some() && a.q.batch.iter().filter(|&&d| shape[d] > 1).count() <= 2
}

/// The value that a contraction reads, behind the casts of `value` that nothing else reads, and who reads it.
fn through_casts(body: &Body<'_>, mut value: ValueId, ops: &mut Vec<usize>) -> Option<(ValueId, usize)> {
    loop {
        let reader = body.only_use(value)?;
        if !is_cast(body, reader) {
            return Some((value, reader));
        }
        ops.push(reader);
        value = body.ops[reader].output();
    }
}

/// The value of which `value` is a cast that nothing else reads.
fn before_casts(body: &Body<'_>, mut value: ValueId, ops: &mut Vec<usize>) -> ValueId {
    while let Some(at) = body.def(value).filter(|&at| is_cast(body, at) && body.only_use(value).is_some()) {
        let Some(x) = body.ops[at].input("x") else { break };
        ops.push(at);
        value = x;
    }
    value
}

/// True for a cast from one float type to another.
fn is_cast(body: &Body<'_>, at: usize) -> bool {
    let op = &body.ops[at];
    let from_float = op.input("x").is_some_and(|x| body.floats(x).is_some());
    op.kind == "cast" && from_float && op.outputs.first().is_some_and(|&y| body.floats(y).is_some())
}

/// What the softmax is applied to, without a mask that is added and a factor.
fn scores(body: &Body<'_>, logits: ValueId, ops: &mut Vec<usize>) -> Option<(ValueId, f32, Option<ValueId>)> {
    let shape = body.floats(logits)?;
    let (mut at, mut mask) = (before_casts(body, logits, ops), None);
    if let Some(add) = body.def_of(at, "add")
        && body.only_use(at).is_some()
    {
        let (x, y) = (body.ops[add].input("x")?, body.ops[add].input("y")?);
        let is_scores = |id: ValueId| {
            let kind = body.def(id).map(|i| &*body.ops[i].kind);
            body.floats(id).as_ref() == Some(&shape) && matches!(kind, Some("mul" | "matmul" | "einsum" | "real_div"))
        };
        let (scores, other) = if is_scores(x) { (x, y) } else { (y, x) };
        if is_scores(scores) && body.floats(other).is_some_and(|s| s.len() <= shape.len()) {
            ops.push(add);
            mask = Some(other);
            at = before_casts(body, scores, ops);
        }
    }
    let mut scale = 1.0;
    if let Some(mul) = body.def(at).filter(|&i| matches!(&*body.ops[i].kind, "mul" | "real_div"))
        && body.only_use(at).is_some()
    {
        let op = &body.ops[mul];
        let (x, y) = (op.input("x")?, op.input("y")?);
        let (value, factor) = match (body.scalar(x), body.scalar(y), &*op.kind) {
            (_, Some(s), "mul") => (x, s),
            (_, Some(s), _) => (x, 1.0 / s),
            (Some(s), None, "mul") => (y, s),
            _ => return None,
        };
        if body.floats(value)? != shape {
            return None;
        }
        ops.push(mul);
        scale = factor;
        at = before_casts(body, value, ops);
    }
    Some((at, scale, mask))
}

/// `scaled_dot_product_attention`, but for masks of booleans.
fn whole(body: &Body<'_>, at: usize) -> Option<Attention> {
    let op = &body.ops[at];
    let (q, k, v) = (op.input("query")?, op.input("key")?, op.input("value")?);
    let mask = op.input("attn_mask");
    if mask.is_some_and(|m| body.dtype(m) == Some(DType::Bool) || body.floats(m).is_none()) {
        return None;
    }
    let shape = body.floats(q)?;
    let rank = shape.len();
    let agree = [k, v].iter().all(|&id| body.floats(id).is_some_and(|s| s[..rank - 2] == shape[..rank - 2]));
    if rank < 2 || !agree {
        return None;
    }
    let roles = |value| Roles { value, batch: (0..rank - 2).collect(), token: rank - 2, element: rank - 1 };
    let attention = Attention {
        q: roles(q),
        k: roles(k),
        v: roles(v),
        out: roles(op.output()),
        mask: mask.map(roles),
        scale: (1.0 / (shape[rank - 1] as f64).sqrt()) as f32,
        nothing: 0.0,
    };
    two_batches(body, &attention).then_some(attention)
}
