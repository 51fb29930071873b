//! Several operations become one.

use super::*;

#[test]
fn x_times_its_sigmoid_is_a_silu() {
    check(
        fuse_silu,
        "(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> s = sigmoid(x = x);
            tensor<fp32, [2]> y = mul(x = s, y = x);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [2]> x) {
                tensor<fp32, [2]> s = sigmoid(x = x);
                tensor<fp32, [2]> y = silu(x = x);
            } -> (y);
        "#]],
    );
}

#[test]
fn a_sigmoid_that_something_else_reads_stays() {
    check_kept(
        fuse_silu,
        "(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> s = sigmoid(x = x);
            tensor<fp32, [2]> y = mul(x = x, y = s);
        } -> (y, s)",
    );
}

#[test]
fn a_sigmoid_of_another_value_is_a_gate() {
    check_kept(
        fuse_silu,
        "(tensor<fp32, [2]> x, tensor<fp32, [2]> z) {
            tensor<fp32, [2]> s = sigmoid(x = z);
            tensor<fp32, [2]> y = mul(x = x, y = s);
        } -> (y)",
    );
}

const GELU: &str = "(tensor<fp32, [2]> x) {
    tensor<fp32, [2]> a = real_div(x = x, y = fp32(1.41421356));
    tensor<fp32, [2]> e = erf(x = a);
    tensor<fp32, [2]> p = add(x = e, y = fp32(1.0));
    tensor<fp32, [2]> h = mul(x = x, y = fp32(0.5));
    tensor<fp32, [2]> y = mul(x = h, y = p);
} -> (y)";

