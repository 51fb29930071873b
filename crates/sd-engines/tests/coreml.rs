//! Core ML against the engine for this CPU, on a Mac: the same numbers, whatever it runs on and whoever compiled; functions,
//! unloading, memory, plans.
//!
//! `cargo xtask mac` runs this; nobody has yet (docs/mac.md).

#![cfg(all(feature = "coreml", feature = "mil", target_vendor = "apple"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was measured belongs to the test")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use host_tensor::{DType, HostTensor};
use mil::{FunctionBuilder, Literal, Opset, Program, Type};
use mlpackage::{Description, Existing, Package};
use sd_convert::verify::{Input, random_inputs};
use sd_convert::{Checkpoint, Options, Role, convert};
use sd_engines::{ComputeUnits, CoreMlEngine, CoreMlOptions, CpuOptions, MilEngine};
use sd_runtime::{Engine, Signature, Stop, Tensors};
use tempfile::TempDir;
use testkit::{assert_psnr, demo};

/// What Apple's converter demands of a package in half precision, in dB.
const DB: f64 = 35.0;
const ROLES: [Role; 3] = [Role::TextEncoder, Role::UNet, Role::VaeDecoder];
/// Bytes that a thousand predictions may add to the process.
const MOST_GROWTH: u64 = 32 << 20;

/// A folder that goes with the test, its cache too.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn options(folder: &Path, units: ComputeUnits) -> CoreMlOptions {
    CoreMlOptions { units, cache: Some(folder.join("cache")), ..CoreMlOptions::default() }
}

/// The package of a role of the model in the box, in half precision as by default.
fn package(folder: &Path, role: Role) -> PathBuf {
    let path = folder.join(format!("{}.mlpackage", role.spec().package.apple));
    let converted = convert(&Checkpoint::open(demo()).unwrap(), role, &Options::default()).unwrap();
    converted.write(&path, Existing::Refuse, &mut |_| {}).unwrap();
    path
}

/// Random inputs of a package; ids are those of its own vocabulary.
fn inputs(package: &Path, signature: &Signature) -> Tensors {
    let input = |f: &sd_runtime::Feature| {
        let shape = f.shape.dims().unwrap().to_vec();
        Input { name: f.name.clone(), dtype: f.dtype, shape }
    };
    let package = Package::open(package).unwrap();
    let function = package.model().program().and_then(Program::main);
    random_inputs(&signature.inputs.iter().map(input).collect::<Vec<_>>(), function, 7).unwrap()
}

#[test]
fn every_network_gives_the_same_numbers_on_every_device() {
    let folder = folder();
    for role in ROLES {
        let package = package(folder.path(), role);
        let mut ours = MilEngine::open(&package, CpuOptions::default()).unwrap();
        let inputs = inputs(&package, ours.signature());
        let expected = ours.run(&inputs, &Stop::never()).unwrap();
        for units in ComputeUnits::EACH {
            let mut engine = CoreMlEngine::open(&package, options(folder.path(), units)).unwrap();
            assert_eq!(engine.signature(), ours.signature(), "{role}");
            let got = engine.run(&inputs, &Stop::never()).unwrap();
            for (name, expected) in &expected {
                let db = assert_psnr(name, expected, &got[name], DB);
                println!("{role} {name} on {}: {db:.1} dB", units.name());
            }
        }
    }
}

#[test]
fn a_compiled_model_opens_where_it_lies_and_survives_unloading() {
    let folder = folder();
    let package = package(folder.path(), Role::VaeDecoder);
    let first = CoreMlEngine::open(&package, options(folder.path(), ComputeUnits::CpuOnly)).unwrap();
    let compiled = first.compiled().to_owned();
    assert!(compiled.starts_with(folder.path().join("cache/smelt/coreml")), "{}", compiled.display());
    let model = Package::open(&package).unwrap();
    let options = options(folder.path(), ComputeUnits::CpuOnly);
    let mut engine = CoreMlEngine::of_model(&compiled, model.model(), options).unwrap();
    let inputs = inputs(&package, engine.signature());
    let expected = engine.run_once(&inputs).unwrap();
    for _ in 0..3 {
        engine.unload();
        assert!(!engine.is_loaded());
        let again = engine.run_once(&inputs).unwrap();
        assert!(engine.is_loaded());
        assert_eq!(expected["image"].bytes(), again["image"].bytes());
    }
    let stop = Stop::new();
    stop.set();
    assert!(engine.run(&inputs, &stop).is_err());
}

