//! Activations of 8 bits, as text to text, and as they are computed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use expect_test::{Expect, expect};
use host_tensor::{HostTensor, Stop};
use mil::{
    Program,
    text::{Dialect, NoBlobs, PrintOptions, parse, print},
    validate,
};
use mil_compress::{Limits, WorkKind, n_fused_attentions, quantizable, quantize_activations};
use mil_engine::{cpu, reference};
use std::collections::{BTreeMap, BTreeSet};

fn program(opset: &str, text: &str) -> Program {
    let program = parse(&format!("program(1) {{ func main<{opset}>{text}; }}"), &NoBlobs).unwrap();
    if let Err(faults) = validate(&program) {
        panic!("not valid before: {faults}");
    }
    program
}

/// All operations that can be, with all values between -2 and 2.
fn all(program: &Program) -> (BTreeSet<(String, String)>, Limits) {
    let ops = quantizable(program);
    let limits = ops.iter().flat_map(|op| op.activations.iter().map(|a| ((op.function.clone(), a.value.clone()), 2.0)));
    (ops.iter().map(|op| (op.function.clone(), op.name.clone())).collect(), limits.collect())
}

/// The operations of the only function, without names and constants.
fn statements(program: &Program) -> String {
    let options = PrintOptions { dialect: Some(Dialect::Short), blob_threshold: usize::MAX };
    let text = print(program, &options).text;
    let ops = text.lines().filter(|line| line.contains(" = ") && !line.contains(" = const()"));
    ops.map(|line| line.trim().replace(";", "").split("[name").next().unwrap().to_owned() + ";\n").collect()
}

#[track_caller]
fn check(opset: &str, text: &str, expected: Expect) -> Program {
    let before = program(opset, text);
    let (ops, limits) = all(&before);
    let (after, _) = quantize_activations(&before, &ops, &limits).unwrap();
    assert!(validate(&after).is_ok());
    expected.assert_eq(&statements(&after));
    after
}

