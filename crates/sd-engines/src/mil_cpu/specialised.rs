//! Models for one sample at a time out of models for several: their programs, specialised.

use mil::{Program, pass};
use mlpackage::{Body, Model};

use super::{Executor, Stage};
use crate::error::EngineError;

/// The stages of a model for one sample, in the order in which they run.
pub(super) fn gather(
    name: &str,
    model: &Model,
    (function, n_samples): (Option<&str>, usize),
    options: &Executor,
    stages: &mut Vec<Stage>,
) -> Result<(), EngineError> {
    match &model.body {
        Body::Program(program) => {
            let default = model.description.default_function.as_str();
            let chosen = function.or(Some(default).filter(|name| !name.is_empty()));
            let program = specialised(program, chosen, n_samples)?;
            stages.push(Stage::new(name, &program, None, None, options.clone())?);
        }
        Body::Pipeline(models) => {
            for sub in models {
                let fail = |source| EngineError::Stage { stage: sub.name.clone(), source: Box::new(source) };
                gather(&sub.name, &sub.model, (function, n_samples), options, stages).map_err(fail)?;
            }
        }
    }
    Ok(())
}

/// The program of one function, for one sample.
fn specialised(program: &Program, function: Option<&str>, n_samples: usize) -> Result<Program, EngineError> {
    let found = function.map_or_else(|| program.main(), |name| program.functions.get(name));
    let missing = || EngineError::NoFunction(function.unwrap_or("main").to_owned());
    let mut function = found.ok_or_else(missing)?.clone();
    pass::one_sample(&mut function, n_samples).map_err(EngineError::OneSample)?;
    Ok(Program { attributes: program.attributes.clone(), ..Program::single(function) })
}
