//! Programs as text, and what validation says of them.

use super::validate;
use crate::{
    DType, Function, FunctionBuilder, Opset, Program, Type,
    text::{NoBlobs, parse},
};
use expect_test::{Expect, expect};
use std::time::Duration;

#[track_caller]
fn check_program(program: &Program, expected: Expect) {
    let verdict = validate(program).map_or_else(|faults| faults.to_string(), |_| "valid".into());
    expected.assert_eq(&verdict);
}

#[track_caller]
fn check(text: &str, expected: Expect) {
    check_program(&parse(text, &NoBlobs).unwrap(), expected);
}

/// Checks a function that takes `x: tensor<fp32, [2, 3]>` and returns `y`.
#[track_caller]
fn check_body(opset: &str, body: &str, expected: Expect) {
    check(&format!("program(1) {{ func main<{opset}>(tensor<fp32, [2, 3]> x) {{ {body} }} -> (y); }}"), expected);
}

const BRANCH_AND_LOOP: &str = r"program(1) {
    func main<ios15>(tensor<fp32, [2, 3]> x, tensor<int32, []> n) {
        tensor<bool, []> big = greater(x = n, y = int32(3));
        tensor<fp32, [2, 3]> c = cond(pred = big) () {
            tensor<fp32, [2, 3]> a = relu(x = x);
        } -> (a) () {
            tensor<fp32, [2, 3]> b = tanh(x = x);
        } -> (b);
        tensor<int32, []> i, tensor<fp32, [2, 3]> y = while_loop(loop_vars = (n, c)) (tensor<int32, []> i0, tensor<fp32, [2, 3]> y0) {
            tensor<bool, []> more = greater(x = i0, y = int32(0));
        } -> (more) (tensor<int32, []> i1, tensor<fp32, [2, 3]> y1) {
            tensor<int32, []> i2 = sub(x = i1, y = int32(1));
            tensor<fp32, [2, 3]> y2 = add(x = y1, y = x);
        } -> (i2, y2);
    } -> (i, y);
}";

#[test]
fn a_program_that_keeps_every_rule_is_valid() {
    check_body("ios15", "tensor<fp32, [2, 3]> y = relu(x = x);", expect!["valid"]);
    let program = parse(BRANCH_AND_LOOP, &NoBlobs).unwrap();
    let valid = validate(&program).unwrap();
    assert_eq!(valid.program().functions.len(), valid.functions.len());
}

