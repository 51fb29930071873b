//! Whole packages beside those that Apple's tools compressed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on has failed")]

use mil::{Function, Op, Program, ops::View, validate};
use mil_compress::{Config, Memory, PaletteGroups, PaletteMode, Palettize, Plan, Scheme, compress};
use mlpackage::Package;
use std::{collections::BTreeMap, ops::ControlFlow, path::PathBuf};

fn open(variant: &str, component: &str) -> Option<Program> {
    let dir = testkit::golden()?.join("packages/tiny-sd15").join(variant);
    let suffix = format!("_{component}.mlpackage");
    let path: PathBuf = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.to_str().unwrap().ends_with(&suffix))
        .unwrap_or_else(|| panic!("{} has no {component}", dir.display()));
    Some(Package::open(path).unwrap().into_model().program().unwrap().clone())
}

fn run(program: &Program, config: &Config) -> Program {
    let plan = Plan::new(program, config).unwrap();
    let (made, outcome) =
        compress(program, &plan, &mut Memory::default(), false, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(outcome.compressed.len(), plan.len());
    validate(&made).unwrap();
    made
}

fn decoders(f: &Function) -> BTreeMap<String, &Op> {
    let ops = f.body.ops.iter().filter(|op| op.is_constexpr());
    ops.map(|op| (f.name_of(op.output()).to_owned(), op)).collect()
}

fn bytes(f: &Function, op: &Op, param: &str) -> Vec<u8> {
    View::of(f, op).literal(param).and_then(|l| l.as_const()).map(|c| c.read().bytes().to_vec()).unwrap_or_default()
}

/// The same weights are compressed, and where coremltools solves the same problem the bytes are the same.
fn beside(ours: &Program, theirs: &Program, bits: usize) {
    let (f, g) = (ours.main().unwrap(), theirs.main().unwrap());
    let (ours, theirs) = (decoders(f), decoders(g));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    let mut n_equal = 0;
    for (name, a) in &ours {
        let b = theirs[name];
        assert_eq!(a.kind, b.kind);
        assert_eq!(f.ty(a.output()), g.ty(b.output()), "{name}");
        let n = f.ty(a.output()).as_tensor().unwrap().shape.iter().map(|d| d.size().unwrap()).product::<usize>();
        // Smaller ones were found by iterations that end before the optimum.
        if n >= 10_000 {
            for param in ["indices", "lut"] {
                assert_eq!(bytes(f, a, param), bytes(g, b, param), "{name} {param}");
                assert_eq!(f.ty(a.input(param).unwrap()), g.ty(b.input(param).unwrap()), "{name} {param}");
            }
            n_equal += 1;
        }
    }
    println!("{bits} bits: {} weights, {n_equal} of them compared byte for byte", ours.len());
    assert!(n_equal > 0);
}

#[test]
fn palettes_are_those_of_apples_packages() {
    let Some(plain) = open("split_einsum", "unet") else { return };
    for bits in [6, 4, 2] {
        let Some(theirs) = open(&format!("q{bits}"), "unet") else { return };
        let ours = run(&plain, &Config::palettes(bits));
        beside(&ours, &theirs, usize::from(bits));
        no_weight_is_worse(&plain, &ours, &theirs, usize::from(bits));
    }
}

/// The values that an operation of iOS 16 decodes.
fn decoded(f: &Function, op: &Op, bits: usize) -> Vec<f32> {
    let palette = View::of(f, op).literal("lut").and_then(|l| l.as_const()).unwrap().read().to_f32_vec();
    let n: usize = f.ty(op.output()).as_tensor().unwrap().static_shape().unwrap().iter().product();
    let indices = host_tensor::unpack_bits(&bytes(f, op, "indices"), bits, n);
    indices.into_iter().map(|i| palette[usize::from(i)]).collect()
}

/// Also where Apple's tools stop before the optimum, which they do below 10 000 elements.
fn no_weight_is_worse(plain: &Program, ours: &Program, theirs: &Program, bits: usize) {
    let (f, g) = (ours.main().unwrap(), theirs.main().unwrap());
    let constants = plain.main().unwrap().values();
    let (ours, theirs) = (decoders(f), decoders(g));
    let (mut better, mut sums) = (0, [0.0; 2]);
    for (name, a) in &ours {
        let weight = constants.iter().find(|v| format!("{}_palettized", v.name) == *name).unwrap();
        let weight = weight.literal.as_ref().and_then(|l| l.as_const()).unwrap().read().to_f32_vec();
        let error = |made: Vec<f32>| -> f64 {
            weight.iter().zip(made).map(|(w, m)| (f64::from(*w) - f64::from(m)).powi(2)).sum()
        };
        let errors = [error(decoded(f, a, bits)), error(decoded(g, theirs[name], bits))];
        assert!(errors[0] <= errors[1] * (1.0 + 1e-9), "{name}: {errors:?}");
        better += usize::from(errors[0] < errors[1] * 0.999);
        (sums[0], sums[1]) = (sums[0] + errors[0], sums[1] + errors[1]);
    }
    println!("{bits} bits: {better} weights better; squared error {:.4e}, Apple's {:.4e}", sums[0], sums[1]);
    assert!(better > 0);
}

#[test]
fn the_encoding_of_ios_18_is_apples() {
    let Some(theirs) = open("ios18_q4", "unet") else { return };
    // Decoded and compressed again: what was a palette of 16 is one again, with the same bytes.
    let config = Config { recompress: true, ..Config::palettes(4) };
    beside(&run(&theirs, &config), &theirs, 4);
}

#[test]
fn a_compressed_package_is_refused_unless_asked_for() {
    let Some(program) = open("q6", "unet") else { return };
    let error = Plan::new(&program, &Config::palettes(4)).unwrap_err().to_string();
    assert!(error.contains("constexpr_lut_to_dense") && error.contains("--recompress"), "{error}");
    assert!(!Plan::new(&program, &Config { recompress: true, ..Config::palettes(4) }).unwrap().is_empty());
}

#[test]
fn what_an_opset_lacks_is_said_and_can_be_had_by_raising_it() {
    let Some(program) = open("split_einsum", "unet") else { return };
    let mode = PaletteMode::KMeans { bits: 4 };
    let groups = PaletteGroups::PerGroupedChannel { group_size: 16, axis: None };
    let grouped = Scheme::Palettize(Palettize { mode, groups, cluster_dim: 1, per_channel_scale: false });
    let three = Config::palettes(3);
    for config in [three, Config::new(grouped)] {
        let error = Plan::new(&program, &config).unwrap_err().to_string();
        assert!(error.contains("CoreML8") && error.contains("macOS15"), "{error}");
        let raised = run(&program, &Config { raise_opset: true, ..config });
        assert_eq!(raised.main().unwrap().opset, mil::Opset::CoreML8);
    }
}
