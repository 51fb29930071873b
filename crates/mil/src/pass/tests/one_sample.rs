//! One sample in the place of two: what follows, and what cannot.

use super::*;
use crate::pass::one_sample;

#[track_caller]
fn refused(text: &str, fact: &str) {
    check_refused(Opset::CoreML7, |function| one_sample(function, 2), text, fact);
}

/// The printed shapes that a function of two samples has as one of one sample, by name.
#[track_caller]
fn becomes(text: &str, shapes: &[(&str, &str)]) {
    check_shapes(Opset::CoreML7, |function| one_sample(function, 2), text, shapes);
}

#[test]
fn sizes_that_name_the_samples_follow() {
    becomes(
        "(tensor<fp32, [2, 4]> x, tensor<fp32, [2]> t, tensor<fp32, [1, 4]> w) {
            tensor<fp32, [2, 1]> u = expand_dims(axes = tensor<int32, [1]>([1]), x = t);
            tensor<fp32, [2, 4]> a = mul(x = x, y = u);
            tensor<fp32, [2, 4]> b = add(x = a, y = w);
            tensor<fp32, [2, 2, 2]> c = reshape(shape = tensor<int32, [3]>([2, 2, 2]), x = b);
            tensor<fp32, [2, 2, 2]> d = transpose(perm = tensor<int32, [3]>([0, 2, 1]), x = c);
            tensor<fp32, [2, 2, 2]> e = matmul(x = c, y = d);
            tensor<fp32, [2, 2, 1]> f = slice_by_index(begin = tensor<int32, [3]>([0, 0, 1]), end = tensor<int32, [3]>([2, 2, 2]), x = e);
            tensor<fp32, [4, 1]> g = reshape(shape = tensor<int32, [2]>([4, 1]), x = f);
            tensor<fp32, [2, 2]> y = reshape(shape = tensor<int32, [2]>([-1, 2]), x = g);
        } -> (y)",
        &[
            ("x", "[1, 4]"),
            ("t", "[1]"),
            ("w", "[1, 4]"),
            ("u", "[1, 1]"),
            ("b", "[1, 4]"),
            ("c", "[1, 2, 2]"),
            ("e", "[1, 2, 2]"),
            ("f", "[1, 2, 1]"),
            ("g", "[2, 1]"),
            ("y", "[1, 2]"),
        ],
    );
}

#[test]
fn an_equation_keeps_samples_where_they_come_first() {
    becomes(
        "(tensor<fp32, [2, 5, 1, 3]> k, tensor<fp32, [2, 3, 1, 4]> q) {
            tensor<fp32, [2, 5, 1, 4]> y = einsum(equation = string(\"bkhc,bchq->bkhq\"), values = (k, q));
        } -> (y)",
        &[("y", "[1, 5, 1, 4]")],
    );
}

#[test]
fn what_mixes_samples_is_refused() {
    refused(
        "(tensor<fp32, [2, 4]> x) {
            tensor<fp32, [1, 4]> y = reduce_mean(axes = tensor<int32, [1]>([-2]), keep_dims = bool(true), x = x);
        } -> (y)",
        "axis of samples",
    );
    refused(
        "(tensor<fp32, [2, 4]> x) {
            tensor<fp32, [4, 2]> y = transpose(perm = tensor<int32, [2]>([1, 0]), x = x);
        } -> (y)",
        "transpose moves or repeats samples",
    );
    refused(
        "(tensor<fp32, [2, 4]> x) {
            tensor<fp32, [2]> t = reduce_sum(axes = tensor<int32, [1]>([1]), keep_dims = bool(false), x = x);
            tensor<fp32, [1, 2]> w = expand_dims(axes = tensor<int32, [1]>([0]), x = t);
            tensor<fp32, [1, 2]> y = relu(x = w);
        } -> (y)",
        "axis of samples",
    );
    refused(
        "(tensor<fp32, [2, 4]> x, tensor<fp32, [4, 2]> z) {
            tensor<fp32, [4, 4]> y = matmul(x = z, y = x);
        } -> (y)",
        "rows of a matrix",
    );
    refused(
        "(tensor<fp32, [2, 4]> x) {
            tensor<fp32, [1, 4]> y = slice_by_index(begin = tensor<int32, [2]>([1, 0]), end = tensor<int32, [2]>([2, 4]), x = x);
        } -> (y)",
        "some of the samples",
    );
    refused(
        "(tensor<fp32, [2, 4]> x, tensor<fp32, [2, 4]> z) {
            tensor<fp32, [2, 4]> c = add(x = tensor<fp32, [2, 1]>([[1], [2]]), y = x);
            tensor<fp32, [2, 4]> y = add(x = c, y = z);
        } -> (y)",
        "differs from sample to sample",
    );
    refused("(tensor<fp32, [3, 4]> x) { tensor<fp32, [3, 4]> y = relu(x = x); } -> (y)", "no input has 2 samples");
}
