//! `metadata.json`: what a compiled model is, for programs and people that do not load it.
//!
//! Core ML is not known to read it; Mochi Diffusion and others tell models apart by it.

use std::collections::BTreeMap;

use mil::{Function, Program};
use serde_json::{Map, Value, json};

use super::{
    features::{flag, schema},
    operators, precision,
};
use crate::{
    description::{Interface, Metadata},
    error::Error,
    model::{Body, Model},
};

/// Systems that have each specification version, as coremlc names them.
const SYSTEMS: [&str; 6] = ["macOS", "tvOS", "visionOS", "watchOS", "iOS", "macCatalyst"];
const AVAILABILITY: [(i32, [&str; 6]); 5] = [
    (6, ["12.0", "15.0", "1.0", "8.0", "15.0", "15.0"]),
    (7, ["13.0", "16.0", "1.0", "9.0", "16.0", "16.0"]),
    (8, ["14.0", "17.0", "1.0", "10.0", "17.0", "17.0"]),
    (9, ["15.0", "18.0", "2.0", "11.0", "18.0", "18.0"]),
    (10, ["16.0", "19.0", "3.0", "12.0", "19.0", "19.0"]),
];

/// The text of the file; `stem` is the package's name without its ending.
///
/// # Errors
/// [`Error::Protobuf`] when it cannot be put into JSON.
pub(super) fn metadata(model: &Model, stem: &str) -> Result<String, Error> {
    let programs = model.programs();
    let default = model.description.default_function.as_str();
    // Of a program with several functions, the default one stands for all.
    let functions: Vec<&Function> =
        programs.iter().filter_map(|p| p.functions.get(default).or_else(|| p.main())).collect();
    let mut entry = Map::new();
    entry.insert("metadataOutputVersion".to_owned(), json!("3.0"));
    words(&model.description.metadata, &mut entry);
    let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
    if let Some(stored) = precision::stored(programs.iter().copied()) {
        put("storagePrecision", json!(stored));
    }
    let interface = model.description.main().cloned().unwrap_or_default();
    put("inputSchema", schema(&interface.inputs));
    put("outputSchema", schema(&interface.outputs));
    put("stateSchema", schema(&interface.states));
    put("modelParameters", json!([]));
    put("specificationVersion", json!(model.specification_version));
    put("mlProgramOperationTypeHistogram", histogram(&functions));
    if let Some(computed) = precision::computed(functions.iter().copied()) {
        put("computePrecision", json!(computed));
    }
    put("isUpdatable", json!(flag(false)));
    put("availability", availability(model.specification_version));
    put("modelType", kind(model));
    put("userDefinedMetadata", json!(model.description.metadata.user_defined));
    put("generatedClassName", json!(class_name(stem)));
    put("method", json!("predict"));
    if let ([program], true) = (&programs[..], model.description.functions.len() > 1) {
        let interfaces = &model.description.functions;
        put("functions", interfaces.iter().filter_map(|i| function(program, i)).collect());
        put("defaultFunctionName", json!(default));
    }
    let text = serde_json::to_string_pretty(&[entry]);
    text.map_err(|e| Error::Protobuf { message: format!("its metadata: {e}") })
}

fn words(metadata: &Metadata, entry: &mut Map<String, Value>) {
    let Metadata { short_description, version, author, license, user_defined: _ } = metadata;
    let words =
        [("shortDescription", short_description), ("version", version), ("author", author), ("license", license)];
    for (key, text) in words.into_iter().filter(|(_, text)| !text.is_empty()) {
        entry.insert(key.to_owned(), json!(text));
    }
}

fn function(program: &Program, interface: &Interface) -> Option<Value> {
    let function = program.functions.get(&interface.name)?;
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
    put("name", json!(interface.name));
    if let Some(computed) = precision::computed([function]) {
        put("computePrecision", json!(computed));
    }
    put("inputSchema", schema(&interface.inputs));
    put("outputSchema", schema(&interface.outputs));
    put("stateSchema", schema(&interface.states));
    put("mlProgramOperationTypeHistogram", histogram(&[function]));
    Some(Value::Object(entry))
}

/// How often each operation stands in the functions; constants are none.
fn histogram(functions: &[&Function]) -> Value {
    let mut counts = BTreeMap::new();
    for function in functions {
        function.body.for_each_op(&mut |op| {
            *counts.entry(operators::name(&op.kind, function.opset)).or_insert(0usize) += 1;
        });
    }
    json!(counts)
}

fn availability(specification_version: i32) -> Value {
    let known = AVAILABILITY.iter().find(|(version, _)| *version == specification_version);
    let versions = known.map(|(_, versions)| SYSTEMS.iter().zip(versions)).into_iter().flatten();
    json!(versions.collect::<BTreeMap<_, _>>())
}

fn kind(model: &Model) -> Value {
    const PROGRAM: &str = "MLModelType_mlProgram";
    match &model.body {
        Body::Program(_) => json!({ "name": PROGRAM }),
        Body::Pipeline(models) => {
            json!({ "name": "MLModelType_pipeline", "structure": models.iter().map(|m| kind(&m.model)).collect::<Vec<_>>() })
        }
    }
}

/// The name of the class that Xcode would make for the model.
fn class_name(stem: &str) -> String {
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}
