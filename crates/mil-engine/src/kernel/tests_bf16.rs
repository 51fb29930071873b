//! Products in bf16 beside their definition in `f64`, in each form that the machine has.

use super::{
    Isa,
    bf16::{Emulated, STEP, Tiles},
    bf16_gemm,
    epilogue::Epilogue,
    gemm::{Gate, Gemm},
    kernels,
    math::Activation,
    portable::Portable,
    weights::{Matrix, Store},
};
use half::{bf16, f16};
use host_tensor::Bytes;
use std::sync::Arc;
use testkit::Rng;

type Item = unsafe fn(&Gemm, usize, *mut f32);
type Round = unsafe fn(*const f32, usize, *mut u16, *mut u16);

/// Tiles as high as the largest of hardware, on any machine.
type HighTiles = Emulated<Portable, 32>;

/// Every form of products: its name, operands in one part, operands in two.
fn forms() -> Vec<(String, Item, Item)> {
    let of_isa = |isa: Isa| (isa.to_string(), kernels(isa).gemm_bf16, kernels(isa).gemm_bf16x3);
    let mut forms: Vec<(String, Item, Item)> = Isa::available().into_iter().map(of_isa).collect();
    #[cfg(target_arch = "x86_64")]
    if Isa::available().contains(&Isa::Avx512) {
        // What a machine without AVX512-BF16 uses.
        forms.push(("avx512 emulated".into(), super::AVX512.gemm_bf16, super::AVX512.gemm_bf16x3));
    }
    forms.push(("high tiles".into(), bf16_gemm::item::<HighTiles, false>, bf16_gemm::item::<HighTiles, true>));
    forms
}

/// A product with everything that an epilogue can add, in each form and precision.
fn check((m, n, k): (usize, usize, usize), gate: Gate) {
    let mut rng = Rng::new((m * 31 + n * 7 + k) as u64);
    let a = rng.normals(m * (k + 3));
    let halves: Vec<f16> = rng.normals(n * k).into_iter().map(f16::from_f32).collect();
    let store = Store::F16(Bytes::from(halves.iter().flat_map(|h| h.to_le_bytes()).collect::<Vec<u8>>()));
    let w = Arc::new(Matrix { rows: n, cols: k, store });
    let n_out = if gate == Gate::None { n } else { n / 2 };
    let (bias, residual) = (rng.normals(n), rng.normals(m * n_out));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    // With operands rounded by `round`.
    let want = |round: &dyn Fn(f32) -> f64| -> Vec<f64> {
        let x: Vec<f64> = a.iter().map(|&v| round(v)).collect();
        let y: Vec<f64> = halves.iter().map(|v| round(v.to_f32())).collect();
        let sum = |r: usize, c: usize| {
            let products = x[r * (k + 3)..][..k].iter().zip(&y[c * k..][..k]).map(|(x, y)| x * y);
            products.sum::<f64>() + f64::from(bias[c])
        };
        let one = |r: usize, c: usize| match gate {
            Gate::None => sum(r, c) + f64::from(residual[r * n + c]),
            Gate::First => sum(r, n_out + c) * sum(r, c) * sigmoid(sum(r, c)),
            Gate::Second => sum(r, c) * sum(r, n_out + c) * sigmoid(sum(r, n_out + c)),
        };
        (0..m * n_out).map(|i| one(i / n_out, i % n_out)).collect()
    };
    let (rounded, exact) = (want(&|v| bf16::from_f32(v).to_f64()), want(&f64::from));
    for (name, single, double) in forms() {
        for (kernel, want, tolerance) in [(single, &rounded, 1e-5), (double, &exact, 3e-5)] {
            let mut out = vec![f32::NAN; m * n_out];
            let mut scratch = vec![f32::NAN; bf16_gemm::SCRATCH];
            let plain = gate == Gate::None;
            let epilogue = Epilogue {
                bias: bias.as_ptr(),
                residual: if plain { residual.as_ptr() } else { std::ptr::null() },
                residual_row: n_out,
                activation: if plain { Activation::Identity } else { Activation::Silu },
                ..Epilogue::NONE
            };
            let (w, out_row) = (w.clone(), n_out);
            let g = Gemm {
                m,
                a: a.as_ptr(),
                a_row: k + 3,
                w,
                out: out.as_mut_ptr(),
                out_row,
                epilogue,
                gate,
                first_row: 0,
                threads: 1,
                after: None,
            };
            // SAFETY: the operands are as large as the sizes say, and the forms exist.
            (0..bf16_gemm::items(&g)).for_each(|i| unsafe { kernel(&g, i, scratch.as_mut_ptr()) });
            let largest = want.iter().fold(1f64, |l, v| l.max(v.abs()));
            for (i, (w, &o)) in want.iter().zip(&out).enumerate() {
                let near = (w - f64::from(o)).abs() <= tolerance * largest;
                assert!(near, "{name} {m}×{n}×{k} {gate:?} {tolerance}: element {i} is {o}, expected {w}");
            }
        }
    }
}

