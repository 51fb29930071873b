//! Half precision, and the types at a function's border.

use super::*;
use host_tensor::DType;

#[test]
fn arithmetic_becomes_half_and_the_border_keeps_its_types() {
    check(
        to_f16,
        "(tensor<fp32, [1, 2]> x) {
            tensor<fp32, [1, 2]> a = linear(weight = tensor<fp32, [2, 2]>([[1, 2], [3, 0.1]]), x = x);
            tensor<fp32, [1, 2]> y = add(x = a, y = fp32(1e-12));
            tensor<fp32, [1, 2]> z = layer_norm(axes = tensor<int32, [1]>([1]), epsilon = fp32(0.00001), x = a);
        } -> (y, z)",
        expect![[r#"
            (tensor<fp32, [1, 2]> x) {
                string x_to_fp16_dtype = string("fp16");
                tensor<fp16, [1, 2]> x_to_fp16 = cast(dtype = x_to_fp16_dtype, x = x);
                tensor<fp16, [2, 2]> a_weight_to_fp16 = tensor<fp16, [2, 2]>([[0x1p+0, 0x1p+1], [0x1.8p+1, 0x1.998p-4]]);
                tensor<fp16, [1, 2]> a = linear(weight = a_weight_to_fp16, x = x_to_fp16);
                fp16 y_y_to_fp16 = fp16(0x1p-24);
                tensor<fp16, [1, 2]> y_fp16 = add(x = a, y = y_y_to_fp16);
                tensor<int32, [1]> z_axes = tensor<int32, [1]>([1]);
                fp16 z_epsilon_to_fp16 = fp16(0x1.5p-17);
                tensor<fp16, [1, 2]> z_fp16 = layer_norm(axes = z_axes, epsilon = z_epsilon_to_fp16, x = a);
                string y_dtype = string("fp32");
                tensor<fp32, [1, 2]> y = cast(dtype = y_dtype, x = y_fp16);
                tensor<fp32, [1, 2]> z = cast(dtype = y_dtype, x = z_fp16);
            } -> (y, z);
        "#]],
    );
}

const STATES: &str = "(tensor<fp32, [1, 2]> x) {
    tensor<fp32, [1, 2]> w = linear(weight = tensor<fp32, [2, 2]>([[1, 2], [3, 4]]), x = x);
    tensor<fp32, [1, 2]> u = mul(x = w, y = fp32(64));
    tensor<fp32, [1, 2]> s = add(x = x, y = u);
    tensor<fp32, [1, 2]> q = mul(x = s, y = s);
    tensor<fp32, [1, 1]> m = reduce_mean(axes = tensor<int32, [1]>([1]), keep_dims = bool(true), x = q);
    tensor<fp32, [1, 1]> e = add(x = m, y = fp32(0.00001));
    tensor<fp32, [1, 1]> r = sqrt(x = e);
    tensor<fp32, [1, 2]> n = real_div(x = s, y = r);
    tensor<fp32, [1, 2]> y = mul(x = n, y = tensor<fp32, [2]>([5, 6]));
} -> (y)";

