//! decode(encode(p)) = p, and what the messages look like in between.

use coremltools_proto::{Message, mil_spec as ms, model::Type as Kind};
use mil::{Const, DType, Literal, Opset, Program};

use super::{decoded, encoded, zoo};
use crate::{Body, Description};

fn message(model: &coremltools_proto::Model) -> &ms::Program {
    match &model.r#type {
        Some(Kind::MlProgram(program)) => program,
        other => panic!("{other:?}"),
    }
}

fn block<'m>(model: &'m coremltools_proto::Model, function: &str, opset: &str) -> &'m ms::Block {
    &message(model).functions[function].block_specializations[opset]
}

fn program_of(model: &crate::Model) -> &Program {
    match &model.body {
        Body::Program(p) => p,
        Body::Pipeline(_) => panic!("a pipeline"),
    }
}

#[test]
fn a_program_with_one_of_everything_survives_in_every_opset() {
    for opset in Opset::ALL {
        let program = zoo::program(opset);
        let (model, weights) = encoded(&program);
        let back = decoded(&model, &weights).unwrap();
        assert_eq!(program_of(&back), &program, "{opset}");
        assert_eq!(back.description, Description::of(&program));
        assert_eq!(back.specification_version, opset.specification_version());
        // Once more: what was read is written as the same bytes.
        let (again, again_weights) = encoded(program_of(&back));
        assert!(again.encode_to_vec() == model.encode_to_vec(), "{opset}");
        assert!(again_weights == weights, "{opset}");
    }
}

#[test]
fn the_same_program_gives_the_same_bytes() {
    let encode = || encoded(&zoo::program(Opset::CoreML8));
    let ((a, b), (c, d)) = (encode(), encode());
    assert!(a.encode_to_vec() == c.encode_to_vec() && b == d);
}

