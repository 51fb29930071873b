//! Recurrence: one step after another over a sequence.

use super::{
    call::{Call, Results},
    kernels::{Kernel, computes},
    value::{Tensor, filled},
};
use crate::OpFault;

pub(super) const KERNELS: &[Kernel] = &[computes("lstm", lstm)];

/// `i, f, o = r(W·x + R·h + b + p ∘ c)`, `z = g(W·x + R·h + b)`, `c = f ∘ c + i ∘ z`, `h = o ∘ a(c)`, where the
/// output gate sees the new cell.
fn lstm(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let (h, c) = (call.take("initial_h")?, call.take("initial_c")?);
    let rule = "x must be [steps, samples, features], and the states [samples, hidden] for each direction";
    let fault = || OpFault::shapes(rule, &[x.shape(), h.shape(), c.shape()]);
    let (&[n_steps, n_samples, n_in], &[n, width]) = (x.shape(), h.shape()) else { return Err(fault()) };
    let direction = call.text("direction")?;
    let directions: &[(&str, bool)] = match direction {
        "forward" => &[("", false)],
        "reverse" => &[("", true)],
        _ => &[("", false), ("_back", true)],
    };
    let n_hidden = width / directions.len();
    if n != n_samples || c.shape() != h.shape() || n_hidden * directions.len() != width {
        return Err(fault());
    }
    let keeps_all = call.flag("output_sequence")?;
    let n_kept = if keeps_all { n_steps } else { 1 };
    let mut all = filled(call.count(&[n_kept, n_samples, width])?, 0f32)?;
    let (mut h, mut c) = (h.floats()?.to_vec(), c.floats()?.to_vec());
    for (i, (suffix, is_back)) in directions.iter().enumerate() {
        let cell = Cell::of(call, suffix, n_in, n_hidden)?;
        for step in 0..n_steps {
            if call.stop.is_set() {
                break;
            }
            let at = if *is_back { n_steps - 1 - step } else { step };
            for sample in 0..n_samples {
                let x = &x.floats()?[(at * n_samples + sample) * n_in..][..n_in];
                let state = sample * width + i * n_hidden..sample * width + (i + 1) * n_hidden;
                cell.step(x, &mut h[state.clone()], &mut c[state.clone()]);
                if keeps_all || step + 1 == n_steps {
                    let kept = if keeps_all { at } else { 0 };
                    let row = kept * n_samples * width;
                    all[row + state.start..row + state.end].copy_from_slice(&h[state]);
                }
            }
        }
    }
    let shape = [n_samples, width];
    Ok(vec![Tensor::new([n_kept, n_samples, width], all), Tensor::new(shape, h), Tensor::new(shape, c)])
}

/// What one direction multiplies by; gates are input, forget, output and cell.
struct Cell {
    weight: Tensor,
    recurrent: Tensor,
    bias: Option<Tensor>,
    peephole: Option<Tensor>,
    gate: Activation,
    candidate: Activation,
    output: Activation,
    clip: Option<f32>,
}

type Activation = fn(f32) -> f32;

impl Cell {
    fn of(call: &Call<'_>, suffix: &str, n_in: usize, n_hidden: usize) -> Result<Self, OpFault> {
        let named = |name: &str| format!("{name}{suffix}");
        let cell = Self {
            weight: call.tensor(&named("weight_ih"))?,
            recurrent: call.tensor(&named("weight_hh"))?,
            bias: call.optional(&named("bias"))?,
            peephole: call.optional(&named("peephole"))?,
            gate: activation(call.text("recurrent_activation")?),
            candidate: activation(call.text("cell_activation")?),
            output: activation(call.text("activation")?),
            clip: call.has("clip").then(|| call.float("clip")).transpose()?,
        };
        let of = |t: &Option<Tensor>, n| t.as_ref().is_none_or(|t| t.len() == n);
        let fits = cell.weight.shape() == [4 * n_hidden, n_in] && cell.recurrent.shape() == [4 * n_hidden, n_hidden];
        if !fits || !of(&cell.bias, 4 * n_hidden) || !of(&cell.peephole, 3 * n_hidden) {
            let rule = "weights must be [4 × hidden, features] and [4 × hidden, hidden]";
            return Err(OpFault::shapes(rule, &[cell.weight.shape(), cell.recurrent.shape()]));
        }
        Ok(cell)
    }

    /// Takes the states of one sample one step further.
    fn step(&self, x: &[f32], h: &mut [f32], c: &mut [f32]) {
        let n = h.len();
        let gates: Vec<f32> = (0..4 * n).map(|row| self.sum(row, x, h)).collect();
        let peep = |gate: usize, i: usize, c: f32| self.peephole.as_ref().map_or(0.0, |p| at(p, gate * n + i) * c);
        for i in 0..n {
            let input = (self.gate)(gates[i] + peep(0, i, c[i]));
            let forget = (self.gate)(gates[n + i] + peep(1, i, c[i]));
            let candidate = (self.candidate)(gates[3 * n + i]);
            let cell = forget * c[i] + input * candidate;
            c[i] = self.clip.map_or(cell, |limit| cell.clamp(-limit.abs(), limit.abs()));
            h[i] = (self.gate)(gates[2 * n + i] + peep(2, i, c[i])) * (self.output)(c[i]);
        }
    }