#[test]
fn states_are_summed_and_their_squares_averaged_in_full_precision() {
    check(
        to_f16,
        STATES,
        expect![[r#"
        (tensor<fp32, [1, 2]> x) {
            string x_to_fp16_dtype = string("fp16");
            tensor<fp16, [1, 2]> x_to_fp16 = cast(dtype = x_to_fp16_dtype, x = x);
            tensor<fp16, [2, 2]> w_weight_to_fp16 = tensor<fp16, [2, 2]>([[0x1p+0, 0x1p+1], [0x1.8p+1, 0x1p+2]]);
            tensor<fp16, [1, 2]> w = linear(weight = w_weight_to_fp16, x = x_to_fp16);
            string w_to_fp32_dtype = string("fp32");
            tensor<fp32, [1, 2]> w_to_fp32 = cast(dtype = w_to_fp32_dtype, x = w);
            fp32 u_y = fp32(0x1p+6);
            tensor<fp32, [1, 2]> u = mul(x = w_to_fp32, y = u_y);
            tensor<fp32, [1, 2]> s = add(x = x, y = u);
            tensor<fp32, [1, 2]> q = mul(x = s, y = s);
            tensor<int32, [1]> m_axes = tensor<int32, [1]>([1]);
            bool m_keep_dims = bool(true);
            tensor<fp32, [1, 1]> m = reduce_mean(axes = m_axes, keep_dims = m_keep_dims, x = q);
            fp32 e_y = fp32(0x1.4f8b58p-17);
            tensor<fp32, [1, 1]> e = add(x = m, y = e_y);
            tensor<fp32, [1, 1]> r = sqrt(x = e);
            tensor<fp32, [1, 2]> n = real_div(x = s, y = r);
            tensor<fp16, [1, 2]> n_to_fp16 = cast(dtype = x_to_fp16_dtype, x = n);
            tensor<fp16, [2]> y_y_to_fp16 = tensor<fp16, [2]>([0x1.4p+2, 0x1.8p+2]);
            tensor<fp16, [1, 2]> y_fp16 = mul(x = n_to_fp16, y = y_y_to_fp16);
            tensor<fp32, [1, 2]> y = cast(dtype = w_to_fp32_dtype, x = y_fp16);
        } -> (y);
    "#]],
    );
    // The square of something else is no normalisation of it.
    let other = STATES.replace("q = mul(x = s, y = s)", "q = mul(x = u, y = u)");
    let text = statements(&apply(Opset::CoreML6, &other, to_f16).1);
    assert!(text.contains("tensor<fp16, [1, 1]> r = sqrt"), "{text}");
}

#[test]
fn angles_stay_in_full_precision() {
    check(
        to_f16,
        "(tensor<fp32, [1]> t) {
            tensor<fp32, [1]> a = mul(x = t, y = fp32(0.1));
            tensor<fp32, [1]> s = sin(x = a);
            tensor<fp32, [1]> c = cos(x = a);
            tensor<fp32, [2]> e = concat(axis = int32(0), interleave = bool(false), values = (c, s));
            tensor<fp32, [2]> y = mul(x = e, y = e);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [1]> t) {
                fp32 a_y = fp32(0x1.99999ap-4);
                tensor<fp32, [1]> a = mul(x = t, y = a_y);
                tensor<fp32, [1]> s = sin(x = a);
                tensor<fp32, [1]> c = cos(x = a);
                int32 e_axis = int32(0);
                bool e_interleave = bool(false);
                tensor<fp32, [2]> e = concat(axis = e_axis, interleave = e_interleave, values = (c, s));
                string e_to_fp16_dtype = string("fp16");
                tensor<fp16, [2]> e_to_fp16 = cast(dtype = e_to_fp16_dtype, x = e);
                tensor<fp16, [2]> y_fp16 = mul(x = e_to_fp16, y = e_to_fp16);
                string y_dtype = string("fp32");
                tensor<fp32, [2]> y = cast(dtype = y_dtype, x = y_fp16);
            } -> (y);
        "#]],
    );
}

#[test]
fn constants_that_half_cannot_hold_keep_their_operation() {
    check(
        to_f16,
        "(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> a = add(x = x, y = fp32(-1e9));
            tensor<fp32, [2]> y = add(x = a, y = fp32(-3.4e38));
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [2]> x) {
                fp32 a_y = fp32(-0x1.dcd65p+29);
                tensor<fp32, [2]> a = add(x = x, y = a_y);
                string a_to_fp16_dtype = string("fp16");
                tensor<fp16, [2]> a_to_fp16 = cast(dtype = a_to_fp16_dtype, x = a);
                fp16 y_y_to_fp16 = fp16(-0x1.ffcp+15);
                tensor<fp16, [2]> y_fp16 = add(x = a_to_fp16, y = y_y_to_fp16);
                string y_dtype = string("fp32");
                tensor<fp32, [2]> y = cast(dtype = y_dtype, x = y_fp16);
            } -> (y);
        "#]],
    );
}

