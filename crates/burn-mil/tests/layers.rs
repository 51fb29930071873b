//! Layers with parameters: what each becomes, under which names, with which bytes.

mod common;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig, LayerNorm, LayerNormConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::Device;
use burn::tensor::activation::silu;
use burn_mil::Outputs;
use common::{lowering, show, zeros};
use expect_test::{Expect, expect};
use mil::{Const, DType, Function, HostTensor, ops::View};

#[track_caller]
fn check(function: &Function, expected: Expect) {
    expected.assert_eq(&show(function));
}

#[derive(Module, Debug)]
struct Perceptron {
    fc1: Linear,
    fc2: Linear,
}

fn perceptron(device: &Device) -> Perceptron {
    Perceptron { fc1: LinearConfig::new(3, 4).init(device), fc2: LinearConfig::new(4, 2).with_bias(false).init(device) }
}

#[test]
fn linear_layers_are_linear_whatever_burn_makes_of_the_batch() {
    // One row, rows that Burn keeps batched, and a batch that Burn merges into the rows.
    for shape in [[1, 1, 3], [1, 7, 3], [2, 5, 3]] {
        let function = lowering(&[("x", DType::F32, &shape)])
            .lower(
                perceptron,
                zeros(&[("fc1.weight", &[3, 4]), ("fc1.bias", &[4]), ("fc2.weight", &[4, 2])]),
                |net, inputs| {
                    let x = inputs.float::<3>("x")?;
                    Outputs::new().float("y", net.fc2.forward(silu(net.fc1.forward(x))))
                },
            )
            .expect("lowers");
        assert_eq!(common::kinds(&function), ["linear", "sigmoid", "mul", "linear"], "{}", show(&function));
        let shape = [shape[0], shape[1], 2];
        assert_eq!(*function.ty(function.body.outputs[0]), mil::Type::tensor(DType::F32, &shape));
    }
}