#[test]
fn products_are_those_of_rounded_operands_and_of_two_parts_nearly_exact() {
    let sizes = [(5, 1, 16), (12, 64, 33), (29, 100, 700), (600, 33, 20), (77, 130, 64), (1100, 1000, 40)];
    sizes.into_iter().for_each(|size| check(size, Gate::None));
}

#[test]
fn gates_multiply_one_half_by_the_activation_of_the_other() {
    check((9, 66, 24), Gate::Second);
    check((40, 140, 330), Gate::First);
    check((1100, 1400, 16), Gate::Second);
}

#[test]
fn large_products_have_wider_items() {
    let store = Store::F16(Bytes::from(Vec::new()));
    let items = |m: usize, rows: usize| {
        let w = Arc::new(Matrix { rows, cols: 0, store: store.clone() });
        let (a, out) = (std::ptr::null(), std::ptr::null_mut());
        let g = Gemm {
            m,
            a,
            a_row: 0,
            w,
            out,
            out_row: 0,
            epilogue: Epilogue::NONE,
            gate: Gate::None,
            first_row: 0,
            threads: 1,
            after: None,
        };
        (g.items(), bf16_gemm::items(&g))
    };
    assert_eq!(items(3, 100), (2, 2), "left to the other kernel");
    assert_eq!(items(512, 1280), (20, 20), "few items keep their width");
    assert_eq!(items(8192, 320), (80, 48));
    assert_eq!(items(8192, 2560), (640, 320));
}

#[test]
fn rounding_is_to_nearest_even_and_low_parts_hold_the_rest() {
    let mut x = Rng::new(5).normals(1000);
    // Ties, the largest number, one that rounds to infinity, and what is no number.
    x.extend([1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -(1.0 + 1.0 / 256.0), f32::MAX, 3.3e38, 0.0, -0.0]);
    x.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN]);
    let mut forms: Vec<(&str, Round)> = vec![("portable", Emulated::<Portable>::round)];
    #[cfg(target_arch = "x86_64")]
    if Isa::Avx512.multiplies_bf16() {
        forms.push(("avx512bf16", super::bf16::Avx512Bf16::round));
    }
    let padded = x.len().next_multiple_of(STEP);
    for (name, round) in forms {
        let (mut high, mut low) = (vec![7u16; padded], vec![7u16; padded]);
        // SAFETY: both parts have room for the padding, and the forms exist.
        unsafe { round(x.as_ptr(), x.len(), high.as_mut_ptr(), low.as_mut_ptr()) };
        assert!(high[x.len()..].iter().chain(&low[x.len()..]).all(|&v| v == 0), "{name}: padding");
        for ((&x, &high), &low) in x.iter().zip(&high).zip(&low) {
            let (kept, rest) = (bf16::from_bits(high), bf16::from_bits(low));
            let want = bf16::from_f32(x);
            assert!(kept == want || (kept.is_nan() && want.is_nan()), "{name}: {x} became {kept}, not {want}");
            let want = if want.is_finite() { bf16::from_f32(x - want.to_f32()) } else { bf16::ZERO };
            assert_eq!(rest, want, "{name}: what is left of {x}");
        }
    }
}
