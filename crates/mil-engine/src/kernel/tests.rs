//! Every kernel beside its scalar twin in `f64`, on each instruction set of the machine.

use super::{
    Isa, Kernels,
    attention::{self, Attention},
    epilogue::Epilogue,
    gemm::{self, Gate, Gemm},
    kernels,
    math::Activation,
    weights::{Matrix, Store},
    winograd::{self, Winograd},
};
use half::f16;
use host_tensor::Bytes;
use std::sync::Arc;
use testkit::Rng;

fn each_isa(test: impl Fn(Isa, &Kernels)) {
    Isa::available().into_iter().for_each(|isa| test(isa, kernels(isa)));
}

/// Halves as stored weights, and their values.
fn weights(rng: &mut Rng, rows: usize, cols: usize) -> (Arc<Matrix>, Vec<f64>) {
    let halves: Vec<f16> = rng.normals(rows * cols).into_iter().map(f16::from_f32).collect();
    let bytes: Vec<u8> = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
    let store = Store::F16(Bytes::from(bytes));
    (Arc::new(Matrix { rows, cols, store }), halves.iter().map(|h| h.to_f64()).collect())
}

/// Fails unless the error is small beside the largest result.
#[track_caller]
fn near(what: &str, want: &[f64], got: &[f32], tolerance: f64) {
    assert_eq!(want.len(), got.len());
    let largest = want.iter().fold(1f64, |m, v| m.max(v.abs()));
    for (i, (w, &g)) in want.iter().zip(got).enumerate() {
        assert!((w - f64::from(g)).abs() <= tolerance * largest, "{what}: element {i} is {g}, expected {w}");
    }
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

#[test]
fn products_are_sums_of_products_with_their_epilogue() {
    let mut rng = Rng::new(1);
    for (m, n, k) in [(1, 5, 7), (3, 70, 1030), (5, 1, 16), (12, 64, 33), (29, 100, 500), (600, 33, 20)] {
        let a = rng.normals(m * (k + 3));
        let (w, dense) = weights(&mut rng, n, k);
        let (bias, residual, per_batch) = (rng.normals(n), rng.normals(m * (n + 2)), rng.normals(2 * n));
        let per = m.div_ceil(2);
        let mut want = Vec::new();
        for r in 0..m {
            for c in 0..n {
                let sum: f64 = (0..k).map(|i| f64::from(a[r * (k + 3) + i]) * dense[c * k + i]).sum();
                let y = 0.5 * (sum + f64::from(bias[c])) + f64::from(per_batch[r / per * n + c]);
                want.push(silu(y + f64::from(residual[r * (n + 2) + c])));
            }
        }
        each_isa(|isa, kernels| {
            let mut out = vec![f32::NAN; m * n];
            let mut scratch = vec![f32::NAN; gemm::SCRATCH];
            let g = Gemm {
                m,
                a: a.as_ptr(),
                a_row: k + 3,
                w: w.clone(),
                out: out.as_mut_ptr(),
                out_row: n,
                epilogue: Epilogue {
                    bias: bias.as_ptr(),
                    scale: 0.5,
                    per_batch: per_batch.as_ptr(),
                    batch_stride: n,
                    rows_per_batch: per,
                    residual: residual.as_ptr(),
                    residual_row: n + 2,
                    activation: Activation::Silu,
                },
                gate: Gate::None,
                first_row: 0,
                threads: 1,
                after: None,
            };
            // SAFETY: the operands are as large as the sizes say.
            (0..g.items()).for_each(|i| unsafe { (kernels.gemm)(&g, i, scratch.as_mut_ptr()) });
            near(&format!("{isa} {m}×{n}×{k}"), &want, &out, 1e-5);
        });
    }
}

#[test]
fn gates_multiply_one_half_by_the_activation_of_the_other() {
    let mut rng = Rng::new(2);
    for (m, n, k, gate) in [(2, 10, 40, Gate::First), (9, 66, 24, Gate::Second), (40, 140, 300, Gate::First)] {
        let a = rng.normals(m * k);
        let (w, dense) = weights(&mut rng, n, k);
        let bias = rng.normals(n);
        let half = n / 2;
        let sum = |r: usize, c: usize| -> f64 {
            (0..k).map(|i| f64::from(a[r * k + i]) * dense[c * k + i]).sum::<f64>() + f64::from(bias[c])
        };
        let (value, gated) = if gate == Gate::First { (half, 0) } else { (0, half) };
        let want: Vec<f64> =
            (0..m * half).map(|i| sum(i / half, value + i % half) * silu(sum(i / half, gated + i % half))).collect();
        each_isa(|isa, kernels| {
            let mut out = vec![f32::NAN; m * half];
            let mut scratch = vec![f32::NAN; gemm::SCRATCH];
            let epilogue = Epilogue { bias: bias.as_ptr(), activation: Activation::Silu, ..Epilogue::NONE };
            let (a, out_at) = (a.as_ptr(), out.as_mut_ptr());
            let g = Gemm {
                m,
                a,
                a_row: k,
                w: w.clone(),
                out: out_at,
                out_row: half,
                epilogue,
                gate,
                first_row: 0,
                threads: 1,
                after: None,
            };
            // SAFETY: the operands are as large as the sizes say.
            (0..g.items()).for_each(|i| unsafe { (kernels.gemm)(&g, i, scratch.as_mut_ptr()) });
            near(&format!("{isa} {m}×{n}×{k} {gate:?}"), &want, &out, 1e-5);
        });
    }
}

#[test]
fn winograd_is_the_direct_convolution() {
    let mut rng = Rng::new(3);
    let cases = [(1, 8, 5, 4, 4, 1), (2, 20, 33, 5, 7, 1), (1, 70, 40, 9, 3, 0), (1, 16, 3, 13, 40, 2)];
    for (b, ci, co, h, w, pad) in cases {
        let x = rng.normals(b * h * w * ci);
        let (filters, dense) = weights(&mut rng, co, ci * 9);
        let (oh, ow) = (h + 2 * pad - 2, w + 2 * pad - 2);
        let mut want = Vec::new();
        for (n, y, z) in (0..b * oh * ow).map(|i| (i / (oh * ow), i / ow % oh, i % ow)) {
            for o in 0..co {
                let mut sum = 0.0;
                for (c, i, j) in (0..ci * 9).map(|t| (t / 9, t / 3 % 3, t % 3)) {
                    let (r, s) = ((y + i).wrapping_sub(pad), (z + j).wrapping_sub(pad));
                    if r < h && s < w {
                        sum += f64::from(x[((n * h + r) * w + s) * ci + c]) * dense[(o * ci + c) * 9 + i * 3 + j];
                    }
                }
                want.push(sum);
            }
        }
        let tiles = b * oh.div_ceil(4) * ow.div_ceil(4);
        for part in [tiles, tiles.div_ceil(2).max(1)] {
            each_isa(|isa, kernels| {
                let mut out = vec![f32::NAN; want.len()];
                let mut v = vec![f32::NAN; winograd::transformed(part, ci)];
                let mut scratch = vec![f32::NAN; winograd::SCRATCH];
                for first in (0..tiles).step_by(part) {
                    let w = Winograd {
                        out_size: [oh, ow],
                        in_size: [h, w],
                        pad: [pad, pad],
                        x: x.as_ptr(),
                        x_strides: [h * w * ci, w * ci, ci],
                        w: filters.clone(),
                        out: out.as_mut_ptr(),
                        out_strides: [oh * ow * co, ow * co, co],
                        epilogue: Epilogue::NONE,
                        v: v.as_mut_ptr(),
                        first,
                        tiles: part.min(tiles - first),
                    };
                    // SAFETY: the operands are as large as the sizes say.
                    (0..w.input_items()).for_each(|i| unsafe { (kernels.winograd_input)(&w, i) });
                    // SAFETY: as above; the inputs are transformed.
                    (0..w.items()).for_each(|i| unsafe { (kernels.winograd)(&w, i, scratch.as_mut_ptr()) });
                }
                near(&format!("{isa} {ci}→{co} at {h}×{w}, {part} tiles"), &want, &out, 1e-5);
            });
        }
    }
}

#[test]
fn attention_is_its_definition_with_any_strides() {
    let mut rng = Rng::new(4);
    let shapes = [(1, 2, 3, 5, 4, 4), (2, 3, 40, 77, 40, 24), (1, 1, 130, 300, 17, 33), (1, 2, 9, 70, 300, 260)];
    // With and without a mask; and with later keys that are so much larger that their scores are far above the rest.
    for ((b, h, nq, nk, d, dv), (is_masked, growth)) in
        shapes.into_iter().flat_map(|shape| [(true, 1.0), (false, 1.0), (false, 40.0)].map(|way| (shape, way)))
    {
        let (q, mut k, v) = (rng.normals(b * nq * h * d), rng.normals(b * nk * h * d), rng.normals(b * h * dv * nk));
        k.iter_mut().skip(b * nk * h * d / 2).for_each(|k| *k *= growth);
        let mask: Vec<f32> = (0..nq * nk).map(|i| if i % 7 == 3 { f32::NEG_INFINITY } else { 0.1 }).collect();
        let mut want = vec![0f64; b * nq * h * dv];
        for (n, g, i) in (0..b * h * nq).map(|t| (t / (h * nq), t / nq % h, t % nq)) {
            let score = |j: usize| {
                let dot: f64 = (0..d)
                    .map(|e| {
                        f64::from(q[((n * nq + i) * h + g) * d + e]) * f64::from(k[((n * nk + j) * h + g) * d + e])
                    })
                    .sum();
                dot * 0.3 + if is_masked { f64::from(mask[i * nk + j]) } else { 0.0 }
            };
            let max = (0..nk).map(score).fold(f64::NEG_INFINITY, f64::max);
            let w: Vec<f64> = (0..nk).map(|j| (score(j) - max).exp()).collect();
            let total: f64 = w.iter().sum();
            for e in 0..dv {
                let y: f64 = (0..nk).map(|j| w[j] * f64::from(v[((n * h + g) * dv + e) * nk + j])).sum();
                want[((n * nq + i) * h + g) * dv + e] = y / total;
            }
        }
        each_isa(|isa, kernels| {
            let mut out = vec![f32::NAN; want.len()];
            let mut scratch = vec![f32::NAN; attention::scratch([d, dv])];
            let a = Attention {
                batch: [b, h],
                lengths: [nq, nk],
                dims: [d, dv],
                q: q.as_ptr(),
                q_strides: [nq * h * d, d, h * d, 1],
                k: k.as_ptr(),
                k_strides: [nk * h * d, d, h * d, 1],
                v: v.as_ptr(),
                // Values lie with their tokens innermost.
                v_strides: [h * dv * nk, dv * nk, 1, nk],
                mask: if is_masked { mask.as_ptr() } else { std::ptr::null() },
                mask_strides: [0, 0, nk, 1],
                out: out.as_mut_ptr(),
                out_strides: [nq * h * dv, dv, h * dv, 1],
                scale: 0.3,
                nothing: 0.0,
            };
            // SAFETY: the operands are as large as the sizes say.
            (0..a.items()).for_each(|i| unsafe { (kernels.attention)(&a, i, scratch.as_mut_ptr()) });
            near(&format!("{isa} {nq}×{nk}×{d}, {growth}"), &want, &out, 1e-5 * f64::from(growth));
        });
    }
}

#[test]
fn a_query_that_may_attend_to_nothing_gets_what_was_asked() {
    let ones = [1f32; 8];
    let mask = [f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0, 0.0];
    each_isa(|isa, kernels| {
        let mut out = [7f32; 4];
        let mut scratch = vec![0f32; attention::scratch([2, 2])];
        let strides = [0, 0, 2, 1];
        let a = Attention {
            batch: [1, 1],
            lengths: [2, 2],
            dims: [2, 2],
            q: ones.as_ptr(),
            q_strides: strides,
            k: ones.as_ptr(),
            k_strides: strides,
            v: ones.as_ptr(),
            v_strides: strides,
            mask: mask.as_ptr(),
            mask_strides: strides,
            out: out.as_mut_ptr(),
            out_strides: strides,
            scale: 1.0,
            nothing: -3.0,
        };
        // SAFETY: the operands are as large as the sizes say.
        unsafe { (kernels.attention)(&a, 0, scratch.as_mut_ptr()) };
        assert_eq!(out, [-3.0, -3.0, 1.0, 1.0], "{isa}");
    });
}

#[test]
fn activations_are_as_near_as_they_say() {
    use super::map::{Map, Op};
    let erf = |x: f64| libm::erf(x);
    /// What is computed, its definition, and the error that is allowed.
    type Case = (Op, fn(f64) -> f64, f64);
    let functions: [Case; 11] = [
        (Op::Exp, f64::exp, 3e-7),
        (Op::Steps(0.125), |x| (x / 0.125).round_ties_even().clamp(-128.0, 127.0) * 0.125, 0.0),
        (Op::Unary(Activation::Silu), silu, 2e-7),
        (Op::Unary(Activation::Sigmoid), |x| 1.0 / (1.0 + (-x).exp()), 2e-7),
        (Op::Unary(Activation::Tanh), f64::tanh, 3e-7),
        (Op::Unary(Activation::Gelu), |x| 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt())), 2e-7),
        (
            Op::Unary(Activation::GeluTanh),
            |x| 0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)).tanh()),
            4e-7,
        ),
        (Op::Unary(Activation::LeakyRelu(0.2)), |x| if x < 0.0 { f64::from(0.2f32) * x } else { x }, 2e-7),
        (Op::Unary(Activation::Swish(1.702)), |x| x / (1.0 + (-1.702 * x).exp()), 2e-7),
        (Op::Unary(Activation::Relu), |x| x.max(0.0), 0.0),
        (Op::Square, |x| x * x, 1e-7),
    ];
    assert!((erf(0.5) - 0.520_499_877_813_046_5).abs() < 1e-15);
    let x: Vec<f32> = (-4000..4000).map(|i| i as f32 / 200.0).collect();
    each_isa(|isa, kernels| {
        for (op, want, tolerance) in functions {
            let mut out = vec![f32::NAN; x.len()];
            let m = Map {
                op,
                shape: vec![x.len()],
                x: x.as_ptr(),
                x_strides: vec![1],
                y: std::ptr::null(),
                y_strides: vec![0],
                out: out.as_mut_ptr(),
                out_strides: vec![1],
            };
            // SAFETY: both sides hold as many elements as the shape says.
            (0..m.items()).for_each(|i| unsafe { (kernels.map)(&m, i) });
            for (&x, &y) in x.iter().zip(&out) {
                let want = want(f64::from(x));
                let error = (want - f64::from(y)).abs();
                let unit = want.abs().max(f64::from(x).abs()).max(1.0);
                assert!(error <= tolerance * unit, "{isa} {op:?} of {x} is {y}, expected {want}");
            }
        }
    });
}

#[test]
fn copies_turn_and_repeat_as_strides_say() {
    use super::map::{Map, Op};
    let (a, b, c) = (7, 37, 21);
    let x: Vec<f32> = (0..a * b * c).map(|i| i as f32).collect();
    each_isa(|isa, kernels| {
        let mut out = vec![f32::NAN; a * b * c];
        // out[a][c][b] = x[a][b][c]
        let m = Map {
            op: Op::Unary(Activation::Identity),
            shape: vec![a, c, b],
            x: x.as_ptr(),
            x_strides: vec![b * c, 1, c],
            y: std::ptr::null(),
            y_strides: vec![0; 3],
            out: out.as_mut_ptr(),
            out_strides: vec![b * c, b, 1],
        };
        // SAFETY: both sides hold as many elements as the shape says.
        (0..m.items()).for_each(|i| unsafe { (kernels.map)(&m, i) });
        let want = |i: usize| x[i / (b * c) * b * c + i % b * c + i / b % c];
        assert!((0..a * b * c).all(|i| out[i] == want(i)), "{isa}");
    });
}
