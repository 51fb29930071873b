//! Steady inputs change nothing but the time: the same bits as without, whatever changes between the runs.

use crate::{common::text, grow::grow};
use host_tensor::{DType, HostTensor, Stop};
use mil::{FunctionBuilder, Opset, Program, Type, validate};
use mil_engine::{
    Isa,
    cpu::{Cpu, Options},
};
use std::collections::{BTreeMap, BTreeSet};
use testkit::Rng;

type Inputs = BTreeMap<String, HostTensor>;

/// Inputs for a row of runs: `x` always changes, `t` now and then, and comes back.
fn runs(rng: &mut Rng, shape: &[usize]) -> Vec<Inputs> {
    let mut tensor = || HostTensor::from_f32(shape.to_vec(), rng.normals(shape.iter().product()));
    let texts = [tensor(), tensor()];
    let with = |(x, t): (HostTensor, usize)| BTreeMap::from([("x".into(), x), ("t".into(), texts[t].clone())]);
    [0, 0, 1, 1, 0].map(|t| (tensor(), t)).map(with).to_vec()
}

/// Checks that both engines give the same bits in every run, whose inputs are given.
#[track_caller]
fn check(plain: &Cpu, steady: &Cpu, runs: &[Inputs], program: &Program) {
    for (i, inputs) in runs.iter().enumerate() {
        let (want, got) = (plain.run(inputs, &Stop::never()).unwrap(), steady.run(inputs, &Stop::never()).unwrap());
        let bits = |all: &Inputs| all.values().map(|t| t.bytes().to_vec()).collect::<Vec<_>>();
        assert!(bits(&want) == bits(&got), "run {i} differs\n{}\n{}", text(program), steady.summary());
    }
}

#[test]
fn random_programs_give_the_same_bits_with_a_steady_input() {
    let (mut n_kept, mut kernels) = (0, BTreeSet::new());
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let Some((program, shape)) = grow(&mut rng, &["x", "t"]) else { continue };
        let valid = validate(&program).unwrap();
        let runs = runs(&mut rng, &shape);
        let options = Options::default().with_isa(*rng.pick(&Isa::available()));
        let plain = Cpu::compile(valid, options.clone().with_threads(1)).unwrap();
        if plain.run(&runs[0], &Stop::never()).is_err() {
            continue;
        }
        for threads in [1, 3] {
            let steady = Cpu::compile(valid, options.clone().with_threads(threads).with_steady(["t"])).unwrap();
            check(&plain, &steady, &runs, &program);
            let plan = steady.summary();
            n_kept += usize::from(plan.kept_bytes > 0 && plan.steps.iter().any(|s| !s.steady));
            kernels.extend(plan.steps.iter().filter(|s| s.steady).map(|s| s.kernel));
        }
    }
    assert!(n_kept > 300, "only {n_kept} plans kept anything");
    for kernel in ["attention", "group_norm", "layer_norm", "map", "product", "reference", "winograd"] {
        assert!(kernels.contains(kernel), "no plan had a steady {kernel}; {kernels:?}");
    }
}

/// `y = (erf(w · t)) ^ x`, where no kernel knows `erf` and `pow`; and `erf(w · t)` itself.
fn by_the_reference_engine() -> Program {
    let mut b = FunctionBuilder::new("main", Opset::CoreML8);
    let x = b.input("x", Type::tensor(DType::F32, &[2, 8]));
    let t = b.input("t", Type::tensor(DType::F32, &[2, 8]));
    let mut e = b.emitter();
    let w = HostTensor::from_f32([8, 8], Rng::new(1).normals(64));
    let w = e.function_mut().add_constant("w", w.into());
    let p = e.op("linear", "p", [("x", t.into()), ("weight", w.into())]).unwrap();
    let f = e.op("erf", "f", [("x", p.into())]).unwrap();
    let y = e.op("pow", "y", [("x", f.into()), ("y", x.into())]).unwrap();
    let ops = e.into_ops();
    b.finish_program(ops, &[y, f])
}

#[test]
fn tensors_of_the_reference_engine_are_kept_too() {
    let program = by_the_reference_engine();
    let valid = validate(&program).unwrap();
    let plain = Cpu::compile(valid, Options::default()).unwrap();
    let steady = Cpu::compile(valid, Options::default().with_steady(["t"])).unwrap();
    check(&plain, &steady, &runs(&mut Rng::new(3), &[2, 8]), &program);
    let done: Vec<(&str, bool)> = steady.summary().steps.iter().map(|s| (s.kernel, s.steady)).collect();
    assert!(done.contains(&("product", true)) && done.contains(&("reference", true)), "{done:?}");
    assert!(done.contains(&("reference", false)), "{done:?}");
}

