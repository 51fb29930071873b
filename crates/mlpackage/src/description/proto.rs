//! Descriptions to and from their protobuf messages.

use coremltools_proto::{self as pb, array_feature_type as array, feature_type, image_feature_type as image};
use mil::DType;

use super::{
    ColorSpace, DefaultValue, Description, Feature, FeatureType, Image, ImageFlexibility, Interface, KeyType, Metadata,
    MultiArray, ShapeFlexibility, SizeRange,
};
use crate::error::{Error, ModelFault, model_error};

/// Element types of tensor features, and their numbers.
const ARRAY_DTYPES: [(DType, array::ArrayDataType); 5] = [
    (DType::F32, array::ArrayDataType::Float32),
    (DType::F64, array::ArrayDataType::Double),
    (DType::I32, array::ArrayDataType::Int32),
    (DType::F16, array::ArrayDataType::Float16),
    (DType::I8, array::ArrayDataType::Int8),
];

/// Name of the function that a model without a list of functions has.
const MAIN: &str = "main";

/// The message. A single function `main` is described at the model's own level, as Core ML wants it.
pub(crate) fn encode(description: &Description) -> Result<pb::ModelDescription, Error> {
    let metadata = &description.metadata;
    let mut message = pb::ModelDescription {
        metadata: Some(pb::Metadata {
            short_description: metadata.short_description.clone(),
            version_string: metadata.version.clone(),
            author: metadata.author.clone(),
            license: metadata.license.clone(),
            user_defined: metadata.user_defined.clone(),
        }),
        ..pb::ModelDescription::default()
    };
    if let [only] = &description.functions[..]
        && only.name == MAIN
    {
        message.input = encode_features(&only.inputs)?;
        message.output = encode_features(&only.outputs)?;
        message.state = encode_features(&only.states)?;
        message.predicted_feature_name.clone_from(&only.predicted_feature);
        message.predicted_probabilities_name.clone_from(&only.predicted_probabilities);
        return Ok(message);
    }
    message.default_function_name.clone_from(&description.default_function);
    for f in &description.functions {
        message.functions.push(pb::FunctionDescription {
            name: f.name.clone(),
            input: encode_features(&f.inputs)?,
            output: encode_features(&f.outputs)?,
            state: encode_features(&f.states)?,
            predicted_feature_name: f.predicted_feature.clone(),
            predicted_probabilities_name: f.predicted_probabilities.clone(),
        });
    }
    Ok(message)
}

/// The description in a message.
///
/// # Errors
/// [`ModelFault::Missing`], [`ModelFault::Dtype`] or [`ModelFault::Description`].
pub(crate) fn decode(message: pb::ModelDescription) -> Result<Description, Error> {
    let metadata = message.metadata.unwrap_or_default();
    let metadata = Metadata {
        short_description: metadata.short_description,
        version: metadata.version_string,
        author: metadata.author,
        license: metadata.license,
        user_defined: metadata.user_defined,
    };
    if message.functions.is_empty() {
        let interface = Interface {
            name: MAIN.to_owned(),
            inputs: decode_features("input", message.input)?,
            outputs: decode_features("output", message.output)?,
            states: decode_features("state", message.state)?,
            predicted_feature: message.predicted_feature_name,
            predicted_probabilities: message.predicted_probabilities_name,
        };
        return Ok(Description { functions: vec![interface], default_function: MAIN.to_owned(), metadata });
    }
    let functions = message.functions.into_iter().map(|f| {
        Ok(Interface {
            inputs: decode_features("input", f.input)?,
            outputs: decode_features("output", f.output)?,
            states: decode_features("state", f.state)?,
            predicted_feature: f.predicted_feature_name,
            predicted_probabilities: f.predicted_probabilities_name,
            name: f.name,
        })
    });
    let functions = functions.collect::<Result<_, Error>>()?;
    Ok(Description { functions, default_function: message.default_function_name, metadata })
}

fn encode_features(features: &[Feature]) -> Result<Vec<pb::FeatureDescription>, Error> {
    let encode = |f: &Feature| {
        Ok(pb::FeatureDescription {
            name: f.name.clone(),
            short_description: f.description.clone(),
            r#type: Some(pb::FeatureType { is_optional: f.is_optional, r#type: Some(encode_type(f)?) }),
        })
    };
    features.iter().map(encode).collect()
}

