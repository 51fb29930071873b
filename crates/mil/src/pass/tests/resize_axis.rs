//! More places along an axis: what follows, and what cannot.

use super::*;
use crate::pass::{Resize, resize_axis};

const LONGER: Resize<'_> = Resize { input: "text", axis: 3, size: 10 };

#[track_caller]
fn refused(text: &str, fact: &str) {
    check_refused(Opset::CoreML8, |function| resize_axis(function, LONGER), text, fact);
}

/// The printed shapes of values once five places of `text` are ten, by name.
#[track_caller]
fn becomes(text: &str, shapes: &[(&str, &str)]) {
    check_shapes(Opset::CoreML8, |function| resize_axis(function, LONGER), text, shapes);
}

#[test]
fn attention_in_matrices_sees_more_places() {
    becomes(
        "(tensor<fp32, [1, 4, 1, 5]> text, tensor<fp32, [1, 2, 3, 2]> q) {
            tensor<fp32, [1, 2, 2, 5]> k = reshape(shape = tensor<int32, [4]>([1, 2, 2, 5]), x = text);
            tensor<fp32, [1, 2, 3, 5]> s = matmul(x = q, y = k);
            tensor<fp32, [1, 2, 3, 5]> w = softmax(axis = int32(-1), x = s);
            tensor<fp32, [1, 2, 5, 2]> v = transpose(perm = tensor<int32, [4]>([0, 1, 3, 2]), x = k);
            tensor<fp32, [1, 2, 3, 2]> y = matmul(x = w, y = v);
        } -> (y)",
        &[
            ("text", "[1, 4, 1, 10]"),
            ("k", "[1, 2, 2, 10]"),
            ("w", "[1, 2, 3, 10]"),
            ("v", "[1, 2, 10, 2]"),
            ("y", "[1, 2, 3, 2]"),
        ],
    );
}

#[test]
fn attention_by_equations_sees_more_places() {
    becomes(
        "(tensor<fp32, [1, 4, 1, 5]> text, tensor<fp32, [1, 2, 1, 3]> q) {
            tensor<fp32, [1, 2, 1, 5]> k = slice_by_index(begin = tensor<int32, [4]>([0, 2, 0, 0]), end = tensor<int32, [4]>([1, 4, 1, 5]), x = text);
            tensor<fp32, [1, 5, 1, 2]> kt = transpose(perm = tensor<int32, [4]>([0, 3, 2, 1]), x = k);
            tensor<fp32, [1, 5, 1, 3]> s = einsum(equation = string(\"bkhc,bchq->bkhq\"), values = (kt, q));
            tensor<fp32, [1, 5, 1, 3]> w = softmax(axis = int32(1), x = s);
            tensor<fp32, [1, 2, 1, 3]> y = einsum(equation = string(\"bchk,bkhq->bchq\"), values = (k, w));
        } -> (y)",
        &[("k", "[1, 2, 1, 10]"), ("kt", "[1, 10, 1, 2]"), ("w", "[1, 10, 1, 3]"), ("y", "[1, 2, 1, 3]")],
    );
}

#[test]
fn sizes_that_follow_from_others_stay_as_they_are_written() {
    becomes(
        "(tensor<fp32, [1, 4, 1, 5]> text) {
            tensor<fp32, [2, 2, 5]> k = reshape(shape = tensor<int32, [3]>([2, 2, -1]), x = text);
            tensor<fp32, [2, 2]> y = reduce_sum(axes = tensor<int32, [1]>([2]), keep_dims = bool(false), x = k);
        } -> (y)",
        &[("k", "[2, 2, 10]"), ("y", "[2, 2]")],
    );
}

#[test]
fn the_same_size_changes_nothing() {
    let text = "(tensor<fp32, [1, 4, 1, 5]> text) {
            tensor<fp32, [1, 4, 1, 5]> y = relu(x = text);
        } -> (y)";
    let (n, _) = apply(Opset::CoreML8, text, |function| resize_axis(function, Resize { size: 5, ..LONGER }));
    assert_eq!(n, 0);
}

#[test]
fn what_would_mean_something_else_is_refused() {
    refused(
        "(tensor<fp32, [1, 4, 1, 5]> text) {
            tensor<fp32, [1, 4, 1, 5]> y = relu(x = text);
        } -> (y)",
        "output y has the axis",
    );
    refused(
        "(tensor<fp32, [1, 4, 1, 5]> text) {
            tensor<fp32, [1, 20]> k = reshape(shape = tensor<int32, [2]>([1, 20]), x = text);
            tensor<fp32, [1]> y = reduce_sum(axes = tensor<int32, [1]>([1]), keep_dims = bool(false), x = k);
        } -> (y)",
        "together with others",
    );
    refused(
        "(tensor<fp32, [1, 4, 1, 5]> text) {
            tensor<fp32, [1, 4, 1, 3]> k = slice_by_index(begin = tensor<int32, [4]>([0, 0, 0, 0]), end = tensor<int32, [4]>([1, 4, 1, 3]), x = text);
            tensor<fp32, [1, 4, 1]> y = reduce_sum(axes = tensor<int32, [1]>([3]), keep_dims = bool(false), x = k);
        } -> (y)",
        "a part of the axis",
    );
    refused(
        "(tensor<fp32, [1, 4, 1, 5]> text, tensor<fp32, [1, 1, 1, 5]> mask) {
            tensor<fp32, [1, 4, 1, 5]> k = add(x = text, y = mask);
            tensor<fp32, [1, 4, 1]> y = reduce_sum(axes = tensor<int32, [1]>([3]), keep_dims = bool(false), x = k);
        } -> (y)",
        "do not broadcast",
    );
    refused(
        "(tensor<fp32, [1, 4, 1, 5]> other) {
            tensor<fp32, [1, 4, 1, 5]> y = relu(x = other);
        } -> (y)",
        "there is no input text",
    );
    refused(
        "(tensor<fp32, [4]> text) {
            tensor<fp32, [4]> y = relu(x = text);
        } -> (y)",
        "has no axis 3",
    );
}
