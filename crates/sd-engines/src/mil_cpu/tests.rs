//! Facts about models of one program and of several.

use host_tensor::{DType, HostTensor};
use mil::{FunctionBuilder, Literal, Opset, Type};
use mlpackage::{Body, SubModel};

use super::*;

/// `output = input · factor`, elementwise over [2, 2].
fn scale(input: &str, output: &str, factor: f32) -> Program {
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input(input, Type::tensor(DType::F32, &[2, 2]));
    let mut e = b.emitter();
    let y = e.op("mul", output, [("x", x.into()), ("y", Literal::float(factor).into())]).unwrap();
    let ops = e.into_ops();
    b.finish_program(ops, &[y])
}

/// `output = a + b`, elementwise over [2, 2].
fn add(a: &str, b_name: &str, output: &str) -> Program {
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input(a, Type::tensor(DType::F32, &[2, 2]));
    let y = b.input(b_name, Type::tensor(DType::F32, &[2, 2]));
    let mut e = b.emitter();
    let sum = e.op("add", output, [("x", x.into()), ("y", y.into())]).unwrap();
    let ops = e.into_ops();
    b.finish_program(ops, &[sum])
}

fn engine(program: &Program) -> MilEngine {
    MilEngine::from_program(program, Options::default()).unwrap()
}

fn model(program: Program) -> Model {
    Model { specification_version: 7, description: Description::of(&program), body: Body::Program(program) }
}

fn one(name: &str, values: [f32; 4]) -> Tensors {
    Tensors::from([(name.to_owned(), HostTensor::from_f32([2, 2], values.to_vec()))])
}

#[test]
fn a_program_is_an_engine_with_its_own_signature() {
    let mut engine = engine(&scale("x", "y", 3.0));
    let signature = Engine::signature(&engine).clone();
    assert_eq!(signature.inputs, [Feature::new("x", DType::F32, [2, 2])]);
    assert_eq!(signature.outputs, [Feature::new("y", DType::F32, [2, 2])]);
    let outputs = engine.run(&one("x", [1.0, 2.0, 3.0, 4.0]), &Stop::never()).unwrap();
    assert_eq!(outputs["y"].to_f32_vec(), [3.0, 6.0, 9.0, 12.0]);
}

#[test]
fn a_chain_of_programs_passes_features_on() {
    // skip = 2x; h = 10·skip; y = h + skip.
    let stages = [("a", scale("x", "skip", 2.0)), ("b", scale("skip", "h", 10.0)), ("c", add("h", "skip", "y"))];
    let chain = MilEngine::chain(stages.map(|(name, p)| (name.to_owned(), engine(&p)))).unwrap();
    let outputs = chain.run_once(&one("x", [1.0, 0.0, -1.0, 0.5])).unwrap();
    assert_eq!(outputs.keys().collect::<Vec<_>>(), ["y"]);
    assert_eq!(outputs["y"].to_f32_vec(), [22.0, 0.0, -22.0, 11.0]);
}

#[test]
fn a_pipeline_runs_as_its_models_in_a_row() {
    let sub = |name: &str, program| SubModel { name: name.into(), model: model(program) };
    let pipeline = Model {
        body: Body::Pipeline(vec![sub("first", scale("x", "h", 2.0)), sub("second", scale("h", "y", 5.0))]),
        ..model(scale("x", "y", 1.0))
    };
    let engine = MilEngine::from_model(&pipeline, Options::default()).unwrap();
    assert_eq!(engine.run_once(&one("x", [1.0; 4])).unwrap()["y"].to_f32_vec(), [10.0; 4]);
    let error = MilEngine::from_function(&pipeline, "main", Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "a pipeline of models has no function \"main\"");
}

#[test]
fn stages_that_do_not_fit_are_refused_before_anything_runs() {
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("h", Type::tensor(DType::F32, &[3]));
    let mut e = b.emitter();
    let y = e.op("relu", "y", [("x", x.into())]).unwrap();
    let ops = e.into_ops();
    let other = b.finish_program(ops, &[y]);
    let chain = [("one", scale("x", "h", 2.0)), ("two", other)].map(|(name, p)| (name.to_owned(), engine(&p)));
    let error = MilEngine::chain(chain).unwrap_err();
    assert_eq!(error.to_string(), "two reads h as fp32 [3], but an earlier model gives it as fp32 [2, 2]");
    assert_eq!(MilEngine::chain([]).unwrap_err().to_string(), "the pipeline holds no model");
}

#[test]
fn wrong_inputs_are_named() {
    let chain = [("a", scale("x", "h", 2.0)), ("b", scale("h", "y", 5.0))].map(|(n, p)| (n.to_owned(), engine(&p)));
    let chain = MilEngine::chain(chain).unwrap();
    let error = chain.run_once(&one("z", [0.0; 4])).unwrap_err();
    assert!(error.to_string().contains("no input z"), "{error}");
    let error = chain.run_once(&Tensors::new()).unwrap_err();
    assert!(error.to_string().starts_with("a: input x is missing"), "{error}");
}

#[test]
fn functions_are_chosen_by_name() {
    let mut program = scale("x", "y", 3.0);
    let mut other = scale("x", "y", 7.0).functions.remove("main").unwrap();
    other.name = "seven".into();
    program.functions.insert("seven".into(), other);
    for function in program.functions.values_mut() {
        function.opset = Opset::CoreML8;
    }
    let model = model(program);
    let x = one("x", [1.0; 4]);
    let default = MilEngine::from_model(&model, Options::default()).unwrap();
    assert_eq!(default.run_once(&x).unwrap()["y"].to_f32_vec(), [3.0; 4]);
    let seven = MilEngine::from_function(&model, "seven", Options::default()).unwrap();
    assert_eq!(seven.run_once(&x).unwrap()["y"].to_f32_vec(), [7.0; 4]);
    let error = MilEngine::from_function(&model, "eight", Options::default()).unwrap_err();
    assert!(error.to_string().contains("eight"), "{error}");
}

#[test]
fn an_invalid_program_is_refused_with_its_first_fault() {
    let mut program = scale("x", "y", 3.0);
    if let Some(function) = program.functions.get_mut("main") {
        function.body.ops[0].kind = "no_such_op".into();
    }
    let error = MilEngine::from_program(&program, Options::default()).unwrap_err();
    assert!(error.to_string().starts_with("the program is not valid; 1 fault: main: op #0 y"), "{error}");
}