    fn sum(&self, row: usize, x: &[f32], h: &[f32]) -> f32 {
        let product = |weight: &Tensor, v: &[f32]| {
            let row = weight.floats().map(|w| &w[row * v.len()..][..v.len()]).unwrap_or_default();
            row.iter().zip(v).map(|(&w, &v)| f64::from(w) * f64::from(v)).sum::<f64>()
        };
        let bias = self.bias.as_ref().map_or(0.0, |b| at(b, row));
        (product(&self.weight, x) + product(&self.recurrent, h) + f64::from(bias)) as f32
    }
}

fn at(tensor: &Tensor, i: usize) -> f32 {
    tensor.floats().ok().and_then(|values| values.get(i)).copied().unwrap_or_default()
}

fn activation(name: &str) -> Activation {
    match name {
        "linear" => |x| x,
        "relu" => |x| x.max(0.0),
        "sigmoid" => |x| 1.0 / (1.0 + (-x).exp()),
        _ => f32::tanh,
    }
}

#[cfg(test)]
mod tests {
    use crate::reference::testing::{eval, f};
    use host_tensor::HostTensor;
    use testkit::assert_all_close;

    /// Weights that count, small enough not to saturate.
    fn weights(shape: [usize; 2], scale: f32) -> HostTensor {
        let n = shape[0] * shape[1];
        f(shape, &(0..n).map(|i| (i as f32 - n as f32 / 2.0) * scale).collect::<Vec<_>>())
    }

    #[test]
    fn a_step_is_the_formula() {
        let (x, h, c) = (0.5f32, 0.25f32, -0.5f32);
        let result = eval!(
            "lstm",
            x = f([1, 1, 1], &[x]),
            initial_h = f([1, 1], &[h]),
            initial_c = f([1, 1], &[c]),
            weight_ih = f([4, 1], &[0.1, 0.2, 0.3, 0.4]),
            weight_hh = f([4, 1], &[-0.1, 0.5, 0.7, -0.3]),
            bias = f([4], &[0.01, 0.02, 0.03, 0.04]),
        )
        .unwrap();
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let gate = |w: f32, r: f32, b: f32| w * x + r * h + b;
        let cell = sigmoid(gate(0.2, 0.5, 0.02)) * c + sigmoid(gate(0.1, -0.1, 0.01)) * gate(0.4, -0.3, 0.04).tanh();
        let hidden = sigmoid(gate(0.3, 0.7, 0.03)) * cell.tanh();
        assert_eq!(result[0].shape(), [1, 1, 1]);
        assert_all_close("hidden", &result[1].to_f32_vec(), &[hidden], 0.0, 1e-6);
        assert_all_close("cell", &result[2].to_f32_vec(), &[cell], 0.0, 1e-6);
    }

    #[test]
    fn both_directions_are_each_and_a_sequence_ends_with_the_state() {
        let x = f([3, 2, 2], &(0..12).map(|i| i as f32 * 0.1).collect::<Vec<_>>());
        let zeros = |width| f([2, width], &vec![0.0; 2 * width]);
        let run = |direction: &str| {
            eval!(
                "lstm",
                x = x.clone(),
                initial_h = zeros(3),
                initial_c = zeros(3),
                weight_ih = weights([12, 2], 0.05),
                weight_hh = weights([12, 3], 0.03),
                direction = direction,
                output_sequence = true,
            )
            .unwrap()
        };
        let both = eval!(
            "lstm",
            x = x.clone(),
            initial_h = zeros(6),
            initial_c = zeros(6),
            weight_ih = weights([12, 2], 0.05),
            weight_hh = weights([12, 3], 0.03),
            weight_ih_back = weights([12, 2], 0.05),
            weight_hh_back = weights([12, 3], 0.03),
            direction = "bidirectional",
            output_sequence = true,
        )
        .unwrap();
        let (forward, reverse) = (run("forward"), run("reverse"));
        let joined: Vec<f32> = (0..6)
            .flat_map(|row| [&forward, &reverse].map(|r| r[0].to_f32_vec()[row * 3..][..3].to_vec()).concat())
            .collect();
        assert_eq!(both[0].to_f32_vec(), joined);
        assert_eq!(forward[0].to_f32_vec()[4 * 3..], forward[1].to_f32_vec());
        assert_eq!(reverse[0].to_f32_vec()[..6], reverse[1].to_f32_vec());
        assert_ne!(forward[1].to_f32_vec(), reverse[1].to_f32_vec());
    }
}