const LAYERS: &str = "(tensor<fp16, [1, 2, 2, 2]> x) {
    tensor<fp16, [3, 2, 1, 1]> w = const()[val = tensor<fp16, [3, 2, 1, 1]>([[[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]], [[[5.0]], [[6.0]]]])];
    tensor<fp16, [1, 2, 2, 2]> a = silu(x = x);
    tensor<fp16, [1, 3, 2, 2]> y = conv(x = a, weight = w, strides = tensor<int32, [2]>([1, 1]), pad_type = string(\"valid\"), pad = tensor<int32, [4]>([0, 0, 0, 0]), dilations = tensor<int32, [2]>([1, 1]), groups = int32(1));
    tensor<fp16, [1, 3, 2, 2]> z = conv(x = a, weight = w, strides = tensor<int32, [2]>([1, 1]), pad_type = string(\"valid\"), pad = tensor<int32, [4]>([0, 0, 0, 0]), dilations = tensor<int32, [2]>([1, 1]), groups = int32(1));
    tensor<fp16, [1, 2, 2, 2]> b = add(x = a, y = x);
} -> (y, z, b)";

#[test]
fn readers_share_one_pair_and_others_keep_the_value() {
    let after = check(
        "ios16",
        LAYERS,
        expect![[r#"
        tensor<fp16, [1, 2, 2, 2]> a = silu(x = x);
        tensor<int8, [1, 2, 2, 2]> a_quantized = quantize(input = a, output_dtype = a_quantized_output_dtype, scale = a_scale);
        tensor<fp16, [1, 2, 2, 2]> a_dequantized = dequantize(input = a_quantized, scale = a_scale);
        tensor<fp16, [1, 3, 2, 2]> y = conv(dilations = y_dilations, groups = y_groups, pad = y_pad, pad_type = y_pad_type, strides = y_strides, weight = w, x = a_dequantized);
        tensor<fp16, [1, 3, 2, 2]> z = conv(dilations = z_dilations, groups = z_groups, pad = z_pad, pad_type = z_pad_type, strides = z_strides, weight = w, x = a_dequantized);
        tensor<fp16, [1, 2, 2, 2]> b = add(x = a, y = x);
    "#]],
    );
    assert_eq!(after.main().unwrap().opset, mil::Opset::CoreML7);
}

#[test]
fn only_what_is_asked_for_is_quantized() {
    let before = program("ios17", LAYERS);
    let (_, limits) = all(&before);
    let ops = BTreeSet::from([("main".to_owned(), "z".to_owned())]);
    let (after, n) = quantize_activations(&before, &ops, &limits).unwrap();
    let text = statements(&after);
    assert!(n == 1 && text.contains("y = conv(dilations") && text.contains("x = a_dequantized"), "{text}");
    assert_eq!(text.matches("x = a_dequantized").count(), 1, "{text}");
    let (same, n) = quantize_activations(&before, &BTreeSet::new(), &limits).unwrap();
    assert_eq!((same, n), (before, 0));
}

#[test]
fn both_operands_of_attention_are_quantized_and_constants_are_weights() {
    let text = "(tensor<fp16, [1, 4, 1, 4]> q, tensor<fp16, [1, 4, 1, 4]> k) {
        tensor<fp16, [1, 4, 1, 4]> s = einsum(values = (q, k), equation = string(\"nchw,nwhu->nchu\"));
        tensor<fp16, [4, 4]> w = const()[val = tensor<fp16, [4, 4]>([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])];
        tensor<fp16, [1, 4, 1, 4]> m = matmul(x = s, y = w, transpose_x = bool(false), transpose_y = bool(false));
        tensor<fp16, [1, 4, 1, 1]> t = matmul(x = m, y = m, transpose_x = bool(false), transpose_y = bool(true));
    } -> (t)";
    let ops = quantizable(&program("ios17", text));
    let facts: Vec<_> =
        ops.iter().map(|op| (op.name.as_str(), op.work, op.weights.len(), op.multiplications)).collect();
    let want = [("s", WorkKind::Attention, 0, 64), ("m", WorkKind::Layer, 1, 64), ("t", WorkKind::Attention, 0, 16)];
    assert_eq!(facts, want);
    check(
        "ios17",
        text,
        expect![[r#"
        tensor<int8, [1, 4, 1, 4]> q_quantized = quantize(input = q, output_dtype = q_quantized_output_dtype, scale = q_scale);
        tensor<fp16, [1, 4, 1, 4]> q_dequantized = dequantize(input = q_quantized, scale = q_scale);
        tensor<int8, [1, 4, 1, 4]> k_quantized = quantize(input = k, output_dtype = q_quantized_output_dtype, scale = q_scale);
        tensor<fp16, [1, 4, 1, 4]> k_dequantized = dequantize(input = k_quantized, scale = q_scale);
        tensor<fp16, [1, 4, 1, 4]> s = einsum(equation = s_equation, values = (q_dequantized, k_dequantized));
        tensor<int8, [1, 4, 1, 4]> s_quantized = quantize(input = s, output_dtype = q_quantized_output_dtype, scale = q_scale);
        tensor<fp16, [1, 4, 1, 4]> s_dequantized = dequantize(input = s_quantized, scale = q_scale);
        tensor<fp16, [1, 4, 1, 4]> m = matmul(transpose_x = m_transpose_x, transpose_y = m_transpose_y, x = s_dequantized, y = w);
        tensor<int8, [1, 4, 1, 4]> m_quantized = quantize(input = m, output_dtype = q_quantized_output_dtype, scale = q_scale);
        tensor<fp16, [1, 4, 1, 4]> m_dequantized = dequantize(input = m_quantized, scale = q_scale);
        tensor<fp16, [1, 4, 1, 1]> t = matmul(transpose_x = t_transpose_x, transpose_y = t_transpose_y, x = m_dequantized, y = m_dequantized);
    "#]],
    );
}

#[test]
fn the_heads_of_an_attention_are_one_group() {
    let head = |n: usize| {
        format!(
            "tensor<fp16, [1, 4, 1, 4]> q{n} = transpose(x = h{n}, perm = tensor<int32, [4]>([0, 3, 2, 1]));
            tensor<fp16, [1, 4, 1, 4]> s{n} = einsum(values = (q{n}, k{n}), equation = string(\"nchw,nwhu->nchu\"));
            tensor<fp16, [1, 4, 1, 4]> p{n} = softmax(x = s{n}, axis = int32(3));
            tensor<fp16, [1, 4, 1, 4]> y{n} = einsum(values = (p{n}, v{n}), equation = string(\"nchw,nwhu->nchu\"));"
        )
    };
    let split = |of: &str, to: &str| {
        format!(
            "tensor<fp16, [1, 4, 1, 4]> {to}0, tensor<fp16, [1, 4, 1, 4]> {to}1 = \
             split(x = {of}, num_splits = int32(2), axis = int32(1));"
        )
    };
    let inputs = ["q", "k", "v"].map(|name| format!("tensor<fp16, [1, 8, 1, 4]> {name}")).join(", ");
    let (splits, heads) = ([split("q", "h"), split("k", "k"), split("v", "v")].concat(), head(0) + &head(1));
    let text = format!("({inputs}) {{ {splits} {heads} }} -> (y0, y1)");
    let groups: Vec<_> = quantizable(&program("ios17", &text)).into_iter().map(|op| (op.name, op.group)).collect();
    let want = [("s0", "s0"), ("y0", "y0"), ("s1", "s0"), ("y1", "y0")];
    assert_eq!(groups, want.map(|(name, group)| (name.to_owned(), group.to_owned())));
}

#[test]
fn decoded_integers_are_not_quantized_again() {
    let before = program("ios17", LAYERS);
    let (ops, limits) = all(&before);
    let (once, n) = quantize_activations(&before, &ops, &limits).unwrap();
    assert_eq!((n, quantizable(&once)), (1, Vec::new()));
    let (twice, n) = quantize_activations(&once, &ops, &limits).unwrap();
    assert_eq!((twice, n), (once, 0));
}

#[test]
fn attention_in_one_operation_is_out_of_reach() {
    let text = "(tensor<fp16, [1, 2, 4]> q, tensor<fp16, [1, 2, 4]> k) {
        tensor<fp16, [1, 2, 4]> y = scaled_dot_product_attention(query = q, key = k, value = k);
    } -> (y)";
    let before = program("ios18", text);
    assert_eq!((quantizable(&before), n_fused_attentions(&before)), (Vec::new(), 1));
}

#[test]
fn what_is_missing_is_named() {
    let before = program("ios16", LAYERS);
    let (ops, mut limits) = all(&before);
    let error = |ops: &BTreeSet<(String, String)>, limits: &Limits| {
        quantize_activations(&before, ops, limits).unwrap_err().to_string()
    };
    let unknown = BTreeSet::from([("main".to_owned(), "nothing".to_owned())]);
    assert_eq!(error(&unknown, &limits), "operation nothing: function main has no such operation");
    limits.insert(("main".to_owned(), "a".to_owned()), f32::NAN);
    assert_eq!(error(&ops, &limits), "operation y: the limit of a is NaN");
    assert_eq!(error(&ops, &Limits::new()), "operation y: no limit of a is known");
}

#[test]
fn both_engines_compute_with_what_the_integers_stand_for() {
    let text = LAYERS.replace("fp16", "fp32");
    let before = program("ios16", &text);
    let (ops, limits) = all(&before);
    let (after, _) = quantize_activations(&before, &ops, &limits).unwrap();
    let values: Vec<f32> = (0..8).map(|i| i as f32 * 0.9 - 3.5).collect();
    let inputs = BTreeMap::from([("x".to_owned(), HostTensor::from_f32([1, 2, 2, 2], values.clone()))]);
    let step = 2.0 / 127.0;
    let read = |x: &f32| (x / (1.0 + (-x).exp()) / step).round_ties_even().clamp(-128.0, 127.0) * step;
    let read: Vec<f32> = values.iter().map(read).collect();
    let row = |a: f32, b: f32| (0..4).map(move |i| (a, b, i));
    let rows = row(1.0, 2.0).chain(row(3.0, 4.0)).chain(row(5.0, 6.0));
    let want: Vec<f32> = rows.map(|(a, b, i)| a * read[i] + b * read[i + 4]).collect();
    let valid = validate(&after).unwrap();
    let plain = reference::Reference::compile(valid, reference::Options::default()).unwrap();
    let fast = cpu::Cpu::compile(valid, cpu::Options::default()).unwrap();
    assert!(fast.summary().steps.iter().all(|step| step.kernel != "reference"), "{:?}", fast.summary().steps);
    for got in [plain.run(&inputs, &Stop::never()).unwrap(), fast.run(&inputs, &Stop::never()).unwrap()] {
        for (got, want) in got["y"].to_f32_vec().iter().zip(&want) {
            assert!((got - want).abs() < 1e-4, "{got} {want}");
        }
    }
}
