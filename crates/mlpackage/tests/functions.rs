//! Packages of several functions, which share weights.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use coremltools_proto::{Message, Model as Proto, ModelDescription};
use mil::{Const, DType, Function, FunctionBuilder, HostTensor, Literal, Opset, Program, Type, validate};
use mlpackage::{
    Description, Error, Existing, ModelFault, Package, Written,
    fuzz::{fuzz_read, join},
    write,
};

/// Types of the inputs of `tests/data/functions.mlpackage`.
const SHAPES: [&str; 3] = ["tensor<fp32, [4, 16]>", "tensor<fp32, [6, 16]>", "tensor<fp32, [8, 16]>"];
const MODEL: &str = "Data/com.apple.CoreML/model.mlmodel";
const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";

/// `y = x · wᵀ + b` for `rows` rows, and a constant of the function's own, if it has one.
fn function(name: &str, rows: usize, weight: &Const, own: Option<f32>) -> Function {
    let mut b = FunctionBuilder::new(name, Opset::CoreML8);
    let x = b.input("x", Type::tensor(DType::F32, &[rows, 16]));
    let mut e = b.emitter();
    let bias = Literal::from(HostTensor::from_f32([8], vec![0.5; 8]));
    let operands = [("x", x.into()), ("weight", Literal::Tensor(weight.clone()).into()), ("bias", bias.into())];
    let mut y = e.op("linear", "y", operands).unwrap();
    if let Some(own) = own {
        let own = Literal::from(HostTensor::from_f32([rows, 8], vec![own; rows * 8]));
        y = e.op("add", "z", [("x", y.into()), ("y", own.into())]).unwrap();
    }
    let ops = e.into_ops();
    b.finish(ops, &[y])
}

fn program() -> Program {
    let weight = Const::new(HostTensor::from_f32([8, 16], (0..128).map(|i| i as f32 / 8.0).collect()));
    let functions = [
        function("size_64x64", 64, &weight, None),
        function("size_64x96", 96, &weight, Some(1.0)),
        function("size_96x64", 96, &weight, None),
    ];
    Program { functions: functions.into_iter().map(|f| (f.name.clone(), f)).collect(), attributes: BTreeMap::new() }
}

fn write_to(path: &Path, program: &Program, description: &Description) -> Result<Written, Error> {
    write(path, validate(program).unwrap(), description, Existing::Refuse, &mut |_| {})
}

#[test]
fn functions_share_their_weights_and_come_back_with_their_own_interfaces() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.mlpackage");
    let program = program();
    let mut description = Description::of(&program);
    assert_eq!(description.default_function, "size_64x64");
    description.default_function = "size_96x64".to_owned();
    description.main_mut().unwrap().feature_mut("x").unwrap().description = "what comes in".to_owned();
    let written = write_to(&path, &program, &description).unwrap();
    // The weight once, and the constant of the second function.
    assert_eq!(written.n_blobs, 2);

    let opened = Package::open(&path).unwrap().into_model();
    assert_eq!(opened.specification_version, 9);
    assert_eq!(opened.description, description);
    assert!(*opened.program().unwrap() == program);
    let weight_of = |name: &str| {
        let function = &opened.program().unwrap().functions[name];
        let linear = function.body.ops.iter().find(|op| op.kind == "linear").unwrap();
        mil::ops::View::of(function, linear).literal("weight").and_then(Literal::as_const).unwrap()
    };
    assert!(weight_of("size_64x64").same_view(weight_of("size_96x64")));

    let model = Proto::decode(&fs::read(path.join(MODEL)).unwrap()[..]).unwrap();
    let described = model.description.unwrap();
    // Model.proto: with functions described one by one, the model has no features of its own.
    assert!(described.input.is_empty() && described.output.is_empty() && described.state.is_empty());
    assert_eq!(described.default_function_name, "size_96x64");
    let names: Vec<_> = described.functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["size_64x64", "size_64x96", "size_96x64"]);

    // What was read is written again as it was.
    let again = dir.path().join("again.mlpackage");
    let rewritten = write_to(&again, opened.program().unwrap(), &opened.description).unwrap();
    assert_eq!(rewritten, written);
    for file in [MODEL, WEIGHTS] {
        assert_eq!(fs::read(again.join(file)).unwrap(), fs::read(path.join(file)).unwrap());
    }
}

#[test]
fn a_single_function_of_another_name_is_described_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.mlpackage");
    let weight = Const::new(HostTensor::from_f32([8, 16], vec![1.0; 128]));
    let mut only = function("encode", 4, &weight, None);
    only.opset = Opset::CoreML6;
    let program = Program::single(only);
    let description = Description::of(&program);
    write_to(&path, &program, &description).unwrap();
    let opened = Package::open(&path).unwrap().into_model();
    assert_eq!(opened.description, description);
    // Older systems know no functions by name, whatever the opset.
    assert_eq!(opened.specification_version, 9);
    assert!(*opened.program().unwrap() == program);
}

