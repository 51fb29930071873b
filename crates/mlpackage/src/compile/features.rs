//! Features as `metadata.json` describes them.

use serde_json::{Map, Value};

use super::precision;
use crate::description::{
    ColorSpace, Feature, FeatureType, Image, ImageFlexibility, KeyType, MultiArray, ShapeFlexibility, SizeRange,
};

/// The list of a model's inputs, outputs or states.
pub(super) fn schema(features: &[Feature]) -> Value {
    features.iter().map(feature).collect()
}

fn feature(feature: &Feature) -> Value {
    let mut entry = Map::new();
    let mut put = |key: &str, value: String| entry.insert(key.to_owned(), Value::String(value));
    put("isOptional", flag(feature.is_optional));
    put("shortDescription", feature.description.clone());
    put("name", feature.name.clone());
    match &feature.ty {
        FeatureType::MultiArray(a) => array(a, "MultiArray", &mut put),
        FeatureType::State(a) => array(a, "State", &mut put),
        FeatureType::Image(i) => image(i, &mut put),
        FeatureType::Int64 => plain("Int64", &mut put),
        FeatureType::Double => plain("Double", &mut put),
        FeatureType::String => plain("String", &mut put),
        FeatureType::Dictionary(key) => {
            put("keyType", key_name(*key).to_owned());
            put("type", "Dictionary".to_owned());
            put("formattedType", format!("Dictionary ({} → Double)", key_name(*key)));
        }
        FeatureType::Sequence(element, _) => {
            put("type", "Sequence".to_owned());
            put("formattedType", format!("Sequence ({})", key_name(*element)));
        }
    }
    Value::Object(entry)
}

fn plain(name: &str, put: &mut impl FnMut(&str, String) -> Option<Value>) {
    put("type", name.to_owned());
    put("formattedType", name.to_owned());
}

fn array(a: &MultiArray, kind: &str, put: &mut impl FnMut(&str, String) -> Option<Value>) {
    let dtype = precision::name(a.dtype);
    let times = a.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ");
    put("type", kind.to_owned());
    put("dataType", dtype.to_owned());
    put("shape", listed(&a.shape));
    let separator = if times.is_empty() { "" } else { " " };
    put("formattedType", format!("{kind} ({dtype}{separator}{times})"));
    put("hasShapeFlexibility", flag(a.flexibility != ShapeFlexibility::Fixed));
    match &a.flexibility {
        ShapeFlexibility::Fixed => {}
        ShapeFlexibility::Enumerated(shapes) => {
            let words = shapes.iter().map(|s| s.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × "));
            put("shapeFlexibility", words.collect::<Vec<_>>().join(" | "));
            put("enumeratedShapes", format!("[{}]", shapes.iter().map(|s| listed(s)).collect::<Vec<_>>().join(", ")));
        }
        ShapeFlexibility::Ranges(ranges) => {
            put("shapeFlexibility", ranges.iter().map(range_words).collect::<Vec<_>>().join(" × "));
            let ranges = ranges.iter().map(|r| format!("[{}, {}]", r.lower, upper(*r)));
            put("shapeRange", format!("[{}]", ranges.collect::<Vec<_>>().join(", ")));
        }
    }
}

/// A range in words: one size where it is the only one, and no end where there is none.
fn range_words(range: &SizeRange) -> String {
    match range.upper {
        Some(upper) if upper == range.lower => upper.to_string(),
        Some(upper) => format!("{}...{upper}", range.lower),
        None => format!("{}...", range.lower),
    }
}

fn upper(range: SizeRange) -> String {
    range.upper.map_or_else(|| "-1".to_owned(), |n| n.to_string())
}

fn image(i: &Image, put: &mut impl FnMut(&str, String) -> Option<Value>) {
    let (space, words, is_color) = match i.color_space {
        ColorSpace::Rgb => ("RGB", "Color", true),
        ColorSpace::Bgr => ("BGR", "Color", true),
        ColorSpace::Grayscale => ("Grayscale", "Grayscale", false),
        ColorSpace::GrayscaleFloat16 => ("GrayscaleFloat16", "GrayscaleFloat16", false),
    };
    put("type", "Image".to_owned());
    put("width", i.width.to_string());
    put("height", i.height.to_string());
    put("colorspace", space.to_owned());
    put("isColor", flag(is_color));
    put("hasSizeFlexibility", flag(i.flexibility != ImageFlexibility::Fixed));
    put("formattedType", format!("Image ({words} {} × {})", i.width, i.height));
}

fn key_name(key: KeyType) -> &'static str {
    match key {
        KeyType::Int64 => "Int64",
        KeyType::String => "String",
    }
}

pub(super) fn flag(value: bool) -> String {
    if value { "1" } else { "0" }.to_owned()
}

fn listed(shape: &[usize]) -> String {
    format!("[{}]", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}
