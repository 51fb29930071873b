//! Tests of the interpreter: signatures, rounding, blocks, states, and what hostile programs get.

use super::{Options, Reference, Rounding, States, Weights};
use crate::{EngineError, OpFault};
use host_tensor::{DType, HostTensor, Stop};
use mil::{
    Program,
    text::{NoBlobs, parse},
    validate,
};
use std::collections::{BTreeMap, BTreeSet};

#[track_caller]
fn program(signature: &str, body: &str, outputs: &str) -> Program {
    let text = format!("program(1.3) {{ func main{signature} {{ {body} }} -> ({outputs}); }}");
    parse(&text, &NoBlobs).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn compile(program: &Program, options: Options) -> Reference {
    let valid = validate(program).unwrap_or_else(|faults| panic!("{faults}"));
    Reference::compile(valid, options).unwrap_or_else(|e| panic!("{e}"))
}

fn named(tensors: impl IntoIterator<Item = (&'static str, HostTensor)>) -> BTreeMap<String, HostTensor> {
    tensors.into_iter().map(|(name, t)| (name.to_string(), t)).collect()
}

fn f(values: &[f32]) -> HostTensor {
    HostTensor::from_f32([values.len()], values.to_vec())
}

/// Runs a program over one input `x` and returns `y`.
#[track_caller]
fn run(program: &Program, options: Options, x: HostTensor) -> HostTensor {
    let engine = compile(program, options);
    engine.run(&named([("x", x)]), &Stop::never()).unwrap_or_else(|e| panic!("{e}"))["y"].clone()
}

#[test]
fn the_engine_executes_exactly_the_specified_operations() {
    let specified: BTreeSet<&str> = mil::ops::all().iter().map(|s| s.kind).collect();
    let executed: BTreeSet<&str> = Reference::op_kinds().collect();
    assert_eq!(specified, executed);
    assert_eq!(Reference::op_kinds().count(), executed.len(), "no kind has two kernels");
}

/// 2049 has no half; the sum comes back as fp32 through a cast.
fn sum_in_half() -> Program {
    program(
        "<ios16>(tensor<fp32, [2]> x)",
        r#"
            tensor<fp16, [2]> a = cast(x = x, dtype = string("fp16"));
            tensor<fp16, [2]> b = add(x = a, y = fp16(1));
            tensor<fp32, [2]> y = cast(x = b, dtype = string("fp32"));
        "#,
        "y",
    )
}

#[test]
fn results_are_rounded_to_their_declared_type_on_request() {
    let x = || f(&[2048.0, 0.1]);
    let exact = run(&sum_in_half(), Options::default(), x());
    assert_eq!(exact.to_f32_vec(), [2049.0, 1.1]);
    let rounded = run(&sum_in_half(), Options::default().with_rounding(Rounding::Declared), x());
    // 0.1 rounds to 0.0999756, and that plus one to 1.09961.
    assert_eq!(rounded.to_f32_vec(), [2048.0, 1.099_609_4]);
}

#[test]
fn inputs_and_outputs_have_their_declared_types_in_either_mode() {
    let p = program("<ios16>(tensor<fp16, [2]> x)", "tensor<fp16, [2]> y = add(x = x, y = x);", "y");
    let engine = compile(&p, Options::default());
    assert_eq!(engine.inputs()[0].ty.to_string(), "tensor<fp16, [2]>");
    assert_eq!(engine.outputs()[0].name, "y");
    for x in [f(&[1.0, 0.1]), f(&[1.0, 0.1]).cast(DType::F64), f(&[1.0, 0.1]).cast(DType::F16)] {
        let y = run(&p, Options::default(), x);
        assert_eq!((y.dtype(), y.to_f32_vec()), (DType::F16, vec![2.0, 0.199_951_17]));
    }
}

#[test]
fn inputs_are_checked_by_name_and_shape() {
    let p = program("<ios15>(tensor<fp32, [?, 2]> x)", "tensor<fp32, [?, 2]> y = relu(x = x);", "y");
    let engine = compile(&p, Options::default());
    let x = |rows: usize, columns: usize| HostTensor::from_f32([rows, columns], vec![-1.0; rows * columns]);
    assert_eq!(engine.run(&named([("x", x(3, 2))]), &Stop::never()).unwrap()["y"].shape(), [3, 2]);
    let fails = |inputs| engine.run(&named(inputs), &Stop::never()).unwrap_err().to_string();
    assert_eq!(fails(vec![]), r#"input x is missing; the function takes ["x"]"#);
    assert_eq!(fails(vec![("z", x(1, 2))]), r#"there is no input z; the function takes ["x"]"#);
    assert_eq!(fails(vec![("x", x(1, 3))]), "input x has shape [1, 3], declared is tensor<fp32, [?, 2]>");
    assert_eq!(fails(vec![("x", f(&[1.0]))]), "input x has shape [1], declared is tensor<fp32, [?, 2]>");
}

#[test]
fn a_fault_names_the_operation_and_the_shapes() {
    let p = program(
        "<ios15>(tensor<fp32, [3]> x, tensor<int32, [1]> i)",
        r#"
            tensor<fp32, [3]> a = relu(x = x);
            tensor<fp32, [1]> y = gather(x = a, indices = i, axis = int32(0))[name = string("look_up")];
        "#,
        "y",
    );
    let inputs = named([("x", f(&[1.0, 2.0, 3.0])), ("i", HostTensor::from_i32([1], vec![7]))]);
    let err = compile(&p, Options::default()).run(&inputs, &Stop::never()).unwrap_err();
    assert_eq!(
        err.to_string(),
        "op #1 look_up: gather(axis=tensor<int32, []>, indices=int32[1], x=fp32[3]): index 7 is outside of a dimension of 3"
    );
}

#[test]
fn a_value_used_twice_is_not_overwritten() {
    // `a` is used by both, and last by the second; `x` by its own product.
    let p = program(
        "<ios15>(tensor<fp32, [2]> x)",
        r#"
            tensor<fp32, [2]> a = mul(x = x, y = x);
            tensor<fp32, [2]> b = reshape(x = a, shape = tensor<int32, [1]>([2]));
            tensor<fp32, [2]> c = exp2(x = b);
            tensor<fp32, [2]> y = add(x = a, y = c);
        "#,
        "y",
    );
    let engine = compile(&p, Options::default());
    let inputs = named([("x", f(&[1.0, 2.0]))]);
    for _ in 0..2 {
        assert_eq!(engine.run(&inputs, &Stop::never()).unwrap()["y"].to_f32_vec(), [3.0, 20.0]);
    }
    assert_eq!(inputs["x"].to_f32_vec(), [1.0, 2.0]);
}

#[test]
fn an_input_may_be_an_operand_of_everything_and_an_output_an_operand_of_more() {
    let p = program(
        "<ios15>(tensor<fp32, [2]> x)",
        "tensor<fp32, [2]> y = relu(x = x); tensor<fp32, [2]> z = add(x = y, y = x);",
        "y, z",
    );
    let out = compile(&p, Options::default()).run(&named([("x", f(&[-1.0, 2.0]))]), &Stop::never()).unwrap();
    assert_eq!((out["y"].to_f32_vec(), out["z"].to_f32_vec()), (vec![0.0, 2.0], vec![-1.0, 4.0]));
}

#[test]
fn branches_see_what_is_outside_of_them() {
    let p = program(
        "<ios15>(tensor<fp32, [2]> x)",
        r#"
            tensor<fp32, [2]> doubled = add(x = x, y = x);
            tensor<fp32, []> sum = reduce_sum(x = x, keep_dims = bool(false));
            tensor<bool, []> positive = greater(x = sum, y = fp32(0));
            tensor<fp32, [2]> y = cond(pred = positive) () {
                tensor<fp32, [2]> a = add(x = doubled, y = fp32(100));
            } -> (a) () {
                tensor<fp32, [2]> b = add(x = x, y = fp32(100));
            } -> (b);
        "#,
        "y",
    );
    assert_eq!(run(&p, Options::default(), f(&[1.0, 2.0])).to_f32_vec(), [102.0, 104.0]);
    assert_eq!(run(&p, Options::default(), f(&[-1.0, -2.0])).to_f32_vec(), [99.0, 98.0]);
}

/// Counts `n` down and adds `x` to itself; the constant inside is used in every round.
fn looping(step: i32) -> Program {
    program(
        "<ios15>(tensor<fp32, [2]> x, tensor<int32, []> n)",
        &format!(
            r"
            tensor<int32, []> left, tensor<fp32, [2]> y = while_loop(loop_vars = (n, x)) (tensor<int32, []> i0, tensor<fp32, [2]> y0) {{
                tensor<bool, []> more = greater(x = i0, y = int32(0));
            }} -> (more) (tensor<int32, []> i1, tensor<fp32, [2]> y1) {{
                tensor<int32, []> i2 = sub(x = i1, y = int32({step}));
                tensor<fp32, [2]> y2 = add(x = y1, y = x);
            }} -> (i2, y2);"
        ),
        "left, y",
    )
}

#[test]
fn loops_carry_their_variables() {
    let n = |n: i32| HostTensor::from_i32([], vec![n]);
    let engine = compile(&looping(2), Options::default());
    let out = engine.run(&named([("x", f(&[1.0, -1.0])), ("n", n(5))]), &Stop::never()).unwrap();
    assert_eq!((out["left"].to_i64_vec(), out["y"].to_f32_vec()), (vec![-1], vec![4.0, -4.0]));
    let out = engine.run(&named([("x", f(&[1.0, -1.0])), ("n", n(0))]), &Stop::never()).unwrap();
    assert_eq!(out["y"].to_f32_vec(), [1.0, -1.0]);
}

#[test]
fn endless_loops_end() {
    let options = Options::default().with_max_rounds(1000);
    let inputs = named([("x", f(&[1.0, 1.0])), ("n", HostTensor::from_i32([], vec![1]))]);
    match compile(&looping(0), options).run(&inputs, &Stop::never()) {
        Err(EngineError::Op { fault, .. }) => assert_eq!(fault, OpFault::Endless { limit: 1000 }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn states_outlive_runs_and_belong_to_their_owner() {
    let p = program(
        "<ios18>(state<tensor<fp16, [2]>> s, tensor<fp16, [2]> x)",
        r"
            tensor<fp16, [2]> old = read_state(input = s);
            tensor<fp16, [2]> sum = add(x = old, y = x);
            write_state(input = s, data = sum);
            tensor<fp16, [2]> y = read_state(input = s);
        ",
        "y",
    );
    let engine = compile(&p, Options::default());
    assert_eq!(engine.inputs().len(), 1, "a state is no input");
    let inputs = named([("x", f(&[1.0, 2.0]))]);
    let mut mine = engine.new_states().unwrap();
    let step = |states: &mut States| engine.run_with_states(&inputs, states, &Stop::never()).unwrap()["y"].to_f32_vec();
    assert_eq!(step(&mut mine), [1.0, 2.0]);
    let mut copy = mine.clone();
    assert_eq!(step(&mut mine), [2.0, 4.0]);
    assert_eq!(step(&mut copy), [2.0, 4.0]);
    assert_eq!(engine.run(&inputs, &Stop::never()).unwrap()["y"].to_f32_vec(), [1.0, 2.0]);
}

#[test]
fn decoded_weights_are_rounded_in_either_mode_and_may_be_kept() {
    // 0.1 as a half times 3, rounded to a half.
    let p = program(
        "<ios16>(tensor<fp32, [1]> x)",
        r#"
            tensor<fp16, [1]> w = constexpr_affine_dequantize(quantized_data = tensor<int8, [1]>([3]),
                zero_point = tensor<int8, []>(0), scale = fp16(0.1), axis = int32(0));
            tensor<fp32, [1]> wide = cast(x = w, dtype = string("fp32"));
            tensor<fp32, [1]> y = mul(x = x, y = wide);
        "#,
        "y",
    );
    for weights in [Weights::PerRun, Weights::Kept] {
        let engine = compile(&p, Options::default().with_weights(weights));
        for _ in 0..3 {
            let y = engine.run(&named([("x", f(&[1.0]))]), &Stop::never()).unwrap()["y"].to_f32_vec();
            assert_eq!(y, [0.299_804_7], "{weights:?}");
        }
    }
}

#[test]
fn tensors_have_a_limit() {
    let p = program(
        "<ios15>(tensor<fp32, [1, 1]> x, tensor<int32, [2]> reps)",
        "tensor<fp32, [?, ?]> y = tile(x = x, reps = reps);",
        "y",
    );
    let engine = compile(&p, Options::default().with_max_elements(1 << 20));
    let tile = |a: i32, b: i32| {
        let x = HostTensor::from_f32([1, 1], vec![2.0]);
        engine.run(&named([("x", x), ("reps", HostTensor::from_i32([2], vec![a, b]))]), &Stop::never())
    };
    assert_eq!(tile(2, 3).unwrap()["y"].to_f32_vec(), [2.0; 6]);
    for (a, b) in [(i32::MAX, i32::MAX), (1 << 20, 2)] {
        match tile(a, b) {
            Err(EngineError::Op { fault: OpFault::TooLarge { limit, .. }, .. }) => assert_eq!(limit, 1 << 20),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn functions_are_found_by_name() {
    let p = sum_in_half();
    let valid = validate(&p).unwrap();
    assert!(Reference::compile_function(valid, "main", Options::default()).is_ok());
    let err = Reference::compile_function(valid, "decode", Options::default()).unwrap_err();
    assert_eq!(err.to_string(), r#"the program has no function decode; it has ["main"]"#);
}