#[test]
fn all_faults_are_collected_with_their_places() {
    check_body(
        "ios15",
        r#"
            tensor<fp32, [2, 4]> a = relu(x = x)[name = string("first")];
            tensor<fp32, [2, 3]> b = gelu(x = x, mode = string("fast"))[name = string("second")];
            tensor<fp32, [2, 3]> c = frobnicate(x = x)[name = string("third")];
            tensor<fp32, [2, 3]> y = add(x = a, y = b)[name = string("fourth")];
        "#,
        expect![[r#"
            main: op #0 first: relu yields tensor<fp32, [2, 3]>, but a is declared as tensor<fp32, [2, 4]>
            main: op #1 second: gelu: mode is "fast", but must be one of EXACT, TANH_APPROXIMATION, SIGMOID_APPROXIMATION
            main: op #2 third: frobnicate is no known operation
            main: op #3 fourth: add: [2, 4] and [2, 3] do not broadcast: 4 is not 3"#]],
    );
}

#[test]
fn a_fault_names_the_origin_of_its_operation() {
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("x", Type::tensor(DType::F16, &[1, 320, 8, 8]));
    let w = b.input("w", Type::tensor(DType::F16, &[64, 320, 3, 3]));
    let mut e = b.emitter();
    e.set_origin(Some("net.down_blocks.1.resnets.0.conv1".into()));
    let y = e.op("conv", "y", [("x", x.into()), ("weight", w.into())]).unwrap();
    let groups = e.constant("groups", crate::Literal::int(3));
    let mut ops = e.into_ops();
    ops[0].inputs.insert("groups".into(), crate::Arg::One(groups));
    check_program(
        &b.finish_program(ops, &[y]),
        expect!["main: op #0 net.down_blocks.1.resnets.0.conv1 (y): conv: groups 3 does not divide C_in 320"],
    );
}

#[test]
fn operations_belong_to_opsets() {
    let quantize = r#"tensor<int8, [2, 3]> q = quantize(input = x, scale = fp32(0.5), output_dtype = string("int8"));
        tensor<fp32, [2, 3]> y = dequantize(input = q, scale = fp32(0.5));"#;
    check_body("ios17", quantize, expect!["valid"]);
    check_body(
        "ios16",
        quantize,
        expect![[r#"
            main: op #0 q: quantize is an operation of CoreML7 and later, not of CoreML6
            main: op #0 q: q: int8 exists at run time from CoreML7 on, not in CoreML6
            main: op #1 y: dequantize is an operation of CoreML7 and later, not of CoreML6"#]],
    );
}

#[test]
fn abstract_attention_is_not_valid_before_its_opset() {
    let attention = |opset| {
        let mut b = FunctionBuilder::new("main", opset);
        let x = b.input("x", Type::tensor(DType::F32, &[1, 4, 8]));
        let mut e = b.emitter();
        let args = [("query", x.into()), ("key", x.into()), ("value", x.into())];
        let y = e.op("scaled_dot_product_attention", "y", args).unwrap();
        let ops = e.into_ops();
        b.finish_program(ops, &[y])
    };
    check_program(&attention(Opset::CoreML8), expect!["valid"]);
    check_program(
        &attention(Opset::CoreML7),
        expect!["main: op #0 y: scaled_dot_product_attention is an operation of CoreML8 and later, not of CoreML7"],
    );
}

#[test]
fn constant_parameters_take_constants_and_results_of_constexpr_only() {
    let weight = r"tensor<fp32, [4, 3]> w = constexpr_affine_dequantize()
        [quantized_data = tensor<int8, [4, 3]>([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]),
         zero_point = int8(0), scale = fp32(0.5), axis = int32(0)];";
    check_body("ios16", &format!("{weight} tensor<fp32, [2, 4]> y = linear(x = x, weight = w);"), expect!["valid"]);
    check_body(
        "ios16",
        "tensor<fp32, [2, 3]> w = relu(x = x); tensor<fp32, [2, 2]> y = linear(x = x, weight = w);",
        expect!["main: op #1 y: linear: weight must be known at compile time"],
    );
    check_body(
        "ios16",
        &format!("{weight} tensor<fp32, [4, 3]> y = relu(x = w);"),
        expect!["main: input x is never used; insert identity to keep it"],
    );
}

#[test]
fn a_weight_that_is_computed_cannot_be_dilated() {
    let conv = |weight: &str| {
        format!(
            r"program(1) {{ func main<ios16>(tensor<fp32, [1, 1, 8]> x) {{
                tensor<fp32, [1, 1, 3]> k = const()[val = tensor<fp32, [1, 1, 3]>([[[1, 2, 3]]])];
                tensor<fp32, [1, 1, 3]> r = relu(x = k);
                tensor<fp32, [1, 1, 4]> y = conv(x = x, weight = {weight}, dilations = tensor<int32, [1]>([2]));
            }} -> (y); }}"
        )
    };
    check(&conv("k"), expect!["valid"]);
    check(&conv("r"), expect!["main: op #1 y: conv: a weight that is no constant cannot be dilated"]);
}

#[test]
fn values_are_defined_once_before_their_uses() {
    let mut f = parse(BRANCH_AND_LOOP, &NoBlobs).unwrap().functions.remove("main").unwrap();
    f.body.ops.swap(0, 1);
    check_program(&Program::single(f.clone()), expect!["main: op #0 c: pred reads big before it is defined"]);
    f.body.ops.swap(0, 1);
    let twice = f.body.ops[0].clone();
    f.body.ops.insert(1, twice);
    check_program(&Program::single(f), expect!["main: op #1 big: big is defined twice"]);
}

#[test]
fn values_of_a_block_end_with_it() {
    let mut f = parse(BRANCH_AND_LOOP, &NoBlobs).unwrap().functions.remove("main").unwrap();
    let inner = f.by_name("b").unwrap();
    f.body.ops[2].blocks[1].ops[1].inputs.insert("y".into(), crate::Arg::One(inner));
    check_program(&Program::single(f), expect!["main: op #7 y2: y reads b, which is local to a block that has ended"]);
}

