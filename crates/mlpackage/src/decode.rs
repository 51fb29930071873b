//! Protobuf messages to programs.
//!
//! Everything comes from outside: sizes are checked before anything is sized by them, names are resolved strictly in
//! order (so that a cycle is a use before definition), and whatever has no place in [`mil`] is an error rather than
//! lost. Doc strings are the exception, being comments. Whether a program makes sense is not decided here.

mod function;
mod value;
mod weights;

pub(crate) use function::is_tuple;
pub(crate) use weights::{WeightError, WeightFiles, WeightSource};

use std::collections::{BTreeMap, BTreeSet};

use coremltools_proto::{self as pb, Message, mil_spec, model::Type};
use mil::{Bytes, Literal, Program};

use crate::{
    description::{self, Description},
    error::{Error, ModelFault, model_error},
    model::{Body, Model, SubModel},
};

/// No protobuf message is larger than this.
pub(crate) const MAX_MODEL_BYTES: u64 = (1 << 31) - 1;

/// Pipelines in pipelines in pipelines: more than this is hostile.
pub(crate) const MAX_NESTING: usize = 4;

/// The model in `bytes`, its weights taken from `weights`.
///
/// # Errors
/// [`Error::Protobuf`], [`Error::Model`] or [`Error::Blob`].
pub(crate) fn model(bytes: Bytes, weights: &mut WeightFiles<'_>) -> Result<Model, Error> {
    let message = pb::Model::decode(bytes).map_err(|e| Error::Protobuf { message: e.to_string() })?;
    let model = decode_model(message, "model", weights, 0)?;
    weights.check_disjoint()?;
    Ok(model)
}

/// The literals of a map of attributes.
///
/// # Errors
/// [`Error::Model`] at `place`, or the error of a weight file.
pub(crate) fn attributes(
    values: &BTreeMap<String, mil_spec::Value>,
    place: &str,
    weights: &mut WeightFiles<'_>,
) -> Result<BTreeMap<String, Literal>, Error> {
    value::decode_all(values, &|| place.to_owned(), weights)
}

/// The literal of a value.
///
/// # Errors
/// As [`attributes`].
pub(crate) fn literal(value: &mil_spec::Value, place: &str, weights: &mut WeightFiles<'_>) -> Result<Literal, Error> {
    value::decode(value, &|| place.to_owned(), weights)
}

fn decode_model(message: pb::Model, place: &str, weights: &mut WeightFiles<'_>, depth: usize) -> Result<Model, Error> {
    let fault = |fault| Err(model_error(place, fault));
    let version = message.specification_version;
    let description = || -> Result<Description, Error> {
        let missing = || model_error(place, ModelFault::Missing("the description"));
        description::decode(message.description.ok_or_else(missing)?)
    };
    match message.r#type {
        None => fault(ModelFault::NoKind),
        Some(Type::MlProgram(_)) if !(6..=10).contains(&version) => fault(ModelFault::SpecificationVersion(version)),
        Some(Type::MlProgram(_)) if message.is_updatable => fault(ModelFault::Updatable),
        Some(Type::MlProgram(program)) => {
            let description = description()?;
            let program = decode_program(&program, place, weights)?;
            description::check_names(&description, &program)?;
            Ok(Model { specification_version: version, description, body: Body::Program(program) })
        }
        Some(
            Type::Pipeline(pipeline)
            | Type::PipelineClassifier(pb::PipelineClassifier { pipeline: Some(pipeline) })
            | Type::PipelineRegressor(pb::PipelineRegressor { pipeline: Some(pipeline) }),
        ) => {
            if depth == MAX_NESTING {
                return fault(ModelFault::Nesting(MAX_NESTING));
            }
            let body = Body::Pipeline(decode_pipeline(pipeline, place, weights, depth)?);
            Ok(Model { specification_version: version, description: description()?, body })
        }
        Some(Type::PipelineClassifier(_) | Type::PipelineRegressor(_)) => fault(ModelFault::Missing("the pipeline")),
        Some(other) => fault(ModelFault::Kind(kind_name(&other))),
    }
}

