//! Weights and activations of 8 bits: which ranges values have, what each layer loses by it, and which layers stay at 16 bits.
//!
//! A program is run on samples of what it is really given. [`observe`] sees what the operations that can be quantized read,
//! [`Measuring`] what the outputs lose when one layer of them is quantized, or many, and [`choose`] decides by that.
//! The rewrite itself is `mil-compress`'s; where samples come from, and packages, is not known here.

mod choose;
mod layers;
mod measure;
mod observe;

pub use choose::{Choice, Goal, Loss, choose};
pub use layers::{Fixed, Layer, layers};
pub use measure::{Measuring, weights_config};
pub use observe::observe;

use crate::ConvertError;
use host_tensor::{HostTensor, Stop};
use mil::{Program, Valid, validate};
use mil_compress::CompressError;
use mil_engine::{
    EngineError,
    cpu::{Cpu, Options},
};
use std::{collections::BTreeMap, ops::ControlFlow};

/// What a model is given in one run.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its inputs, by name.
    pub inputs: BTreeMap<String, HostTensor>,
    /// How many rows of the outputs' first axis count; others are there because the model takes so many.
    pub n_rows: usize,
}

/// How far something has come, for whoever looks on: done, and of how many. It may break off.
pub type OnProgress<'p> = &'p mut dyn FnMut(usize, usize) -> ControlFlow<()>;

/// Runs a program's only function on samples, one after the other.
fn run_each(
    program: &Program,
    samples: &[Sample],
    stop: &Stop,
    each: &mut dyn FnMut(usize, BTreeMap<String, HostTensor>) -> Result<(), ConvertError>,
) -> Result<(), ConvertError> {
    let valid: Valid<'_> = validate(program).map_err(ConvertError::InvalidProgram)?;
    let engine = Cpu::compile(valid, Options::default()).map_err(failed)?;
    for (idx, sample) in samples.iter().enumerate() {
        each(idx, engine.run(&sample.inputs, stop).map_err(failed)?)?;
    }
    Ok(())
}

fn failed(error: EngineError) -> ConvertError {
    match error {
        EngineError::Stopped => CompressError::Stopped.into(),
        other => ConvertError::Execute(other),
    }
}

/// Tells of progress, and stops where that is wanted.
fn tell(on: OnProgress<'_>, done: usize, total: usize) -> Result<(), ConvertError> {
    match on(done, total) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(CompressError::Stopped.into()),
    }
}
