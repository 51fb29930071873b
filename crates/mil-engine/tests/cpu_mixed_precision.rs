//! Attention whose scores are in another precision than its products: the fast engine still does it in one step.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use host_tensor::{DType, HostTensor, Stop};
use mil::text::{NoBlobs, parse};
use mil_engine::{
    cpu::{Cpu, Options},
    reference::{self, Reference},
};
use std::collections::BTreeMap;
use testkit::Rng;

const CAST: &str = r#"dtype = string("fp32")"#;
const HALF: &str = r#"dtype = string("fp16")"#;

/// Kernels of the plan for `body`, which makes `y` of `q`, `k` and `v` in f16, after a comparison with the plain engine.
#[track_caller]
fn kernels(body: &str) -> Vec<&'static str> {
    let signature = "tensor<fp16, [1, 2, 6, 8]> q, tensor<fp16, [1, 2, 5, 8]> k, tensor<fp16, [1, 2, 5, 8]> v";
    let text = format!("program(1.3) {{ func main<ios16>({signature}) {{ {body} }} -> (y); }}");
    let program = parse(&text, &NoBlobs).unwrap_or_else(|e| panic!("{e}"));
    let valid = mil::validate(&program).unwrap_or_else(|faults| panic!("{faults}"));
    let mut rng = Rng::new(7);
    let mut draw = |n: usize| HostTensor::from_f32([1, 2, n, 8], rng.normals(16 * n)).cast(DType::F16);
    let inputs: BTreeMap<String, HostTensor> =
        [("q", 6), ("k", 5), ("v", 5)].map(|(name, n)| (name.to_owned(), draw(n))).into();
    let plain = Reference::compile(valid, reference::Options::default()).unwrap().run(&inputs, &Stop::never()).unwrap();
    let fast = Cpu::compile(valid, Options::default()).unwrap();
    let (expected, actual) = (plain["y"].to_f32_vec(), fast.run(&inputs, &Stop::never()).unwrap()["y"].to_f32_vec());
    let worst = expected.iter().zip(&actual).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 2e-3, "{worst}");
    fast.summary().steps.iter().map(|step| step.kernel).filter(|&k| k != "import" && k != "export").collect()
}

#[test]
fn scores_in_full_precision_are_fused() {
    let body = format!(
        r#"tensor<fp32, [1, 2, 6, 8]> a = cast(x = q, {CAST});
           tensor<fp32, [1, 2, 5, 8]> b = cast(x = k, {CAST});
           tensor<fp32, [1, 2, 6, 5]> l = matmul(transpose_y = bool(true), x = a, y = b);
           tensor<fp32, [1, 2, 6, 5]> s = mul(x = l, y = fp32(0.5));
           tensor<fp32, [1, 2, 6, 5]> w = softmax(axis = int32(-1), x = s);
           tensor<fp16, [1, 2, 6, 5]> h = cast(x = w, {HALF});
           tensor<fp16, [1, 2, 6, 8]> y = matmul(x = h, y = v);"#
    );
    assert_eq!(kernels(&body).iter().filter(|&&k| k == "attention").count(), 1, "{:?}", kernels(&body));
    assert!(!kernels(&body).contains(&"reference"), "{:?}", kernels(&body));
}

#[test]
fn a_softmax_alone_in_full_precision_is_fused() {
    let body = format!(
        r#"tensor<fp16, [1, 2, 6, 5]> l = matmul(transpose_y = bool(true), x = q, y = k);
           tensor<fp32, [1, 2, 6, 5]> f = cast(x = l, {CAST});
           tensor<fp32, [1, 2, 6, 5]> w = softmax(axis = int32(-1), x = f);
           tensor<fp16, [1, 2, 6, 5]> h = cast(x = w, {HALF});
           tensor<fp16, [1, 2, 6, 8]> y = matmul(x = h, y = v);"#
    );
    assert_eq!(kernels(&body).iter().filter(|&&k| k == "attention").count(), 1, "{:?}", kernels(&body));
}

#[test]
fn weights_that_are_read_besides_are_not_fused() {
    let body = format!(
        r#"tensor<fp32, [1, 2, 6, 8]> a = cast(x = q, {CAST});
           tensor<fp32, [1, 2, 5, 8]> b = cast(x = k, {CAST});
           tensor<fp32, [1, 2, 6, 5]> l = matmul(transpose_y = bool(true), x = a, y = b);
           tensor<fp32, [1, 2, 6, 5]> w = softmax(axis = int32(-1), x = l);
           tensor<fp16, [1, 2, 6, 5]> h = cast(x = w, {HALF});
           tensor<fp16, [1, 2, 6, 8]> c = matmul(x = h, y = v);
           tensor<fp16, [1, 2, 6, 1]> r = reduce_sum(x = h, axes = tensor<int32, [1]>([3]), keep_dims = bool(true));
           tensor<fp16, [1, 2, 6, 8]> y = add(x = c, y = r);"#
    );
    assert!(!kernels(&body).contains(&"attention"), "{:?}", kernels(&body));
}
