//! A model as it is read: its version, its description, and its program or sub-models.

use mil::Program;

use crate::description::Description;

/// A model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Specification version, 6 (iOS 15) to 10 (iOS 26).
    pub specification_version: i32,
    /// Interface and metadata.
    pub description: Description,
    /// What computes.
    pub body: Body,
}

/// What computes a model's outputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// An ML Program, which has not been validated.
    Program(Program),
    /// Models that run one after another; a feature flows to later models by its name.
    Pipeline(Vec<SubModel>),
}

/// One model of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct SubModel {
    /// Its name, `model0`, `model1` and so on where the pipeline gives none.
    pub name: String,
    /// The model.
    pub model: Model,
}

impl Model {
    /// The program, when the model is one.
    #[must_use]
    pub fn program(&self) -> Option<&Program> {
        match &self.body {
            Body::Program(program) => Some(program),
            Body::Pipeline(_) => None,
        }
    }

    /// All programs in order: the only one, or those of the sub-models.
    #[must_use]
    pub fn programs(&self) -> Vec<&Program> {
        match &self.body {
            Body::Program(program) => vec![program],
            Body::Pipeline(models) => models.iter().flat_map(|m| m.model.programs()).collect(),
        }
    }
}