#[test]
fn a_run_does_no_step_again_whose_inputs_are_the_same() {
    let program = by_the_reference_engine();
    let steady = Cpu::compile(validate(&program).unwrap(), Options::default().with_steady(["t"])).unwrap();
    let n_steady = steady.summary().steps.iter().filter(|s| s.steady).count();
    let took = |inputs: &Inputs| {
        steady.profile(inputs, &Stop::never()).unwrap().1.seconds[..n_steady].iter().sum::<f64>() > 0.0
    };
    let runs = runs(&mut Rng::new(3), &[2, 8]);
    assert_eq!(runs.iter().map(took).collect::<Vec<_>>(), [true, false, true, false, true]);
    // Work is counted as it is done.
    let plan = steady.summary();
    assert!(plan.steady_flops() >= 2.0 * 2.0 * 64.0 && plan.flops() < 2.0 * 2.0 * 64.0, "{plan}");
    // Equal values in other bytes are computed again, which does no harm.
    let halves = |name: &str| runs[0][name].cast(DType::F16);
    let inputs: Inputs = ["x", "t"].map(|name| (name.to_owned(), halves(name))).into();
    assert!(took(&inputs));
}

#[test]
fn a_failed_run_leaves_nothing_to_rely_on() {
    // Rows of a table, by numbers that may not be there.
    let mut b = FunctionBuilder::new("main", Opset::CoreML8);
    let x = b.input("x", Type::tensor(DType::F32, &[2, 4]));
    let t = b.input("t", Type::tensor(DType::I32, &[2]));
    let mut e = b.emitter();
    let table = HostTensor::from_f32([3, 4], (0..12).map(|i| i as f32).collect());
    let table = e.function_mut().add_constant("table", table.into());
    let rows = e
        .op(
            "gather",
            "rows",
            [
                ("x", table.into()),
                ("indices", t.into()),
                ("axis", 0.into()),
                ("batch_dims", 0.into()),
                ("validate_indices", false.into()),
            ],
        )
        .unwrap();
    let y = e.op("add", "y", [("x", rows.into()), ("y", x.into())]).unwrap();
    let ops = e.into_ops();
    let program = b.finish_program(ops, &[y]);
    let engine = Cpu::compile(validate(&program).unwrap(), Options::default().with_steady(["t"])).unwrap();
    assert!(engine.summary().steps[0].steady, "{}", engine.summary());
    let run = |rows: [i32; 2]| {
        let x = HostTensor::from_f32([2, 4], vec![0.5; 8]);
        let inputs = BTreeMap::from([("x".into(), x), ("t".into(), HostTensor::from_i32([2], rows.to_vec()))]);
        engine.run(&inputs, &Stop::never()).map(|y| y["y"].to_f32_vec()[4])
    };
    assert_eq!(run([0, 2]).unwrap(), 8.5);
    // The second row fails after the first has been written over.
    run([1, 3]).unwrap_err();
    assert_eq!(run([0, 2]).unwrap(), 8.5);
    assert_eq!(run([0, 1]).unwrap(), 4.5);
}

#[test]
fn what_would_take_too_much_memory_is_not_kept() {
    // An outer product of 16 MiB a row, read by something that is not steady.
    let program = |rows: usize| {
        let mut b = FunctionBuilder::new("main", Opset::CoreML8);
        let x = b.input("x", Type::tensor(DType::F32, &[1]));
        let t = b.input("t", Type::tensor(DType::F32, &[rows, 1]));
        let mut e = b.emitter();
        let w = e.function_mut().add_constant("w", HostTensor::from_f32([1, 1 << 22], vec![1.0; 1 << 22]).into());
        let m = e.op("mul", "m", [("x", t.into()), ("y", w.into())]).unwrap();
        let y = e.op("add", "y", [("x", m.into()), ("y", x.into())]).unwrap();
        let ops = e.into_ops();
        b.finish_program(ops, &[y])
    };
    let kept = |rows| {
        let program = program(rows);
        let engine = Cpu::compile(validate(&program).unwrap(), Options::default().with_steady(["t"])).unwrap();
        let plan = engine.summary();
        assert_eq!(plan.kept_bytes > 0, plan.steps.iter().any(|s| s.steady), "{plan}");
        plan.kept_bytes
    };
    assert_eq!((kept(16), kept(17)), (16 << 24, 0));
}

#[test]
fn names_that_are_no_inputs_mean_nothing() {
    let program = by_the_reference_engine();
    let valid = validate(&program).unwrap();
    let plain = Cpu::compile(valid, Options::default()).unwrap();
    let steady = Cpu::compile(valid, Options::default().with_steady(["text"])).unwrap();
    assert_eq!(plain.summary(), steady.summary());
}
