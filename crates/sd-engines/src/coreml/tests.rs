//! The engine from package to prediction, with a stand-in for Core ML.

mod draws;
mod fake;

use host_tensor::DType;
use mil::{FunctionBuilder, Literal, Opset, Program, Type};
use mlpackage::{Description, Existing};

use super::runtime::DescribedArray;
use super::*;
use fake::{Fake, Twist};

/// `y = input · factor`, elementwise over [2, 3], and `sum`, a scalar.
fn scale(functions: &[(&str, f32)]) -> Program {
    let of = |(name, factor): &(&str, f32)| {
        let mut b = FunctionBuilder::new(name, Opset::CoreML8);
        let x = b.input("x", Type::tensor(DType::F32, &[2, 3]));
        let mut e = b.emitter();
        let y = e.op("mul", "y", [("x", x.into()), ("y", Literal::float(*factor).into())]).unwrap();
        let axes = Literal::ints(&[0, 1]);
        let total = e.op("reduce_sum", "total", [("x", y.into()), ("axes", axes.into())]).unwrap();
        let ops = e.into_ops();
        b.finish_program(ops, &[y, total])
    };
    let mut programs = functions.iter().map(of);
    let mut program = programs.next().unwrap();
    programs.for_each(|other| program.functions.extend(other.functions));
    program
}

/// A package in a folder, with a cache beside it.
struct Place {
    dir: tempfile::TempDir,
    package: PathBuf,
}

