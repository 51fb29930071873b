//! Transpositions, reshapes, slices, and attention.

use super::*;

#[test]
fn transpositions_in_a_row_are_one() {
    check(
        cancel_transposes,
        "(tensor<fp32, [2, 3, 4]> x) {
            tensor<fp32, [3, 4, 2]> a = transpose(perm = tensor<int32, [3]>([1, 2, 0]), x = x);
            tensor<fp32, [4, 3, 2]> b = transpose(perm = tensor<int32, [3]>([1, 0, -1]), x = a);
            tensor<fp32, [4, 3, 2]> y = relu(x = b);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [2, 3, 4]> x) {
                tensor<int32, [3]> a_perm = tensor<int32, [3]>([1, 2, 0]);
                tensor<fp32, [3, 4, 2]> a = transpose(perm = a_perm, x = x);
                tensor<int32, [3]> b_perm_1 = tensor<int32, [3]>([2, 1, 0]);
                tensor<fp32, [4, 3, 2]> b_1 = transpose(perm = b_perm_1, x = x);
                tensor<fp32, [4, 3, 2]> y = relu(x = b_1);
            } -> (y);
        "#]],
    );
}

#[test]
fn transpositions_that_undo_each_other_vanish() {
    check(
        cancel_transposes,
        "(tensor<fp32, [2, 3]> x) {
            tensor<fp32, [3, 2]> a = transpose(perm = tensor<int32, [2]>([1, 0]), x = x);
            tensor<fp32, [2, 3]> b = transpose(perm = tensor<int32, [2]>([1, 0]), x = a);
            tensor<fp32, [2, 3]> y = relu(x = b);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [2, 3]> x) {
                tensor<int32, [2]> a_perm = tensor<int32, [2]>([1, 0]);
                tensor<fp32, [3, 2]> a = transpose(perm = a_perm, x = x);
                tensor<fp32, [2, 3]> y = relu(x = x);
            } -> (y);
        "#]],
    );
}

#[test]
fn transpositions_of_the_last_two_axes_vanish_into_a_product() {
    check(
        cancel_transposes,
        "(tensor<fp32, [1, 2, 3]> x, tensor<fp32, [1, 4, 3]> z) {
            tensor<fp32, [1, 3, 4]> t = transpose(perm = tensor<int32, [3]>([0, 2, 1]), x = z);
            tensor<fp32, [1, 2, 4]> y = matmul(x = x, y = t);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [1, 2, 3]> x, tensor<fp32, [1, 4, 3]> z) {
                tensor<int32, [3]> t_perm = tensor<int32, [3]>([0, 2, 1]);
                tensor<fp32, [1, 3, 4]> t = transpose(perm = t_perm, x = z);
                bool y_transpose_x = bool(false);
                bool y_transpose_y = bool(true);
                tensor<fp32, [1, 2, 4]> y = matmul(transpose_x = y_transpose_x, transpose_y = y_transpose_y, x = x, y = z);
            } -> (y);
        "#]],
    );
}

#[test]
fn a_transposition_of_other_axes_stays_before_a_product() {
    check_kept(
        cancel_transposes,
        "(tensor<fp32, [2, 2, 2]> x) {
            tensor<fp32, [2, 2, 2]> t = transpose(perm = tensor<int32, [3]>([1, 0, 2]), x = x);
            tensor<fp32, [2, 2, 2]> y = matmul(x = x, y = t);
        } -> (y)",
    );
}

#[test]
fn a_transposition_of_something_between_stays() {
    check_kept(
        cancel_transposes,
        "(tensor<fp32, [2, 3]> x) {
            tensor<fp32, [3, 2]> a = transpose(perm = tensor<int32, [2]>([1, 0]), x = x);
            tensor<fp32, [3, 2]> r = softmax(axis = int32(0), x = a);
            tensor<fp32, [2, 3]> y = transpose(perm = tensor<int32, [2]>([1, 0]), x = r);
        } -> (y)",
    );
}

#[test]
fn of_reshapes_in_a_row_only_the_last_matters() {
    check(
        merge_reshapes,
        "(tensor<fp32, [2, 6]> x) {
            tensor<fp32, [3, 4]> a = reshape(shape = tensor<int32, [2]>([3, 4]), x = x);
            tensor<fp32, [1, 3, 4]> b = expand_dims(axes = tensor<int32, [1]>([0]), x = a);
            tensor<fp32, [12]> y = reshape(shape = tensor<int32, [1]>([-1]), x = b);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [2, 6]> x) {
                tensor<int32, [2]> a_shape = tensor<int32, [2]>([3, 4]);
                tensor<fp32, [3, 4]> a = reshape(shape = a_shape, x = x);
                tensor<int32, [3]> b_shape = tensor<int32, [3]>([1, 3, 4]);
                tensor<fp32, [1, 3, 4]> b_1 = reshape(shape = b_shape, x = x);
                tensor<int32, [1]> y_shape_1 = tensor<int32, [1]>([12]);
                tensor<fp32, [12]> y = reshape(shape = y_shape_1, x = x);
            } -> (y);
        "#]],
    );
}

