//! What is told of a weight's inputs, compared with what the operation gives for them.

use super::Calibrator;
use crate::parts::Values;
use host_tensor::{DType, HostTensor, Stop};
use mil::{Bound, Const, Function, FunctionBuilder, Literal, Opset, Program, Type, validate};
use mil_compress::{Calibration, CompressError, Config, Plan, Statistics};
use mil_engine::cpu::{self, Cpu};
use testkit::Rng;

/// Numbers from −1 to 1.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    Rng::new(seed).uniforms(n, -1.0, 1.0)
}

fn tensor(shape: &[usize], seed: u64) -> HostTensor {
    HostTensor::from_f32(shape, numbers(shape.iter().product(), seed))
}

/// A function of one operation that reads a weight by `param`, and the weight.
fn one(
    kind: &'static str,
    param: &str,
    (x, w): (&[usize], &[usize]),
    more: Vec<(&'static str, Bound)>,
) -> (Function, HostTensor) {
    let mut b = FunctionBuilder::new("main", Opset::CoreML8);
    let input = b.input("in", Type::tensor(DType::F32, x));
    let mut e = b.emitter();
    let weight = tensor(w, 3);
    let constant = e.constant("weight", Literal::Tensor(Const::new(weight.clone())));
    // What is multiplied is made by the function itself.
    let made = e.op("tanh", "made", [("x", input.into())]).unwrap();
    let inputs = [("x", made.into()), (if param == "y" { "y" } else { "weight" }, constant.into())];
    let y = e.op_multi(kind, "y", inputs.into_iter().chain(more).collect()).unwrap()[0];
    let ops = e.into_ops();
    (b.finish(ops, &[y]), weight)
}

fn batches(x: &[usize]) -> Vec<Values> {
    (0..3).map(|seed| Values::from([("in".to_owned(), tensor(x, 20 + seed))])).collect()
}

fn calibrator(function: &Function, batches: Vec<Values>, memory: u64) -> (Calibrator, Plan) {
    let program = Program::single(function.clone());
    let plan = Plan::new(&program, &Config { min_elements: 1, ..Config::palettes(4) }).unwrap();
    let how = (memory, cpu::Options::default());
    (Calibrator::new(function, &plan.weights().collect::<Vec<_>>(), batches, how, &Stop::never()).unwrap(), plan)
}

fn told(function: &Function, x: &[usize]) -> Statistics {
    let (calibrator, plan) = calibrator(function, batches(x), u64::MAX);
    calibrator.statistics(&plan.weights().next().unwrap()).unwrap().unwrap()
}

/// The squares of what a channel gives are what the statistics say of its row.
#[track_caller]
fn check(
    kind: &'static str,
    param: &str,
    shapes: (&[usize], &[usize]),
    more: Vec<(&'static str, Bound)>,
    n_groups: usize,
) {
    let (function, weight) = one(kind, param, shapes, more);
    let statistics = told(&function, shapes.0);
    let (n, values) = (statistics.n_columns(), weight.to_f32_vec());
    let is_turned = param == "y" && weight.shape()[0] == n && weight.shape()[1] != n;
    let n_rows = values.len() / n;
    let row = |r: usize| -> Vec<f32> {
        (0..n).map(|c| if is_turned { values[c * n_rows + r] } else { values[r * n + c] }).collect()
    };
    let program = Program::single(function);
    let engine = Cpu::compile(validate(&program).unwrap(), cpu::Options::default()).unwrap();
    // Channels of a convolution are its second axis, those of a product its last.
    let outputs: Vec<HostTensor> =
        batches(shapes.0).iter().map(|batch| engine.run(batch, &Stop::never()).unwrap()["y"].clone()).collect();
    for r in 0..n_rows {
        let mut expected = 0.0;
        for y in &outputs {
            let inner: usize = if kind == "conv" { y.shape()[2..].iter().product() } else { 1 };
            let values = y.to_f32_vec();
            let mine = values.iter().enumerate().filter(|(i, _)| i / inner % n_rows == r);
            expected += mine.map(|(_, v)| f64::from(*v).powi(2)).sum::<f64>();
        }
        let found = statistics.squares(r / (n_rows / n_groups), &row(r));
        assert!((found - expected).abs() < 1e-3 * expected, "{kind} {r}: {found} {expected}");
    }
}

#[test]
fn products_are_of_the_rows_that_they_are_given() {
    check("linear", "weight", (&[2, 5, 7], &[6, 7]), vec![], 1);
    check("matmul", "y", (&[2, 5, 7], &[7, 6]), vec![], 1);
    check("matmul", "y", (&[2, 5, 7], &[6, 7]), vec![("transpose_y", true.into())], 1);
    check("matmul", "y", (&[2, 7, 5], &[7, 6]), vec![("transpose_x", true.into())], 1);
}

#[test]
fn convolutions_are_of_the_windows_that_they_look_at() {
    let custom = |pads: &[i32]| [("pad_type", "custom".into()), ("pad", Bound::from(pads.to_vec()))];
    check("conv", "weight", (&[2, 3, 6, 5], &[4, 3, 1, 1]), vec![], 1);
    check("conv", "weight", (&[2, 3, 6, 5], &[4, 3, 3, 3]), custom(&[1, 1, 1, 1]).into(), 1);
    let strided = custom(&[0, 1, 2, 1]).into_iter().chain([("strides", Bound::from(vec![2, 3]))]);
    check("conv", "weight", (&[2, 3, 8, 7], &[4, 3, 3, 2]), strided.collect(), 1);
    check("conv", "weight", (&[1, 3, 7, 6], &[4, 3, 2, 3]), vec![("pad_type", "same".into())], 1);
    let lower = vec![("pad_type", "same_lower".into()), ("strides", Bound::from(vec![2, 2]))];
    check("conv", "weight", (&[1, 3, 7, 6], &[4, 3, 4, 3]), lower, 1);
    let wide = vec![("dilations", Bound::from(vec![2, 3]))];
    check("conv", "weight", (&[1, 3, 9, 8], &[4, 3, 3, 2]), wide, 1);
    check("conv", "weight", (&[2, 6, 5, 5], &[4, 3, 3, 3]), vec![("groups", 2.into())], 2);
    check("conv", "weight", (&[2, 3, 9], &[4, 3, 3]), custom(&[1, 0]).into(), 1);
    check("conv", "weight", (&[1, 2, 4, 5, 6], &[3, 2, 2, 3, 2]), custom(&[1, 0, 1, 1, 0, 2]).into(), 1);
}

#[test]
fn a_weight_that_two_operations_read_is_told_of_by_both() {
    let mut b = FunctionBuilder::new("main", Opset::CoreML8);
    let x = b.input("in", Type::tensor(DType::F32, &[4, 9]));
    let mut e = b.emitter();
    let shared = e.constant("weight", Literal::Tensor(Const::new(tensor(&[9, 9], 3))));
    let one = e.op("linear", "one", [("x", x.into()), ("weight", shared.into())]).unwrap();
    let two = e.op("linear", "two", [("x", one.into()), ("weight", shared.into())]).unwrap();
    let ops = e.into_ops();
    let function = b.finish(ops, &[two]);
    let statistics = told(&function, &[4, 9]);
    let (mut inputs, weight) = (Vec::new(), tensor(&[9, 9], 3).to_f32_vec());
    for batch in batches(&[4, 9]) {
        let x = batch["in"].to_f32_vec();
        for row in x.chunks(9) {
            inputs.push(row.to_vec());
            inputs.push(weight.chunks(9).map(|w| w.iter().zip(row).map(|(a, b)| a * b).sum()).collect());
        }
    }
    let row = numbers(9, 77);
    let dot = |x: &Vec<f32>| x.iter().zip(&row).map(|(a, b)| f64::from(a * b)).sum::<f64>().powi(2);
    let expected: f64 = inputs.iter().map(dot).sum();
    assert!((statistics.squares(0, &row) / expected - 1.0).abs() < 1e-3);
}

#[test]
fn weights_that_need_too_much_memory_are_not_told_of_and_a_stop_is_heeded() {
    let (function, _) = one("linear", "weight", (&[2, 64], &[6, 64]), vec![]);
    let needed = Statistics::bytes(64, 1);
    for (memory, is_told) in [(needed, true), (needed - 1, false)] {
        let (calibrator, plan) = calibrator(&function, batches(&[2, 64]), memory);
        assert_eq!(calibrator.statistics(&plan.weights().next().unwrap()).unwrap().is_some(), is_told);
    }
    let stop = Stop::new();
    stop.set();
    let (_, plan) = calibrator(&function, Vec::new(), needed);
    let how = (needed, cpu::Options::default());
    let stopped =
        Calibrator::new(&function, &plan.weights().collect::<Vec<_>>(), batches(&[2, 64]), how, &stop).unwrap();
    assert_eq!(stopped.statistics(&plan.weights().next().unwrap()).unwrap_err(), CompressError::Stopped);
}
