//! Models that lie: each gives the fault that names the lie, and none panics.

use std::time::Duration;

use coremltools_proto::{self as pb, Message, mil_spec as ms, model::Type as Kind};
use mil::{DType, Opset};

use super::{decoded, decoded_bytes, encoded, zoo};
use crate::{BlobFault, Error, ModelFault, fuzz};

struct Case {
    model: pb::Model,
    weights: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        let (model, weights) = encoded(&zoo::small());
        Self { model, weights }
    }

    fn program(&mut self) -> &mut ms::Program {
        match &mut self.model.r#type {
            Some(Kind::MlProgram(program)) => program,
            other => panic!("{other:?}"),
        }
    }

    fn function(&mut self) -> &mut ms::Function {
        self.program().functions.get_mut("main").unwrap()
    }

    fn block(&mut self) -> &mut ms::Block {
        self.function().block_specializations.get_mut("CoreML6").unwrap()
    }

    /// Operation 0 is the constant, 1 the sum, 2 the result.
    fn op(&mut self, i: usize) -> &mut ms::Operation {
        &mut self.block().operations[i]
    }

    fn val(&mut self) -> &mut ms::Value {
        self.op(0).attributes.get_mut("val").unwrap()
    }

    fn set_offset(&mut self, new: u64) {
        match &mut self.val().value {
            Some(ms::value::Value::BlobFileValue(blob)) => blob.offset = new,
            other => panic!("{other:?}"),
        }
    }

    fn set_file(&mut self, new: &str) {
        match &mut self.val().value {
            Some(ms::value::Value::BlobFileValue(blob)) => blob.file_name = new.into(),
            other => panic!("{other:?}"),
        }
    }

    fn set_immediate(&mut self, value: ms::tensor_value::Value) {
        let tensor = ms::TensorValue { value: Some(value) };
        let value = ms::value::ImmediateValue { value: Some(ms::value::immediate_value::Value::Tensor(tensor)) };
        self.val().value = Some(ms::value::Value::ImmediateValue(value));
    }

    fn tensor_type(ty: &mut Option<ms::ValueType>) -> &mut ms::TensorType {
        match &mut ty.as_mut().unwrap().r#type {
            Some(ms::value_type::Type::TensorType(t)) => t,
            other => panic!("{other:?}"),
        }
    }
}

fn size(n: u64) -> ms::Dimension {
    use ms::dimension::{ConstantDimension, Dimension};
    ms::Dimension { dimension: Some(Dimension::Constant(ConstantDimension { size: n })) }
}

#[track_caller]
fn model_fault(edit: impl FnOnce(&mut Case)) -> ModelFault {
    match fault_of(edit) {
        Error::Model { fault, .. } => fault,
        other => panic!("no model fault but {other}"),
    }
}

#[track_caller]
fn blob_fault(edit: impl FnOnce(&mut Case)) -> BlobFault {
    match fault_of(edit) {
        Error::Blob { fault, .. } => fault,
        other => panic!("no blob fault but {other}"),
    }
}

#[track_caller]
fn fault_of(edit: impl FnOnce(&mut Case)) -> Error {
    let mut case = Case::new();
    assert!(decoded(&case.model, &case.weights).is_ok());
    edit(&mut case);
    decoded(&case.model, &case.weights).expect_err("a lie was believed")
}