#[test]
fn results_that_were_half_already_stay_half() {
    check(
        to_f16,
        "(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> r = relu(x = x);
            tensor<fp16, [2]> y = cast(dtype = string(\"fp16\"), x = r);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [2]> x) {
                string x_to_fp16_dtype = string("fp16");
                tensor<fp16, [2]> x_to_fp16 = cast(dtype = x_to_fp16_dtype, x = x);
                tensor<fp16, [2]> r = relu(x = x_to_fp16);
                string y_dtype = string("fp16");
                tensor<fp16, [2]> y = cast(dtype = y_dtype, x = r);
            } -> (y);
        "#]],
    );
}

#[test]
fn integers_are_left_alone() {
    let (_, program) = apply(
        Opset::CoreML6,
        "(tensor<int32, [2]> x) { tensor<int32, [2]> y = add(x = x, y = int32(1)); } -> (y)",
        to_f16,
    );
    expect![[r#"
        (tensor<int32, [2]> x) {
            int32 y_y = int32(1);
            tensor<int32, [2]> y = add(x = x, y = y_y);
        } -> (y);
    "#]]
    .assert_eq(&statements(&program));
}

#[test]
fn halves_stay_half_beside_an_operation_that_is_kept() {
    check(
        to_f16,
        "(tensor<fp16, [2]> h, tensor<fp32, [2]> x) {
            tensor<fp32, [2]> f = cast(dtype = string(\"fp32\"), x = h);
            tensor<fp32, [2]> m = mul(x = f, y = x);
            tensor<fp32, [2]> c = cos(x = m);
            tensor<fp32, [2]> y = add(x = c, y = f);
        } -> (y, c)",
        expect![[r#"
            (tensor<fp16, [2]> h, tensor<fp32, [2]> x) {
                string f_dtype = string("fp32");
                tensor<fp32, [2]> f = cast(dtype = f_dtype, x = h);
                tensor<fp32, [2]> m = mul(x = f, y = x);
                tensor<fp32, [2]> c = cos(x = m);
                string c_to_fp16_dtype = string("fp16");
                tensor<fp16, [2]> c_to_fp16 = cast(dtype = c_to_fp16_dtype, x = c);
                tensor<fp16, [2]> y_fp16 = add(x = c_to_fp16, y = h);
                string y_dtype = string("fp32");
                tensor<fp32, [2]> y = cast(dtype = y_dtype, x = y_fp16);
            } -> (y, c);
        "#]],
    );
}

#[test]
fn an_input_of_another_type_is_cast_first() {
    let declare = |f: &mut Function| declare_input(f, "x", DType::F16).map(|()| 1);
    check_in(
        Opset::CoreML6,
        declare,
        "(tensor<fp32, [2]> x) { tensor<fp32, [2]> y = mul(x = x, y = x); } -> (y)",
        expect![[r#"
            (tensor<fp16, [2]> x) {
                string x_to_fp32_dtype = string("fp32");
                tensor<fp32, [2]> x_to_fp32 = cast(dtype = x_to_fp32_dtype, x = x);
                tensor<fp32, [2]> y = mul(x = x_to_fp32, y = x_to_fp32);
            } -> (y);
        "#]],
    );
}

#[test]
fn an_output_of_another_type_is_cast_last_and_has_the_public_name() {
    let declare = |f: &mut Function| declare_output(f, 0, "noise_pred", DType::F16).map(|()| 1);
    check_in(
        Opset::CoreML6,
        declare,
        "(tensor<fp32, [2]> x) { tensor<fp32, [2]> y = mul(x = x, y = x); } -> (y)",
        expect![[r#"
            (tensor<fp32, [2]> x) {
                tensor<fp32, [2]> y = mul(x = x, y = x);
                string noise_pred_dtype = string("fp16");
                tensor<fp16, [2]> noise_pred = cast(dtype = noise_pred_dtype, x = y);
            } -> (noise_pred);
        "#]],
    );
}

#[test]
fn outputs_that_are_one_value_get_producers_of_their_own() {
    let mut program = program(Opset::CoreML6, "(fp32 x) { fp32 y = relu(x = x); } -> (y, y)");
    let main = program.functions.get_mut("main").unwrap();
    declare_output(main, 0, "a", DType::F32).unwrap();
    declare_output(main, 1, "b", DType::F32).unwrap();
    expect![[r#"
        (fp32 x) {
            fp32 b = relu(x = x);
            fp32 a = identity(x = b);
        } -> (a, b);
    "#]]
    .assert_eq(&statements(&program));
    assert!(validate(&program).is_ok());
}

#[test]
fn an_input_that_nothing_reads_is_read_and_others_are_not_read_again() {
    let mut unread = program(Opset::CoreML6, "(fp32 x, fp32 y) { fp32 z = relu(x = x); } -> (z)");
    assert!(validate(&unread).is_err());
    let main = unread.functions.get_mut("main").unwrap();
    assert_eq!((keep_inputs(main), keep_inputs(main)), (Ok(1), Ok(0)));
    expect![[r#"
        (fp32 x, fp32 y) {
            fp32 y_tmp = identity(x = y);
            fp32 z = relu(x = x);
        } -> (z);
    "#]]
    .assert_eq(&statements(&unread));
    assert!(validate(&unread).is_ok());
}

#[test]
fn borders_that_do_not_exist_are_named() {
    let mut program = program(Opset::CoreML6, "(fp32 x) { fp32 y = relu(x = x); } -> (y)");
    let main = program.functions.get_mut("main").unwrap();
    let error = declare_input(main, "z", DType::F16).unwrap_err();
    assert_eq!(error.message, "function main has no tensor input z");
    let error = declare_output(main, 1, "z", DType::F16).unwrap_err();
    assert_eq!(error.message, "function main has no tensor output #1");
}

fn attention_in_f32(f: &mut Function) -> Result<usize, PassError> {
    to_f16_with(f, HalfPrecision { attention: AttentionPrecision::Full, ..HalfPrecision::default() })
}

#[test]
fn scores_of_attention_and_their_softmax_stay_in_full_precision_where_asked() {
    check_in(
        Opset::CoreML6,
        attention_in_f32,
        "(tensor<fp32, [1, 8, 1, 4]> x) {
            tensor<fp32, [1, 8, 1, 4]> q = relu(x = x);
            tensor<fp32, [1, 8, 1, 4]> k = tanh(x = x);
            tensor<fp32, [1, 8, 1, 4]> v = abs(x = x);
            tensor<fp32, [1, 8, 1, 4]> s = mul(x = q, y = fp32(0.5));
            tensor<fp32, [1, 4, 1, 8]> t = transpose(perm = tensor<int32, [4]>([0, 3, 2, 1]), x = k);
            tensor<fp32, [1, 4, 1, 4]> l = einsum(equation = string(\"bkhc,bchq->bkhq\"), values = (t, s));
            tensor<fp32, [1, 4, 1, 4]> w = softmax(axis = int32(1), x = l);
            tensor<fp32, [1, 8, 1, 4]> y = einsum(equation = string(\"bchk,bkhq->bchq\"), values = (v, w));
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [1, 8, 1, 4]> x) {
                string x_to_fp16_dtype = string("fp16");
                tensor<fp16, [1, 8, 1, 4]> x_to_fp16 = cast(dtype = x_to_fp16_dtype, x = x);
                tensor<fp16, [1, 8, 1, 4]> q = relu(x = x_to_fp16);
                tensor<fp16, [1, 8, 1, 4]> k = tanh(x = x_to_fp16);
                tensor<fp16, [1, 8, 1, 4]> v = abs(x = x_to_fp16);
                string q_to_fp32_dtype = string("fp32");
                tensor<fp32, [1, 8, 1, 4]> q_to_fp32 = cast(dtype = q_to_fp32_dtype, x = q);
                fp32 s_y = fp32(0x1p-1);
                tensor<fp32, [1, 8, 1, 4]> s = mul(x = q_to_fp32, y = s_y);
                tensor<fp32, [1, 8, 1, 4]> k_to_fp32 = cast(dtype = q_to_fp32_dtype, x = k);
                tensor<int32, [4]> t_perm = tensor<int32, [4]>([0, 3, 2, 1]);
                tensor<fp32, [1, 4, 1, 8]> t = transpose(perm = t_perm, x = k_to_fp32);
                string l_equation = string("bkhc,bchq->bkhq");
                tensor<fp32, [1, 4, 1, 4]> l = einsum(equation = l_equation, values = (t, s));
                int32 w_axis = int32(1);
                tensor<fp32, [1, 4, 1, 4]> w = softmax(axis = w_axis, x = l);
                tensor<fp16, [1, 4, 1, 4]> w_to_fp16 = cast(dtype = x_to_fp16_dtype, x = w);
                string y_equation = string("bchk,bkhq->bchq");
                tensor<fp16, [1, 8, 1, 4]> y_fp16 = einsum(equation = y_equation, values = (v, w_to_fp16));
                tensor<fp32, [1, 8, 1, 4]> y = cast(dtype = q_to_fp32_dtype, x = y_fp16);
            } -> (y);
        "#]],
    );
    check_in(
        Opset::CoreML6,
        attention_in_f32,
        "(tensor<fp32, [1, 4, 8]> q, tensor<fp32, [1, 5, 8]> k, tensor<fp32, [1, 4, 5]> m) {
            tensor<fp32, [1, 4, 5]> l = matmul(transpose_y = bool(true), x = q, y = k);
            tensor<fp32, [1, 4, 5]> b = relu(x = m);
            tensor<fp32, [1, 4, 5]> a = add(x = b, y = l);
            tensor<fp32, [1, 4, 5]> w = softmax(axis = int32(-1), x = a);
            tensor<fp32, [1, 4, 8]> y = matmul(x = w, y = k);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [1, 4, 8]> q, tensor<fp32, [1, 5, 8]> k, tensor<fp32, [1, 4, 5]> m) {
                bool l_transpose_y = bool(true);
                tensor<fp32, [1, 4, 5]> l = matmul(transpose_y = l_transpose_y, x = q, y = k);
                string m_to_fp16_dtype = string("fp16");
                tensor<fp16, [1, 4, 5]> m_to_fp16 = cast(dtype = m_to_fp16_dtype, x = m);
                tensor<fp16, [1, 4, 5]> b = relu(x = m_to_fp16);
                string b_to_fp32_dtype = string("fp32");
                tensor<fp32, [1, 4, 5]> b_to_fp32 = cast(dtype = b_to_fp32_dtype, x = b);
                tensor<fp32, [1, 4, 5]> a = add(x = b_to_fp32, y = l);
                int32 w_axis = int32(-1);
                tensor<fp32, [1, 4, 5]> w = softmax(axis = w_axis, x = a);
                tensor<fp16, [1, 4, 5]> w_to_fp16 = cast(dtype = m_to_fp16_dtype, x = w);
                tensor<fp16, [1, 5, 8]> k_to_fp16 = cast(dtype = m_to_fp16_dtype, x = k);
                tensor<fp16, [1, 4, 8]> y_fp16 = matmul(x = w_to_fp16, y = k_to_fp16);
                tensor<fp32, [1, 4, 8]> y = cast(dtype = b_to_fp32_dtype, x = y_fp16);
            } -> (y);
        "#]],
    );
    check_in(
        Opset::CoreML8,
        attention_in_f32,
        "(tensor<fp32, [1, 4, 8]> q) {
            tensor<fp32, [1, 4, 8]> a = relu(x = q);
            tensor<fp32, [1, 4, 8]> b = scaled_dot_product_attention(key = a, query = a, value = a);
            tensor<fp32, [1, 4, 8]> y = relu(x = b);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [1, 4, 8]> q) {
                string q_to_fp16_dtype = string("fp16");
                tensor<fp16, [1, 4, 8]> q_to_fp16 = cast(dtype = q_to_fp16_dtype, x = q);
                tensor<fp16, [1, 4, 8]> a = relu(x = q_to_fp16);
                string a_to_fp32_dtype = string("fp32");
                tensor<fp32, [1, 4, 8]> a_to_fp32 = cast(dtype = a_to_fp32_dtype, x = a);
                tensor<fp32, [1, 4, 8]> b = scaled_dot_product_attention(key = a_to_fp32, query = a_to_fp32, value = a_to_fp32);
                tensor<fp16, [1, 4, 8]> b_to_fp16 = cast(dtype = q_to_fp16_dtype, x = b);
                tensor<fp16, [1, 4, 8]> y_fp16 = relu(x = b_to_fp16);
                tensor<fp32, [1, 4, 8]> y = cast(dtype = a_to_fp32_dtype, x = y_fp16);
            } -> (y);
        "#]],
    );
}

#[test]
fn a_softmax_of_something_else_becomes_half_all_the_same() {
    let text = "(tensor<fp32, [1, 4, 8]> x) {
            tensor<fp32, [1, 4, 2]> l = linear(weight = tensor<fp32, [2, 8]>([[1, 1, 1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2, 2, 2]]), x = x);
            tensor<fp32, [1, 4, 2]> w = softmax(axis = int32(-1), x = l);
            tensor<fp32, [1, 4, 4]> y = matmul(transpose_y = bool(true), x = w, y = l);
        } -> (y)";
    let (_, full) = apply(Opset::CoreML6, text, attention_in_f32);
    let (_, half) = apply(Opset::CoreML6, text, to_f16);
    assert_eq!(statements(&full), statements(&half));
}

#[test]
fn a_large_weight_beyond_half_keeps_its_operation() {
    // 400 × 400 elements, of which one has no half.
    let mut weight = vec![0.5f32; 160_000];
    weight[77_777] = -70_000.0;
    let converted = |weight: Vec<f32>, choices: HalfPrecision<'_>| {
        let mut b = crate::FunctionBuilder::new("main", Opset::CoreML6);
        let x = b.input("x", crate::Type::tensor(DType::F32, &[1, 400]));
        let mut e = b.emitter();
        let w = crate::Const::new(crate::HostTensor::from_f32([400, 400], weight));
        let y = e.op("linear", "y", [("x", x.into()), ("weight", crate::Literal::from(w).into())]).unwrap();
        let ops = e.into_ops();
        let mut f = b.finish(ops, &[y]);
        to_f16_with(&mut f, choices).unwrap();
        let linear = f.body.ops.iter().find(|op| op.kind == "linear").unwrap();
        f.ty(linear.output()).as_tensor().unwrap().dtype
    };
    assert_eq!(converted(vec![0.5; 160_000], HalfPrecision::default()), DType::F16);
    assert_eq!(converted(weight.clone(), HalfPrecision::default()), DType::F32);
    // A caller that has read the weights is believed.
    let answer = |known: Option<bool>| move |_: &crate::Const| known;
    for (known, expected) in [(Some(false), DType::F16), (Some(true), DType::F32), (None, DType::F32)] {
        let answer = answer(known);
        let choices = HalfPrecision { beyond_half: Some(&answer), ..HalfPrecision::default() };
        assert_eq!(converted(weight.clone(), choices), expected, "{known:?}");
    }
}
