//! Single operations that a kernel executes, or that only look at their operand differently.

use super::product::activation;
use crate::{
    cpu::{
        body::{Body, absolute},
        graph::{Kind, LayerNorm, Part},
    },
    kernel::map,
    reference,
};
use mil::{Op, ValueId};

/// What an operation is, when a kernel can do it.
pub(super) fn kind(body: &Body<'_>, op: &Op) -> Option<Kind> {
    if op.outputs.iter().any(|&id| body.floats(id).is_none()) || op.outputs.is_empty() {
        return None;
    }
    let out = op.output();
    let x = || op.input("x").filter(|&id| body.floats(id).is_some());
    let unary = |kind: map::Op| Some(Kind::Map { op: kind, operands: vec![x()?], out });
    let binary = |kind: map::Op| {
        let y = op.input("y").filter(|&id| body.floats(id).is_some())?;
        Some(Kind::Map { op: kind, operands: vec![x()?, y], out })
    };
    match &*op.kind {
        "add" => binary(map::Op::Add),
        "sub" => binary(map::Op::Sub),
        "mul" => binary(map::Op::Mul),
        "real_div" => binary(map::Op::Div),
        "maximum" => binary(map::Op::Max),
        "minimum" => binary(map::Op::Min),
        "square" => unary(map::Op::Square),
        "sqrt" => unary(map::Op::Sqrt),
        "exp" => unary(map::Op::Exp),
        "relu" | "leaky_relu" | "silu" | "sigmoid" | "tanh" | "gelu" => unary(map::Op::Unary(activation(body, op)?)),
        "identity" | "cast" | "reshape" | "expand_dims" | "squeeze" => Some(Kind::Reshape { x: x()?, out }),
        "transpose" => transpose(body, op),
        "split" => split(body, op),
        "slice_by_index" => slice(body, op),
        "concat" => concat(body, op),
        "upsample_nearest_neighbor" => upsample(body, op),
        "gather" => rows(body, op),
        "layer_norm" => layer_norm(body, op),
        _ => None,
    }
}

fn transpose(body: &Body<'_>, op: &Op) -> Option<Kind> {
    let x = op.input("x")?;
    let rank = body.floats(x)?.len();
    let perm = body.view(op).ints("perm")?.into_iter().map(|p| absolute(p, rank)).collect::<Option<Vec<_>>>()?;
    (perm.len() == rank).then(|| Kind::Transpose { x, perm, out: op.output() })
}

fn split(body: &Body<'_>, op: &Op) -> Option<Kind> {
    let x = op.input("x")?;
    let rank = body.floats(x)?.len();
    let axis = body.axis(op, "axis", rank)?;
    let mut begin = vec![0; rank];
    let mut parts = Vec::new();
    for &out in &op.outputs {
        let shape = body.floats(out)?;
        let next = begin[axis] + shape[axis];
        parts.push(Part { begin: begin.clone(), step: vec![1; rank], shape, out });
        begin[axis] = next;
    }
    Some(Kind::Slices { x, parts })
}

fn slice(body: &Body<'_>, op: &Op) -> Option<Kind> {
    let x = op.input("x")?;
    let shape = body.floats(x)?;
    let rank = shape.len();
    let view = body.view(op);
    let flags = |param: &str| view.known_flags(param, rank).ok();
    let (first, last, squeezed) = (flags("begin_mask")?, flags("end_mask")?, flags("squeeze_mask")?);
    let ints = |param: &str| view.known_ints_of_len(param, rank).ok();
    let (begin, end, step) = (ints("begin")?, ints("end")?, ints("stride")?);
    let mut part = Part { begin: Vec::new(), step: Vec::new(), shape: Vec::new(), out: op.output() };
    for d in 0..rank {
        // As the reference engine slices; what it refuses, or reads backwards, is left to it.
        let (from, count, stride) = match squeezed[d] {
            true => (reference::index(begin[d], shape[d]).ok()?, 1, 1),
            false => {
                let [from, to] = [(first[d], begin[d]), (last[d], end[d])].map(|(open, i)| (!open).then_some(i));
                reference::slice(shape[d], from, to, step[d]).ok()?
            }
        };
        if stride < 1 || count == 0 {
            return None;
        }
        part.begin.push(from);
        part.step.push(stride as usize);
        part.shape.push(count);
    }
    let n: usize = part.shape.iter().product();
    (n == body.floats(op.output())?.iter().product::<usize>()).then(|| Kind::Slices { x, parts: vec![part] })
}

fn concat(body: &Body<'_>, op: &Op) -> Option<Kind> {
    let values = op.input_values("values").to_vec();
    let rank = body.floats(op.output())?.len();
    let axis = body.axis(op, "axis", rank)?;
    let fits = |v: &ValueId| body.floats(*v).is_some_and(|s| s.len() == rank);
    let plain = !body.view(op).known_bool("interleave").ok()? && values.iter().all(fits);
    plain.then(|| Kind::Concat { values, axis, out: op.output() })
}

fn upsample(body: &Body<'_>, op: &Op) -> Option<Kind> {
    let (x, out) = (op.input("x")?, op.output());
    let (from, to) = (body.floats(x)?, body.floats(out)?);
    let [b, c, h, w] = from[..] else { return None };
    let factor = |param: &str| -> Option<usize> {
        let f = body.view(op).known_number(param).ok()? as f32;
        (f >= 1.0 && f.fract() == 0.0 && f < 1e6).then_some(f as usize)
    };
    let factors = [factor("scale_factor_height")?, factor("scale_factor_width")?];
    (to == [b, c, h * factors[0], w * factors[1]]).then_some(Kind::Upsample { x, factors, out })
}

/// Rows of a constant table, the whole last dimension of each.
fn rows(body: &Body<'_>, op: &Op) -> Option<Kind> {
    let (table, indices) = (op.input("x")?, op.input("indices")?);
    let [n, width] = body.floats(table)?[..] else { return None };
    let decoded = body.def(table).is_some_and(|i| body.ops[i].is_constexpr());
    let known = body.literal(table).is_some() || decoded;
    let first = body.axis(op, "axis", 2)? == 0 && body.view(op).known_int("batch_dims").ok()? == 0;
    let integers = body.dtype(indices).is_some_and(|d| !d.is_float()) && body.literal(indices).is_none();
    let shape = [body.shape(indices)?, vec![width]].concat();
    let fits = known && first && integers && n > 0 && body.floats(op.output())? == shape;
    fits.then(|| Kind::Rows { table, indices, out: op.output() })
}

fn layer_norm(body: &Body<'_>, op: &Op) -> Option<Kind> {
    let x = op.input("x")?;
    let shape = body.floats(x)?;
    let &[axis] = &body.view(op).known_axes("axes", shape.len()).ok()?[..] else { return None };
    let axis = absolute(axis, shape.len())?;
    let of = |param: &str| match op.input(param) {
        None => Some(None),
        Some(id) => body.constant(id).filter(|v| v.len() == shape[axis]).map(Some),
    };
    let epsilon = body.view(op).known_number("epsilon").ok()? as f32;
    Some(Kind::LayerNorm(LayerNorm { x, axis, epsilon, gamma: of("gamma")?, beta: of("beta")?, out: op.output() }))
}