fn encode_type(feature: &Feature) -> Result<feature_type::Type, Error> {
    use feature_type::Type;
    Ok(match &feature.ty {
        FeatureType::Int64 => Type::Int64Type(pb::Int64FeatureType {}),
        FeatureType::Double => Type::DoubleType(pb::DoubleFeatureType {}),
        FeatureType::String => Type::StringType(pb::StringFeatureType {}),
        FeatureType::Image(i) => Type::ImageType(encode_image(i, &feature.name)?),
        FeatureType::MultiArray(a) => Type::MultiArrayType(encode_array(a, &feature.name)?),
        FeatureType::State(a) => Type::StateType(pb::StateFeatureType {
            r#type: Some(pb::state_feature_type::Type::ArrayType(encode_array(a, &feature.name)?)),
        }),
        FeatureType::Dictionary(key) => {
            use pb::dictionary_feature_type::KeyType as Key;
            let key = match key {
                KeyType::Int64 => Key::Int64KeyType(pb::Int64FeatureType {}),
                KeyType::String => Key::StringKeyType(pb::StringFeatureType {}),
            };
            Type::DictionaryType(pb::DictionaryFeatureType { key_type: Some(key) })
        }
        FeatureType::Sequence(element, range) => {
            use pb::sequence_feature_type::Type as Element;
            let element = match element {
                KeyType::Int64 => Element::Int64Type(pb::Int64FeatureType {}),
                KeyType::String => Element::StringType(pb::StringFeatureType {}),
            };
            let size_range = range.map(|r| encode_range(r, &feature.name)).transpose()?;
            Type::SequenceType(pb::SequenceFeatureType { r#type: Some(element), size_range })
        }
    })
}

fn encode_array(a: &MultiArray, name: &str) -> Result<pb::ArrayFeatureType, Error> {
    let shape = |shape: &[usize]| shape.iter().map(|&d| signed(d as u64, name)).collect::<Result<Vec<i64>, Error>>();
    let (_, dtype) = ARRAY_DTYPES
        .into_iter()
        .find(|(d, _)| *d == a.dtype)
        .ok_or_else(|| fault(name, format!("{} is no element type of features", a.dtype)))?;
    let flexibility = match &a.flexibility {
        ShapeFlexibility::Fixed => None,
        ShapeFlexibility::Enumerated(shapes) => {
            let shapes = shapes.iter().map(|s| Ok(array::Shape { shape: shape(s)? }));
            Some(array::ShapeFlexibility::EnumeratedShapes(array::EnumeratedShapes {
                shapes: shapes.collect::<Result<_, Error>>()?,
            }))
        }
        ShapeFlexibility::Ranges(ranges) => {
            let size_ranges = ranges.iter().map(|&r| encode_range(r, name)).collect::<Result<_, Error>>()?;
            Some(array::ShapeFlexibility::ShapeRange(array::ShapeRange { size_ranges }))
        }
    };
    Ok(pb::ArrayFeatureType {
        shape: shape(&a.shape)?,
        data_type: dtype.into(),
        shape_flexibility: flexibility,
        default_optional_value: a.default.map(|d| match d {
            DefaultValue::Int(x) => array::DefaultOptionalValue::IntDefaultValue(x),
            DefaultValue::Float(x) => array::DefaultOptionalValue::FloatDefaultValue(x),
            DefaultValue::Double(x) => array::DefaultOptionalValue::DoubleDefaultValue(x),
        }),
    })
}

fn encode_image(i: &Image, name: &str) -> Result<pb::ImageFeatureType, Error> {
    let color_space = match i.color_space {
        ColorSpace::Grayscale => image::ColorSpace::Grayscale,
        ColorSpace::Rgb => image::ColorSpace::Rgb,
        ColorSpace::Bgr => image::ColorSpace::Bgr,
        ColorSpace::GrayscaleFloat16 => image::ColorSpace::GrayscaleFloat16,
    };
    let flexibility = match &i.flexibility {
        ImageFlexibility::Fixed => None,
        ImageFlexibility::Enumerated(sizes) => {
            let sizes = sizes.iter().map(|&(width, height)| image::ImageSize { width, height }).collect();
            Some(image::SizeFlexibility::EnumeratedSizes(image::EnumeratedImageSizes { sizes }))
        }
        ImageFlexibility::Range(width, height) => Some(image::SizeFlexibility::ImageSizeRange(image::ImageSizeRange {
            width_range: Some(encode_range(*width, name)?),
            height_range: Some(encode_range(*height, name)?),
        })),
    };
    Ok(pb::ImageFeatureType {
        width: signed(i.width, name)?,
        height: signed(i.height, name)?,
        color_space: color_space.into(),
        size_flexibility: flexibility,
    })
}

fn encode_range(r: SizeRange, name: &str) -> Result<pb::SizeRange, Error> {
    let upper_bound = r.upper.map_or(Ok(-1), |u| signed(u, name))?;
    Ok(pb::SizeRange { lower_bound: r.lower, upper_bound })
}

fn signed(n: u64, name: &str) -> Result<i64, Error> {
    i64::try_from(n).map_err(|_| fault(name, format!("{n} is too large a size")))
}

fn decode_features(what: &'static str, features: Vec<pb::FeatureDescription>) -> Result<Vec<Feature>, Error> {
    features
        .into_iter()
        .map(|f| {
            let ty = f.r#type.unwrap_or_default();
            let inner = ty.r#type.ok_or_else(|| {
                model_error(format!("{what} {:?}", f.name), ModelFault::Missing("the type of a feature"))
            })?;
            Ok(Feature {
                ty: decode_type(inner, &f.name)?,
                name: f.name,
                description: f.short_description,
                is_optional: ty.is_optional,
            })
        })
        .collect()
}