#[test]
fn tensors_of_ten_elements_of_weight_types_go_to_the_weight_file() {
    for (opset, dtypes) in [
        (Opset::CoreML6, &[DType::F16, DType::BF16, DType::F32, DType::I8, DType::U8][..]),
        (
            Opset::CoreML8,
            &[
                DType::F16,
                DType::BF16,
                DType::F32,
                DType::I8,
                DType::U8,
                DType::I16,
                DType::U16,
                DType::I32,
                DType::U32,
            ],
        ),
    ] {
        let sub_byte = [DType::I4, DType::U1, DType::U2, DType::U3, DType::U4, DType::U6];
        let (model, _) = encoded(&zoo::program(opset));
        for op in block(&model, "main", opset.name()).operations.iter().filter(|op| op.r#type == "const") {
            let val = &op.attributes["val"];
            let Ok(mil::Type::Tensor(t)) = crate::types::decode(val.r#type.as_ref()) else { continue };
            let n: usize = t.static_shape().unwrap().iter().product();
            let is_blob = matches!(val.value, Some(ms::value::Value::BlobFileValue(_)));
            let is_weight = dtypes.contains(&t.dtype) || sub_byte.contains(&t.dtype);
            assert_eq!(is_blob, n >= 10 && is_weight, "{opset}: {t}");
        }
    }
}

#[test]
fn const_operations_stand_once_before_their_first_user_and_have_no_inputs() {
    let (model, _) = encoded(&zoo::program(Opset::CoreML8));
    let mut defined: Vec<&str> = vec!["x"];
    for op in &block(&model, "main", "CoreML8").operations {
        let names: Vec<&str> = op.attributes.keys().map(String::as_str).collect();
        if op.r#type == "const" {
            assert!(op.inputs.is_empty());
            assert_eq!(names, ["name", "val"]);
            assert_eq!(op.outputs[0].r#type, op.attributes["val"].r#type);
        } else {
            assert_eq!(names, ["name"], "{}", op.r#type);
        }
        for binding in op.inputs.values().flat_map(|a| &a.arguments) {
            if let Some(ms::argument::binding::Binding::Name(name)) = &binding.binding {
                assert!(defined.contains(&name.as_str()), "{name}");
            }
        }
        for output in &op.outputs {
            assert!(!defined.contains(&output.name.as_str()), "{}", output.name);
            defined.push(&output.name);
        }
    }
    assert!(defined.contains(&"yes_own") && defined.contains(&"shared"), "constants of blocks stand outside");
    assert!(!defined.contains(&"w_op_lut"), "constants of constexpr operations are inline");
}

#[test]
fn constexpr_operands_are_attributes_before_coreml8_and_inputs_from_then_on() {
    let lut = |opset: Opset| {
        let (model, _) = encoded(&zoo::program(opset));
        let op = block(&model, "main", opset.name()).operations.iter().find(|op| op.r#type == "constexpr_lut_to_dense");
        let keys = |m: Vec<&String>| m.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let op = op.unwrap();
        (keys(op.inputs.keys().collect()), keys(op.attributes.keys().collect()))
    };
    assert_eq!(lut(Opset::CoreML6), (String::new(), "indices lut name shape".into()));
    assert_eq!(lut(Opset::CoreML7), (String::new(), "indices lut name shape".into()));
    assert_eq!(lut(Opset::CoreML8), ("indices lut".into(), "name".into()));
}

#[test]
fn immediate_elements_are_kept_in_the_field_of_their_type() {
    use ms::tensor_value::Value as V;
    let field = |dtype: DType| {
        let mut program = zoo::small();
        let f = program.functions.get_mut("main").unwrap();
        let id = f.by_name("weight").unwrap();
        f.set_literal(id, zoo::tensor(dtype, 3).into());
        let (model, _) = encoded(&program);
        let val = block(&model, "main", "CoreML6").operations[0].attributes["val"].value.clone();
        let Some(ms::value::Value::ImmediateValue(v)) = val else { panic!("{val:?}") };
        match v.value {
            Some(ms::value::immediate_value::Value::Tensor(t)) => t.value.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    // 0, 6, 3: the first elements of the zoo's tensor.
    for dtype in [DType::I32, DType::I16, DType::U16] {
        assert_eq!(field(dtype), V::Ints(ms::tensor_value::RepeatedInts { values: vec![0, 6, 3] }));
    }
    for dtype in [DType::I64, DType::U64] {
        assert_eq!(field(dtype), V::LongInts(ms::tensor_value::RepeatedLongInts { values: vec![0, 6, 3] }));
    }
    let bytes = |b: &[u8]| V::Bytes(ms::tensor_value::RepeatedBytes { values: b.to_vec().into() });
    assert_eq!(field(DType::F32), V::Floats(ms::tensor_value::RepeatedFloats { values: vec![0., 6., 3.] }));
    assert_eq!(field(DType::F64), V::Doubles(ms::tensor_value::RepeatedDoubles { values: vec![0., 6., 3.] }));
    assert_eq!(field(DType::Bool), V::Bools(ms::tensor_value::RepeatedBools { values: vec![false, true, true] }));
    assert_eq!(field(DType::F16), bytes(&[0, 0, 0, 0x46, 0, 0x42]));
    assert_eq!(field(DType::U8), bytes(&[0, 6, 3]));
    assert_eq!(field(DType::I8), bytes(&[0, 6, 3]));
    assert_eq!(field(DType::U32), bytes(&[0, 0, 0, 0, 6, 0, 0, 0, 3, 0, 0, 0]));
    assert_eq!(field(DType::U4), bytes(&[0x60, 0x03]));
}

#[test]
fn one_constant_in_two_functions_is_one_blob() {
    let mut program = zoo::small();
    let f = program.functions.get_mut("main").unwrap();
    f.opset = Opset::CoreML8;
    let mut g = f.clone();
    g.name = "other".into();
    program.functions.insert("other".into(), g);
    let (model, weights) = encoded(&program);
    assert_eq!(weights[..4], [1, 0, 0, 0]);
    assert_eq!(model.specification_version, 9);
    let description = model.description.as_ref().unwrap();
    assert_eq!((description.functions.len(), description.default_function_name.as_str()), (2, "main"));
    assert!(description.input.is_empty() && description.output.is_empty());
    assert_eq!(program_of(&decoded(&model, &weights).unwrap()), &program);
}

#[test]
fn a_weight_is_written_as_the_value_of_its_view() {
    let base = Const::new(zoo::tensor(DType::F32, 40)).reshape([10, 4]).unwrap();
    let view = base.transpose(&[1, 0]).unwrap();
    let mut program = zoo::small();
    let f = program.functions.get_mut("main").unwrap();
    let id = f.by_name("weight").unwrap();
    f.set_literal(id, Literal::Tensor(view.clone()));
    let (_, weights) = encoded(&program);
    assert_eq!(weights[128..], view.read().bytes()[..]);
    assert_ne!(weights[128..], base.read().bytes()[..]);
}

#[test]
fn a_description_that_contradicts_the_program_is_not_written() {
    let program = zoo::small();
    let sound = Description::of(&program);
    assert!(crate::encode::model(&program, &sound).is_ok());
    type Edit = fn(&mut Description);
    let edits: [Edit; 7] = [
        |d| d.functions[0].inputs[0].name = "z".into(),
        |d| d.functions[0].inputs.clear(),
        |d| d.functions[0].outputs.clear(),
        |d| d.functions[0].name = "other".into(),
        |d| d.default_function = "other".into(),
        |d| d.functions[0].inputs[0].ty = crate::FeatureType::Dictionary(crate::KeyType::Int64),
        |d| {
            if let crate::FeatureType::MultiArray(a) = &mut d.functions[0].outputs[0].ty {
                a.shape = vec![4, 11];
            }
        },
    ];
    for (i, edit) in edits.into_iter().enumerate() {
        let mut broken = sound.clone();
        edit(&mut broken);
        assert!(matches!(crate::encode::model(&program, &broken), Err(crate::Error::Model { .. })), "{i}");
    }
}
