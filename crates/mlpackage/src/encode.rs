//! Programs to protobuf messages and a plan of the weight file.
//!
//! Nothing is written here: offsets follow from sizes alone, so the model is complete before a byte of a weight is
//! read, and the weights can then be streamed in one pass. What coremltools' own loader expects is kept (facts of
//! coremltools 9.0): a `const` operation has no inputs but the attributes `name` and `val`; other operations have one
//! attribute, `name`; operands of `constexpr_*` are attributes before `CoreML8` and inline inputs from `CoreML8` on.

mod program;
mod value;
mod weights;

pub(crate) use weights::{WeightPlan, is_weight};

use coremltools_proto as pb;
use mil::{Const, DType, Opset, Program};

use crate::{
    blob::BlobPlan,
    description::{self, Description, FeatureType},
    error::{Error, ModelFault, model_error},
};

/// The name under which a model refers to its weight file; `@model_path` is the directory of the model file.
pub(crate) const WEIGHT_FILE: &str = "@model_path/weights/weight.bin";

/// A model of one program, and its weights.
///
/// # Errors
/// When the description is not the program's, or an operand that must be constant is not.
pub(crate) fn model<'p>(program: &'p Program, description: &Description) -> Result<(pb::Model, WeightPlan<'p>), Error> {
    encode_model(program, description, WEIGHT_FILE, &[])
}

/// A model of one program, whose weight file begins with the blobs in `stored`, and its weights.
///
/// # Errors
/// As [`model`].
pub(crate) fn model_after<'p>(
    program: &'p Program,
    description: &Description,
    stored: &'p [(BlobPlan, Const)],
) -> Result<(pb::Model, WeightPlan<'p>), Error> {
    encode_model(program, description, WEIGHT_FILE, stored)
}

/// A model of several, each with a weight file of its own.
///
/// # Errors
/// As [`model`].
pub(crate) fn pipeline<'p>(
    stages: &[(&str, &'p Program, &Description)],
    description: &Description,
) -> Result<(pb::Model, Vec<WeightPlan<'p>>), Error> {
    let (mut pipeline, mut plans) = (pb::Pipeline::default(), Vec::new());
    for (i, (name, program, description)) in stages.iter().enumerate() {
        if pipeline.names.iter().any(|n| n == name) {
            return Err(model_error("pipeline", ModelFault::Duplicate((*name).to_owned())));
        }
        // coremltools 9.0, make_pipeline: the weight files of sub-models are numbered.
        let (model, plan) = encode_model(program, description, &format!("@model_path/weights/{i}-weight.bin"), &[])?;
        pipeline.models.push(model);
        pipeline.names.push((*name).to_owned());
        plans.push(plan);
    }
    let version = pipeline.models.iter().map(|m| m.specification_version).max();
    let model = pb::Model {
        specification_version: version.ok_or_else(|| model_error("pipeline", ModelFault::Missing("a model")))?,
        description: Some(description::encode(description)?),
        is_updatable: false,
        r#type: Some(pb::model::Type::Pipeline(pipeline)),
    };
    Ok((model, plans))
}

fn encode_model<'p>(
    program: &'p Program,
    description: &Description,
    file: &str,
    stored: &'p [(BlobPlan, Const)],
) -> Result<(pb::Model, WeightPlan<'p>), Error> {
    description::check_names(description, program)?;
    description::check_features(description, program)?;
    let version = specification_version(program, description);
    let mut weights = WeightPlan::new(file, version);
    weights.continue_after(stored);
    let message = program::encode(program, &mut weights)?;
    let model = pb::Model {
        specification_version: version,
        description: Some(description::encode(description)?),
        is_updatable: false,
        r#type: Some(pb::model::Type::MlProgram(message)),
    };
    Ok((model, weights))
}

/// The lowest specification version that admits the program and its interface.
///
/// Source: apple/coremltools e0e2f42, `mlmodel/src/Model.cpp` and `Utils.cpp` (half-precision interfaces need 7,
/// functions by name or states 9, 8-bit interfaces 10).
fn specification_version(program: &Program, description: &Description) -> i32 {
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
