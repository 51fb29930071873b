//! Convolutions and linear layers with constant weights, and what follows them.
//!
//! ```text
//! %a = conv(x=%x, weight=W, bias=b)
//! %b = mul(x=%a, y=scale)                       may be missing
//! %c = add(x=%b, y=%per_batch)                  may be missing: [B, N, 1, 1]
//! %d = reshape(x=%c)                            may be missing, before a residual
//! %e = add(x=%d, y=%residual)                   may be missing
//! %y = silu(x=%e)                               may be missing       ==>   %y = product(%x, %per_batch, %residual)
//! ```
//!
//! Instead, the outputs may be split into halves of which one gates the other: `mul(x=%u, y=gelu(x=%v))`.

use super::found::Found;
use crate::{
    cpu::{
        body::Body,
        graph::{Kind, Product, Window},
    },
    kernel::{gemm::Gate, math::Activation},
};
use mil::{Op, ValueId};

pub(super) fn find(found: &mut Found<'_, '_>, at: usize) {
    let body = found.body;
    let op = &body.ops[at];
    let (product, axis, mut ops) = match &*op.kind {
        "linear" => match linear(body, op) {
            Some(p) => {
                let axis = p.shape.len() - 1;
                (p, axis, vec![at])
            }
            None => return,
        },
        "conv" => match conv(body, op) {
            Some((p, pad)) => (p, 1, pad.into_iter().chain([at]).collect()),
            None => return,
        },
        _ => return,
    };
    let free = |i: usize| found.is_free(i);
    let product = match gated(body, &product, axis, &mut ops) {
        Some((gate, activation, out)) => Product { gate, activation, out, ..product },
        None => follow(body, product, axis, &mut ops, free),
    };
    found.add(&ops, Kind::Product(product));
}

/// True when a weight is known when the program is planned: a constant, or decoded from constants.
fn is_weight(body: &Body<'_>, id: ValueId) -> bool {
    let constexpr = |i: usize| body.ops[i].is_constexpr();
    body.literal(id).is_some() || body.def(id).is_some_and(constexpr)
}

fn bias(body: &Body<'_>, op: &Op, n: usize) -> Option<Option<Vec<f32>>> {
    match op.input("bias") {
        None => Some(None),
        Some(id) => body.constant(id).filter(|b| b.len() == n).map(Some),
    }
}

fn plain(x: ValueId, weight: ValueId, shape: Vec<usize>, out: ValueId) -> Product {
    Product {
        x,
        weight,
        window: None,
        shape,
        bias: None,
        scale: 1.0,
        per_batch: None,
        residual: None,
        activation: Activation::Identity,
        gate: Gate::None,
        out,
    }
}

fn linear(body: &Body<'_>, op: &Op) -> Option<Product> {
    let (x, weight) = (op.input("x")?, op.input("weight")?);
    let shape = body.floats(op.output())?;
    let n = *shape.last()?;
    body.floats(x)?;
    let w = body.floats(weight)?;
    if !is_weight(body, weight) || w.len() != 2 || w[0] != n {
        return None;
    }
    let bias = bias(body, op, n)?;
    Some(Product { bias, ..plain(x, weight, shape, op.output()) })
}