#[test]
fn branches_agree_and_loops_keep_their_variables() {
    let cond = |second: &str| {
        format!(
            "tensor<bool, []> p = const()[val = bool(true)];
            tensor<fp32, [2, 3]> y = cond(pred = p) () {{ tensor<fp32, [2, 3]> a = relu(x = x); }} -> (a) () {second};"
        )
    };
    check_body("ios15", &cond("{ tensor<fp32, [2, 3]> b = tanh(x = x); } -> (b)"), expect!["valid"]);
    check_body(
        "ios15",
        &cond("{ tensor<bool, [2, 3]> b = equal(x = x, y = x); } -> (b)"),
        expect!["main: op #0 y: cond: one block yields (tensor<fp32, [2, 3]>), the other (tensor<bool, [2, 3]>)"],
    );
    check_body(
        "ios15",
        &cond("{ } -> ()"),
        expect!["main: op #0 y: cond: one block yields (tensor<fp32, [2, 3]>), the other ()"],
    );
    let repeat = |test: &str, body: &str| {
        format!(
            "tensor<fp32, [2, 3]> y = while_loop(loop_vars = (x)) (tensor<fp32, [2, 3]> a) {{ {test} }} -> (t)
            (tensor<fp32, [2, 3]> b) {{ {body} }} -> (c);"
        )
    };
    check_body(
        "ios15",
        &repeat("tensor<fp32, [2, 3]> t = relu(x = a);", "tensor<fp32, [2, 3]> c = relu(x = b);"),
        expect!["main: op #0 y: while_loop: its condition yields (tensor<fp32, [2, 3]>), not one boolean"],
    );
    check_body(
        "ios15",
        &repeat(
            "tensor<fp32, []> s = reduce_sum(x = a); tensor<bool, []> t = greater(x = s, y = fp32(0));",
            "tensor<fp32, []> c = reduce_sum(x = b);",
        ),
        expect![
            "main: op #0 y: while_loop: its body yields (tensor<fp32, []>), but the loop's variables are (tensor<fp32, [2, 3]>)"
        ],
    );
    check_body(
        "ios15",
        "tensor<fp32, [2, 3]> y = relu(x = x) () { } -> ();",
        expect!["main: op #0 y: relu: has 1 blocks, but must have 0"],
    );
}

#[test]
fn outputs_are_results_of_operations() {
    check(
        r"program(1) { func main<ios16>(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> k = const()[val = tensor<fp32, [2]>([1, 2])];
            tensor<fp32, [2]> w = constexpr_affine_dequantize()
                [quantized_data = tensor<int8, [2]>([1, 2]), zero_point = int8(0), scale = fp32(1), axis = int32(0)];
            tensor<fp32, [2]> y = identity(x = x);
        } -> (y, x, k, w, y); }",
        expect![[r"
            main: output y stands twice in the signature
            main: output x is an input; only results of operations may be outputs: insert identity
            main: output k is a constant; only results of operations may be outputs: insert identity
            main: output w is the result of a constexpr operation; only results of operations may be outputs: insert identity"]],
    );
    check(
        "program(1) { func main<ios16>(tensor<fp32, [2]> x) { tensor<fp32, [2]> y = relu(x = x); } -> (); }",
        expect!["main: the function has no output"],
    );
}

