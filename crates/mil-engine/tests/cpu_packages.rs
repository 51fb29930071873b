//! The fast engine beside the reference engine, on whole models: Apple's packages and those of the demo model.

use host_tensor::{DType, HostTensor, Stop};
use mil_engine::{
    Isa,
    cpu::{Cpu, Options, Precision},
    reference::{self, Reference},
};
use mlpackage::Package;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use testkit::Rng;

/// Random inputs: token numbers where integers or CLIP's ids are wanted, normal numbers elsewhere.
fn inputs(engine: &Reference, rng: &mut Rng) -> BTreeMap<String, HostTensor> {
    let tensor = |f: &reference::Feature, rng: &mut Rng| {
        let shape = f.ty.static_shape().expect("packages have fixed shapes");
        let n = shape.iter().product();
        let values: Vec<f32> = match f.name.as_str() {
            "input_ids" => (0..n).map(|_| rng.below(1000) as f32).collect(),
            "timestep" => vec![rng.below(1000) as f32; n],
            _ => rng.normals(n),
        };
        HostTensor::from_f32(shape, values).cast(f.ty.dtype)
    };
    engine.inputs().iter().map(|f| (f.name.clone(), tensor(f, rng))).collect()
}

/// The lowest PSNR over all outputs of a package, and over two runs, for each way to run it; the second run with
/// another number of threads.
fn agreement(path: &Path, ways: &[(Isa, Precision)]) -> Vec<f64> {
    let fail = |what: &dyn std::fmt::Display| -> ! { panic!("{}: {what}", path.display()) };
    let package = Package::open(path).unwrap_or_else(|e| fail(&e));
    let program = package.model().program().unwrap_or_else(|| fail(&"no program"));
    let valid = mil::validate(program).unwrap_or_else(|e| fail(&e));
    let oracle = Reference::compile(valid, reference::Options::default()).unwrap_or_else(|e| fail(&e));
    let inputs = inputs(&oracle, &mut Rng::new(7));
    let want = oracle.run(&inputs, &Stop::never()).unwrap_or_else(|e| fail(&e));
    let of = |&(isa, precision): &(Isa, Precision)| {
        let options = Options::default().with_isa(isa).with_precision(precision);
        let mut worst = f64::INFINITY;
        let mut runs = Vec::new();
        for threads in [1, 3] {
            let fast = Cpu::compile(valid, options.clone().with_threads(threads)).unwrap_or_else(|e| fail(&e));
            // The first run of a plan leaves something behind that the second must not read.
            fast.run(&inputs, &Stop::never()).unwrap_or_else(|e| fail(&e));
            let got = fast.run(&inputs, &Stop::never()).unwrap_or_else(|e| fail(&e));
            for (name, want) in &want {
                assert_eq!(got[name].shape(), want.shape(), "{}: {name}", path.display());
                // Outputs are compared before they are rounded to halves only where the program says `fp32`.
                let (a, b) = (want.cast(DType::F32).to_f32_vec(), got[name].cast(DType::F32).to_f32_vec());
                let psnr = testkit::psnr(&a, &b);
                assert!(!psnr.is_nan(), "{} {isa} {precision}: {name} is not a number", path.display());
                worst = worst.min(psnr);
            }
            runs.push(got.into_values().map(|t| t.bytes().to_vec()).collect::<Vec<_>>());
        }
        assert!(runs[0] == runs[1], "{} {isa} {precision}: threads change the bits", path.display());
        worst
    };
    ways.iter().map(of).collect()
}

/// What agreement a precision promises, in dB.
fn least(precision: Precision) -> f64 {
    match precision {
        Precision::Bf16 => 40.0,
        Precision::Bf16x3 => 70.0,
        _ => 100.0,
    }
}

fn packages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let fail = |e: std::io::Error| -> ! { panic!("{}: {e}", folder.display()) };
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| fail(e)) {
        let path = entry.unwrap_or_else(|e| fail(e)).path();
        if path.extension().is_some_and(|e| e == "mlpackage") {
            found.push(path)
        } else if path.is_dir() {
            found.extend(packages(&path))
        }
    }
    found.sort();
    found
}

#[test]
#[allow(clippy::print_stderr, reason = "the table is what a person runs this test for")]
fn apples_packages_run_as_the_reference_engine_runs_them() {
    let Some(golden) = testkit::golden() else { return };
    let all = packages(&golden.join("packages"));
    assert!(!all.is_empty(), "no packages under {}", golden.display());
    let mut ways: Vec<(Isa, Precision)> = Isa::available().into_iter().map(|isa| (isa, Precision::F32)).collect();
    for precision in [Precision::Bf16, Precision::Bf16x3] {
        ways.extend([(Isa::Portable, precision), (Isa::best(), precision)]);
    }
    ways.dedup();
    let mut low = Vec::new();
    for path in &all {
        let name = path.strip_prefix(&golden).unwrap_or(path).display();
        for (db, (isa, precision)) in agreement(path, &ways).into_iter().zip(&ways) {
            eprintln!("{db:7.2} dB {isa:8} {precision:6} {name}");
            if db < least(*precision) {
                low.push(format!("{db:.2} dB {isa} {precision} {name}"));
            }
        }
    }
    assert!(low.is_empty(), "too low:\n{}", low.join("\n"));
}

#[test]
fn a_steady_text_changes_no_bit_of_a_unet() {
    let Some(golden) = testkit::golden() else { return };
    let mut n_unets = 0;
    for path in packages(&golden.join("packages")) {
        let package = Package::open(&path).expect("a package");
        let Some(program) = package.model().program() else { continue };
        let valid = mil::validate(program).expect("a valid program");
        let oracle = Reference::compile(valid, reference::Options::default()).expect("a program that runs");
        if oracle.inputs().iter().all(|f| f.name != "encoder_hidden_states") {
            continue;
        }
        n_unets += 1;
        let plain = Cpu::compile(valid, Options::default().with_threads(1)).expect("a plan");
        let options = Options::default().with_threads(3).with_steady(["encoder_hidden_states"]);
        let steady = Cpu::compile(valid, options).expect("a plan");
        let (without, with) = (plain.summary(), steady.summary());
        let products = with.steps.iter().filter(|s| s.steady && s.kernel == "product").count();
        assert!(products > 0 && with.kept_bytes > 0, "{}: {with}", path.display());
        assert!((with.flops() + with.steady_flops() - without.flops()).abs() < 1e-3 * without.flops());
        let as_many = Cpu::compile(valid, Options::default().with_threads(3)).expect("a plan").summary();
        assert!(with.arena_bytes <= as_many.arena_bytes, "{}", path.display());
        let mut rng = Rng::new(11);
        let texts = [0, 1].map(|_| inputs(&oracle, &mut rng));
        // Three steps of a picture, two of one with another text, and the first text again.
        for (step, text) in [0, 0, 0, 1, 1, 0].into_iter().enumerate() {
            let mut now = inputs(&oracle, &mut rng);
            now.insert("encoder_hidden_states".into(), texts[text]["encoder_hidden_states"].clone());
            let (want, got) =
                (plain.run(&now, &Stop::never()).expect("a run"), steady.run(&now, &Stop::never()).expect("a run"));
            assert!(want == got, "{}: step {step} differs", path.display());
        }
    }
    assert!(n_unets > 0, "no package reads a text");
}