#[test]
fn the_exact_gelu_is_recognised_with_its_factors_in_any_order() {
    check(
        fuse_gelu,
        GELU,
        expect![[r#"
            (tensor<fp32, [2]> x) {
                fp32 a_y = fp32(0x1.6a09e6p+0);
                tensor<fp32, [2]> a = real_div(x = x, y = a_y);
                tensor<fp32, [2]> e = erf(x = a);
                fp32 p_y = fp32(0x1p+0);
                tensor<fp32, [2]> p = add(x = e, y = p_y);
                fp32 h_y = fp32(0x1p-1);
                tensor<fp32, [2]> h = mul(x = x, y = h_y);
                string y_mode = string("EXACT");
                tensor<fp32, [2]> y = gelu(mode = y_mode, x = x);
            } -> (y);
        "#]],
    );
    let multiplied = GELU
        .replace("real_div(x = x, y = fp32(1.41421356))", "mul(x = fp32(0.70710678), y = x)")
        .replace("h = mul(x = x, y = fp32(0.5))", "h = mul(x = p, y = x)")
        .replace("y = mul(x = h, y = p)", "y = mul(x = fp32(0.5), y = h)");
    check(
        fuse_gelu,
        &multiplied,
        expect![[r#"
            (tensor<fp32, [2]> x) {
                fp32 a_x = fp32(0x1.6a09e6p-1);
                tensor<fp32, [2]> a = mul(x = a_x, y = x);
                tensor<fp32, [2]> e = erf(x = a);
                fp32 p_y = fp32(0x1p+0);
                tensor<fp32, [2]> p = add(x = e, y = p_y);
                tensor<fp32, [2]> h = mul(x = p, y = x);
                string y_mode = string("EXACT");
                tensor<fp32, [2]> y = gelu(mode = y_mode, x = x);
            } -> (y);
        "#]],
    );
}

const GELU_TANH: &str = "(tensor<fp32, [2]> x) {
    tensor<fp32, [2]> c = pow(x = x, y = fp32(3));
    tensor<fp32, [2]> k = mul(x = c, y = fp32(0.044715));
    tensor<fp32, [2]> s = add(x = x, y = k);
    tensor<fp32, [2]> i = mul(x = s, y = fp32(0.79788456));
    tensor<fp32, [2]> t = tanh(x = i);
    tensor<fp32, [2]> p = add(x = t, y = fp32(1));
    tensor<fp32, [2]> h = mul(x = x, y = p);
    tensor<fp32, [2]> y = mul(x = h, y = fp32(0.5));
} -> (y)";

#[test]
fn the_approximate_gelu_is_recognised() {
    let (n, program) = apply(Opset::CoreML6, GELU_TANH, fuse_gelu);
    assert_eq!(n, 1);
    let text = statements(&program);
    assert!(
        text.contains("string(\"TANH_APPROXIMATION\")") && text.contains("y = gelu(mode = y_mode, x = x)"),
        "{text}"
    );
    for (old, new) in [("fp32(3)", "fp32(2)"), ("0.044715", "0.0447"), ("0.79788456", "0.8"), ("fp32(0.5)", "fp32(1)")]
    {
        check_kept(fuse_gelu, &GELU_TANH.replace(old, new));
    }
    check_kept(fuse_gelu, &GELU_TANH.replace("-> (y)", "-> (y, c)"));
}

#[test]
fn other_factors_are_no_gelu() {
    check_kept(fuse_gelu, &GELU.replace("fp32(0.5)", "fp32(0.51)"));
    check_kept(fuse_gelu, &GELU.replace("fp32(1.41421356)", "fp32(1.4)"));
    check_kept(fuse_gelu, &GELU.replace("-> (y)", "-> (y, p)"));
}

#[test]
fn a_product_with_a_constant_matrix_and_a_bias_are_one_linear() {
    check(
        fuse_linear,
        "(tensor<fp32, [1, 5, 2]> x) {
            tensor<fp32, [1, 5, 3]> p = matmul(x = x, y = tensor<fp32, [2, 3]>([[1, 2, 3], [4, 5, 6]]));
            tensor<fp32, [1, 5, 3]> y = add(x = tensor<fp32, [1, 3]>([[7, 8, 9]]), y = p);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [1, 5, 2]> x) {
                tensor<fp32, [3, 2]> p_weight = tensor<fp32, [3, 2]>([[0x1p+0, 0x1p+2], [0x1p+1, 0x1.4p+2], [0x1.8p+1, 0x1.8p+2]]);
                tensor<fp32, [1, 5, 3]> p_1 = linear(weight = p_weight, x = x);
                tensor<fp32, [3]> y_bias = tensor<fp32, [3]>([0x1.cp+2, 0x1p+3, 0x1.2p+3]);
                tensor<fp32, [1, 5, 3]> y = linear(bias = y_bias, weight = p_weight, x = x);
            } -> (y);
        "#]],
    );
}

#[test]
fn a_transposed_weight_is_already_as_linear_wants_it() {
    check(
        fuse_linear,
        "(tensor<fp32, [1, 5, 2]> x) {
            tensor<fp32, [1, 5, 3]> y = matmul(transpose_y = bool(true), x = x, y = tensor<fp32, [1, 3, 2]>([[[1, 2], [3, 4], [5, 6]]]));
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [1, 5, 2]> x) {
                tensor<fp32, [3, 2]> y_weight = tensor<fp32, [3, 2]>([[0x1p+0, 0x1p+1], [0x1.8p+1, 0x1p+2], [0x1.4p+2, 0x1.8p+2]]);
                tensor<fp32, [1, 5, 3]> y = linear(weight = y_weight, x = x);
            } -> (y);
        "#]],
    );
}

#[test]
fn products_that_are_no_linear_stay() {
    // Both operands computed; the constant on the left; the left one transposed.
    check_kept(
        fuse_linear,
        "(tensor<fp32, [2, 2]> x) {
            tensor<fp32, [2, 2]> a = matmul(x = x, y = x);
            tensor<fp32, [2, 2]> b = matmul(x = tensor<fp32, [2, 2]>([[1, 2], [3, 4]]), y = a);
            tensor<fp32, [2, 2]> y = matmul(transpose_x = bool(true), x = b, y = tensor<fp32, [2, 2]>([[1, 2], [3, 4]]));
        } -> (y)",
    );
}

#[test]
fn what_is_added_per_row_is_no_bias() {
    check_kept(
        fuse_linear,
        "(tensor<fp32, [2, 2]> x) {
            tensor<fp32, [2, 2]> p = linear(x = x, weight = tensor<fp32, [2, 2]>([[1, 2], [3, 4]]));
            tensor<fp32, [2, 2]> y = add(x = p, y = tensor<fp32, [2, 1]>([[5], [6]]));
        } -> (y)",
    );
}