impl Place {
    fn new(functions: &[(&str, f32)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("Scale.mlpackage");
        let program = scale(functions);
        let valid = mil::validate(&program).unwrap();
        mlpackage::write(&package, valid, &Description::of(&program), Existing::Refuse, &mut |_| {}).unwrap();
        Self { dir, package }
    }

    fn options(&self) -> CoreMlOptions {
        CoreMlOptions { cache: Some(self.dir.path().join("cache")), ..CoreMlOptions::default() }
    }

    fn open_with(&self, fake: &Fake, options: CoreMlOptions) -> Result<Driven<Fake>, CoreMlError> {
        let package = Package::open(&self.package).unwrap();
        Driven::open(fake.clone(), &self.package, package.model(), options)
    }

    fn open(&self, fake: &Fake) -> Driven<Fake> {
        self.open_with(fake, self.options()).unwrap()
    }

    /// Names in the cache's folder.
    fn kept(&self) -> Vec<PathBuf> {
        let folder = std::fs::read_dir(self.dir.path().join("cache/smelt/coreml"));
        folder.map_or_else(|_| Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
    }
}

fn x(values: [f32; 6]) -> Tensors {
    Tensors::from([("x".to_owned(), HostTensor::from_f32([2, 3], values.to_vec()))])
}

fn run(engine: &mut Driven<Fake>) -> Result<Tensors, CoreMlError> {
    engine.run_until(&x([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), &Stop::never())
}

#[test]
fn a_package_is_compiled_once_and_padded_outputs_become_tensors() {
    let (place, fake) = (Place::new(&[("main", 2.0)]), Fake::default());
    let mut engine = place.open(&fake);
    let outputs = run(&mut engine).unwrap();
    assert_eq!((outputs["y"].shape(), outputs["y"].to_f32_vec()), (&[2, 3][..], vec![2.0, 4.0, 6.0, 8.0, 10.0, 12.0]));
    assert_eq!((outputs["total"].shape(), outputs["total"].to_f32_vec()), (&[][..], vec![42.0]));
    assert!(engine.compiled.starts_with(place.dir.path().join("cache/smelt/coreml")));
    run(&mut place.open(&fake)).unwrap();
    let counts = fake.counts();
    assert_eq!((counts.compiled, counts.loads, counts.predictions), (1, 2, 2));
    // What the compiler left where it pleased is now in the cache, and nowhere else.
    assert_eq!((place.kept().len(), fake.temporary().read_dir().unwrap().count()), (1, 0));
}

#[test]
fn the_signature_is_that_of_the_engine_for_this_cpu() {
    let place = Place::new(&[("main", 2.0)]);
    let ours = crate::MilEngine::open(&place.package, crate::CpuOptions::default()).unwrap();
    assert_eq!(&place.open(&Fake::default()).interface.signature, ours.signature());
}

#[test]
fn a_compiled_model_is_opened_where_it_is() {
    let (place, fake) = (Place::new(&[("main", 2.0)]), Fake::default());
    let compiled = fake.compile(&place.package).unwrap();
    let model = Package::open(&compiled).unwrap();
    let mut engine = Driven::open(fake.clone(), &compiled, model.model(), place.options()).unwrap();
    assert_eq!(run(&mut engine).unwrap()["total"].to_f32_vec(), [42.0]);
    assert_eq!(engine.interface.signature, place.open(&fake).interface.signature);
    assert_eq!((engine.compiled, fake.counts().compiled), (compiled, 2));
}

#[test]
fn a_package_that_changed_and_another_system_are_compiled_anew() {
    let (place, fake) = (Place::new(&[("main", 2.0)]), Fake::default());
    drop(place.open(&fake));
    fake.update_system("Version 27.0 (Build 26A1)");
    drop(place.open(&fake));
    assert_eq!((fake.counts().compiled, place.kept().len()), (2, 2));
    let other = scale(&[("main", 5.0)]);
    let valid = mil::validate(&other).unwrap();
    mlpackage::write(&place.package, valid, &Description::of(&other), Existing::Replace, &mut |_| {}).unwrap();
    assert_eq!(run(&mut place.open(&fake)).unwrap()["total"].to_f32_vec(), [105.0]);
    assert_eq!(fake.counts().compiled, 3);
}

#[test]
fn an_unloaded_model_holds_nothing_and_loads_for_the_next_run() {
    let (place, fake) = (Place::new(&[("main", 2.0)]), Fake::default());
    let mut engine = place.open(&fake);
    for n in 1..=3 {
        assert_eq!(fake.counts().alive, 1);
        engine.unload();
        assert_eq!(fake.counts().alive, 0);
        run(&mut engine).unwrap();
        assert_eq!(fake.counts().loads, 1 + n);
    }
    drop(engine);
    assert_eq!((fake.counts().alive, fake.counts().compiled), (0, 1));
}

#[test]
fn a_function_is_chosen_by_name_and_one_that_is_not_there_is_named() {
    let (place, fake) = (Place::new(&[("main", 2.0), ("triple", 3.0)]), Fake::default());
    let with = |function: &str| CoreMlOptions { function: Some(function.into()), ..place.options() };
    let mut engine = place.open_with(&fake, with("triple")).unwrap();
    assert_eq!(run(&mut engine).unwrap()["total"].to_f32_vec(), [63.0]);
    let error = place.open_with(&fake, with("half")).unwrap_err().to_string();
    assert!(error.starts_with(r#"the model has no function "half"; it has ["main", "triple"]"#), "{error}");
    assert_eq!(fake.counts().compiled, 1, "what is refused is not compiled");
}

#[test]
fn options_reach_core_ml() {
    let (place, fake) = (Place::new(&[("main", 2.0)]), Fake::default());
    let units = ComputeUnits::CpuAndNeuralEngine;
    let options = CoreMlOptions { units, fast_prediction: true, ..place.options() };
    drop(place.open_with(&fake, options.clone()).unwrap());
    assert_eq!(fake.counts().options, Some(options));
}

#[test]
fn a_flag_that_is_set_stops_before_loading_and_before_a_prediction() {
    let (place, fake) = (Place::new(&[("main", 2.0)]), Fake::default());
    let mut engine = place.open(&fake);
    let stop = Stop::new();
    stop.set();
    let inputs = x([0.0; 6]);
    assert!(matches!(engine.run_until(&inputs, &stop), Err(CoreMlError::Stopped)));
    engine.unload();
    assert!(matches!(engine.run_until(&inputs, &stop), Err(CoreMlError::Stopped)));
    assert_eq!((fake.counts().predictions, fake.counts().loads), (0, 1));
    assert!(run(&mut engine).is_ok());
    // One that is set while the model loads stops it then.
    engine.unload();
    let late = Stop::new();
    fake.twist(Twist::StopWhileLoading(late.clone()));
    assert!(matches!(engine.run_until(&inputs, &late), Err(CoreMlError::Stopped)));
    assert_eq!(fake.counts().predictions, 1);
}

#[track_caller]
fn mismatch(change: fn(&mut runtime::Described), words: &str) {
    let (place, fake) = (Place::new(&[("main", 2.0)]), Fake::default());
    fake.twist(Twist::Described(change));
    let error = place.open_with(&fake, place.options()).unwrap_err().to_string();
    assert!(error.contains(".mlmodelc is another model for Core ML than for this program: "), "{error}");
    assert!(error.ends_with(words), "{error}");
    assert_eq!(fake.counts().alive, 0);
}

#[test]
fn core_ml_must_say_what_the_files_say() {
    mismatch(|d| d.inputs[0].name = "z".into(), "it has an input z there, and none here");
    mismatch(|d| d.outputs.clear(), "it has an output y here, and none there");
    mismatch(|d| d.inputs[0].array = None, "the input x is fp32 [2, 3] here, and no array there");
    let f16 = |d: &mut runtime::Described| {
        d.inputs[0].array = Some(DescribedArray { code: 0x1_0010, shape: vec![2, 3] });
    };
    mismatch(f16, "the input x is fp32 [2, 3] here, and fp16 [2, 3] there");
    let other_shape = |d: &mut runtime::Described| {
        d.inputs[0].array = Some(DescribedArray { code: 0x1_0020, shape: vec![3, -2] });
    };
    mismatch(other_shape, "the input x is fp32 [2, 3] here, and fp32 [3, -2] there");
    let unknown = |d: &mut runtime::Described| d.outputs[0].array = Some(DescribedArray { code: 7, shape: vec![] });
    mismatch(unknown, "and of an unknown type (0x7) there");
}

#[track_caller]
fn bad_output(twist: Twist, words: &str) {
    let (place, fake) = (Place::new(&[("main", 2.0)]), Fake::default());
    let mut engine = place.open(&fake);
    fake.twist(twist);
    let error = run(&mut engine).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
    // The next prediction is none the worse for it.
    fake.twist(Twist::None);
    assert!(run(&mut engine).is_ok());
}

#[test]
fn outputs_that_no_array_could_be_are_refused_before_they_are_read() {
    bad_output(
        Twist::Strides(|strides| strides[0] = isize::MAX),
        "y: shape [2, 3] with strides [9223372036854775807, 1]",
    );
    bad_output(Twist::Strides(|strides| strides[0] = -32), "a number is negative");
    bad_output(Twist::Strides(|strides| strides.truncate(1)), "there is not one stride for each dimension");
    bad_output(Twist::Strides(|strides| strides[1] = 40), "its last element lies behind the buffer");
    bad_output(Twist::Code(0x1_0008), "Core ML gave y: elements of an unknown type (0x10008)");
    bad_output(Twist::Missing("total"), "Core ML gave total: nothing, or no array");
}

#[test]
fn what_core_ml_says_is_told_with_what_was_tried() {
    for (action, words) in [("compile", "Core ML cannot compile "), ("load", "Core ML cannot load ")] {
        let (place, fake) = (Place::new(&[("main", 2.0)]), Fake::default());
        fake.twist(Twist::Fail(action));
        let error = place.open_with(&fake, place.options()).unwrap_err().to_string();
        assert!(error.starts_with(words) && error.ends_with(": no"), "{error}");
        assert_eq!(place.kept().len(), usize::from(action == "load"));
    }
    bad_output(Twist::Fail("run"), ".mlmodelc: no");
}

#[test]
fn wrong_inputs_are_named() {
    let place = Place::new(&[("main", 2.0)]);
    let mut engine = place.open(&Fake::default());
    let mut error = |inputs: Tensors| engine.run_until(&inputs, &Stop::never()).unwrap_err().to_string();
    assert_eq!(error(Tensors::new()), "x: this input is missing");
    let other = HostTensor::from_f32([3], vec![0.0; 3]);
    assert_eq!(error(Tensors::from([("x".into(), other.clone())])), "x: it has shape [3], the model takes [2, 3]");
    let two = Tensors::from([("x".into(), other.clone()), ("z".into(), other)]);
    assert_eq!(error(two), r#"z: there is no such input; the model takes ["x"]"#);
    // Another type is converted.
    let halves = HostTensor::from_f16([2, 3], &[1.0; 6]);
    let outputs = engine.run_until(&Tensors::from([("x".into(), halves)]), &Stop::never()).unwrap();
    assert_eq!(outputs["total"].to_f32_vec(), [12.0]);
}

#[test]
fn a_plan_is_read_without_constants() {
    let (place, fake) = (Place::new(&[("main", 2.0)]), Fake::default());
    let plan = place.open(&fake).plan().unwrap();
    assert_eq!(plan.operations.iter().map(|o| &*o.kind).collect::<Vec<_>>(), ["ios18.mul", "ios18.reduce_sum"]);
    fake.twist(Twist::Fail("plan"));
    let error = place.open(&fake).plan().unwrap_err().to_string();
    assert!(error.starts_with("Core ML cannot plan "), "{error}");
}

#[cfg(not(target_vendor = "apple"))]
#[test]
fn elsewhere_core_ml_is_refused_before_anything_is_read() {
    let error = CoreMlEngine::open("absent.mlpackage", CoreMlOptions::default()).unwrap_err().to_string();
    assert!(error.starts_with("Core ML is part of macOS and iOS"), "{error}");
}

#[test]
fn an_engine_may_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<CoreMlEngine>();
    let (place, fake) = (Place::new(&[("main", 2.0)]), Fake::default());
    let mut engine = place.open(&fake);
    let outputs = std::thread::spawn(move || run(&mut engine).unwrap()).join().unwrap();
    assert_eq!(outputs["total"].to_f32_vec(), [42.0]);
}

#[test]
fn a_package_is_compiled_to_a_place_and_replaces_what_is_there() {
    let place = Place::new(&[("main", 2.0)]);
    let fake = Fake::default();
    let to = place.dir.path().join("Scale.mlmodelc");
    for n_compiled in 1..=2 {
        compile_to(&fake, &place.package, &to).unwrap();
        assert!(to.is_dir() && fake.counts().compiled == n_compiled);
    }
    fake.twist(Twist::Fail("compile"));
    let error = compile_to(&fake, &place.package, &place.dir.path().join("other")).unwrap_err().to_string();
    assert!(error.contains("cannot compile") && error.ends_with(": no"), "{error}");
    assert!(!place.dir.path().join("other").exists());
}