#[test]
fn models_that_are_compiled_by_mlpackage_load_and_give_the_same_numbers() {
    let folder = folder();
    for role in ROLES {
        let package = package(folder.path(), role);
        let compiled = package.with_extension("mlmodelc");
        let go_on = &mut |_| ControlFlow::Continue(());
        mlpackage::compile(&Package::open(&package).unwrap(), &compiled, Existing::Refuse, go_on).unwrap();
        let [mut theirs, mut ours] = [&package, &compiled]
            .map(|path| CoreMlEngine::open(path, options(folder.path(), ComputeUnits::CpuOnly)).unwrap());
        assert_eq!(ours.compiled(), compiled);
        let inputs = inputs(&package, theirs.signature());
        let (expected, got) = (theirs.run_once(&inputs).unwrap(), ours.run_once(&inputs).unwrap());
        for (name, expected) in &expected {
            assert_eq!(expected.bytes(), got[name].bytes(), "{role} {name}");
        }
    }
}

/// `y = input · factor` in a function for each factor.
fn scale(functions: &[(&str, f32)]) -> Program {
    let of = |(name, factor): &(&str, f32)| {
        let mut b = FunctionBuilder::new(name, Opset::CoreML8);
        let x = b.input("x", Type::tensor(DType::F32, &[2, 3]));
        let mut e = b.emitter();
        let y = e.op("mul", "y", [("x", x.into()), ("y", Literal::float(*factor).into())]).unwrap();
        let ops = e.into_ops();
        b.finish_program(ops, &[y])
    };
    let mut programs = functions.iter().map(of);
    let mut program = programs.next().unwrap();
    programs.for_each(|other| program.functions.extend(other.functions));
    program
}

#[test]
fn functions_are_chosen_by_name() {
    let folder = folder();
    let path = folder.path().join("Scale.mlpackage");
    let program = scale(&[("main", 2.0), ("triple", 3.0)]);
    let valid = mil::validate(&program).unwrap();
    mlpackage::write(&path, valid, &Description::of(&program), Existing::Refuse, &mut |_| {}).unwrap();
    let x = Tensors::from([("x".to_owned(), HostTensor::from_f32([2, 3], vec![1.0; 6]))]);
    for (function, expected) in [(None, 2.0), (Some("triple"), 3.0)] {
        let options = options(folder.path(), ComputeUnits::CpuOnly);
        let options = CoreMlOptions { function: function.map(str::to_owned), fast_prediction: true, ..options };
        match CoreMlEngine::open(&path, options) {
            Ok(mut engine) => assert_eq!(engine.run_once(&x).unwrap()["y"].to_f32_vec(), [expected; 6]),
            // Systems before macOS 15 have no functions.
            Err(error) => {
                println!("skipped: {error}");
                assert!(is_too_old(&error.to_string()), "{error}");
            }
        }
    }
}

/// Whether the system says that it is too old for models of several functions.
fn is_too_old(error: &str) -> bool {
    error.contains("need macOS 15") || error.contains("compile")
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let output = Command::new("ps").args(["-o", "rss=", "-p", &std::process::id().to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_thousand_predictions_leave_memory_as_it_was() {
    let folder = folder();
    let package = package(folder.path(), Role::UNet);
    for units in [ComputeUnits::CpuOnly, ComputeUnits::All] {
        let mut engine = CoreMlEngine::open(&package, options(folder.path(), units)).unwrap();
        let inputs = inputs(&package, engine.signature());
        for _ in 0..100 {
            engine.run_once(&inputs).unwrap();
        }
        let before = resident();
        for _ in 0..1000 {
            engine.run_once(&inputs).unwrap();
        }
        let growth = resident().saturating_sub(before);
        println!("1000 predictions on {}: {} KiB more", units.name(), growth / 1024);
        assert!(growth <= MOST_GROWTH, "{growth} bytes more on {}", units.name());
    }
}

#[test]
fn a_plan_tells_where_operations_run_and_shares_make_a_whole() {
    let folder = folder();
    let package = package(folder.path(), Role::UNet);
    let engine = CoreMlEngine::open(&package, options(folder.path(), ComputeUnits::All)).unwrap();
    match engine.plan() {
        Ok(plan) => {
            assert!(!plan.operations.is_empty());
            let whole: f64 = plan.sums().iter().map(|sum| sum.share).sum();
            plan.sums().iter().for_each(|sum| println!("{sum:?}"));
            assert!((0.9..1.1).contains(&whole), "{whole}");
        }
        // Systems before macOS 14.4 have no plans.
        Err(error) => {
            println!("skipped: {error}");
            assert!(error.to_string().contains("need macOS 14.4"), "{error}");
        }
    }
}
