//! How much work each step of a function is, roughly: enough to cut it into even parts and to foretell time.

use mil::{Function, Op, ValueId, ops::View, split};

/// Work of one element that is only moved or changed by itself, in multiplications.
const ELEMENT: f64 = 8.0;

/// Multiplications of each of [`split::steps`].
pub(crate) fn of(function: &Function) -> Vec<f64> {
    split::steps(function).into_iter().map(|op| step(function, op)).collect()
}

fn step(function: &Function, op: &Op) -> f64 {
    let out: f64 = op.outputs.iter().map(|&v| len(function, v)).sum();
    let contracted = match &*op.kind {
        "conv" | "linear" | "conv_transpose" => op.input("weight").map(|w| per_output(function, op, w)),
        "matmul" => {
            op.input("x").map(|x| last(function, x, View::of(function, op).known_bool("transpose_x") == Ok(true)))
        }
        "einsum" => op.input_values("values").first().map(|&x| (len(function, x) / out.max(1.0)).max(64.0)),
        "scaled_dot_product_attention" => op.input("key").map(|k| 2.0 * last(function, k, true)),
        _ => None,
    };
    out * (contracted.unwrap_or(0.0) + ELEMENT)
}

/// Multiplications for one element of the output: those of the weight that belong to one output channel.
fn per_output(function: &Function, op: &Op, weight: ValueId) -> f64 {
    // A transposed convolution has [C_in, C_out / groups, …].
    let axis = usize::from(op.kind == "conv_transpose");
    let channels = shape(function, weight).get(axis).copied().unwrap_or(1.0);
    len(function, weight) / channels.max(1.0)
}

/// The last dimension, or the one before it.
fn last(function: &Function, v: ValueId, one_before: bool) -> f64 {
    let shape = shape(function, v);
    let at = shape.len().checked_sub(1 + usize::from(one_before));
    at.map_or(1.0, |at| shape[at])
}

fn shape(function: &Function, v: ValueId) -> Vec<f64> {
    let ty = function.ty(v).as_tensor();
    ty.map_or_else(Vec::new, |ty| ty.shape.iter().map(|d| d.size().unwrap_or(1) as f64).collect())
}

fn len(function: &Function, v: ValueId) -> f64 {
    shape(function, v).iter().product()
}
