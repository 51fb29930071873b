//! Programs to the bytes of a model file and a plan of the weight file.
//!
//! Nothing is written here: offsets follow from sizes alone, so the model is complete before a byte of a weight is
//! read, and the weights can then be streamed in one pass. What coremltools' own loader expects is kept (facts of
//! coremltools 9.0): a `const` operation has no inputs but the attributes `name` and `val`; other operations have one
//! attribute, `name`; operands of `constexpr_*` are attributes before `CoreML8` and inline inputs from `CoreML8` on.

mod program;
mod raw;
mod value;
mod weights;

pub(crate) use weights::{WeightPlan, is_weight};

use coremltools_proto::{self as pb, Message};
use mil::{Const, DType, Opset, Program};

use self::raw::put_bytes;
use crate::{
    blob::BlobPlan,
    description::{self, Description, FeatureType},
    error::{Error, ModelFault, model_error},
};

/// The name under which a model refers to its weight file; `@model_path` is the directory of the model file.
pub(crate) const WEIGHT_FILE: &str = "@model_path/weights/weight.bin";

/// The bytes of a model of one program, and its weights.
///
/// # Errors
/// When the description is not the program's, or an operand that must be constant is not.
pub(crate) fn model<'p>(program: &'p Program, description: &Description) -> Result<(Vec<u8>, WeightPlan<'p>), Error> {
    encode_model(program, description, WEIGHT_FILE, &[], 0)
}

/// The bytes of a model of one program, whose weight file begins with the blobs in `stored`, and its weights.
///
/// # Errors
/// As [`model`].
pub(crate) fn model_after<'p>(
    program: &'p Program,
    description: &Description,
    stored: &'p [(BlobPlan, Const)],
) -> Result<(Vec<u8>, WeightPlan<'p>), Error> {
    encode_model(program, description, WEIGHT_FILE, stored, 0)
}

/// As [`model_after`], of at least this specification version.
///
/// # Errors
/// As [`model`].
pub(crate) fn model_of_version<'p>(
    program: &'p Program,
    description: &Description,
    stored: &'p [(BlobPlan, Const)],
    version: i32,
) -> Result<(Vec<u8>, WeightPlan<'p>), Error> {
    encode_model(program, description, WEIGHT_FILE, stored, version)
}

/// The bytes of a model of several, each with a weight file of its own.
///
/// # Errors
/// As [`model`].
pub(crate) fn pipeline<'p>(
    stages: &[(&str, &'p Program, &Description)],
    description: &Description,
) -> Result<(Vec<u8>, Vec<WeightPlan<'p>>), Error> {
    let (mut pipeline, mut names, mut plans) = (Vec::new(), pb::Pipeline::default(), Vec::new());
    let mut version = None;
    for (i, (name, program, description)) in stages.iter().enumerate() {
        if names.names.iter().any(|n| n == name) {
            return Err(model_error("pipeline", ModelFault::Duplicate((*name).to_owned())));
        }
        // coremltools 9.0, make_pipeline: the weight files of sub-models are numbered.
        let (model, plan) = encode_model(program, description, &format!("@model_path/weights/{i}-weight.bin"), &[], 0)?;
        put_bytes(&mut pipeline, MODELS, &model);
        names.names.push((*name).to_owned());
        version = version.max(Some(specification_version(program, description)));
        plans.push(plan);
    }
    pipeline.extend(names.encode_to_vec());
    let version = version.ok_or_else(|| model_error("pipeline", ModelFault::Missing("a model")))?;
    Ok((model_file(version, description, PIPELINE, &pipeline)?, plans))
}

/// Numbers of the fields that are put together from bytes: of a pipeline, and of a model.
const MODELS: u32 = 1;
const PIPELINE: u32 = 202;
const ML_PROGRAM: u32 = 502;

/// A model whose kind has this field, and in it these bytes.
fn model_file(version: i32, description: &Description, kind: u32, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let description = Some(description::encode(description)?);
    let head = pb::Model { specification_version: version, description, is_updatable: false, r#type: None };
    let mut out = head.encode_to_vec();
    put_bytes(&mut out, kind, bytes);
    Ok(out)
}

fn encode_model<'p>(
    program: &'p Program,
    description: &Description,
    file: &str,
    stored: &'p [(BlobPlan, Const)],
    at_least: i32,
) -> Result<(Vec<u8>, WeightPlan<'p>), Error> {
    description::check_names(description, program)?;
    description::check_features(description, program)?;
    let version = specification_version(program, description).max(at_least);
    let mut weights = WeightPlan::new(file, version);
    weights.continue_after(stored);
    let program = program::encode(program, &mut weights)?;
    Ok((model_file(version, description, ML_PROGRAM, &program)?, weights))
}

/// The lowest specification version that admits the program and its interface.
///
/// Source: apple/coremltools e0e2f42, `mlmodel/src/Model.cpp` and `Utils.cpp` (half-precision interfaces need 7,
/// functions by name or states 9, 8-bit interfaces 10).
pub(crate) fn specification_version(program: &Program, description: &Description) -> i32 {
    let opset = program.functions.values().map(|f| f.opset).max().unwrap_or(Opset::CoreML5);
    let mut version = opset.specification_version();
    for f in &description.functions {
        for feature in f.inputs.iter().chain(&f.outputs) {
            version = version.max(match &feature.ty {
                FeatureType::MultiArray(a) if a.dtype == DType::F16 => 7,
                FeatureType::MultiArray(a) if a.dtype == DType::I8 => 10,
                _ => 0,
            });
        }
        if !f.states.is_empty() || f.inputs.is_empty() {
            version = version.max(9);
        }
    }
    // Anything but a single function `main` is described by a list of functions.
    let is_listed = program.functions.len() > 1 || !program.functions.contains_key("main");
    if is_listed { version.max(9) } else { version }
}
