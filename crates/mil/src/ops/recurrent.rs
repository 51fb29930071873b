//! Recurrence: one step after another over a sequence.

use super::{
    Default, OpError, OpSpec, Param, View,
    dims::{agree, show},
    domain::{FLOAT, IOS15, IOS17},
};
use crate::types::{Dim, TensorType, Type};
use host_tensor::DType::{self, F32};

/// What MIL calls functions without parameters; those with constants of their own are not implemented.
const ACTIVATIONS: &[&str] = &["linear", "relu", "sigmoid", "tanh"];
const DIRECTIONS: &[&str] = &["forward", "reverse", "bidirectional"];

/// x is [S, N, I]; states are [N, H], of both directions [N, 2H]; weights are those of the gates input, forget, output
/// and cell, one behind the other: [4H, I] and [4H, H].
const fn lstm_params(domain: &'static [DType]) -> [Param; 17] {
    const fn weight(name: &'static str, domain: &'static [DType]) -> Param {
        Param::tensor(name, 'T', domain).constant()
    }
    [
        Param::tensor("x", 'T', domain),
        Param::tensor("initial_h", 'T', domain),
        Param::tensor("initial_c", 'T', domain),
        weight("weight_ih", domain),
        weight("weight_hh", domain),
        weight("bias", domain).optional(),
        weight("peephole", domain).optional(),
        weight("weight_ih_back", domain).optional(),
        weight("weight_hh_back", domain).optional(),
        weight("bias_back", domain).optional(),
        weight("peephole_back", domain).optional(),
        Param::text("direction", DIRECTIONS).or(Default::Text("forward")),
        Param::flag("output_sequence").or(Default::Bool(false)),
        Param::text("recurrent_activation", ACTIVATIONS).or(Default::Text("sigmoid")),
        Param::text("cell_activation", ACTIVATIONS).or(Default::Text("tanh")),
        Param::text("activation", ACTIVATIONS).or(Default::Text("tanh")),
        weight("clip", domain).scalar().optional(),
    ]
}

pub(super) const SPECS: &[OpSpec] =
    &[OpSpec::new("lstm", IOS15, &lstm_params(&[F32]), lstm), OpSpec::new("lstm", IOS17, &lstm_params(FLOAT), lstm)];

/// The states of every step or of the last one, and the last states: [S or 1, N, DH], [N, DH], [N, DH].
fn lstm(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, h) = (o.tensor("x")?, o.tensor("initial_h")?);
    ensure!(x.rank() == 3, "x {x} must be [steps, samples, features]");
    let is_both = o.known_text("direction")? == "bidirectional";
    let n_directions = if is_both { 2 } else { 1 };
    let weight = o.tensor("weight_hh")?;
    let n_hidden = weight.shape.get(1).copied().and_then(Dim::size);
    let n_hidden = n_hidden
        .filter(|_| weight.rank() == 2)
        .ok_or_else(|| OpError::new(format!("weight_hh {weight} must be [4 × hidden, hidden], of a known size")))?;
    let rows = |n: usize| n_hidden.checked_mul(n).map(Dim::Size).ok_or_else(|| OpError::new("it is too large"));
    let (gates, state) = (rows(4)?, rows(n_directions)?);
    let shapes = [
        ("weight_ih", vec![gates, x.shape[2]]),
        ("weight_hh", vec![gates, Dim::Size(n_hidden)]),
        ("bias", vec![gates]),
        ("peephole", vec![rows(3)?]),
    ];
    let backwards = ["weight_ih_back", "weight_hh_back", "bias_back", "peephole_back"];
    for ((name, shape), back) in shapes.iter().zip(backwards) {
        for (name, tensor) in [(*name, o.optional_tensor(name)), (back, o.optional_tensor(back))] {
            let Some(tensor) = tensor else { continue };
            ensure!(agree(&tensor.shape, shape), "{name} {tensor} must have the shape {}", show(shape));
        }
        ensure!(is_both || !o.has(back), "{back} goes with the direction bidirectional alone");
        let needs = is_both && (o.has(name) || name.starts_with("weight"));
        ensure!(!needs || o.has(back), "the direction bidirectional needs {back} too");
    }
    let expected = [x.shape[1], state];
    for (name, tensor) in [("initial_h", h), ("initial_c", o.tensor("initial_c")?)] {
        ensure!(agree(&tensor.shape, &expected), "{name} {tensor} must have the shape {}", show(&expected));
    }
    let n_steps = if o.known_bool("output_sequence")? { x.shape[0] } else { Dim::Size(1) };
    let of = |shape: Vec<Dim>| Type::Tensor(TensorType { dtype: x.dtype, shape });
    Ok(vec![of(vec![n_steps, x.shape[1], state]), of(expected.to_vec()), of(expected.to_vec())])
}