/// A convolution in two dimensions, and an explicit padding with zeros before it.
fn conv(body: &Body<'_>, op: &Op) -> Option<(Product, Option<usize>)> {
    let (mut x, weight) = (op.input("x")?, op.input("weight")?);
    let shape = body.floats(op.output())?;
    let w = body.floats(weight)?;
    let [_, _, kh, kw] = w[..] else { return None };
    if !is_weight(body, weight) || shape.len() != 4 || body.view(op).known_int("groups").ok()? != 1 {
        return None;
    }
    let input = body.floats(x)?;
    let pair = |param: &str| -> Option<[usize; 2]> {
        let v = body.view(op).known_ints_of_len(param, 2).ok()?;
        Some([usize::try_from(v[0]).ok()?, usize::try_from(v[1]).ok()?])
    };
    let (stride, dilation) = (pair("strides")?, pair("dilations")?);
    let mut pad = [0, 0];
    for d in 0..2 {
        let reach = (w[2 + d] - 1) * dilation[d] + 1;
        let total = ((shape[2 + d] - 1) * stride[d] + reach).saturating_sub(input[2 + d]);
        pad[d] = match body.view(op).known_text("pad_type").ok()? {
            "valid" => 0,
            "custom" => usize::try_from(body.view(op).known_ints_of_len("pad", 4).ok()?[2 * d]).ok()?,
            "same" => total / 2,
            "same_lower" => total.div_ceil(2),
            _ => return None,
        };
    }
    let mut before = None;
    if let Some(at) = body.def_of(x, "pad").filter(|_| body.only_use(x).is_some())
        && let Some((inner, extra)) = zeros(body, &body.ops[at])
    {
        x = inner;
        pad = [pad[0] + extra[0], pad[1] + extra[1]];
        before = Some(at);
    }
    let window = Window { kernel: [kh, kw], stride, dilation, pad };
    let bias = bias(body, op, shape[1])?;
    Some((Product { window: Some(window), bias, ..plain(x, weight, shape, op.output()) }, before))
}

/// A padding of a picture with zeros: its operand, and what it adds above and to the left.
fn zeros(body: &Body<'_>, op: &Op) -> Option<(ValueId, [usize; 2])> {
    let x = op.input("x")?;
    let pad = body.view(op).ints("pad")?;
    let zero =
        body.view(op).known_text("mode").ok()? == "constant" && body.view(op).known_number("constant_val").ok()? == 0.0;
    let pad: Vec<usize> = pad.iter().map(|&p| usize::try_from(p).ok()).collect::<Option<_>>()?;
    let spatial = pad.len().checked_sub(4)?;
    if !zero || body.floats(x)?.len() != 4 || pad[..spatial].iter().any(|&p| p != 0) {
        return None;
    }
    Some((x, [pad[spatial], pad[spatial + 2]]))
}

/// A gate behind the product: which half it is, its activation, and the gated value.
fn gated(body: &Body<'_>, p: &Product, axis: usize, ops: &mut Vec<usize>) -> Option<(Gate, Activation, ValueId)> {
    let split = body.only_use(p.out).filter(|&i| body.ops[i].kind == "split")?;
    let op = &body.ops[split];
    let &[first, second] = &op.outputs[..] else { return None };
    let same = body.shape(first)? == body.shape(second)?;
    if !same || body.axis(op, "axis", p.shape.len())? != axis || !p.shape[axis].is_multiple_of(2) {
        return None;
    }
    for (gate, inner, value) in [(Gate::First, first, second), (Gate::Second, second, first)] {
        let Some(act) = body.only_use(inner) else { continue };
        let Some(activation) = activation(body, &body.ops[act]) else { continue };
        let Some(mul) = body.only_use(body.ops[act].output()).filter(|&i| body.ops[i].kind == "mul") else { continue };
        if body.only_use(value) == Some(mul) {
            ops.extend([split, act, mul]);
            return Some((gate, activation, body.ops[mul].output()));
        }
    }
    None
}

/// The activation that an operation applies.
pub(super) fn activation(body: &Body<'_>, op: &Op) -> Option<Activation> {
    Some(match &*op.kind {
        "relu" => Activation::Relu,
        "leaky_relu" => Activation::LeakyRelu(body.view(op).known_number("alpha").ok()? as f32),
        "silu" => Activation::Silu,
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "gelu" => match body.view(op).known_text("mode").ok()? {
            "EXACT" => Activation::Gelu,
            "TANH_APPROXIMATION" => Activation::GeluTanh,
            "SIGMOID_APPROXIMATION" => Activation::Swish(1.702),
            _ => return None,
        },
        _ => return None,
    })
}

