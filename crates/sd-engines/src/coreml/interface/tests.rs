//! Features that are handed over, and those that are not.

use host_tensor::DType;
use mil::{FunctionBuilder, Opset, Type};
use mlpackage::{Description, Image, ImageFlexibility, MultiArray};

use super::*;

/// `y = relu(x)`, with what the description says of `x` and `y`.
fn model(x: FeatureType, y: FeatureType) -> Model {
    let mut b = FunctionBuilder::new("main", Opset::CoreML7);
    let input = b.input("x", Type::tensor(DType::F32, &[2, 3]));
    let mut e = b.emitter();
    let output = e.op("relu", "y", [("x", input.into())]).unwrap();
    let ops = e.into_ops();
    let program = b.finish_program(ops, &[output]);
    let mut description = Description::of(&program);
    let main = description.main_mut().unwrap();
    (main.inputs[0].ty, main.outputs[0].ty) = (x, y);
    Model { specification_version: 8, description, body: Body::Program(program) }
}

fn array(dtype: DType, shape: &[usize]) -> FeatureType {
    let (flexibility, default) = (ShapeFlexibility::Fixed, None);
    FeatureType::MultiArray(MultiArray { dtype, shape: shape.to_vec(), flexibility, default })
}

#[test]
fn shapes_are_those_of_the_description_and_else_of_the_program() {
    let interface = Interface::of(&model(array(DType::F32, &[2, 3]), array(DType::F32, &[])), None).unwrap();
    assert_eq!(interface.signature.inputs, [sd_runtime::Feature::new("x", DType::F32, [2, 3])]);
    assert_eq!(interface.signature.outputs, [sd_runtime::Feature::new("y", DType::F32, [2, 3])]);
}

#[track_caller]
fn refused(x: FeatureType, words: &str) {
    let error = Interface::of(&model(x, array(DType::F32, &[])), None).unwrap_err().to_string();
    assert_eq!(error, format!("x is {words}, and this engine takes and gives tensors only"));
}

#[test]
fn what_is_no_tensor_is_refused_by_name() {
    use mlpackage::{ColorSpace, KeyType};
    let flexibility = ImageFlexibility::Fixed;
    refused(FeatureType::Image(Image { width: 8, height: 8, color_space: ColorSpace::Rgb, flexibility }), "a picture");
    refused(FeatureType::Int64, "a number");
    refused(FeatureType::String, "text");
    refused(FeatureType::Dictionary(KeyType::Int64), "a dictionary");
    refused(FeatureType::Sequence(KeyType::String, None), "a list");
    refused(array(DType::Bool, &[2, 3]), "of type bool");
    let mut stateful = model(array(DType::F32, &[2, 3]), array(DType::F32, &[]));
    let state = stateful.description.functions[0].inputs[0].clone();
    stateful.description.functions[0].states.push(state);
    assert!(Interface::of(&stateful, None).unwrap_err().to_string().starts_with("x is a"));
}

#[test]
fn a_flexible_input_takes_other_shapes_and_a_fixed_one_does_not() {
    let FeatureType::MultiArray(fixed) = array(DType::F32, &[2, 3]) else { unreachable!() };
    let flexibility = ShapeFlexibility::Enumerated(vec![vec![2, 3], vec![4, 3]]);
    let flexible = FeatureType::MultiArray(MultiArray { flexibility, ..fixed.clone() });
    let inputs = Tensors::from([("x".to_owned(), HostTensor::from_f32([4, 3], vec![0.0; 12]))]);
    for (x, fits) in [(flexible, true), (FeatureType::MultiArray(fixed), false)] {
        let interface = Interface::of(&model(x, array(DType::F32, &[])), None).unwrap();
        assert_eq!(interface.fit(&inputs).is_ok(), fits);
    }
}

#[test]
fn a_pipeline_has_one_interface_and_no_functions() {
    let inner = model(array(DType::F32, &[2, 3]), array(DType::F32, &[2, 3]));
    let pipeline = Model { body: Body::Pipeline(Vec::new()), ..inner };
    assert_eq!(Interface::of(&pipeline, None).unwrap().signature.inputs.len(), 1);
    let error = Interface::of(&pipeline, Some("main")).unwrap_err().to_string();
    assert_eq!(error, r#"the model has no function "main"; it has []"#);
}
