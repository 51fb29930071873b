//! A run that is stopped ends soon, and leaves its engine as good as new.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use host_tensor::{DType, HostTensor, Stop};
use mil::{Emitter, FunctionBuilder, Opset, Program, Type, ValueId, validate};
use mil_engine::{
    EngineError,
    cpu::{Cpu, Options},
    reference::{self, Reference},
};
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};
use testkit::Rng;

type Tensors = BTreeMap<String, HostTensor>;
type Ran = Result<Tensors, EngineError>;

const SHAPE: [usize; 4] = [1, 32, 64, 64];

/// Convolutions one after another, with attention over the channels of each picture between them.
fn tower(e: &mut Emitter<'_>, mut x: ValueId, n_layers: usize, rng: &mut Rng) -> ValueId {
    let [_, c, h, w] = SHAPE;
    for _ in 0..n_layers {
        let weight = HostTensor::from_f32([c, c, 3, 3], rng.normals(c * c * 9).iter().map(|v| v * 0.05).collect());
        let weight = e.function_mut().add_constant("w", weight.into());
        let conv = e.op_multi(
            "conv",
            "conv",
            vec![("x", x.into()), ("weight", weight.into()), ("pad_type", "same".into()), ("groups", 1.into())],
        );
        let conv = conv.unwrap()[0];
        let flat = vec![1, c as i32, (h * w) as i32];
        let flat = e.op("reshape", "flat", [("x", conv.into()), ("shape", flat.into())]).unwrap();
        let two = [("x", flat.into()), ("y", flat.into()), ("transpose_x", false.into()), ("transpose_y", true.into())];
        let scores = e.op("matmul", "scores", two).unwrap();
        let weights = e.op("softmax", "weights", [("x", scores.into()), ("axis", (-1).into())]).unwrap();
        let two =
            [("x", weights.into()), ("y", flat.into()), ("transpose_x", false.into()), ("transpose_y", false.into())];
        let mixed = e.op("matmul", "mixed", two).unwrap();
        let shape = SHAPE.map(|d| d as i32).to_vec();
        let mixed = e.op("reshape", "picture", [("x", mixed.into()), ("shape", shape.into())]).unwrap();
        x = e.op("tanh", "x", [("x", mixed.into())]).unwrap();
    }
    x
}

/// `y = tower(x) + tower(t)`.
fn program(n_layers: usize) -> Program {
    let mut rng = Rng::new(7);
    let mut b = FunctionBuilder::new("main", Opset::CoreML8);
    let [x, t] = ["x", "t"].map(|name| b.input(name, Type::tensor(DType::F32, &SHAPE)));
    let mut e = b.emitter();
    let [x, t] = [x, t].map(|input| tower(&mut e, input, n_layers, &mut rng));
    let y = e.op("add", "y", [("x", x.into()), ("y", t.into())]).unwrap();
    let ops = e.into_ops();
    b.finish_program(ops, &[y])
}

fn inputs(seed: u64) -> Tensors {
    let mut rng = Rng::new(seed);
    let n = SHAPE.iter().product();
    ["x", "t"].map(|name| (name.to_owned(), HostTensor::from_f32(SHAPE, rng.normals(n)))).into()
}

/// Runs, and asks to stop after a while from another thread; how long the run went on after that, if it was stopped.
fn stopped_after(wait: Duration, run: &(dyn Fn(&Stop) -> Ran + Sync)) -> Option<Duration> {
    let stop = Stop::new();
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            thread::sleep(wait);
            let asked = Instant::now();
            stop.set();
            asked
        });
        let ran = run(&stop);
        let ended = Instant::now();
        let asked = asking.join().unwrap();
        match ran {
            Ok(_) => None,
            Err(EngineError::Stopped) => Some(ended.saturating_duration_since(asked)),
            Err(error) => panic!("{error}"),
        }
    })
}