/// Takes what follows a product as long as it can be done while results are stored.
fn follow(body: &Body<'_>, mut p: Product, axis: usize, ops: &mut Vec<usize>, free: impl Fn(usize) -> bool) -> Product {
    let mut shape = p.shape.clone();
    loop {
        if let Some((swish, a, out)) = swish(body, p.out)
            && p.activation == Activation::Identity
        {
            ops.extend(swish);
            p.activation = Activation::Swish(a);
            p.out = out;
            return p;
        }
        let Some(at) = body.only_use(p.out).filter(|&i| free(i)) else { return p };
        let op = &body.ops[at];
        let is_taken = match &*op.kind {
            "cast" => body.floats(op.output()).is_some(),
            "mul" if p.per_batch.is_none() && p.residual.is_none() => {
                let factor = other(op, p.out)
                    .and_then(|y| body.scalar(y))
                    .filter(|_| body.floats(op.output()).as_ref() == Some(&shape));
                p.scale *= factor.unwrap_or(1.0);
                factor.is_some()
            }
            "add" if p.residual.is_none() && body.floats(op.output()).as_ref() == Some(&shape) => {
                match added(body, op, &p, (axis, &shape)) {
                    Some((y, Added::Whole)) => p.residual = Some(y),
                    Some((y, Added::PerBatch)) => p.per_batch = Some(y),
                    None => return p,
                }
                true
            }
            "reshape" if p.residual.is_none() => match before_residual(body, op, &free) {
                Some(to) => {
                    shape = to;
                    true
                }
                None => return p,
            },
            _ => {
                if let Some(activation) = activation(body, op) {
                    ops.push(at);
                    p.activation = activation;
                    p.out = op.output();
                }
                return p;
            }
        };
        if !is_taken {
            return p;
        }
        ops.push(at);
        p.out = op.output();
    }
}

/// What may be added to a product while it is stored.
enum Added {
    /// A number for each result.
    Whole,
    /// A number for each batch and output.
    PerBatch,
}

/// What an addition adds to a product that has this shape now.
fn added(body: &Body<'_>, op: &Op, p: &Product, (axis, shape): (usize, &[usize])) -> Option<(ValueId, Added)> {
    let y = other(op, p.out)?;
    let (s, rank) = (body.floats(y)?, shape.len());
    if s == shape {
        return Some((y, Added::Whole));
    }
    let vector = s.len() == rank
        && rank == p.shape.len()
        && (0..rank).all(|d| s[d] == 1 || d == axis || (d == 0 && rank == 4 && axis == 1))
        && s[axis] == shape[axis];
    (vector && p.per_batch.is_none() && axis == 1).then_some((y, Added::PerBatch))
}

/// The shape that a reshape gives, when a residual of that shape is added behind it; it serves nothing else.
fn before_residual(body: &Body<'_>, op: &Op, free: &impl Fn(usize) -> bool) -> Option<Vec<usize>> {
    let y = op.output();
    let to = body.floats(y)?;
    let add = body.only_use(y).filter(|&i| body.ops[i].kind == "add" && free(i))?;
    (body.floats(other(&body.ops[add], y)?)? == to).then_some(to)
}

/// The other operand of a binary operation.
fn other(op: &Op, one: ValueId) -> Option<ValueId> {
    let (x, y) = (op.input("x")?, op.input("y")?);
    match (x == one, y == one) {
        (true, false) => Some(y),
        (false, true) => Some(x),
        _ => None,
    }
}

/// `mul(x=%v, y=sigmoid(x=mul(x=%v, y=a)))`: the operations, the factor and the result.
pub(super) fn swish(body: &Body<'_>, v: ValueId) -> Option<([usize; 3], f32, ValueId)> {
    let &[first, second] = body.inner_uses(v) else { return None };
    let (inner, outer) = (first.min(second), first.max(second));
    let (a, b) = (&body.ops[inner], &body.ops[outer]);
    if a.kind != "mul" || b.kind != "mul" || inner == outer {
        return None;
    }
    let factor = body.scalar(other(a, v)?)?;
    let sigmoid = body.only_use(a.output()).filter(|&i| body.ops[i].kind == "sigmoid")?;
    let s = body.ops[sigmoid].output();
    let whole = body.only_use(s) == Some(outer) && other(b, v)? == s && body.floats(a.output())? == body.floats(v)?;
    whole.then(|| ([inner, sigmoid, outer], factor, b.output()))
}
