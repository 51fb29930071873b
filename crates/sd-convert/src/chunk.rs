//! Models in chunks: parts that run one after another, each a model of its own.

use crate::ConvertError;
use mil::{Program, validate};
use mlpackage::{Body, Description, Model};

/// One chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Its program; valid.
    pub program: Program,
    /// Features with their words, and the whole model's metadata.
    pub description: Description,
}

/// Cuts a model into chunks that store about as many bytes each.
///
/// Features keep their names and descriptions; what passes between chunks has the name of the value that it is.
/// Running the chunks in sequence computes exactly what the whole does.
///
/// # Errors
/// When the model is a pipeline, cannot be cut into so many, or a chunk would not be valid.
pub fn chunk(model: &Model, n: usize) -> Result<Vec<Chunk>, ConvertError> {
    let Body::Program(program) = &model.body else {
        return Err(ConvertError::Option("the model is a pipeline: its parts are separate models already".into()));
    };
    validate(program).map_err(ConvertError::InvalidProgram)?;
    let programs = mil::split(program, n).map_err(ConvertError::Split)?;
    programs.into_iter().enumerate().map(|(i, program)| one(model, program, i, n)).collect()
}

fn one(model: &Model, program: Program, i: usize, n: usize) -> Result<Chunk, ConvertError> {
    validate(&program).map_err(ConvertError::InvalidProgram)?;
    let mut description = Description::of(&program);
    description.metadata.clone_from(&model.description.metadata);
    description.default_function.clone_from(&model.description.default_function);
    for interface in &mut description.functions {
        let whole = model.description.functions.iter().find(|f| f.name == interface.name);
        let known = |name: &str| whole.and_then(|w| w.inputs.iter().chain(&w.outputs).find(|f| f.name == name));
        for feature in interface.inputs.iter_mut().chain(&mut interface.outputs) {
            match known(&feature.name) {
                Some(known) => feature.clone_from(known),
                None => feature.description = "Passed between chunks".to_owned(),
            }
        }
    }
    if n > 1 {
        let text = &mut description.metadata.short_description;
        *text = format!("{text}{}chunk {} of {n}", if text.is_empty() { "" } else { ", " }, i + 1);
    }
    Ok(Chunk { program, description })
}