#[test]
fn models_that_are_no_ml_programs_are_refused_by_name() {
    assert_eq!(model_fault(|c| c.model.r#type = None), ModelFault::NoKind);
    assert_eq!(
        model_fault(|c| c.model.r#type = Some(Kind::NeuralNetwork(vec![8, 1].into()))),
        ModelFault::Kind("neuralNetwork")
    );
    assert_eq!(model_fault(|c| c.model.description = None), ModelFault::Missing("the description"));
    assert_eq!(model_fault(|c| c.model.specification_version = 5), ModelFault::SpecificationVersion(5));
    assert_eq!(model_fault(|c| c.model.specification_version = 11), ModelFault::SpecificationVersion(11));
    assert_eq!(model_fault(|c| c.model.is_updatable = true), ModelFault::Updatable);
    assert_eq!(model_fault(|c| c.program().version = 2), ModelFault::ProgramVersion(2));
    assert_eq!(model_fault(|c| c.function().opset = "CoreML4".into()), ModelFault::Opset("CoreML4".into()));
    assert_eq!(model_fault(|c| c.function().opset = "CoreML8".into()), ModelFault::NoBlock(Opset::CoreML8));
}

#[test]
fn pipelines_must_name_their_models_uniquely_and_not_nest_forever() {
    let wrap = |c: &mut Case, names: &[&str], n: usize| {
        let models = vec![c.model.clone(); n];
        let names = names.iter().map(|&s| s.to_owned()).collect();
        c.model.r#type = Some(Kind::Pipeline(pb::Pipeline { models, names }));
    };
    assert_eq!(model_fault(|c| wrap(c, &["a"], 2)), ModelFault::PipelineNames { n_names: 1, n_models: 2 });
    assert_eq!(model_fault(|c| wrap(c, &["a", "a"], 2)), ModelFault::Duplicate("a".into()));
    assert!(matches!(model_fault(|c| (0..6).for_each(|_| wrap(c, &[], 1))), ModelFault::Nesting(_)));
    let mut case = Case::new();
    wrap(&mut case, &[], 2);
    let model = decoded(&case.model, &case.weights).unwrap();
    assert_eq!(model.programs(), [&zoo::small(), &zoo::small()]);
}

#[test]
fn descriptions_must_mirror_the_program() {
    let description =
        |edit: fn(&mut pb::ModelDescription)| model_fault(|c| edit(c.model.description.as_mut().unwrap()));
    assert!(matches!(description(|d| d.input[0].name = "z".into()), ModelFault::Description { what: "input", .. }));
    assert!(matches!(description(|d| d.output.clear()), ModelFault::Description { what: "output", .. }));
    assert!(matches!(description(|d| d.state = d.input.clone()), ModelFault::Description { what: "state", .. }));
    assert_eq!(description(|d| d.input[0].r#type = None), ModelFault::Missing("the type of a feature"));
    let array = |edit: fn(&mut pb::ArrayFeatureType)| {
        model_fault(|c| {
            let input = &mut c.model.description.as_mut().unwrap().input[0];
            match &mut input.r#type.as_mut().unwrap().r#type {
                Some(pb::feature_type::Type::MultiArrayType(a)) => edit(a),
                other => panic!("{other:?}"),
            }
        })
    };
    assert_eq!(array(|a| a.data_type = 7), ModelFault::Dtype(7));
    assert!(matches!(array(|a| a.shape[0] = -1), ModelFault::Description { what: "feature", .. }));
}

#[test]
fn values_are_defined_once_and_before_their_use() {
    assert_eq!(model_fault(|c| c.block().operations.swap(1, 2)), ModelFault::Undefined("sum".into()));
    assert_eq!(model_fault(|c| c.block().operations.rotate_left(1)), ModelFault::Undefined("weight".into()));
    assert_eq!(model_fault(|c| c.block().outputs[0] = "z".into()), ModelFault::Undefined("z".into()));
    // A cycle: the sum reads the result.
    assert_eq!(
        model_fault(|c| {
            let y = c.op(2).outputs[0].name.clone();
            let binding = Some(ms::argument::binding::Binding::Name(y));
            c.op(1).inputs.get_mut("y").unwrap().arguments[0].binding = binding;
        }),
        ModelFault::Undefined("y".into())
    );
    assert_eq!(model_fault(|c| c.op(1).outputs[0].name = "x".into()), ModelFault::Duplicate("x".into()));
    assert_eq!(model_fault(|c| c.op(2).outputs[0].name = "weight".into()), ModelFault::Duplicate("weight".into()));
    let twice = model_fault(|c| {
        let input = c.function().inputs[0].clone();
        c.function().inputs.push(input);
    });
    assert_eq!(twice, ModelFault::Duplicate("x".into()));
}

#[test]
fn operations_have_no_parts_that_nobody_understands() {
    let extra = |c: &mut Case, op: usize| {
        let name = c.op(op).attributes["name"].clone();
        c.op(op).attributes.insert("extra".into(), name);
    };
    assert_eq!(model_fault(|c| extra(c, 0)), ModelFault::Attribute("extra".into()));
    assert_eq!(model_fault(|c| extra(c, 1)), ModelFault::Attribute("extra".into()));
    assert!(matches!(
        model_fault(|c| {
            let argument = c.op(1).inputs["x"].clone();
            c.op(0).inputs.insert("val".into(), argument);
        }),
        ModelFault::Attribute(_)
    ));
    assert_eq!(
        model_fault(|c| {
            c.op(0).attributes.remove("val");
        }),
        ModelFault::Missing("the value of a const")
    );
    assert_eq!(model_fault(|c| c.op(0).outputs.clear()), ModelFault::Missing("the one output of a const"));
    assert_eq!(
        model_fault(|c| c.op(1).inputs.get_mut("y").unwrap().arguments[0].binding = None),
        ModelFault::Missing("a binding")
    );
    assert!(matches!(
        model_fault(|c| {
            let val = c.val().clone();
            c.op(1).attributes.insert("name".into(), val);
        }),
        ModelFault::TypeMismatch { .. }
    ));
    assert_eq!(
        model_fault(|c| {
            let name = c.op(1).attributes["name"].clone();
            c.block().attributes.insert("a".into(), name);
        }),
        ModelFault::Attribute("a".into())
    );
    assert_eq!(
        model_fault(|c| {
            let input = c.function().inputs[0].clone();
            c.block().inputs.push(input);
        }),
        ModelFault::BodyInputs
    );
}

#[test]
fn types_must_be_there_and_no_shape_may_be_giant() {
    assert_eq!(model_fault(|c| c.op(1).outputs[0].r#type = None), ModelFault::Missing("a type"));
    assert_eq!(model_fault(|c| c.val().r#type = None), ModelFault::Missing("a type"));
    assert_eq!(model_fault(|c| c.val().value = None), ModelFault::Missing("a value"));
    for giant in [vec![size(1 << 60), size(1)], vec![size(1 << 32); 2], vec![size(u64::MAX); 2]] {
        for i in 0..2 {
            let fault = model_fault(|c| {
                let ty = if i == 0 { &mut c.op(1).outputs[0].r#type } else { &mut c.val().r#type };
                Case::tensor_type(ty).dimensions.clone_from(&giant);
            });
            assert!(matches!(fault, ModelFault::TooLarge(_)), "{fault}");
        }
    }
    // As large as is allowed, but not as large as the weight: nothing is allocated for it.
    let fault = model_fault(|c| Case::tensor_type(&mut c.val().r#type).dimensions = vec![size(1 << 20), size(1 << 20)]);
    assert!(matches!(fault, ModelFault::Count { expected, actual: 40, .. } if expected == 1 << 40));
    let fault = model_fault(|c| Case::tensor_type(&mut c.val().r#type).data_type = 10);
    assert!(matches!(fault, ModelFault::TypeMismatch { .. }));
    let fault = model_fault(|c| Case::tensor_type(&mut c.op(0).outputs[0].r#type).dimensions[0] = size(5));
    assert!(matches!(fault, ModelFault::TypeMismatch { .. }));
}

#[test]
fn immediate_elements_must_be_as_many_as_declared_and_in_the_right_field() {
    use ms::tensor_value as tv;
    let floats = |n| tv::Value::Floats(tv::RepeatedFloats { values: vec![0.0; n] });
    let bytes = |n| tv::Value::Bytes(tv::RepeatedBytes { values: vec![0; n].into() });
    let mut sound = Case::new();
    sound.set_immediate(floats(40));
    assert!(decoded(&sound.model, &sound.weights).is_ok());
    for n in [0, 39, 41] {
        let fault = model_fault(|c| c.set_immediate(floats(n)));
        assert!(matches!(fault, ModelFault::Count { expected: 40, actual, .. } if actual == n));
    }
    assert!(matches!(model_fault(|c| c.set_immediate(bytes(160))), ModelFault::Storage { found: "bytes", .. }));
    let ints = |x| tv::Value::Ints(tv::RepeatedInts { values: vec![x; 40] });
    for (number, dtype, x) in [(32, DType::U16, -1), (22, DType::I16, 1 << 15)] {
        let fault = model_fault(|c| {
            Case::tensor_type(&mut c.val().r#type).data_type = number;
            Case::tensor_type(&mut c.op(0).outputs[0].r#type).data_type = number;
            c.set_immediate(ints(x));
        });
        assert_eq!(fault, ModelFault::Element { value: x.into(), dtype });
    }
}

#[test]
fn weight_files_must_exist_inside_the_package_and_hold_what_is_declared() {
    assert_eq!(
        model_fault(|c| c.set_file("@model_path/weights/other.bin")),
        ModelFault::NoWeightFile("@model_path/weights/other.bin".into())
    );
    assert!(matches!(model_fault(|c| c.set_file("/etc/passwd")), ModelFault::WeightPath { .. }));
    assert!(matches!(model_fault(|c| c.set_file("weights/weight.bin")), ModelFault::WeightPath { .. }));
    for offset in [0, 1, 63, 65, 96] {
        assert_eq!(blob_fault(|c| c.set_offset(offset)), BlobFault::Misaligned);
    }
    for offset in [1 << 20, u64::MAX - 63] {
        assert!(matches!(blob_fault(|c| c.set_offset(offset)), BlobFault::OutOfRange(_)));
    }
    assert_eq!(blob_fault(|c| c.set_offset(128)), BlobFault::Sentinel(0));
    assert_eq!(blob_fault(|c| c.weights.truncate(10)), BlobFault::TooShort(10));
    assert!(matches!(blob_fault(|c| c.weights.truncate(200)), BlobFault::DataOutOfRange { .. }));
    assert_eq!(blob_fault(|c| c.weights[4] = 1), BlobFault::Version(1));
    assert_eq!(blob_fault(|c| c.weights[0] = 0), BlobFault::Uncounted { used: 1, count: 0 });
}

#[test]
fn every_truncation_of_a_model_is_an_error() {
    let case = Case::new();
    let bytes = case.model.encode_to_vec();
    for n in 0..bytes.len() {
        assert!(decoded_bytes(&bytes[..n], &case.weights).is_err(), "{n} of {}", bytes.len());
    }
}

#[test]
fn every_flipped_bit_of_a_model_is_an_error_or_another_model_but_no_panic() {
    let case = Case::new();
    let bytes = case.model.encode_to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut broken = bytes.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        let _ = decoded_bytes(&broken, &case.weights);
    }
}

#[test]
fn nesting_deeper_than_protobuf_allows_is_an_error() {
    let mut value = ms::Value::default();
    for _ in 0..200 {
        let tuple = ms::TupleValue { values: vec![value] };
        let inner = ms::value::ImmediateValue { value: Some(ms::value::immediate_value::Value::Tuple(tuple)) };
        value = ms::Value { value: Some(ms::value::Value::ImmediateValue(inner)), ..ms::Value::default() };
    }
    let error = fault_of(|c| {
        c.program().attributes.insert("deep".into(), value);
    });
    assert!(matches!(error, Error::Protobuf { .. }), "{error}");
}

#[test]
fn inline_literals_get_names_that_nothing_else_has() {
    let mut case = Case::new();
    let val = case.val().clone();
    let binding = || ms::argument::Binding { binding: Some(ms::argument::binding::Binding::Value(val.clone())) };
    case.op(1).inputs.insert("y".into(), ms::Argument { arguments: vec![binding()] });
    case.op(2).inputs.insert("values".into(), ms::Argument { arguments: vec![binding(), binding()] });
    // The name that the first literal would get is that of an explicit value.
    case.op(2).outputs[0].name = "sum_op_y".into();
    case.block().outputs[0] = "sum_op_y".into();
    case.model.description.as_mut().unwrap().output[0].name = "sum_op_y".into();
    let model = decoded(&case.model, &case.weights).unwrap();
    let f = model.program().unwrap().main().unwrap();
    let names = |i: usize, p: &str| f.body.ops[i].input_values(p).iter().map(|&v| f.name_of(v)).collect::<Vec<_>>();
    assert_eq!(names(0, "y"), ["sum_op_y_1"]);
    assert_eq!(names(1, "values"), ["y_op_values", "y_op_values_1"]);
}

#[test]
fn blocks_that_do_not_enclose_each_other_may_use_one_name() {
    let (mut model, weights) = encoded(&zoo::program(Opset::CoreML6));
    let Some(Kind::MlProgram(p)) = &mut model.r#type else { panic!() };
    let block = p.functions.get_mut("main").unwrap().block_specializations.get_mut("CoreML6").unwrap();
    let cond = block.operations.iter_mut().find(|op| op.r#type == "cond").unwrap();
    cond.blocks[1] = cond.blocks[0].clone();
    let model = decoded(&model, &weights).unwrap();
    let f = model.program().unwrap().main().unwrap();
    let cond = f.body.ops.iter().find(|op| op.kind == "cond").unwrap();
    let inner: Vec<_> = cond.blocks.iter().map(|b| b.outputs[0]).collect();
    assert_ne!(inner[0], inner[1]);
    assert_eq!(f.name_of(inner[0]), "yes");
}

#[test]
fn reading_mutated_packages_for_a_second_does_not_panic() {
    let mut corpus: Vec<Vec<u8>> = [Opset::CoreML6, Opset::CoreML8]
        .into_iter()
        .map(|opset| {
            let (model, weights) = encoded(&zoo::program(opset));
            fuzz::join(&model.encode_to_vec(), &weights)
        })
        .collect();
    let small = Case::new();
    corpus.push(fuzz::join(&small.model.encode_to_vec(), &small.weights));
    corpus.push(small.weights);
    corpus.push(crate::Manifest::for_program(true).to_json().into_bytes());
    let corpus: Vec<&[u8]> = corpus.iter().map(Vec::as_slice).collect();
    let n_calls = testkit::fuzz::run_for(Duration::from_secs(1), &corpus, fuzz::fuzz_read);
    // Temporary files may be slow; each input of the corpus and as many mutated ones are the least.
    assert!(n_calls > 2 * corpus.len() as u64, "only {n_calls} inputs in a second");
}

#[test]
fn reading_a_mutated_package_of_apples_for_a_second_does_not_panic() {
    let Some(golden) = testkit::golden() else { return };
    let package = "packages/tiny-sd15/split_einsum/Stable_Diffusion_version_tiny-sd15_safety_checker.mlpackage";
    let read = |file: &str| std::fs::read(golden.join(package).join("Data/com.apple.CoreML").join(file)).unwrap();
    let input = fuzz::join(&read("model.mlmodel"), &read("weights/weight.bin"));
    let n_calls = testkit::fuzz::run_for(Duration::from_secs(1), &[&input], fuzz::fuzz_read);
    assert!(n_calls > 5, "only {n_calls} inputs in a second");
}