fn decode_pipeline(
    pipeline: pb::Pipeline,
    place: &str,
    weights: &mut WeightFiles<'_>,
    depth: usize,
) -> Result<Vec<SubModel>, Error> {
    let names = model_names(pipeline.names, pipeline.models.len()).map_err(|fault| model_error(place, fault))?;
    let decode = |(i, (name, message)): (usize, (String, pb::Model))| {
        let model = decode_model(message, &format!("{place}, sub-model {i}"), weights, depth + 1)?;
        Ok(SubModel { name, model })
    };
    names.into_iter().zip(pipeline.models).enumerate().map(decode).collect()
}

/// The names of a pipeline's models: those that it gives, or `model0`, `model1` and so on.
pub(crate) fn model_names(given: Vec<String>, n_models: usize) -> Result<Vec<String>, ModelFault> {
    let names = match given.len() {
        0 => (0..n_models).map(|i| format!("model{i}")).collect(),
        n_names if n_names == n_models => given,
        n_names => return Err(ModelFault::PipelineNames { n_names, n_models }),
    };
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => Err(ModelFault::Duplicate(twice.clone())),
        None => Ok(names),
    }
}

fn decode_program(message: &mil_spec::Program, place: &str, weights: &mut WeightFiles<'_>) -> Result<Program, Error> {
    if message.version != 1 {
        return Err(model_error(place, ModelFault::ProgramVersion(message.version)));
    }
    let mut program = Program {
        attributes: value::decode_all(&message.attributes, &|| format!("{place}, program attributes"), weights)?,
        functions: BTreeMap::new(),
    };
    for (name, function) in &message.functions {
        let function = function::decode(name, function, place, weights)?;
        program.functions.insert(name.clone(), function);
    }
    Ok(program)
}

/// What the specification calls a kind of model.
fn kind_name(kind: &Type) -> &'static str {
    match kind {
        Type::PipelineClassifier(_) => "pipelineClassifier",
        Type::PipelineRegressor(_) => "pipelineRegressor",
        Type::Pipeline(_) => "pipeline",
        Type::MlProgram(_) => "mlProgram",
        Type::GlmRegressor(_) => "glmRegressor",
        Type::SupportVectorRegressor(_) => "supportVectorRegressor",
        Type::TreeEnsembleRegressor(_) => "treeEnsembleRegressor",
        Type::NeuralNetworkRegressor(_) => "neuralNetworkRegressor",
        Type::BayesianProbitRegressor(_) => "bayesianProbitRegressor",
        Type::GlmClassifier(_) => "glmClassifier",
        Type::SupportVectorClassifier(_) => "supportVectorClassifier",
        Type::TreeEnsembleClassifier(_) => "treeEnsembleClassifier",
        Type::NeuralNetworkClassifier(_) => "neuralNetworkClassifier",
        Type::KNearestNeighborsClassifier(_) => "kNearestNeighborsClassifier",
        Type::NeuralNetwork(_) => "neuralNetwork",
        Type::ItemSimilarityRecommender(_) => "itemSimilarityRecommender",
        Type::CustomModel(_) => "customModel",
        Type::LinkedModel(_) => "linkedModel",
        Type::ClassConfidenceThresholding(_) => "classConfidenceThresholding",
        Type::OneHotEncoder(_) => "oneHotEncoder",
        Type::Imputer(_) => "imputer",
        Type::FeatureVectorizer(_) => "featureVectorizer",
        Type::DictVectorizer(_) => "dictVectorizer",
        Type::Scaler(_) => "scaler",
        Type::CategoricalMapping(_) => "categoricalMapping",
        Type::Normalizer(_) => "normalizer",
        Type::ArrayFeatureExtractor(_) => "arrayFeatureExtractor",
        Type::NonMaximumSuppression(_) => "nonMaximumSuppression",
        Type::Identity(_) => "identity",
        Type::TextClassifier(_) => "textClassifier",
        Type::WordTagger(_) => "wordTagger",
        Type::VisionFeaturePrint(_) => "visionFeaturePrint",
        Type::SoundAnalysisPreprocessing(_) => "soundAnalysisPreprocessing",
        Type::Gazetteer(_) => "gazetteer",
        Type::WordEmbedding(_) => "wordEmbedding",
        Type::AudioFeaturePrint(_) => "audioFeaturePrint",
        Type::SerializedModel(_) => "serializedModel",
    }
}