#[test]
fn only_some_types_cross_the_boundary() {
    let through = |opset: &str, ty: &str| {
        format!("program(1) {{ func main<{opset}>({ty} x) {{ {ty} y = identity(x = x); }} -> (y); }}")
    };
    check(&through("ios16", "tensor<fp16, [2]>"), expect!["valid"]);
    check(&through("ios15", "tensor<int32, [?, 2]>"), expect!["valid"]);
    check(&through("ios26", "tensor<int8, [2]>"), expect!["valid"]);
    check(
        &through("ios15", "tensor<fp16, [2]>"),
        expect![[r"
            main: input x: fp16 crosses a function's boundary only from CoreML6 on, not in CoreML5
            main: output y: fp16 crosses a function's boundary only from CoreML6 on, not in CoreML5"]],
    );
    check(
        &through("ios18", "tensor<bool, [2]>"),
        expect![[r"
            main: input x: bool may not cross a function's boundary; cast it to fp32 or int32
            main: output y: bool may not cross a function's boundary; cast it to fp32 or int32"]],
    );
    check(
        &through("ios16", "tensor<fp32, [1, 1, 1, 1, 1, 2]>"),
        expect![[r"
            main: input x: rank 6 is more than Core ML's 5
            main: op #0 y: y: rank 6 is more than Core ML's 5
            main: output y: rank 6 is more than Core ML's 5"]],
    );
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("x", Type::tensor(DType::F32, &[1 << 62, 1 << 62]));
    let mut e = b.emitter();
    let y = e.op("relu", "y", [("x", x.into())]).unwrap();
    let ops = e.into_ops();
    check_program(
        &b.finish_program(ops, &[y]),
        expect![[r"
            main: input x: tensor<fp32, [4611686018427387904, 4611686018427387904]> does not fit into memory
            main: op #0 y: y: tensor<fp32, [4611686018427387904, 4611686018427387904]> does not fit into memory
            main: output y: tensor<fp32, [4611686018427387904, 4611686018427387904]> does not fit into memory"]],
    );
}

#[test]
fn states_are_halves_and_begin_with_core_ml_8() {
    let read = |opset: &str, dtype: &str| {
        format!(
            "program(1) {{ func main<{opset}>(state<tensor<{dtype}, [2]>> s) {{
                tensor<{dtype}, [2]> y = read_state(input = s);
                write_state(input = s, data = y);
            }} -> (y); }}"
        )
    };
    check(&read("ios18", "fp16"), expect!["valid"]);
    check(&read("ios18", "fp32"), expect!["main: input s: a state must be of fp16, not tensor<fp32, [2]>"]);
    check(
        &read("ios17", "fp16"),
        expect![[r#"
            main: input s: state<tensor<fp16, [2]>> may not cross the boundary of a function of CoreML7
            main: op #0 y: read_state is an operation of CoreML8 and later, not of CoreML7
            main: op #1 write_state: write_state is an operation of CoreML8 and later, not of CoreML7"#]],
    );
}

#[test]
fn names_are_identifiers() {
    check(
        r#"program(1) { func main<ios16>(tensor<fp32, [2]> `x.1`) {
            tensor<fp32, [2]> `state` = relu(x = `x.1`)[name = string("a b")];
        } -> (`state`); }"#,
        expect![[r#"
            main: the name "x.1" is no identifier
            main: op #0 a b: the operation's name "a b" is no identifier
            main: op #0 a b: the name "state" is no identifier"#]],
    );
}

#[test]
fn several_functions_need_core_ml_8() {
    let program = |opset: &str| {
        let f = |name| format!("func {name}<{opset}>(fp32 x) {{ fp32 y = relu(x = x); }} -> (y);");
        format!("program(1) {{ {} {} }}", f("a"), f("b"))
    };
    check(&program("ios18"), expect!["valid"]);
    check(
        &program("ios17"),
        expect![[r"
            function a is of CoreML7, but a program of 2 functions needs CoreML8
            function b is of CoreML7, but a program of 2 functions needs CoreML8"]],
    );
    check_program(&Program::default(), expect!["the program has no function"]);
}

#[test]
fn values_of_another_function_are_found() {
    let mut other = Function::new("other", Opset::CoreML6);
    let foreign = (0..9).map(|_| other.add_value("v", Type::tensor(DType::F32, &[]))).last().unwrap();
    let mut f = parse(BRANCH_AND_LOOP, &NoBlobs).unwrap().functions.remove("main").unwrap();
    let far = (0..99).map(|_| other.add_value("v", Type::tensor(DType::F32, &[]))).last().unwrap();
    assert!(foreign.index() < f.values().len() && far.index() >= f.values().len());
    f.body.ops[0].inputs.insert("x".into(), crate::Arg::One(far));
    f.body.ops[1].outputs[0] = far;
    f.body.ops[2].blocks[0].outputs[0] = far;
    f.body.outputs.push(far);
    let faults = validate(&Program::single(f)).unwrap_err();
    let far_faults = faults.iter().filter(|f| f.message.ends_with("is not a value of this function")).count();
    assert!(far_faults >= 4, "{faults}");
}

#[test]
fn nesting_is_capped() {
    let mut body = "tensor<fp32, [2, 3]> d0 = relu(x = x);".to_owned();
    for depth in 0..33 {
        body = format!(
            "tensor<fp32, [2, 3]> d{} = cond(pred = p) () {{ {body} }} -> (d{depth}) () {{ }} -> (x);",
            depth + 1
        );
    }
    check(
        &format!(
            "program(1) {{ func main<ios15>(tensor<fp32, [2, 3]> x) {{
                bool p = const()[val = bool(true)]; {body}
            }} -> (d33); }}"
        ),
        expect!["main: op #32 d1: blocks are nested deeper than 32"],
    );
}

/// Whatever the text parser accepts is valid or gets a verdict; nothing panics.
#[test]
fn mutated_programs_never_make_validation_panic() {
    let one = br#"program(1) { func main<ios16>(tensor<fp32, [1, 4, 8, 8]> x) {
        tensor<fp32, [4]> k = const()[val = tensor<fp32, [4]>([1, 2, 3, 4])];
        tensor<fp32, [1, 4, 8, 8]> a = batch_norm(x = x, mean = k, variance = k);
        tensor<fp32, [1, 4, 64]> b = reshape(x = a, shape = tensor<int32, [3]>([1, 4, -1]));
        tensor<fp32, [1, 2, 64]> c, tensor<fp32, [1, 2, 64]> d = split(x = b, num_splits = int32(2), axis = int32(1));
        tensor<fp32, [1, 2, 3]> y = slice_by_index(x = c, begin = tensor<int32, [3]>([0, 0, 1]),
            end = tensor<int32, [3]>([1, 2, 4]));
    } -> (y, d); }"#;
    let body = |bytes: &[u8]| {
        if let Ok(program) = std::str::from_utf8(bytes).map_err(drop).and_then(|s| parse(s, &NoBlobs).map_err(drop)) {
            let verdict = validate(&program).map_err(|faults| faults.to_string());
            assert_ne!(verdict.err().as_deref(), Some(""), "a refusal says why");
        }
    };
    testkit::fuzz::run_for(Duration::from_millis(500), &[one, BRANCH_AND_LOOP.as_bytes()], body);
}

#[track_caller]
fn check_summary(opset: &str, body: &str, expected: Expect) {
    let text = format!("program(1) {{ func main<{opset}>(tensor<fp32, [2, 3]> x) {{ {body} }} -> (y); }}");
    let program = parse(&text, &NoBlobs).unwrap();
    expected.assert_eq(&validate(&program).unwrap_err().summary());
}

#[test]
fn an_operation_that_core_ml_has_and_smelt_lacks_is_no_breach() {
    let one = r#"tensor<fp32, [2, 3]> y = softplus(x = x)[name = string("why")];"#;
    check_body("ios15", one, expect!["main: op #0 why: softplus is an operation of Core ML that is not implemented"]);
    check_summary(
        "ios15",
        one,
        expect![
            "the program is valid as far as Smelt knows, but softplus (op #0 why) is not implemented: Core ML runs it; here it can be inspected, but neither run nor rewritten"
        ],
    );
    check_summary(
        "ios15",
        r#"tensor<fp32, [2, 3]> a = softplus(x = x)[name = string("a")];
           tensor<fp32, [2, 3]> b = softplus(x = a)[name = string("b")];
           tensor<fp32, [2, 3]> c = softsign(x = b)[name = string("c")];
           tensor<fp32, [2, 3]> d = tan(x = c)[name = string("d")];
           tensor<fp32, [2, 3]> y = softsign(x = d)[name = string("y")];"#,
        expect![
            "the program is valid as far as Smelt knows, but softplus (op #0 a) and 1 more of its kind, as well as softsign, tan are not implemented: Core ML runs it; here it can be inspected, but neither run nor rewritten"
        ],
    );
}

#[test]
fn breaches_beside_an_unimplemented_operation_are_counted_alone() {
    let lacking = r#"tensor<fp32, [2, 3]> a = softplus(x = x)[name = string("first")];"#;
    check_summary(
        "ios15",
        &format!(r#"{lacking} tensor<fp32, [2, 4]> y = relu(x = a)[name = string("second")];"#),
        expect![
            "the program is not valid; 1 fault: main: op #1 second: relu yields tensor<fp32, [2, 3]>, but y is declared as tensor<fp32, [2, 4]>"
        ],
    );
    check_summary(
        "ios15",
        &format!(
            r#"{lacking} tensor<fp32, [2, 3]> b = frobnicate(x = a)[name = string("second")];
               tensor<fp32, [2, 4]> y = relu(x = b)[name = string("third")];"#
        ),
        expect![[
            "the program is not valid; 2 faults, the first: main: op #1 second: frobnicate is no known operation"
        ]],
    );
}

#[test]
fn an_unimplemented_operation_of_a_later_opset_is_a_breach() {
    check_body(
        "ios15",
        "tensor<fp32, [2, 3]> y = reshape_like(x = x);",
        expect!["main: op #0 y: reshape_like is an operation of CoreML6 and later, not of CoreML5"],
    );
}

#[test]
fn results_of_an_unimplemented_operation_may_cross_the_boundary_in_any_type() {
    let program = parse(
        r#"program(1) { func main<ios15>(tensor<fp32, [3]> x) {
            int64 label, dict<int64, fp32> y = classify(probabilities = x)[name = string("c")];
        } -> (label, y); }"#,
        &NoBlobs,
    )
    .unwrap();
    let faults = validate(&program).unwrap_err();
    assert_eq!(faults.unimplemented().len(), 1, "{faults}");
}
