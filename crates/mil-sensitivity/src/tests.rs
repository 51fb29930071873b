//! Small programs, measured by the shortest way there is: run as a whole with each weight compressed.

use crate::{Analyser, Measured, Options};
use host_tensor::{DType, HostTensor, Stop};
use mil::{Const, Function, FunctionBuilder, Literal, Opset, Program, Type, ValueId, validate};
use mil_compress::{Config, Memory, Name, Named, Plan, compress};
use mil_engine::cpu::{self, Cpu};
use std::{collections::BTreeMap, ops::ControlFlow};
use testkit::Rng;

/// Numbers from −1 to 1.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    Rng::new(seed).uniforms(n, -1.0, 1.0)
}

/// A ladder of linear layers with values that skip over several layers, and one weight that two layers
/// share.
fn ladder(n: usize) -> Function {
    let mut b = FunctionBuilder::new("main", Opset::CoreML8);
    let x = b.input("x", Type::tensor(DType::F32, &[2, 32]));
    let mut e = b.emitter();
    let weight = |seed| Const::new(HostTensor::from_f32([32, 32], numbers(1024, seed)).cast(DType::F16));
    let shared = e.constant("shared", Literal::Tensor(weight(99)));
    let mut values: Vec<ValueId> = vec![e.op("cast", "x16", [("x", x.into()), ("dtype", "fp16".into())]).unwrap()];
    for i in 0..n {
        let own = match i % 3 {
            2 => shared,
            _ => e.constant(&format!("w{i}"), Literal::Tensor(weight(i as u64))),
        };
        let last = values[i];
        let up = e.op("linear", &format!("up{i}"), [("x", last.into()), ("weight", own.into())]).unwrap();
        let soft = e.op("tanh", &format!("soft{i}"), [("x", up.into())]).unwrap();
        let skipped = values[i / 2];
        values.push(e.op("add", &format!("sum{i}"), [("x", soft.into()), ("y", skipped.into())]).unwrap());
    }
    let last = values[n];
    let y = e.op("cast", "y", [("x", last.into()), ("dtype", "fp32".into())]).unwrap();
    let ops = e.into_ops();
    b.finish(ops, &[y])
}

fn options(measured: &[&str]) -> Options {
    let named = |name: &&str| name.parse::<Named>().unwrap();
    let weights = Config { min_elements: 100, ..Config::default() };
    let schemes = ["1", "4", "4g16", "int8"].iter().map(named).collect();
    Options { schemes, measured: measured.iter().map(named).collect(), weights, engine: cpu::Options::default() }
}

fn inputs() -> BTreeMap<String, HostTensor> {
    BTreeMap::from([("x".to_owned(), HostTensor::from_f32([2, 32], numbers(64, 7)))])
}

fn run(program: &Program) -> Vec<f32> {
    let engine = Cpu::compile(validate(program).unwrap(), cpu::Options::default()).unwrap();
    engine.run(&inputs(), &Stop::never()).unwrap()["y"].to_f32_vec()
}

/// The whole function run with one weight compressed.
fn directly(function: &Function, weight: &str, scheme: Named) -> f64 {
    let program = Program::single(function.clone());
    let names = vec![(Name::Pattern(weight.to_owned()), scheme.scheme())];
    let plan = Plan::new(&program, &Config { names, ..Config::default() }).unwrap();
    let go_on = &mut |_| ControlFlow::Continue(());
    let (changed, _) = compress(&program, &plan, &mut Memory::default(), false, go_on).unwrap();
    let squared = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    run(&program).iter().zip(&run(&changed)).map(squared).sum()
}

fn measure(function: &Function, measured: &[&str]) -> Vec<(String, Vec<Measured>)> {
    let analyser = Analyser::new(function, options(measured)).unwrap();
    let mut session = analyser.begin(&inputs(), 2, &Stop::never()).unwrap();
    let one = |(i, weight): (usize, &&crate::Candidate)| {
        let all = session.measure(i, &Stop::never()).unwrap();
        (weight.name.clone(), all.into_iter().map(Result::unwrap).collect())
    };
    analyser.weights().iter().enumerate().map(one).collect()
}

#[test]
fn what_is_measured_is_what_the_whole_function_gives() {
    let function = ladder(12);
    let schemes = options(&["4"]).schemes;
    let measured = measure(&function, &["1", "4", "4g16", "int8"]);
    assert_eq!(
        measured.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["w0", "w1", "shared", "w3", "w4", "w6", "w7", "w9", "w10"]
    );
    for (name, results) in &measured {
        for (scheme, result) in schemes.iter().zip(results) {
            let (found, expected) = (result.output.unwrap(), directly(&function, name, *scheme));
            // Values that cross between parts are rounded to half precision, as they are declared.
            assert!((found - expected).abs() <= 0.02 * expected + 1e-5, "{name} {scheme}: {found} {expected}");
            assert!(expected > 0.0);
        }
    }
}

#[test]
fn local_errors_are_of_the_weights_own_operations() {
    let function = ladder(3);
    let measured = measure(&function, &["4"]);
    // The first layer reads the input itself, so that its error can be told by hand.
    let (name, results) = &measured[0];
    assert_eq!((name.as_str(), results[1].bytes), ("w0", 1024 / 2 + 16 * 2));
    let weight = HostTensor::from_f32([32, 32], numbers(1024, 0)).cast(DType::F16);
    let axes = mil_compress::Axes { output: 0, input: 1 };
    let encoded = mil_compress::encode(&weight, &"4".parse::<Named>().unwrap().scheme(), axes, false).unwrap().0;
    let (new, old, x) = (encoded.decode().to_f32_vec(), weight.to_f32_vec(), numbers(64, 7));
    let mut expected = 0.0;
    for row in x.chunks(32) {
        for output in 0..32 {
            let difference = |i: usize| f64::from(new[output * 32 + i] - old[output * 32 + i]) * f64::from(row[i]);
            expected += (0..32).map(difference).sum::<f64>().powi(2);
        }
    }
    let found = results[1].local;
    assert!((found / expected - 1.0).abs() < 0.02, "{found} {expected}");
    assert!(results[0].local > results[1].local && results[1].local > results[3].local);
    assert_eq!(results.iter().map(|r| r.output.is_some()).collect::<Vec<_>>(), [false, true, false, false]);
}

#[test]
fn rows_that_only_fill_a_batch_do_not_count() {
    let function = ladder(2);
    let analyser = Analyser::new(&function, options(&["4"])).unwrap();
    let clean = |n_rows| analyser.begin(&inputs(), n_rows, &Stop::never()).unwrap().clean();
    assert_eq!((clean(1).n_elements, clean(2).n_elements), (32, 64));
    assert!(clean(1).squares < clean(2).squares);
}

#[test]
fn mistakes_are_named() {
    let function = ladder(2);
    let check = |change: &dyn Fn(&mut Options), part: &str| {
        let mut options = options(&["4"]);
        change(&mut options);
        let error = Analyser::new(&function, options).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(&|o| o.schemes.clear(), "no scheme");
    check(&|o| o.measured.clear(), "no scheme is to be measured");
    check(&|o| o.measured = vec!["8".parse().unwrap()], "8 is to be measured, but not among");
    check(&|o| o.schemes.push("keep".parse().unwrap()), "keep changes nothing");
    check(&|o| o.weights.only = vec!["nothing".into()], "nothing");
    let stop = Stop::new();
    stop.set();
    let analyser = Analyser::new(&function, options(&["4"])).unwrap();
    assert!(analyser.begin(&inputs(), 2, &stop).unwrap_err().is_stopped());
}
