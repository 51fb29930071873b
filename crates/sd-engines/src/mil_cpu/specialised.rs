//! Models that are changed while they are loaded: for one sample at a time, for longer texts, or with a mask as input.

use mil::pass::{self, Resize};
use mil::{Function, Program};
use mlpackage::{Body, Model};

use super::{Executor, Stage};
use crate::error::EngineError;

/// What a model becomes while it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Specialise {
    /// One sample in the place of so many.
    OneSample {
        /// How many it takes.
        of: usize,
    },
    /// An axis of an input so many times as long, where a stage has the input.
    Longer {
        /// Name of the input.
        input: &'static str,
        /// The axis, from 0, outermost first.
        axis: usize,
        /// How many times.
        times: usize,
    },
    /// The causal mask of its attention as an input, of this name.
    Masked {
        /// The name.
        input: &'static str,
    },
}

/// The stages of a model, changed, in the order in which they run.
pub(super) fn gather(
    name: &str,
    model: &Model,
    (function, changes): (Option<&str>, &[Specialise]),
    options: &Executor,
    stages: &mut Vec<Stage>,
) -> Result<(), EngineError> {
    match &model.body {
        Body::Program(program) => {
            let default = model.description.default_function.as_str();
            let chosen = function.or(Some(default).filter(|name| !name.is_empty()));
            let program = specialised(program, chosen, changes)?;
            stages.push(Stage::new(name, &program, None, None, options.clone())?);
        }
        Body::Pipeline(models) => {
            for sub in models {
                let fail = |source| EngineError::Stage { stage: sub.name.clone(), source: Box::new(source) };
                gather(&sub.name, &sub.model, (function, changes), options, stages).map_err(fail)?;
            }
        }
    }
    Ok(())
}

/// The program of one function, changed.
pub(super) fn specialised(
    program: &Program,
    function: Option<&str>,
    changes: &[Specialise],
) -> Result<Program, EngineError> {
    let found = function.map_or_else(|| program.main(), |name| program.functions.get(name));
    let missing = || EngineError::NoFunction(function.unwrap_or("main").to_owned());
    let mut function = found.ok_or_else(missing)?.clone();
    changes.iter().try_for_each(|change| change.apply(&mut function))?;
    Ok(Program { attributes: program.attributes.clone(), ..Program::single(function) })
}

impl Specialise {
    fn apply(&self, function: &mut Function) -> Result<(), EngineError> {
        match *self {
            Self::OneSample { of } => {
                pass::one_sample(function, of).map_err(EngineError::OneSample)?;
            }
            Self::Longer { input, axis, times } => {
                let Some(value) = function.inputs.iter().find(|value| function.name_of(**value) == input) else {
                    return Ok(());
                };
                let shape = function.ty(*value).as_tensor().and_then(|ty| ty.static_shape()).unwrap_or_default();
                let size = shape.get(axis).copied().unwrap_or_default() * times;
                pass::resize_axis(function, Resize { input, axis, size }).map_err(EngineError::Longer)?;
            }
            Self::Masked { input } => {
                pass::open_mask(function, input).map_err(EngineError::Masked)?;
            }
        }
        Ok(())
    }
}