#[test]
fn reshapes_with_something_between_stay() {
    check_kept(
        merge_reshapes,
        "(tensor<fp32, [2, 6]> x) {
            tensor<fp32, [3, 4]> a = reshape(shape = tensor<int32, [2]>([3, 4]), x = x);
            tensor<fp32, [3, 4]> b = relu(x = a);
            tensor<fp32, [12]> y = reshape(shape = tensor<int32, [1]>([12]), x = b);
        } -> (y)",
    );
}

/// The two halves of x [1, 6].
fn slices(first_end: usize, second_begin: usize) -> String {
    let second = 6 - second_begin;
    format!(
        "(tensor<fp32, [1, 6]> x) {{
            tensor<fp32, [1, {second}]> b = slice_by_index(begin = tensor<int32, [2]>([0, {second_begin}]), end = tensor<int32, [2]>([1, 6]), x = x);
            tensor<fp32, [1, {first_end}]> a = slice_by_index(begin = tensor<int32, [2]>([0, 0]), end = tensor<int32, [2]>([1, {first_end}]), x = x);
        }} -> (a, b)"
    )
}

#[test]
fn slices_that_cover_an_axis_are_one_split() {
    check(
        merge_slices,
        &slices(2, 2),
        expect![[r#"
            (tensor<fp32, [1, 6]> x) {
                int32 b_axis = int32(1);
                tensor<int32, [2]> b_split_sizes = tensor<int32, [2]>([2, 4]);
                tensor<fp32, [1, 2]> a, tensor<fp32, [1, 4]> b = split(axis = b_axis, split_sizes = b_split_sizes, x = x);
            } -> (a, b);
        "#]],
    );
}

#[test]
fn slices_with_a_gap_or_an_overlap_stay() {
    check_kept(merge_slices, &slices(2, 3));
    check_kept(merge_slices, &slices(3, 2));
}

const ATTENTION: &str = "(tensor<fp32, [1, 2, 3, 4]> q, tensor<fp32, [1, 2, 5, 4]> k, tensor<fp32, [1, 2, 5, 4]> v, tensor<fp32, [3, 5]> m) {
    tensor<fp32, [1, 2, 3, 4]> y = scaled_dot_product_attention(attn_mask = m, key = k, query = q, value = v);
} -> (y)";

#[test]
fn attention_is_spelt_out_where_the_opset_lacks_it() {
    let (n, program) = apply(Opset::CoreML6, ATTENTION, expand_attention);
    assert_eq!(n, 1);
    expect![[r#"
        (tensor<fp32, [1, 2, 3, 4]> q, tensor<fp32, [1, 2, 5, 4]> k, tensor<fp32, [1, 2, 5, 4]> v, tensor<fp32, [3, 5]> m) {
            fp32 y_y = fp32(0x1p-1);
            tensor<fp32, [1, 2, 3, 4]> y_1 = mul(x = q, y = y_y);
            bool y_transpose_x = bool(false);
            bool y_transpose_y = bool(true);
            tensor<fp32, [1, 2, 3, 5]> y_2 = matmul(transpose_x = y_transpose_x, transpose_y = y_transpose_y, x = y_1, y = k);
            tensor<fp32, [1, 2, 3, 5]> y_3 = add(x = y_2, y = m);
            int32 y_axis = int32(-1);
            tensor<fp32, [1, 2, 3, 5]> y_4 = softmax(axis = y_axis, x = y_3);
            tensor<fp32, [1, 2, 3, 4]> y = matmul(transpose_x = y_transpose_x, transpose_y = y_transpose_x, x = y_4, y = v);
        } -> (y);
    "#]].assert_eq(&statements(&program));
}

#[test]
fn attention_with_a_mask_of_booleans_is_not_spelt_out() {
    let text = ATTENTION
        .replace("tensor<fp32, [3, 5]> m)", "tensor<fp32, [3, 5]> f)")
        .replace("{\n", "{ tensor<bool, [3, 5]> m = greater(x = f, y = fp32(0));\n");
    let mut program = program(Opset::CoreML8, &text);
    let error = expand_attention(program.functions.get_mut("main").unwrap()).unwrap_err();
    assert_eq!(error.message, "attention y cannot be expanded: it needs a known head size and a mask that is added");
}

/// One transformer block of one linear layer, normalised, over an image [1, 4, 2, 3].
const TOKENS: &str = "(tensor<fp32, [1, 4, 2, 3]> x) {
    tensor<fp32, [1, 4, 6]> r = reshape(shape = tensor<int32, [3]>([1, 4, 6]), x = x);
    tensor<fp32, [1, 6, 4]> t = transpose(perm = tensor<int32, [3]>([0, 2, 1]), x = r);
    tensor<fp32, [1, 6, 4]> n = layer_norm(axes = tensor<int32, [1]>([-1]), beta = tensor<fp32, [4]>([1, 2, 3, 4]), epsilon = fp32(0.5), gamma = tensor<fp32, [4]>([5, 6, 7, 8]), x = t);
    tensor<fp32, [1, 6, 2]> l = linear(bias = tensor<fp32, [2]>([1, 2]), weight = tensor<fp32, [2, 4]>([[1, 2, 3, 4], [5, 6, 7, 8]]), x = n);
    tensor<fp32, [1, 6, 2]> g = gelu(mode = string(\"EXACT\"), x = l);
    tensor<fp32, [1, 2, 6]> u = transpose(perm = tensor<int32, [3]>([0, 2, 1]), x = g);
    tensor<fp32, [1, 2, 2, 3]> y = reshape(shape = tensor<int32, [4]>([1, 2, 2, 3]), x = u);
} -> (y)";

#[test]
fn tokens_move_to_channels_first_and_no_transposition_is_left() {
    let pass = |f: &mut Function| Ok(channels_first(f, AttentionLayout::Original)? + tidy(f)?);
    check_in(
        Opset::CoreML6,
        pass,
        TOKENS,
        expect![[r#"
            (tensor<fp32, [1, 4, 2, 3]> x) {
                tensor<int32, [4]> t_1_shape = tensor<int32, [4]>([1, 4, 1, 6]);
                tensor<fp32, [1, 4, 1, 6]> t_1_1 = reshape(shape = t_1_shape, x = x);
                tensor<int32, [1]> n_axes_1 = tensor<int32, [1]>([1]);
                tensor<fp32, [4]> n_beta = tensor<fp32, [4]>([0x1p+0, 0x1p+1, 0x1.8p+1, 0x1p+2]);
                fp32 n_epsilon = fp32(0x1p-1);
                tensor<fp32, [4]> n_gamma = tensor<fp32, [4]>([0x1.4p+2, 0x1.8p+2, 0x1.cp+2, 0x1p+3]);
                tensor<fp32, [1, 4, 1, 6]> n_1 = layer_norm(axes = n_axes_1, beta = n_beta, epsilon = n_epsilon, gamma = n_gamma, x = t_1_1);
                tensor<fp32, [2]> l_bias = tensor<fp32, [2]>([0x1p+0, 0x1p+1]);
                tensor<int32, [2]> l_strides = tensor<int32, [2]>([1, 1]);
                int32 l_groups = int32(1);
                tensor<int32, [4]> l_pad = tensor<int32, [4]>([0, 0, 0, 0]);
                string l_pad_type = string("valid");
                tensor<fp32, [2, 4, 1, 1]> l_weight_1 = tensor<fp32, [2, 4, 1, 1]>([[[[0x1p+0]], [[0x1p+1]], [[0x1.8p+1]], [[0x1p+2]]], [[[0x1.4p+2]], [[0x1.8p+2]], [[0x1.cp+2]], [[0x1p+3]]]]);
                tensor<fp32, [1, 2, 1, 6]> l_1 = conv(bias = l_bias, dilations = l_strides, groups = l_groups, pad = l_pad, pad_type = l_pad_type, strides = l_strides, weight = l_weight_1, x = n_1);
                string g_mode = string("EXACT");
                tensor<fp32, [1, 2, 1, 6]> g_1 = gelu(mode = g_mode, x = l_1);
                tensor<int32, [4]> y_shape_1 = tensor<int32, [4]>([1, 2, 2, 3]);
                tensor<fp32, [1, 2, 2, 3]> y = reshape(shape = y_shape_1, x = g_1);
            } -> (y);
        "#]],
    );
}

#[test]
fn tokens_that_something_else_reads_are_transposed_back_for_it() {
    let text = TOKENS.replace("-> (y)", "-> (y, s)").replace(
        "tensor<fp32, [1, 2, 6]> u",
        "tensor<fp32, [1, 6, 2]> s = softmax(axis = int32(1), x = g);\ntensor<fp32, [1, 2, 6]> u",
    );
    let pass = |f: &mut Function| Ok(channels_first(f, AttentionLayout::Original)? + tidy(f)?);
    check_in(
        Opset::CoreML6,
        pass,
        &text,
        expect![[r#"
            (tensor<fp32, [1, 4, 2, 3]> x) {
                tensor<int32, [4]> t_1_shape = tensor<int32, [4]>([1, 4, 1, 6]);
                tensor<fp32, [1, 4, 1, 6]> t_1_1 = reshape(shape = t_1_shape, x = x);
                tensor<int32, [1]> n_axes_1 = tensor<int32, [1]>([1]);
                tensor<fp32, [4]> n_beta = tensor<fp32, [4]>([0x1p+0, 0x1p+1, 0x1.8p+1, 0x1p+2]);
                fp32 n_epsilon = fp32(0x1p-1);
                tensor<fp32, [4]> n_gamma = tensor<fp32, [4]>([0x1.4p+2, 0x1.8p+2, 0x1.cp+2, 0x1p+3]);
                tensor<fp32, [1, 4, 1, 6]> n_1 = layer_norm(axes = n_axes_1, beta = n_beta, epsilon = n_epsilon, gamma = n_gamma, x = t_1_1);
                tensor<fp32, [2]> l_bias = tensor<fp32, [2]>([0x1p+0, 0x1p+1]);
                tensor<int32, [2]> l_strides = tensor<int32, [2]>([1, 1]);
                int32 l_groups = int32(1);
                tensor<int32, [4]> l_pad = tensor<int32, [4]>([0, 0, 0, 0]);
                string l_pad_type = string("valid");
                tensor<fp32, [2, 4, 1, 1]> l_weight_1 = tensor<fp32, [2, 4, 1, 1]>([[[[0x1p+0]], [[0x1p+1]], [[0x1.8p+1]], [[0x1p+2]]], [[[0x1.4p+2]], [[0x1.8p+2]], [[0x1.cp+2]], [[0x1p+3]]]]);
                tensor<fp32, [1, 2, 1, 6]> l_1 = conv(bias = l_bias, dilations = l_strides, groups = l_groups, pad = l_pad, pad_type = l_pad_type, strides = l_strides, weight = l_weight_1, x = n_1);
                string g_mode = string("EXACT");
                tensor<fp32, [1, 2, 1, 6]> g_1 = gelu(mode = g_mode, x = l_1);
                tensor<int32, [3]> l_shape = tensor<int32, [3]>([1, 2, 6]);
                tensor<fp32, [1, 2, 6]> g_2 = reshape(shape = l_shape, x = g_1);
                tensor<int32, [3]> n_perm = tensor<int32, [3]>([0, 2, 1]);
                tensor<fp32, [1, 6, 2]> g_3 = transpose(perm = n_perm, x = g_2);
                tensor<fp32, [1, 6, 2]> s = softmax(axis = l_groups, x = g_3);
                tensor<int32, [4]> y_shape_1 = tensor<int32, [4]>([1, 2, 2, 3]);
                tensor<fp32, [1, 2, 2, 3]> y = reshape(shape = y_shape_1, x = g_1);
            } -> (y, s);
        "#]],
    );
}

#[test]
fn without_tokens_nothing_moves() {
    check_kept(
        |f| channels_first(f, AttentionLayout::SplitEinsum),
        "(tensor<fp32, [1, 6, 4]> x) {
            tensor<fp32, [1, 6, 4]> n = layer_norm(axes = tensor<int32, [1]>([-1]), x = x);
            tensor<fp32, [1, 6, 1]> y = linear(weight = tensor<fp32, [1, 4]>([[1, 2, 3, 4]]), x = n);
        } -> (y)",
    );
}

#[test]
fn vectors_that_a_linear_layer_reads_become_images_of_one_pixel() {
    let pass = |f: &mut Function| Ok(channels_first(f, AttentionLayout::Original)? + tidy(f)?);
    check_in(
        Opset::CoreML6,
        pass,
        "(tensor<fp32, [1, 2]> t, tensor<fp32, [1, 2, 3, 3]> x) {
            tensor<fp32, [1, 2]> l = linear(weight = tensor<fp32, [2, 2]>([[1, 2], [3, 4]]), x = t);
            tensor<fp32, [1, 2]> s = silu(x = l);
            tensor<fp32, [1, 2, 1, 1]> r = reshape(shape = tensor<int32, [4]>([1, 2, 1, 1]), x = s);
            tensor<fp32, [1, 2, 3, 3]> y = add(x = x, y = r);
        } -> (y, s)",
        expect![[r#"
            (tensor<fp32, [1, 2]> t, tensor<fp32, [1, 2, 3, 3]> x) {
                tensor<int32, [4]> l_shape = tensor<int32, [4]>([1, 2, 1, 1]);
                tensor<fp32, [1, 2, 1, 1]> l_1 = reshape(shape = l_shape, x = t);
                tensor<int32, [2]> l_strides = tensor<int32, [2]>([1, 1]);
                int32 l_groups = int32(1);
                tensor<int32, [4]> l_pad = tensor<int32, [4]>([0, 0, 0, 0]);
                string l_pad_type = string("valid");
                tensor<fp32, [2, 2, 1, 1]> l_weight_1 = tensor<fp32, [2, 2, 1, 1]>([[[[0x1p+0]], [[0x1p+1]]], [[[0x1.8p+1]], [[0x1p+2]]]]);
                tensor<fp32, [1, 2, 1, 1]> l_2 = conv(dilations = l_strides, groups = l_groups, pad = l_pad, pad_type = l_pad_type, strides = l_strides, weight = l_weight_1, x = l_1);
                tensor<fp32, [1, 2, 1, 1]> s_1 = silu(x = l_2);
                tensor<int32, [2]> l_shape_1 = tensor<int32, [2]>([1, 2]);
                tensor<fp32, [1, 2]> s = reshape(shape = l_shape_1, x = s_1);
                tensor<fp32, [1, 2, 3, 3]> y = add(x = x, y = s_1);
            } -> (y, s);
        "#]],
    );
}

/// Heads of two channels, each divided by its root mean square.
const HEAD_NORM: &str = "(tensor<fp32, [1, 4, 3]> x) {
    tensor<fp32, [1, 3, 4]> t = transpose(perm = tensor<int32, [3]>([0, 2, 1]), x = x);
    tensor<fp32, [1, 3, 2, 2]> h = reshape(shape = tensor<int32, [4]>([1, 3, 2, 2]), x = t);
    tensor<fp32, [1, 3, 2, 2]> s = mul(x = h, y = h);
    tensor<fp32, [1, 3, 2, 1]> m = reduce_mean(axes = tensor<int32, [1]>([-1]), keep_dims = bool(true), x = s);
    tensor<fp32, [1, 3, 2, 1]> a = add(x = m, y = fp32(1e-6));
    tensor<fp32, [1, 3, 2, 1]> r = sqrt(x = a);
    tensor<fp32, [1, 3, 2, 2]> n = real_div(x = h, y = r);
    tensor<fp32, [1, 3, 2, 2]> g = mul(x = n, y = tensor<fp32, [1, 1, 1, 2]>([[[[5, 6]]]]));
    tensor<fp32, [1, 3, 4]> c = reshape(shape = tensor<int32, [3]>([1, 3, 4]), x = g);
    tensor<fp32, [1, 4, 3]> y = transpose(perm = tensor<int32, [3]>([0, 2, 1]), x = c);
} -> (y)";

#[test]
fn heads_are_normalised_together_with_their_negatives() {
    let pass = |f: &mut Function| Ok(channels_first(f, AttentionLayout::Original)? + tidy(f)?);
    check_in(
        Opset::CoreML6,
        pass,
        HEAD_NORM,
        expect![[r#"
        (tensor<fp32, [1, 4, 3]> x) {
            tensor<int32, [4]> g_1_shape = tensor<int32, [4]>([2, 2, 1, 3]);
            tensor<fp32, [2, 2, 1, 3]> g_1_1 = reshape(shape = g_1_shape, x = x);
            fp32 g_y_1 = fp32(-0x1p+0);
            tensor<fp32, [2, 2, 1, 3]> g_2 = mul(x = g_1_1, y = g_y_1);
            int32 g_axis = int32(1);
            bool g_interleave = bool(false);
            tensor<fp32, [2, 4, 1, 3]> g_3 = concat(axis = g_axis, interleave = g_interleave, values = (g_1_1, g_2));
            tensor<int32, [1]> g_axes = tensor<int32, [1]>([1]);
            fp32 g_epsilon = fp32(0x1.0c6f7ap-20);
            tensor<fp32, [4]> g_gamma = tensor<fp32, [4]>([0x1.4p+2, 0x1.8p+2, 0x1.4p+2, 0x1.8p+2]);
            tensor<fp32, [2, 4, 1, 3]> g_4 = layer_norm(axes = g_axes, epsilon = g_epsilon, gamma = g_gamma, x = g_3);
            int32 g_num_splits = int32(2);
            tensor<fp32, [2, 2, 1, 3]> g_5_0, tensor<fp32, [2, 2, 1, 3]> g_5_1 = split(axis = g_axis, num_splits = g_num_splits, x = g_4);
            tensor<int32, [3]> y_1_shape = tensor<int32, [3]>([1, 4, 3]);
            tensor<fp32, [1, 4, 3]> y = reshape(shape = y_1_shape, x = g_5_0);
        } -> (y);
    "#]],
    );
    // A mean over tokens is another normalisation.
    let other = HEAD_NORM.replace("axes = tensor<int32, [1]>([-1])", "axes = tensor<int32, [1]>([1])");
    let other = other.replace("[1, 3, 2, 1]", "[1, 1, 2, 2]");
    assert!(!statements(&apply(Opset::CoreML6, &other, pass).1).contains("layer_norm"));
}

/// A table of tokens and a vector for all tokens, added to tokens.
const TABLE: &str = "(tensor<fp32, [2, 2, 3]> x, tensor<fp32, [2, 2]> v) {
    tensor<fp32, [2, 3, 2]> t = transpose(perm = tensor<int32, [3]>([0, 2, 1]), x = x);
    tensor<fp32, [2, 3, 2]> p = add(x = t, y = tensor<fp32, [1, 3, 2]>([[[1, 2], [3, 4], [5, 6]]]));
    tensor<fp32, [2, 2]> l = linear(weight = tensor<fp32, [2, 2]>([[1, 2], [3, 4]]), x = v);
    tensor<fp32, [2, 1, 2]> e = reshape(shape = tensor<int32, [3]>([2, 1, 2]), x = l);
    tensor<fp32, [2, 3, 2]> m = mul(x = p, y = e);
    tensor<fp32, [2, 2, 3]> y = transpose(perm = tensor<int32, [3]>([0, 2, 1]), x = m);
} -> (y)";

#[test]
fn tables_of_tokens_and_vectors_for_all_tokens_move_along() {
    let pass = |f: &mut Function| Ok(tidy(f)? + channels_first(f, AttentionLayout::Original)? + tidy(f)?);
    check_in(
        Opset::CoreML6,
        pass,
        TABLE,
        expect![[r#"
            (tensor<fp32, [2, 2, 3]> x, tensor<fp32, [2, 2]> v) {
                tensor<int32, [4]> t_shape = tensor<int32, [4]>([2, 2, 1, 3]);
                tensor<fp32, [2, 2, 1, 3]> t_1 = reshape(shape = t_shape, x = x);
                tensor<fp32, [1, 2, 1, 3]> p_y_1 = tensor<fp32, [1, 2, 1, 3]>([[[[0x1p+0, 0x1.8p+1, 0x1.4p+2]], [[0x1p+1, 0x1p+2, 0x1.8p+2]]]]);
                tensor<fp32, [2, 2, 1, 3]> p_1 = add(x = t_1, y = p_y_1);
                tensor<int32, [4]> l_shape = tensor<int32, [4]>([2, 2, 1, 1]);
                tensor<fp32, [2, 2, 1, 1]> l_1 = reshape(shape = l_shape, x = v);
                tensor<int32, [2]> l_strides = tensor<int32, [2]>([1, 1]);
                int32 l_groups = int32(1);
                tensor<int32, [4]> l_pad = tensor<int32, [4]>([0, 0, 0, 0]);
                string l_pad_type = string("valid");
                tensor<fp32, [2, 2, 1, 1]> l_weight_1 = tensor<fp32, [2, 2, 1, 1]>([[[[0x1p+0]], [[0x1p+1]]], [[[0x1.8p+1]], [[0x1p+2]]]]);
                tensor<fp32, [2, 2, 1, 1]> l_2 = conv(dilations = l_strides, groups = l_groups, pad = l_pad, pad_type = l_pad_type, strides = l_strides, weight = l_weight_1, x = l_1);
                tensor<fp32, [2, 2, 1, 3]> m_1 = mul(x = p_1, y = l_2);
                tensor<int32, [3]> p_shape = tensor<int32, [3]>([2, 2, 3]);
                tensor<fp32, [2, 2, 3]> y = reshape(shape = p_shape, x = m_1);
            } -> (y);
        "#]],
    );
}

/// Attention of two heads over tokens [1, S, 4], all three operands the same.
fn self_attention(s: usize) -> String {
    format!(
        "(tensor<fp32, [1, 4, {s}]> x) {{
            tensor<fp32, [1, {s}, 4]> t = transpose(perm = tensor<int32, [3]>([0, 2, 1]), x = x);
            tensor<fp32, [1, {s}, 2, 2]> r = reshape(shape = tensor<int32, [4]>([1, {s}, 2, 2]), x = t);
            tensor<fp32, [1, 2, {s}, 2]> h = transpose(perm = tensor<int32, [4]>([0, 2, 1, 3]), x = r);
            tensor<fp32, [1, 2, {s}, 2]> a = scaled_dot_product_attention(key = h, query = h, value = h);
            tensor<fp32, [1, {s}, 2, 2]> b = transpose(perm = tensor<int32, [4]>([0, 2, 1, 3]), x = a);
            tensor<fp32, [1, {s}, 4]> c = reshape(shape = tensor<int32, [3]>([1, {s}, 4]), x = b);
            tensor<fp32, [1, 4, {s}]> y = transpose(perm = tensor<int32, [3]>([0, 2, 1]), x = c);
        }} -> (y)"
    )
}

#[track_caller]
fn check_attention(layout: AttentionLayout, s: usize, expected: Expect) {
    let (_, program) = apply(Opset::CoreML6, &self_attention(s), |f| Ok(channels_first(f, layout)? + tidy(f)?));
    expected.assert_eq(&statements(&program));
}

#[test]
fn the_original_layout_is_one_batched_product() {
    check_attention(
        AttentionLayout::Original,
        3,
        expect![[r#"
            (tensor<fp32, [1, 4, 3]> x) {
                tensor<int32, [4]> t_shape = tensor<int32, [4]>([1, 4, 1, 3]);
                tensor<fp32, [1, 4, 1, 3]> t_1 = reshape(shape = t_shape, x = x);
                fp32 a_y = fp32(0x1.6a09e6p-1);
                tensor<fp32, [1, 4, 1, 3]> a_1 = mul(x = t_1, y = a_y);
                tensor<int32, [4]> a_shape = tensor<int32, [4]>([1, 2, 2, 3]);
                tensor<fp32, [1, 2, 2, 3]> a_2 = reshape(shape = a_shape, x = a_1);
                tensor<fp32, [1, 2, 2, 3]> a_3_1 = reshape(shape = a_shape, x = x);
                bool a_transpose_x = bool(true);
                bool a_transpose_y = bool(false);
                tensor<fp32, [1, 2, 3, 3]> a_5 = matmul(transpose_x = a_transpose_x, transpose_y = a_transpose_y, x = a_2, y = a_3_1);
                int32 a_axis = int32(3);
                tensor<fp32, [1, 2, 3, 3]> a_6 = softmax(axis = a_axis, x = a_5);
                tensor<fp32, [1, 2, 2, 3]> a_7 = matmul(transpose_x = a_transpose_y, transpose_y = a_transpose_x, x = a_3_1, y = a_6);
                tensor<int32, [3]> y_1_shape = tensor<int32, [3]>([1, 4, 3]);
                tensor<fp32, [1, 4, 3]> y = reshape(shape = y_1_shape, x = a_7);
            } -> (y);
        "#]],
    );
}

#[test]
fn the_split_layout_is_one_einsum_per_head() {
    check_attention(
        AttentionLayout::SplitEinsum,
        3,
        expect![[r#"
            (tensor<fp32, [1, 4, 3]> x) {
                tensor<int32, [4]> t_shape = tensor<int32, [4]>([1, 4, 1, 3]);
                tensor<fp32, [1, 4, 1, 3]> t_1 = reshape(shape = t_shape, x = x);
                fp32 a_y = fp32(0x1.6a09e6p-1);
                tensor<fp32, [1, 4, 1, 3]> a_1 = mul(x = t_1, y = a_y);
                tensor<int32, [4]> a_perm = tensor<int32, [4]>([0, 3, 2, 1]);
                tensor<fp32, [1, 3, 1, 4]> a_2 = transpose(perm = a_perm, x = t_1);
                int32 a_axis = int32(1);
                int32 a_num_splits = int32(2);
                tensor<fp32, [1, 2, 1, 3]> a_3_0, tensor<fp32, [1, 2, 1, 3]> a_3_1 = split(axis = a_axis, num_splits = a_num_splits, x = a_1);
                int32 a_axis_1 = int32(3);
                tensor<fp32, [1, 3, 1, 2]> a_3_0_1, tensor<fp32, [1, 3, 1, 2]> a_3_1_1 = split(axis = a_axis_1, num_splits = a_num_splits, x = a_2);
                tensor<fp32, [1, 2, 1, 3]> a_3_0_2, tensor<fp32, [1, 2, 1, 3]> a_3_1_2 = split(axis = a_axis, num_splits = a_num_splits, x = t_1);
                string a_equation = string("bkhc,bchq->bkhq");
                tensor<fp32, [1, 3, 1, 3]> a_3 = einsum(equation = a_equation, values = (a_3_0_1, a_3_0));
                tensor<fp32, [1, 3, 1, 3]> a_4 = softmax(axis = a_axis, x = a_3);
                string a_equation_1 = string("bchk,bkhq->bchq");
                tensor<fp32, [1, 2, 1, 3]> a_5 = einsum(equation = a_equation_1, values = (a_3_0_2, a_4));
                tensor<fp32, [1, 3, 1, 3]> a_6 = einsum(equation = a_equation, values = (a_3_1_1, a_3_1));
                tensor<fp32, [1, 3, 1, 3]> a_7 = softmax(axis = a_axis, x = a_6);
                tensor<fp32, [1, 2, 1, 3]> a_8 = einsum(equation = a_equation_1, values = (a_3_1_2, a_7));
                bool a_interleave = bool(false);
                tensor<fp32, [1, 4, 1, 3]> a_9 = concat(axis = a_axis, interleave = a_interleave, values = (a_5, a_8));
                tensor<int32, [3]> y_shape = tensor<int32, [3]>([1, 4, 3]);
                tensor<fp32, [1, 4, 3]> y = reshape(shape = y_shape, x = a_9);
            } -> (y);
        "#]],
    );
}

#[test]
fn the_second_split_layout_takes_at_most_512_queries_and_keeps_the_remainder() {
    check_attention(
        AttentionLayout::SplitEinsumV2,
        1100,
        expect![[r#"
            (tensor<fp32, [1, 4, 1100]> x) {
                tensor<int32, [4]> t_shape = tensor<int32, [4]>([1, 4, 1, 1100]);
                tensor<fp32, [1, 4, 1, 1100]> t_1 = reshape(shape = t_shape, x = x);
                fp32 a_y = fp32(0x1.6a09e6p-1);
                tensor<fp32, [1, 4, 1, 1100]> a_1 = mul(x = t_1, y = a_y);
                tensor<int32, [4]> a_perm = tensor<int32, [4]>([0, 3, 2, 1]);
                tensor<fp32, [1, 1100, 1, 4]> a_2 = transpose(perm = a_perm, x = t_1);
                int32 a_axis = int32(1);
                int32 a_num_splits = int32(2);
                tensor<fp32, [1, 2, 1, 1100]> a_3_0, tensor<fp32, [1, 2, 1, 1100]> a_3_1 = split(axis = a_axis, num_splits = a_num_splits, x = a_1);
                int32 a_axis_1 = int32(3);
                tensor<fp32, [1, 1100, 1, 2]> a_3_0_1, tensor<fp32, [1, 1100, 1, 2]> a_3_1_1 = split(axis = a_axis_1, num_splits = a_num_splits, x = a_2);
                tensor<fp32, [1, 2, 1, 1100]> a_3_0_2, tensor<fp32, [1, 2, 1, 1100]> a_3_1_2 = split(axis = a_axis, num_splits = a_num_splits, x = t_1);
                tensor<int32, [3]> a_split_sizes = tensor<int32, [3]>([512, 512, 76]);
                tensor<fp32, [1, 2, 1, 512]> a_3_0_3, tensor<fp32, [1, 2, 1, 512]> a_3_1_3, tensor<fp32, [1, 2, 1, 76]> a_3_2 = split(axis = a_axis_1, split_sizes = a_split_sizes, x = a_3_0);
                string a_equation = string("bkhc,bchq->bkhq");
                tensor<fp32, [1, 1100, 1, 512]> a_3 = einsum(equation = a_equation, values = (a_3_0_1, a_3_0_3));
                tensor<fp32, [1, 1100, 1, 512]> a_4 = softmax(axis = a_axis, x = a_3);
                string a_equation_1 = string("bchk,bkhq->bchq");
                tensor<fp32, [1, 2, 1, 512]> a_5 = einsum(equation = a_equation_1, values = (a_3_0_2, a_4));
                tensor<fp32, [1, 1100, 1, 512]> a_6 = einsum(equation = a_equation, values = (a_3_0_1, a_3_1_3));
                tensor<fp32, [1, 1100, 1, 512]> a_7 = softmax(axis = a_axis, x = a_6);
                tensor<fp32, [1, 2, 1, 512]> a_8 = einsum(equation = a_equation_1, values = (a_3_0_2, a_7));
                tensor<fp32, [1, 1100, 1, 76]> a_9 = einsum(equation = a_equation, values = (a_3_0_1, a_3_2));
                tensor<fp32, [1, 1100, 1, 76]> a_10 = softmax(axis = a_axis, x = a_9);
                tensor<fp32, [1, 2, 1, 76]> a_11 = einsum(equation = a_equation_1, values = (a_3_0_2, a_10));
                bool a_interleave = bool(false);
                tensor<fp32, [1, 2, 1, 1100]> a_12 = concat(axis = a_axis_1, interleave = a_interleave, values = (a_5, a_8, a_11));
                tensor<fp32, [1, 2, 1, 512]> a_13_0, tensor<fp32, [1, 2, 1, 512]> a_13_1, tensor<fp32, [1, 2, 1, 76]> a_13_2 = split(axis = a_axis_1, split_sizes = a_split_sizes, x = a_3_1);
                tensor<fp32, [1, 1100, 1, 512]> a_13 = einsum(equation = a_equation, values = (a_3_1_1, a_13_0));
                tensor<fp32, [1, 1100, 1, 512]> a_14 = softmax(axis = a_axis, x = a_13);
                tensor<fp32, [1, 2, 1, 512]> a_15 = einsum(equation = a_equation_1, values = (a_3_1_2, a_14));
                tensor<fp32, [1, 1100, 1, 512]> a_16 = einsum(equation = a_equation, values = (a_3_1_1, a_13_1));
                tensor<fp32, [1, 1100, 1, 512]> a_17 = softmax(axis = a_axis, x = a_16);
                tensor<fp32, [1, 2, 1, 512]> a_18 = einsum(equation = a_equation_1, values = (a_3_1_2, a_17));
                tensor<fp32, [1, 1100, 1, 76]> a_19 = einsum(equation = a_equation, values = (a_3_1_1, a_13_2));
                tensor<fp32, [1, 1100, 1, 76]> a_20 = softmax(axis = a_axis, x = a_19);
                tensor<fp32, [1, 2, 1, 76]> a_21 = einsum(equation = a_equation_1, values = (a_3_1_2, a_20));
                tensor<fp32, [1, 2, 1, 1100]> a_22 = concat(axis = a_axis_1, interleave = a_interleave, values = (a_15, a_18, a_21));
                tensor<fp32, [1, 4, 1, 1100]> a_23 = concat(axis = a_axis, interleave = a_interleave, values = (a_12, a_22));
                tensor<int32, [3]> y_shape = tensor<int32, [3]>([1, 4, 1100]);
                tensor<fp32, [1, 4, 1100]> y = reshape(shape = y_shape, x = a_23);
            } -> (y);
        "#]],
    );
}

#[test]
fn the_second_split_layout_does_not_split_512_queries() {
    let text = |layout| {
        let text = self_attention(512);
        statements(&apply(Opset::CoreML6, &text, |f| Ok(channels_first(f, layout)? + tidy(f)?)).1)
    };
    assert_eq!(text(AttentionLayout::SplitEinsumV2), text(AttentionLayout::SplitEinsum));
}