fn decode_type(ty: feature_type::Type, name: &str) -> Result<FeatureType, Error> {
    use feature_type::Type;
    let missing = |what| model_error(format!("feature {name:?}"), ModelFault::Missing(what));
    Ok(match ty {
        Type::Int64Type(_) => FeatureType::Int64,
        Type::DoubleType(_) => FeatureType::Double,
        Type::StringType(_) => FeatureType::String,
        Type::ImageType(i) => FeatureType::Image(decode_image(i, name)?),
        Type::MultiArrayType(a) => FeatureType::MultiArray(decode_array(a, name)?),
        Type::StateType(s) => match s.r#type {
            Some(pb::state_feature_type::Type::ArrayType(a)) => FeatureType::State(decode_array(a, name)?),
            None => return Err(missing("the type of a state")),
        },
        Type::DictionaryType(d) => FeatureType::Dictionary(match d.key_type {
            Some(pb::dictionary_feature_type::KeyType::Int64KeyType(_)) => KeyType::Int64,
            Some(pb::dictionary_feature_type::KeyType::StringKeyType(_)) => KeyType::String,
            None => return Err(missing("the key type of a dictionary")),
        }),
        Type::SequenceType(s) => {
            let element = match s.r#type {
                Some(pb::sequence_feature_type::Type::Int64Type(_)) => KeyType::Int64,
                Some(pb::sequence_feature_type::Type::StringType(_)) => KeyType::String,
                None => return Err(missing("the element type of a sequence")),
            };
            FeatureType::Sequence(element, s.size_range.map(|r| decode_range(&r)))
        }
    })
}

fn decode_array(a: pb::ArrayFeatureType, name: &str) -> Result<MultiArray, Error> {
    let shape = |shape: &[i64]| shape.iter().map(|&d| size(d, name)).collect::<Result<Vec<usize>, Error>>();
    let (dtype, _) = ARRAY_DTYPES
        .into_iter()
        .find(|(_, number)| i32::from(*number) == a.data_type)
        .ok_or_else(|| model_error(format!("feature {name:?}"), ModelFault::Dtype(a.data_type)))?;
    Ok(MultiArray {
        dtype,
        shape: shape(&a.shape)?,
        flexibility: match a.shape_flexibility {
            None => ShapeFlexibility::Fixed,
            Some(array::ShapeFlexibility::EnumeratedShapes(e)) => {
                ShapeFlexibility::Enumerated(e.shapes.iter().map(|s| shape(&s.shape)).collect::<Result<_, Error>>()?)
            }
            Some(array::ShapeFlexibility::ShapeRange(r)) => {
                ShapeFlexibility::Ranges(r.size_ranges.iter().map(decode_range).collect())
            }
        },
        default: a.default_optional_value.map(|d| match d {
            array::DefaultOptionalValue::IntDefaultValue(x) => DefaultValue::Int(x),
            array::DefaultOptionalValue::FloatDefaultValue(x) => DefaultValue::Float(x),
            array::DefaultOptionalValue::DoubleDefaultValue(x) => DefaultValue::Double(x),
        }),
    })
}

fn decode_image(i: pb::ImageFeatureType, name: &str) -> Result<Image, Error> {
    let color_space = match i.color_space() {
        image::ColorSpace::Grayscale => ColorSpace::Grayscale,
        image::ColorSpace::Rgb => ColorSpace::Rgb,
        image::ColorSpace::Bgr => ColorSpace::Bgr,
        image::ColorSpace::GrayscaleFloat16 => ColorSpace::GrayscaleFloat16,
        image::ColorSpace::InvalidColorSpace => {
            return Err(fault(name, format!("unknown color space {}", i.color_space)));
        }
    };
    let pixels = |n: i64| u64::try_from(n).map_err(|_| fault(name, format!("{n} is no size in pixels")));
    let range = |r: Option<pb::SizeRange>| {
        r.as_ref().map(decode_range).ok_or_else(|| fault(name, "a range of sizes is missing".into()))
    };
    Ok(Image {
        width: pixels(i.width)?,
        height: pixels(i.height)?,
        color_space,
        flexibility: match i.size_flexibility {
            None => ImageFlexibility::Fixed,
            Some(image::SizeFlexibility::EnumeratedSizes(e)) => {
                ImageFlexibility::Enumerated(e.sizes.iter().map(|s| (s.width, s.height)).collect())
            }
            Some(image::SizeFlexibility::ImageSizeRange(r)) => {
                ImageFlexibility::Range(range(r.width_range)?, range(r.height_range)?)
            }
        },
    })
}

fn decode_range(r: &pb::SizeRange) -> SizeRange {
    SizeRange { lower: r.lower_bound, upper: u64::try_from(r.upper_bound).ok() }
}

fn size(n: i64, name: &str) -> Result<usize, Error> {
    usize::try_from(n).map_err(|_| fault(name, format!("{n} is no size")))
}

fn fault(name: &str, problem: String) -> Error {
    model_error("description", ModelFault::Description { what: "feature", name: name.to_owned(), problem })
}
