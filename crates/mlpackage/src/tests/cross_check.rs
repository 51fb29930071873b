//! Our messages against the independent crate `coreml-proto`, whose types come from Apple's own `.proto` files.

use coreml_proto::proto as theirs;
use coremltools_proto::{self as ours, Message};
use mil::Opset;
// The two crates share one prost, so one `Message` trait serves both.

use super::{encoded, zoo};
use crate::{
    ColorSpace, DefaultValue, Description, Feature, FeatureType, Image, ImageFlexibility, KeyType, MultiArray,
    ShapeFlexibility, SizeRange, description,
};

/// Through their types and back: a field that they do not know, or know as another type, would not survive.
#[track_caller]
fn survives_theirs(model: &ours::Model) -> theirs::Model {
    let bytes = model.encode_to_vec();
    let foreign = theirs::Model::decode(&bytes[..]).unwrap();
    let back = ours::Model::decode(&foreign.encode_to_vec()[..]).unwrap();
    assert!(&back == model, "a field was lost or changed");
    foreign
}

#[test]
fn programs_in_every_opset_read_the_same_with_foreign_types() {
    for opset in Opset::ALL {
        let (model, _) = encoded(&zoo::program(opset));
        let foreign = survives_theirs(&model);
        assert_eq!(foreign.specification_version, opset.specification_version());
        let Some(theirs::model::Type::MlProgram(program)) = foreign.r#type else { panic!("not an ML Program") };
        assert_eq!(program.version, 1);
        let main = &program.functions["main"];
        assert_eq!((main.opset.as_str(), main.inputs[0].name.as_str()), (opset.name(), "x"));
        let block = &main.block_specializations[opset.name()];
        assert_eq!(block.outputs, ["y"]);
        let last = block.operations.last().unwrap();
        assert_eq!((last.r#type.as_str(), last.outputs[0].name.as_str()), ("relu", "y"));
        let Some(theirs::mil_spec::value_type::Type::TensorType(t)) = last.outputs[0].r#type.clone().unwrap().r#type
        else {
            panic!("not a tensor")
        };
        assert_eq!((t.data_type(), t.rank), (theirs::mil_spec::DataType::Float32, 2));
        assert!(block.operations.iter().any(|op| op.r#type == "cond" && op.blocks.len() == 2));
        assert!(program.attributes.contains_key("buildInfo"));
    }
}

#[test]
fn element_types_have_the_same_numbers_and_names() {
    for number in -1..64 {
        let (a, b) = (ours::mil_spec::DataType::try_from(number), theirs::mil_spec::DataType::try_from(number));
        // Later specifications than the crate's may add types; none of ours is unknown to it, save the 8-bit floats.
        match (a, b) {
            (Ok(a), Ok(b)) => assert_eq!(a.as_str_name(), b.as_str_name()),
            (Err(_), Err(_)) => {}
            (a, b) => panic!("{number}: {a:?} and {b:?}"),
        }
    }
}

/// A description with a feature of every type and every field set.
fn rich() -> Description {
    let range = |lower, upper| SizeRange { lower, upper };
    let array = |dtype, flexibility, default| MultiArray { dtype, shape: vec![1, 2, 3], flexibility, default };
    let picture =
        |color_space, flexibility| FeatureType::Image(Image { width: 640, height: 480, color_space, flexibility });
    use mil::DType::{F16, F32, F64, I8, I32};
    let types = vec![
        FeatureType::Int64,
        FeatureType::Double,
        FeatureType::String,
        picture(ColorSpace::Rgb, ImageFlexibility::Fixed),
        picture(ColorSpace::Bgr, ImageFlexibility::Enumerated(vec![(1, 2), (3, 4)])),
        picture(ColorSpace::Grayscale, ImageFlexibility::Range(range(1, Some(9)), range(2, None))),
        picture(ColorSpace::GrayscaleFloat16, ImageFlexibility::Fixed),
        FeatureType::MultiArray(array(F32, ShapeFlexibility::Fixed, Some(DefaultValue::Float(0.5)))),
        FeatureType::MultiArray(array(
            F64,
            ShapeFlexibility::Enumerated(vec![vec![1], vec![2, 3]]),
            Some(DefaultValue::Double(0.1)),
        )),
        FeatureType::MultiArray(array(
            I32,
            ShapeFlexibility::Ranges(vec![range(1, Some(4)), range(0, None)]),
            Some(DefaultValue::Int(-3)),
        )),
        FeatureType::MultiArray(array(F16, ShapeFlexibility::Fixed, None)),
        FeatureType::MultiArray(array(I8, ShapeFlexibility::Fixed, None)),
        FeatureType::Dictionary(KeyType::Int64),
        FeatureType::Dictionary(KeyType::String),
        FeatureType::Sequence(KeyType::Int64, None),
        FeatureType::Sequence(KeyType::String, Some(range(1, Some(2)))),
        FeatureType::State(array(F16, ShapeFlexibility::Fixed, None)),
    ];
    let features: Vec<Feature> = types
        .into_iter()
        .enumerate()
        .map(|(i, ty)| Feature {
            name: format!("f{i}"),
            description: format!("words {i}"),
            ty,
            is_optional: i % 2 == 1,
        })
        .collect();
    let (states, inputs): (Vec<_>, Vec<_>) = features.into_iter().partition(|f| matches!(f.ty, FeatureType::State(_)));
    let mut description = Description::of(&zoo::small());
    description.functions[0].outputs.clone_from(&inputs);
    description.functions[0].inputs = inputs;
    description.functions[0].states = states;
    description.functions[0].predicted_feature = "f0".into();
    description.functions[0].predicted_probabilities = "f1".into();
    description.metadata.author = "author".into();
    description.metadata.license = "license".into();
    description.metadata.version = "1".into();
    description.metadata.short_description = "short".into();
    description.metadata.user_defined = [("k".into(), "v".into()), ("a".into(), "b".into())].into();
    description
}

#[test]
fn descriptions_of_every_type_survive_ours_and_theirs() {
    let single = rich();
    let mut several = single.clone();
    several.functions.push(crate::Interface { name: "other".into(), ..several.functions[0].clone() });
    several.default_function = "other".into();
    for description in [single, several] {
        let message = description::encode(&description).unwrap();
        assert_eq!(description::decode(message.clone()).unwrap(), description);
        let model = ours::Model { description: Some(message), ..ours::Model::default() };
        let foreign = survives_theirs(&model).description.unwrap();
        assert_eq!(foreign.functions.len(), if description.functions.len() == 1 { 0 } else { 2 });
        assert_eq!(foreign.metadata.unwrap().user_defined["k"], "v");
    }
}

#[test]
fn sizes_that_no_message_holds_are_refused() {
    let mut description = rich();
    for feature in &mut description.functions[0].inputs {
        if let FeatureType::MultiArray(a) = &mut feature.ty {
            a.shape = vec![usize::MAX];
        }
    }
    assert!(matches!(description::encode(&description), Err(crate::Error::Model { .. })));
}

#[test]
fn apples_own_models_read_the_same_with_both_and_lose_nothing_with_ours() {
    let Some(golden) = testkit::golden() else { return };
    let mut n_models = 0;
    for package in crate::tests::packages(&golden.join("packages")) {
        let bytes = std::fs::read(package.join("Data/com.apple.CoreML/model.mlmodel")).unwrap();
        let ours = ours::Model::decode(&bytes[..]).unwrap();
        let foreign = theirs::Model::decode(&bytes[..]).unwrap();
        // Equal in length but for the order of maps: no field of Apple's was dropped.
        assert_eq!(ours.encoded_len(), bytes.len(), "{}", package.display());
        assert!(theirs::Model::decode(&ours.encode_to_vec()[..]).unwrap() == foreign, "{}", package.display());
        n_models += 1;
    }
    assert!(n_models > 0, "no packages in {}", golden.display());
}