#[test]
fn functions_and_their_descriptions_must_agree() {
    let dir = tempfile::tempdir().unwrap();
    let program = program();
    let described = Description::of(&program);
    let refuse = |edit: &dyn Fn(&mut Description)| {
        let mut wrong = described.clone();
        edit(&mut wrong);
        let path = dir.path().join("m.mlpackage");
        let error = write_to(&path, &program, &wrong).unwrap_err();
        assert!(!path.exists());
        match error {
            Error::Model { fault, .. } => fault,
            other => panic!("{other}"),
        }
    };
    let no_such = |fault: ModelFault, name: &str| assert_eq!(fault, ModelFault::NoFunction(name.to_owned()));
    no_such(refuse(&|d| d.default_function = "size_1x1".to_owned()), "size_1x1");
    no_such(refuse(&|d| d.functions[1].name = "size_1x1".to_owned()), "size_1x1");
    let fault = refuse(&|d| d.functions.truncate(2));
    assert!(matches!(&fault, ModelFault::Description { name, .. } if name == "size_96x64"), "{fault}");
    let fault = refuse(&|d| d.functions.push(d.functions[0].clone()));
    assert!(matches!(&fault, ModelFault::Description { name, .. } if name == "size_64x64"), "{fault}");
}

/// Every function's name, inputs' shapes, and offset of each weight.
fn outline(package: &Package) -> Vec<(String, Vec<String>, Vec<u64>)> {
    let program = package.model().program().unwrap();
    let outline = |f: &Function| {
        let inputs = f.inputs.iter().map(|&id| f.ty(id).to_string()).collect();
        let constants = f.values().iter().filter_map(|v| v.literal.as_ref().and_then(Literal::as_const));
        let offsets = constants.filter_map(|c| c.location.as_ref().map(|location| location.offset)).collect();
        (f.name.clone(), inputs, offsets)
    };
    program.functions.values().map(outline).collect()
}

#[test]
fn the_functions_that_coremltools_wrote_are_read_and_written_as_they_are() {
    let theirs = Package::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/functions.mlpackage")).unwrap();
    let model = theirs.model();
    assert_eq!(model.description.default_function, "f1");
    let outlines = outline(&theirs);
    assert_eq!(outlines.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["f0", "f1", "f2"]);
    assert_eq!(outlines.iter().map(|(_, inputs, _)| inputs[0].as_str()).collect::<Vec<_>>(), SHAPES);
    assert!(outlines.iter().all(|(_, _, offsets)| offsets == &[64]), "{outlines:?}");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ours.mlpackage");
    assert_eq!(write_to(&path, model.program().unwrap(), &model.description).unwrap().n_blobs, 1);
    let ours = Package::open(&path).unwrap();
    assert_eq!(outline(&ours), outlines);
    assert_eq!(ours.model().description, model.description);
    let functions = |package: &Path| {
        let model = Proto::decode(&fs::read(package.join(MODEL)).unwrap()[..]).unwrap();
        model.description.map(|d| (d.functions, d.default_function_name, d.input, d.output))
    };
    assert_eq!(functions(&path), functions(theirs.path()));
}

/// Model file and weight file of coremltools' package.
fn their_files() -> (Vec<u8>, Vec<u8>) {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/functions.mlpackage");
    (fs::read(package.join(MODEL)).unwrap(), fs::read(package.join(WEIGHTS)).unwrap())
}

#[test]
fn descriptions_and_functions_that_contradict_each_other_are_refused_by_name() {
    let (model, weights) = their_files();
    let read = |edit: &dyn Fn(&mut Proto)| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.mlpackage");
        write_to(&path, &program(), &Description::of(&program())).unwrap();
        let mut edited = Proto::decode(&model[..]).unwrap();
        edit(&mut edited);
        for (file, bytes) in [(MODEL, edited.encode_to_vec()), (WEIGHTS, weights.clone())] {
            fs::remove_file(path.join(file)).unwrap();
            fs::write(path.join(file), bytes).unwrap();
        }
        Package::open(&path)
    };
    assert!(read(&|_| {}).is_ok());
    let refuse = |edit: &dyn Fn(&mut ModelDescription)| match read(&|m| edit(m.description.as_mut().unwrap())) {
        Err(Error::Model { fault, .. }) => fault.to_string(),
        other => panic!("{other:?}"),
    };
    type Edit<'e> = &'e dyn Fn(&mut ModelDescription);
    let cases: [(Edit<'_>, &str); 7] = [
        (&|d| d.default_function_name = "f3".into(), "function \"f3\" is missing"),
        (&|d| d.default_function_name.clear(), "function \"\" is missing"),
        (&|d| d.functions[0].name = "f3".into(), "function \"f3\" is missing"),
        (&|d| d.functions[0].name = "f1".into(), "functions \"f0\": it is not described exactly once"),
        (&|d| d.functions.truncate(2), "functions \"f2\": it is not described exactly once"),
        (&|d| d.functions.clear(), "function \"main\" is missing"),
        (&|d| d.functions[2].input[0].name = "z".into(), "input \"z\": it is described, but not in the program"),
    ];
    for (edit, message) in cases {
        assert_eq!(refuse(edit), message);
    }
}

#[test]
fn a_flipped_bit_or_a_cut_in_a_package_of_functions_never_panics() {
    let (model, weights) = their_files();
    let flip = |bytes: &[u8], at: usize| {
        let mut broken = bytes.to_vec();
        // One bit of each byte, another one each time.
        broken[at] ^= 1 << (at % 8);
        broken
    };
    (0..model.len()).for_each(|at| fuzz_read(&join(&flip(&model, at), &weights)));
    (0..weights.len()).for_each(|at| fuzz_read(&join(&model, &flip(&weights, at))));
    (0..model.len()).for_each(|n| fuzz_read(&join(&model[..n], &weights)));
    (0..weights.len()).for_each(|n| fuzz_read(&join(&model, &weights[..n])));
}