#[test]
fn linear_takes_the_checkpoints_bytes_as_they_stand() {
    let stored = Const::new(HostTensor::from_f16([2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    let given = stored.clone();
    let function = lowering(&[("x", DType::F32, &[1, 5, 3])])
        .lower(
            |device| LinearConfig::new(3, 2).with_bias(false).init(device),
            move |_| given.transpose(&[1, 0]).ok(),
            |linear: &Linear, inputs| Outputs::new().float("y", linear.forward(inputs.float::<3>("x")?)),
        )
        .expect("lowers");
    let weight =
        View::of(&function, &function.body.ops[0]).literal("weight").and_then(|w| w.as_const()).expect("a constant");
    assert!(weight.cast(DType::F16).same_view(&stored), "the weight is a view of the stored bytes, not a copy");
}

#[test]
fn names_and_origins_follow_the_module() {
    let function = lowering(&[("x", DType::F32, &[1, 7, 3])])
        .lower(
            perceptron,
            zeros(&[("fc1.weight", &[3, 4]), ("fc1.bias", &[4]), ("fc2.weight", &[4, 2])]),
            |net, inputs| Outputs::new().float("y", net.fc2.forward(silu(net.fc1.forward(inputs.float::<3>("x")?)))),
        )
        .expect("lowers");
    check(
        &function,
        expect![[r#"
        fc1 = linear(bias=fc1_bias[4], weight=fc1_weight[4, 3], x=x): fp32, [1, 7, 4]  # fc1
        fc1_sigmoid = sigmoid(x=fc1): fp32, [1, 7, 4]  # fc1
        fc1_mul = mul(x=fc1, y=fc1_sigmoid): fp32, [1, 7, 4]  # fc1
        y = linear(weight=fc2_weight[2, 4], x=fc1_mul): fp32, [1, 7, 2]  # fc2
    "#]],
    );
}

#[test]
fn convolution_keeps_uneven_padding() {
    let function = lowering(&[("x", DType::F32, &[1, 2, 6, 6])])
        .lower(
            |device| {
                Conv2dConfig::new([2, 4], [3, 3])
                    .with_stride([2, 2])
                    .with_padding(PaddingConfig2d::Explicit(0, 0, 1, 1))
                    .init(device)
            },
            zeros(&[("weight", &[4, 2, 3, 3]), ("bias", &[4])]),
            |conv: &Conv2d, inputs| Outputs::new().float("y", conv.forward(inputs.float::<4>("x")?)),
        )
        .expect("lowers");
    check(
        &function,
        expect![[r#"
        y = conv(bias=bias[4], dilations=[1, 1], groups=1, pad=[0, 1, 0, 1], pad_type="custom", strides=[2, 2], weight=weight[4, 2, 3, 3], x=x): fp32, [1, 4, 3, 3]  # weight
    "#]],
    );
}

#[test]
fn transposed_convolution_states_its_output_size_when_it_is_ambiguous() {
    let function = lowering(&[("x", DType::F32, &[1, 2, 5, 5])])
        .lower(
            |device| {
                ConvTranspose2dConfig::new([2, 3], [3, 3])
                    .with_stride([2, 2])
                    .with_padding([1, 1])
                    .with_padding_out([1, 1])
                    .init(device)
            },
            zeros(&[("weight", &[2, 3, 3, 3]), ("bias", &[3])]),
            |conv: &ConvTranspose2d, inputs| Outputs::new().float("y", conv.forward(inputs.float::<4>("x")?)),
        )
        .expect("lowers");
    check(
        &function,
        expect![[r#"
        y = conv_transpose(bias=bias[3], dilations=[1, 1], groups=1, output_shape=[1, 3, 10, 10], pad=[1, 1, 1, 1], pad_type="custom", strides=[2, 2], weight=weight[2, 3, 3, 3], x=x): fp32, [1, 3, 10, 10]  # weight
    "#]],
    );
}

#[test]
fn embedding_is_a_gather() {
    let function = lowering(&[("ids", DType::I32, &[1, 4])])
        .lower(
            |device| EmbeddingConfig::new(9, 3).init(device),
            zeros(&[("weight", &[9, 3])]),
            |table: &Embedding, inputs| Outputs::new().float("y", table.forward(inputs.int::<2>("ids")?)),
        )
        .expect("lowers");
    check(
        &function,
        expect![[r#"
        y = gather(axis=0, indices=ids, x=weight[9, 3]): fp32, [1, 4, 3]  # weight
    "#]],
    );
}

#[test]
fn layer_norm_stays_whole() {
    let function = lowering(&[("x", DType::F32, &[1, 4, 3])])
        .lower(
            |device| LayerNormConfig::new(3).init(device),
            zeros(&[("gamma", &[3]), ("beta", &[3])]),
            |norm: &LayerNorm, inputs| Outputs::new().float("y", norm.forward(inputs.float::<3>("x")?)),
        )
        .expect("lowers");
    check(
        &function,
        expect![[r#"
        y = layer_norm(axes=[2], beta=gamma[3], epsilon=1e-5, gamma=gamma[3], x=x): fp32, [1, 4, 3]  # gamma
    "#]],
    );
}

#[test]
fn group_norm_is_spelt_out_for_a_pass_to_recognise() {
    let function = lowering(&[("x", DType::F32, &[1, 4, 3, 3])])
        .lower(
            |device| GroupNormConfig::new(2, 4).init(device),
            zeros(&[("gamma", &[4]), ("beta", &[4])]),
            |norm: &GroupNorm, inputs| Outputs::new().float("y", norm.forward(inputs.float::<4>("x")?)),
        )
        .expect("lowers");
    check(
        &function,
        expect![[r#"
        reshape = reshape(shape=[1, 2, 18], x=x): fp32, [1, 2, 18]
        reduce_mean = reduce_mean(axes=[2], keep_dims=true, x=reshape): fp32, [1, 2, 1]
        sub = sub(x=reshape, y=reduce_mean): fp32, [1, 2, 18]
        mul = mul(x=sub, y=sub): fp32, [1, 2, 18]
        reduce_mean_1 = reduce_mean(axes=[2], keep_dims=true, x=mul): fp32, [1, 2, 1]
        add = add(x=reduce_mean_1, y=1e-5): fp32, [1, 2, 1]
        sqrt = sqrt(x=add): fp32, [1, 2, 1]
        real_div = real_div(x=sub, y=sqrt): fp32, [1, 2, 18]
        reshape_1 = reshape(shape=[1, 4, 3, 3], x=real_div): fp32, [1, 4, 3, 3]
        gamma_1 = mul(x=reshape_1, y=gamma[1, 4, 1, 1]): fp32, [1, 4, 3, 3]  # gamma
        y = add(x=gamma_1, y=gamma[1, 4, 1, 1]): fp32, [1, 4, 3, 3]  # beta
    "#]],
    );
}