const LAYER_NORM: &str = "(tensor<fp32, [1, 2, 2]> x) {
    tensor<fp32, [1, 2, 1]> m = reduce_mean(axes = tensor<int32, [1]>([-1]), keep_dims = bool(true), x = x);
    tensor<fp32, [1, 2, 2]> s = sub(x = x, y = m);
    tensor<fp32, [1, 2, 2]> q = mul(x = s, y = s);
    tensor<fp32, [1, 2, 1]> v = reduce_mean(axes = tensor<int32, [1]>([2]), keep_dims = bool(true), x = q);
    tensor<fp32, [1, 2, 1]> e = add(x = v, y = EPS);
    tensor<fp32, [1, 2, 1]> d = sqrt(x = e);
    tensor<fp32, [1, 2, 2]> n = real_div(x = s, y = d);
    tensor<fp32, [1, 2, 2]> g = mul(x = n, y = GAMMA);
    tensor<fp32, [1, 2, 2]> y = add(x = g, y = tensor<fp32, [2]>([3, 4]));
} -> (y)";

fn layer_norm(epsilon: &str, gamma: &str) -> String {
    LAYER_NORM.replace("EPS", epsilon).replace("GAMMA", gamma)
}

#[test]
fn the_spelt_out_layer_norm_is_one_operation() {
    let fused = |f: &mut Function| Ok(fuse_layer_norm(f)? + eliminate_dead_code(f)?);
    let text = layer_norm("fp32(0.00001)", "tensor<fp32, [1, 1, 2]>([[[1, 2]]])");
    check_in(
        Opset::CoreML6,
        fused,
        &text,
        expect![[r#"
            (tensor<fp32, [1, 2, 2]> x) {
                tensor<int32, [1]> y_axes = tensor<int32, [1]>([2]);
                tensor<fp32, [2]> y_beta = tensor<fp32, [2]>([0x1.8p+1, 0x1p+2]);
                fp32 y_epsilon = fp32(0x1.4f8b58p-17);
                tensor<fp32, [2]> y_gamma = tensor<fp32, [2]>([0x1p+0, 0x1p+1]);
                tensor<fp32, [1, 2, 2]> y = layer_norm(axes = y_axes, beta = y_beta, epsilon = y_epsilon, gamma = y_gamma, x = x);
            } -> (y);
        "#]],
    );
    let text = layer_norm("tensor<fp32, [1]>([0.00001])", "tensor<fp32, [2]>([1, 2])");
    check_in(
        Opset::CoreML6,
        fused,
        &text,
        expect![[r#"
        (tensor<fp32, [1, 2, 2]> x) {
            tensor<int32, [1]> y_axes = tensor<int32, [1]>([2]);
            tensor<fp32, [2]> y_beta = tensor<fp32, [2]>([0x1.8p+1, 0x1p+2]);
            fp32 y_epsilon = fp32(0x1.4f8b58p-17);
            tensor<fp32, [2]> y_gamma = tensor<fp32, [2]>([0x1p+0, 0x1p+1]);
            tensor<fp32, [1, 2, 2]> y = layer_norm(axes = y_axes, beta = y_beta, epsilon = y_epsilon, gamma = y_gamma, x = x);
        } -> (y);
    "#]],
    );
}

#[test]
fn a_factor_per_row_is_no_gamma() {
    // As many elements as gamma has, but along the other axis.
    check_kept(fuse_layer_norm, &layer_norm("fp32(0.00001)", "tensor<fp32, [2, 1]>([[1], [2]])"));
}

#[test]
fn a_mean_over_other_axes_is_no_layer_norm() {
    let text = layer_norm("fp32(0.00001)", "tensor<fp32, [2]>([1, 2])");
    let text = text.replace("axes = tensor<int32, [1]>([2])", "axes = tensor<int32, [1]>([1])");
    let text = text.replace("[1, 2, 1]> v", "[1, 1, 2]> v").replace("[1, 2, 1]> e", "[1, 1, 2]> e");
    check_kept(fuse_layer_norm, &text.replace("[1, 2, 1]> d", "[1, 1, 2]> d"));
}

/// Two groups of two channels.
const GROUP_NORM: &str = "(tensor<fp32, [1, 4, 2, 3]> x) {
    tensor<fp32, [1, 2, 12]> r = reshape(shape = tensor<int32, [3]>([1, 2, 12]), x = x);
    tensor<fp32, [1, 2, 1]> m = reduce_mean(axes = tensor<int32, [1]>([2]), keep_dims = bool(true), x = r);
    tensor<fp32, [1, 2, 12]> s = sub(x = r, y = m);
    tensor<fp32, [1, 2, 12]> q = square(x = s);
    tensor<fp32, [1, 2, 1]> v = reduce_mean(axes = tensor<int32, [1]>([2]), keep_dims = bool(true), x = q);
    tensor<fp32, [1, 2, 1]> e = add(x = v, y = fp32(0.00001));
    tensor<fp32, [1, 2, 1]> d = sqrt(x = e);
    tensor<fp32, [1, 2, 12]> n = real_div(x = s, y = d);
    tensor<fp32, [1, 4, 2, 3]> y = reshape(shape = tensor<int32, [4]>([1, 4, 2, 3]), x = n);
} -> (y)";

#[test]
fn group_norm_has_rank_five() {
    let fused = |f: &mut Function| Ok(fuse_group_norm(f)? + eliminate_dead_code(f)?);
    check_in(
        Opset::CoreML6,
        fused,
        GROUP_NORM,
        expect![[r#"
            (tensor<fp32, [1, 4, 2, 3]> x) {
                tensor<int32, [5]> y_shape_1 = tensor<int32, [5]>([1, 2, 2, 2, 3]);
                tensor<fp32, [1, 2, 2, 2, 3]> y_1 = reshape(shape = y_shape_1, x = x);
                tensor<int32, [3]> y_axes = tensor<int32, [3]>([2, 3, 4]);
                bool y_keep_dims = bool(true);
                tensor<fp32, [1, 2, 1, 1, 1]> y_2 = reduce_mean(axes = y_axes, keep_dims = y_keep_dims, x = y_1);
                tensor<fp32, [1, 2, 2, 2, 3]> y_3 = sub(x = y_1, y = y_2);
                tensor<fp32, [1, 2, 2, 2, 3]> y_4 = square(x = y_3);
                tensor<fp32, [1, 2, 1, 1, 1]> y_5 = reduce_mean(axes = y_axes, keep_dims = y_keep_dims, x = y_4);
                fp32 e_y = fp32(0x1.4f8b58p-17);
                tensor<fp32, [1, 2, 1, 1, 1]> y_6 = add(x = y_5, y = e_y);
                tensor<fp32, [1, 2, 1, 1, 1]> y_7 = sqrt(x = y_6);
                tensor<fp32, [1, 2, 2, 2, 3]> y_8 = real_div(x = y_3, y = y_7);
                tensor<int32, [4]> y_shape_2 = tensor<int32, [4]>([1, 4, 2, 3]);
                tensor<fp32, [1, 4, 2, 3]> y = reshape(shape = y_shape_2, x = y_8);
            } -> (y);
        "#]],
    );
}

#[test]
fn the_rank_five_form_is_not_fused_again() {
    let (_, mut once) = apply(Opset::CoreML6, GROUP_NORM, fuse_group_norm);
    assert_eq!(fuse_group_norm(once.functions.get_mut("main").unwrap()), Ok(0));
}

#[test]
fn a_result_of_another_shape_is_no_group_norm() {
    let text = GROUP_NORM.replace("[1, 4, 2, 3]> y", "[1, 2, 4, 3]> y").replace("([1, 4, 2, 3])", "([1, 2, 4, 3])");
    check_kept(fuse_group_norm, &text);
}

#[test]
fn a_group_norm_without_channels_is_left_alone() {
    let text = GROUP_NORM
        .replace("[1, 4, 2, 3]", "[1, 0, 2, 3]")
        .replace("[1, 2, 12]", "[1, 0, 6]")
        .replace("[1, 2, 1]", "[1, 0, 1]");
    let mut program = program(Opset::CoreML6, &text);
    assert_eq!(fuse_group_norm(program.functions.get_mut("main").unwrap()), Ok(0));
}

const AFFINE: &str = "(tensor<fp32, [1, 2, 1, 3]> x) {
    tensor<fp32, [1, 2, 1, 3]> m = mul(x = tensor<fp32, [1, 2, 1, 1]>([[[[2]], [[3]]]]), y = x);
    tensor<fp32, [1, 2, 1, 3]> y = add(x = m, y = tensor<fp32, [2, 1, 1]>([[[4]], [[5]]]));
} -> (y)";

#[test]
fn a_factor_and_a_summand_per_channel_are_a_batch_norm() {
    check(
        fuse_batch_norm,
        AFFINE,
        expect![[r#"
            (tensor<fp32, [1, 2, 1, 3]> x) {
                tensor<fp32, [1, 2, 1, 1]> m_x = tensor<fp32, [1, 2, 1, 1]>([[[[0x1p+1]], [[0x1.8p+1]]]]);
                tensor<fp32, [1, 2, 1, 3]> m = mul(x = m_x, y = x);
                tensor<fp32, [2]> y_beta = tensor<fp32, [2]>([0x1p+2, 0x1.4p+2]);
                fp32 y_epsilon = fp32(0x0p+0);
                tensor<fp32, [2]> y_gamma = tensor<fp32, [2]>([0x1p+1, 0x1.8p+1]);
                tensor<fp32, [2]> y_mean = tensor<fp32, [2]>([0x0p+0, 0x0p+0]);
                tensor<fp32, [2]> y_variance = tensor<fp32, [2]>([0x1p+0, 0x1p+0]);
                tensor<fp32, [1, 2, 1, 3]> y = batch_norm(beta = y_beta, epsilon = y_epsilon, gamma = y_gamma, mean = y_mean, variance = y_variance, x = x);
            } -> (y);
        "#]],
    );
}

#[test]
fn factors_along_other_axes_are_no_batch_norm() {
    let per_column = "tensor<fp32, [1, 1, 1, 3]>([[[[4, 5, 6]]]])";
    check_kept(fuse_batch_norm, &AFFINE.replace("tensor<fp32, [2, 1, 1]>([[[4]], [[5]]])", per_column));
    check_kept(fuse_batch_norm, &AFFINE.replace("-> (y)", "-> (y, m)"));
}

const LAST_MAXIMUM: &str = "(tensor<fp32, [2, 3]> x) {
    tensor<int32, [2, 1]> a = reduce_argmax(axis = int32(-1), keep_dims = bool(true), x = x);
    tensor<int32, [2]> y = reshape(shape = tensor<int32, [1]>([2]), x = a);
} -> (y)";

#[test]
fn a_reduction_drops_the_axes_that_are_dropped_after_it() {
    check(
        fuse_reduce_squeeze,
        LAST_MAXIMUM,
        expect![[r#"
        (tensor<fp32, [2, 3]> x) {
            int32 a_axis = int32(-1);
            bool a_keep_dims = bool(true);
            tensor<int32, [2, 1]> a = reduce_argmax(axis = a_axis, keep_dims = a_keep_dims, x = x);
            bool y_keep_dims = bool(false);
            tensor<int32, [2]> y = reduce_argmax(axis = a_axis, keep_dims = y_keep_dims, x = x);
        } -> (y);
    "#]],
    );
    check(
        fuse_reduce_squeeze,
        "(tensor<fp32, [2, 3, 1]> x) {
            tensor<fp32, [1, 1, 1]> a = reduce_max(axes = tensor<int32, [2]>([0, 1]), keep_dims = bool(true), x = x);
            tensor<fp32, [1]> y = squeeze(axes = tensor<int32, [2]>([0, 1]), x = a);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [2, 3, 1]> x) {
                tensor<int32, [2]> a_axes = tensor<int32, [2]>([0, 1]);
                bool a_keep_dims = bool(true);
                tensor<fp32, [1, 1, 1]> a = reduce_max(axes = a_axes, keep_dims = a_keep_dims, x = x);
                bool y_keep_dims = bool(false);
                tensor<fp32, [1]> y = reduce_max(axes = a_axes, keep_dims = y_keep_dims, x = x);
            } -> (y);
        "#]],
    );
}

#[test]
fn a_reduction_keeps_axes_that_something_reads_or_that_stay() {
    check_kept(fuse_reduce_squeeze, &LAST_MAXIMUM.replace("-> (y)", "-> (y, a)"));
    check_kept(
        fuse_reduce_squeeze,
        "(tensor<fp32, [2, 3]> x) {
            tensor<fp32, [1, 3]> a = reduce_max(axes = tensor<int32, [1]>([0]), keep_dims = bool(true), x = x);
            tensor<fp32, [3, 1]> y = reshape(shape = tensor<int32, [2]>([3, 1]), x = a);
        } -> (y)",
    );
}
