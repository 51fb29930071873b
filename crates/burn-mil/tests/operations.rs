//! Operations without parameters, by family.

mod common;

use burn::tensor::activation::{gelu, hard_sigmoid, leaky_relu, log_sigmoid, log_softmax, relu, sigmoid, softmax};
use burn::tensor::module::{adaptive_avg_pool2d, attention, avg_pool2d, interpolate, max_pool2d};
use burn::tensor::ops::{AttentionModuleOptions, AvgPoolOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_mil::{Inputs, LowerError, Outputs};
use common::{kinds, lower, show};
use expect_test::{Expect, expect};

#[track_caller]
fn check(shapes: &[&[usize]], forward: impl FnOnce(&Inputs<'_>) -> Result<Outputs, LowerError>, expected: Expect) {
    expected.assert_eq(&show(&lower(shapes, forward).expect("lowers")));
}

/// A chain on one `[2, 3]` input.
#[track_caller]
fn chain(forward: impl FnOnce(Tensor<2>) -> Tensor<2>, expected: &[&str]) {
    let function = lower(&[&[2, 3]], |inputs| Outputs::new().float("y", forward(inputs.float("a")?))).expect("lowers");
    assert_eq!(kinds(&function), expected, "{}", show(&function));
}

#[test]
fn arithmetic_with_tensors_and_scalars() {
    check(
        &[&[2, 3], &[1, 3]],
        |inputs| {
            let (a, b) = (inputs.float::<2>("a")?, inputs.float::<2>("b")?);
            let y = (a.clone() + b.clone() * 2.0 - a / 4.0).powf_scalar(2.0);
            Outputs::new().float("y", y.powf_scalar(1.5).clamp(0.0, 6.0) + b)
        },
        expect![[r#"
            mul = mul(x=b, y=2.0): fp32, [1, 3]
            add = add(x=a, y=mul): fp32, [2, 3]
            real_div = real_div(x=a, y=4.0): fp32, [2, 3]
            sub = sub(x=add, y=real_div): fp32, [2, 3]
            mul_1 = mul(x=sub, y=sub): fp32, [2, 3]
            pow = pow(x=mul_1, y=1.5): fp32, [2, 3]
            clip = clip(alpha=0.0, beta=6.0, x=pow): fp32, [2, 3]
            y = add(x=clip, y=b): fp32, [2, 3]
        "#]],
    );
}

#[test]
fn functions_of_one_element() {
    chain(|x| x.exp().log().sqrt().sin().cos().tanh().erf(), &["exp", "log", "sqrt", "sin", "cos", "tanh", "erf"]);
    chain(|x| x.abs().sign().floor().ceil().round(), &["abs", "sign", "floor", "ceil", "round"]);
    chain(|x| x.trunc(), &["sign", "abs", "floor", "mul"]);
    chain(|x| -x.recip(), &["real_div", "mul"]);
    chain(|x| x.log1p(), &["add", "log"]);
    chain(|x| x.tan().cosh(), &["sin", "cos", "real_div", "mul", "exp", "exp", "add", "mul"]);
    chain(|x| x.clamp_min(0.5).clamp_max(2.0), &["maximum", "minimum"]);
}

#[test]
fn activations() {
    chain(|x| gelu(relu(sigmoid(x))), &["sigmoid", "relu", "gelu"]);
    chain(|x| softmax(x, 1), &["softmax"]);
    chain(|x| log_softmax(x, 1), &["reduce_max", "sub", "exp", "reduce_sum", "log", "sub"]);
    chain(log_sigmoid, &["minimum", "abs", "mul", "exp", "add", "log", "sub"]);
    chain(|x| hard_sigmoid(x, 0.2, 0.5), &["mul", "add", "clip"]);
    chain(|x| leaky_relu(x, 0.1), &["leaky_relu"]);
}

#[test]
fn reductions_keep_their_axis() {
    chain(|x| x.mean_dim(1), &["reduce_mean"]);
    chain(|x| x.sum_dim(0).max_dim(1), &["reduce_sum", "reduce_max"]);
    check(
        &[&[2, 3]],
        |inputs| {
            let a = inputs.float::<2>("a")?;
            Outputs::new().int("at", a.clone().argmax(1))?.float("mean", a.mean())
        },
        expect![[r#"
            at = reduce_argmax(axis=1, keep_dims=true, x=a): int32, [2, 1]
            reduce_mean = reduce_mean(axes=[0, 1], keep_dims=true, x=a): fp32, [1, 1]
            mean = reshape(shape=[1], x=reduce_mean): fp32, [1]
        "#]],
    );
}

#[test]
fn shapes_and_copies() {
    check(
        &[&[2, 3, 4]],
        |inputs| {
            let a = inputs.float::<3>("a")?;
            let swapped = a.clone().swap_dims(1, 2).permute([2, 0, 1]).reshape([6, 4]);
            let part = a.clone().slice([0..1, 1..3, 0..4]).reshape([2, 4]);
            let wide = part.clone().repeat_dim(0, 3);
            let tall = a.narrow(0, 0, 1).narrow(1, 0, 1).reshape([1, 4]).expand([2, 4]);
            let all = Tensor::cat(vec![swapped, wide, tall, part.flip([1])], 0);
            Outputs::new().float("y", all)
        },
        expect![[r#"
            transpose = transpose(perm=[0, 2, 1], x=a): fp32, [2, 4, 3]
            transpose_1 = transpose(perm=[2, 0, 1], x=transpose): fp32, [3, 2, 4]
            reshape = reshape(shape=[6, 4], x=transpose_1): fp32, [6, 4]
            slice_by_index = slice_by_index(begin=[0, 1, 0], end=[1, 3, 4], x=a): fp32, [1, 2, 4]
            reshape_1 = reshape(shape=[2, 4], x=slice_by_index): fp32, [2, 4]
            tile = tile(reps=[3, 1], x=reshape_1): fp32, [6, 4]
            slice_by_index_1 = slice_by_index(begin=[0, 0, 0], end=[1, 3, 4], x=a): fp32, [1, 3, 4]
            slice_by_index_2 = slice_by_index(begin=[0, 0, 0], end=[1, 1, 4], x=slice_by_index_1): fp32, [1, 1, 4]
            reshape_2 = reshape(shape=[1, 4], x=slice_by_index_2): fp32, [1, 4]
            tile_1 = tile(reps=[2, 1], x=reshape_2): fp32, [2, 4]
            reverse = reverse(axes=[1], x=reshape_1): fp32, [2, 4]
            y = concat(axis=0, interleave=false, values=(reshape, tile, tile_1, reverse)): fp32, [16, 4]
        "#]],
    );
}

#[test]
fn selection_by_index_and_by_mask() {
    check(
        &[&[4, 3]],
        |inputs| {
            let a = inputs.float::<2>("a")?;
            let rows = Tensor::<1, Int>::from_data(TensorData::from([0i64, 2]), inputs.device());
            let picked = a.clone().select(0, rows);
            let positive = picked.clone().greater_elem(0.0);
            let clipped = picked.clone().mask_fill(positive.clone().bool_not(), -1.0);
            let chosen = clipped.mask_where(positive, picked * 2.0);
            Outputs::new().float("y", chosen)
        },
        expect![[r#"
            gather = gather(axis=0, indices=[0, 2], x=a): fp32, [2, 3]
            greater = greater(x=gather, y=0.0): bool, [2, 3]
            logical_not = logical_not(x=greater): bool, [2, 3]
            select = select(a=-1.0, b=gather, cond=logical_not): fp32, [2, 3]
            mul = mul(x=gather, y=2.0): fp32, [2, 3]
            y = select(a=mul, b=select, cond=greater): fp32, [2, 3]
        "#]],
    );
}

#[test]
fn comparisons_yield_booleans_and_booleans_become_numbers() {
    check(
        &[&[2, 3], &[2, 3]],
        |inputs| {
            let (a, b) = (inputs.float::<2>("a")?, inputs.float::<2>("b")?);
            let less: Tensor<2, Bool> = a.clone().lower(b.clone());
            let both = less.clone().bool_and(a.equal(b));
            Outputs::new().float("y", both.clone().float())?.int("n", less.int())?.bool("some", both.any())
        },
        expect![[r#"
            less = less(x=a, y=b): bool, [2, 3]
            equal = equal(x=a, y=b): bool, [2, 3]
            logical_and = logical_and(x=less, y=equal): bool, [2, 3]
            y = cast(dtype="fp32", x=logical_and): fp32, [2, 3]
            n = cast(dtype="int32", x=less): int32, [2, 3]
            cast_2 = cast(dtype="int32", x=logical_and): int32, [2, 3]
            reduce_max = reduce_max(axes=[0, 1], keep_dims=true, x=cast_2): int32, [1, 1]
            cast_3 = cast(dtype="bool", x=reduce_max): bool, [1, 1]
            some = reshape(shape=[1], x=cast_3): bool, [1]
        "#]],
    );
}

#[test]
fn attention_is_one_operation_with_an_additive_mask() {
    let q: &[usize] = &[1, 2, 5, 4];
    let plain = AttentionModuleOptions::default();
    check(
        &[q, q, q],
        |inputs| {
            let y = attention(inputs.float("a")?, inputs.float("b")?, inputs.float("c")?, None, None, plain);
            Outputs::new().float("y", y)
        },
        expect![[r#"
            y = scaled_dot_product_attention(key=b, query=a, value=c): fp32, [1, 2, 5, 4]
        "#]],
    );
    let causal = AttentionModuleOptions { scale: Some(1.0), is_causal: true, ..plain };
    check(
        &[q, q, q],
        |inputs| {
            let y = attention(inputs.float("a")?, inputs.float("b")?, inputs.float("c")?, None, None, causal);
            Outputs::new().float("y", y)
        },
        expect![[r#"
            mul = mul(x=a, y=2.0): fp32, [1, 2, 5, 4]
            y = scaled_dot_product_attention(attn_mask=causal_mask[1, 1, 5, 5], key=b, query=mul, value=c): fp32, [1, 2, 5, 4]
        "#]],
    );
}

#[test]
fn pooling_and_interpolation() {
    check(
        &[&[1, 2, 4, 4]],
        |inputs| {
            let a = inputs.float::<4>("a")?;
            let a = max_pool2d(a, MaxPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]));
            let a = avg_pool2d(a, AvgPoolOptions::new([2, 2]).with_stride([2, 2]));
            let nearest = InterpolateOptions::new(InterpolateMode::Nearest).with_scale_factor([2.0, 3.0]);
            let bilinear = InterpolateOptions::new(InterpolateMode::Bilinear).with_output_size([8, 12]);
            let a = interpolate(interpolate(a, nearest), bilinear);
            Outputs::new().float("y", adaptive_avg_pool2d(a, [4, 4]))
        },
        expect![[r#"
            max_pool = max_pool(ceil_mode=false, kernel_sizes=[3, 3], pad=[1, 1, 1, 1], pad_type="custom", strides=[1, 1], x=a): fp32, [1, 2, 4, 4]
            avg_pool = avg_pool(ceil_mode=false, exclude_padding_from_average=false, kernel_sizes=[2, 2], pad=[0, 0, 0, 0], pad_type="valid", strides=[2, 2], x=max_pool): fp32, [1, 2, 2, 2]
            upsample_nearest_neighbor = upsample_nearest_neighbor(scale_factor_height=2.0, scale_factor_width=3.0, x=avg_pool): fp32, [1, 2, 4, 6]
            upsample_bilinear = upsample_bilinear(align_corners=true, scale_factor_height=2.0, scale_factor_width=2.0, x=upsample_nearest_neighbor): fp32, [1, 2, 8, 12]
            y = avg_pool(ceil_mode=false, exclude_padding_from_average=false, kernel_sizes=[2, 3], pad=[0, 0, 0, 0], pad_type="valid", strides=[2, 3], x=upsample_bilinear): fp32, [1, 2, 4, 4]
        "#]],
    );
}

#[test]
fn what_no_output_needs_is_not_lowered() {
    check(
        &[&[2, 3]],
        |inputs| {
            let a = inputs.float::<2>("a")?;
            // Without a MIL form, but nothing depends on it.
            let _unused = a.clone().acosh();
            Outputs::new().float("y", a + 1.0)
        },
        expect![[r#"
            y = add(x=a, y=1.0): fp32, [2, 3]
        "#]],
    );
}

#[test]
fn an_output_that_is_an_input_passes_an_identity() {
    check(
        &[&[2, 3]],
        |inputs| {
            let a = inputs.float::<2>("a")?;
            Outputs::new().float("y", a.clone())?.float("z", a)
        },
        expect![[r#"
            y = identity(x=a): fp32, [2, 3]
            z = identity(x=a): fp32, [2, 3]
        "#]],
    );
}
