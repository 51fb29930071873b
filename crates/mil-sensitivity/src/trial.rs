//! A part with one weight stored otherwise: just what a compressed package would hold.

use crate::{SensitivityError, parts::Part};
use host_tensor::Stop;
use mil::Program;
use mil_compress::{CompressError, Config, Memory, Named, Plan, RunError, compress};
use mil_engine::cpu::Options;
use std::ops::ControlFlow;

/// What came of storing a weight so.
pub(crate) enum Trial {
    /// A part that does, and the bytes that the weight takes in it.
    Made(Box<Part>, u64),
    /// Why the weight is better left as it is.
    Unfit(String),
}

/// The part with the weight that has these names stored by a scheme.
pub(crate) fn with(
    part: &Part,
    names: &[String],
    scheme: Named,
    options: &Options,
    stop: &Stop,
) -> Result<Trial, SensitivityError> {
    let there = names.iter().filter(|name| part.function.by_name(name).is_some());
    let named = there.map(|name| (mil_compress::Name::Pattern(name.clone()), scheme.scheme())).collect();
    let config = Config { names: named, recompress: true, raise_opset: true, ..Config::default() };
    let program = Program::single(part.function.clone());
    let plan = match Plan::new(&program, &config) {
        Ok(plan) => plan,
        Err(CompressError::Weight { reason, .. }) => return Ok(Trial::Unfit(reason)),
        Err(error) => return Err(error.into()),
    };
    let go_on = &mut |_| if stop.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let (program, outcome) = match compress(&program, &plan, &mut Memory::default(), false, go_on) {
        Ok(made) => made,
        Err(RunError::Compress(error)) => return Err(error.into()),
        Err(RunError::Store(never)) => match never {},
    };
    let Some(compressed) = outcome.compressed.first() else {
        let reason = outcome.kept.into_iter().next().map_or_else(|| "nothing reads it".to_owned(), |kept| kept.reason);
        return Ok(Trial::Unfit(reason));
    };
    let function = program.functions.into_values().next().unwrap_or_else(|| part.function.clone());
    Ok(Trial::Made(Box::new(Part::new(function, options)?), compressed.bytes_after))
}