/// Stops runs at random moments, with other inputs each time, and checks that runs between them are as without, and that
/// stopping is soon: in one of a few tries, for others may use the machine too.
#[track_caller]
fn check(n_moments: usize, run: impl Fn(&Tensors, &Stop) -> Ran + Sync) {
    const TRIES: usize = 5;
    let faults: Vec<String> = (0..TRIES).map_while(|_| stop_at_moments(n_moments, &run).err()).collect();
    assert!(faults.len() < TRIES, "{}", faults.join("; "));
}

/// One try; says why stopping is not soon.
fn stop_at_moments(n_moments: usize, run: &(impl Fn(&Tensors, &Stop) -> Ran + Sync)) -> Result<(), String> {
    let all = [inputs(1), inputs(2)];
    let start = Instant::now();
    let clean = all.each_ref().map(|inputs| run(inputs, &Stop::never()).unwrap());
    let whole = start.elapsed() / 2;
    let (mut rng, mut latencies) = (Rng::new(3), Vec::new());
    for i in 0..n_moments {
        let (inputs, want) = (&all[i % 2], &clean[i % 2]);
        latencies.extend(stopped_after(whole.mul_f32(rng.unit()), &|stop| run(inputs, stop)));
        assert!(run(inputs, &Stop::never()).unwrap() == *want, "run {i} differs after one that was stopped");
    }
    latencies.sort();
    if latencies.len() * 3 <= n_moments {
        return Err(format!("only {} of {n_moments} runs were stopped", latencies.len()));
    }
    let median = latencies[latencies.len() / 2];
    if median * 4 >= whole {
        return Err(format!("stopping took {median:?} of {whole:?}"));
    }
    Ok(())
}

#[test]
fn a_stopped_run_ends_soon_and_the_next_gives_what_it_should() {
    let program = program(12);
    let valid = validate(&program).unwrap();
    for threads in [1, 2] {
        let engine = Cpu::compile(valid, Options::default().with_threads(threads)).unwrap();
        check(8, |inputs, stop| engine.run(inputs, stop));
    }
}

#[test]
fn what_a_stopped_run_has_kept_of_steady_inputs_is_not_relied_on() {
    let program = program(12);
    let engine = Cpu::compile(validate(&program).unwrap(), Options::default().with_steady(["t"])).unwrap();
    let plan = engine.summary();
    assert!(plan.kept_bytes > 0 && plan.steady_flops() * 3.0 > plan.flops(), "{plan}");
    check(16, |inputs, stop| engine.run(inputs, stop));
}

#[test]
fn the_reference_engine_stops_too() {
    let program = program(4);
    for weights in [reference::Weights::PerRun, reference::Weights::Kept] {
        let options = reference::Options::default().with_weights(weights);
        let engine = Reference::compile(validate(&program).unwrap(), options).unwrap();
        check(6, |inputs, stop| engine.run(inputs, stop));
    }
}

#[test]
fn a_run_that_is_stopped_before_it_begins_does_nothing() {
    let program = program(1);
    let valid = validate(&program).unwrap();
    let (fast, plain) = (
        Cpu::compile(valid, Options::default()).unwrap(),
        Reference::compile(valid, reference::Options::default()).unwrap(),
    );
    let stop = Stop::new();
    stop.set();
    // Not even the inputs are looked at, which are missing.
    let none = Tensors::new();
    assert_eq!(fast.run(&none, &stop).unwrap_err(), EngineError::Stopped);
    assert_eq!(plain.run(&none, &stop).unwrap_err(), EngineError::Stopped);
    assert!(matches!(fast.run(&none, &Stop::never()), Err(EngineError::MissingInput { .. })));
}

#[test]
fn two_threads_share_an_engine() {
    let program = program(2);
    let engine = Cpu::compile(validate(&program).unwrap(), Options::default().with_steady(["t"])).unwrap();
    let all = [inputs(1), inputs(2)];
    let alone = all.each_ref().map(|inputs| engine.run(inputs, &Stop::never()).unwrap());
    thread::scope(|scope| {
        for (inputs, want) in all.iter().zip(&alone) {
            let engine = &engine;
            scope.spawn(move || {
                for _ in 0..5 {
                    assert!(engine.run(inputs, &Stop::never()).unwrap() == *want);
                }
            });
        }
    });
}
