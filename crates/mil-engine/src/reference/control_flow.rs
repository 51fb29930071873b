//! `cond` and `while_loop`: operations that hold blocks.

use super::{
    plan::{Plan, Step},
    run::Run,
    value::Tensor,
};
use crate::{EngineError, OpFault};
use mil::ValueId;

/// `cond(pred)`: runs one of two blocks; its outputs are the results.
pub(super) fn cond<'a>(run: &mut Run<'a>, step: &'a Step) -> Result<(), EngineError> {
    let missing = || OpFault::Missing { param: "pred".into() };
    let pred = step.op.input("pred").ok_or_else(|| run.fault(step, missing()))?;
    let taken = truth(run, step, pred)?;
    let block = block(run, step, usize::from(!taken))?;
    run.block(block)?;
    let results = read_all(run, &block.outputs)?;
    finish(run, step, results)
}

/// `while_loop(loop_vars)`: while the first block yields true, the second replaces the loop variables.
pub(super) fn while_loop<'a>(run: &mut Run<'a>, step: &'a Step) -> Result<(), EngineError> {
    let (condition, body) = (block(run, step, 0)?, block(run, step, 1)?);
    let mut variables = read_all(run, step.op.input_values("loop_vars"))?;
    let limit = run.engine.options.max_rounds;
    for _ in 0..limit {
        bind(run, step, condition, &variables)?;
        run.block(condition)?;
        let Some(&verdict) = condition.outputs.first() else {
            return Err(run.fault(step, OpFault::Missing { param: "the condition's output".into() }));
        };
        if !truth(run, step, verdict)? {
            return finish(run, step, variables);
        }
        bind(run, step, body, &variables)?;
        run.block(body)?;
        variables = read_all(run, &body.outputs)?;
    }
    Err(run.fault(step, OpFault::Endless { limit }))
}

fn block<'a>(run: &Run<'a>, step: &'a Step, position: usize) -> Result<&'a Plan, EngineError> {
    let missing = || OpFault::Missing { param: format!("block {position}") };
    step.blocks.get(position).ok_or_else(|| run.fault(step, missing()))
}

fn truth(run: &Run<'_>, step: &Step, id: ValueId) -> Result<bool, EngineError> {
    let tensor = run.get(id)?;
    let value = tensor.bools().ok().and_then(|v| v.first().copied());
    let kind = || OpFault::Kind { param: "condition".into(), expected: "a bool", actual: tensor.kind().into() };
    value.ok_or_else(|| run.fault(step, kind()))
}

fn read_all(run: &Run<'_>, ids: &[ValueId]) -> Result<Vec<Tensor>, EngineError> {
    ids.iter().map(|&id| run.get(id)).collect()
}

fn bind(run: &mut Run<'_>, step: &Step, block: &Plan, variables: &[Tensor]) -> Result<(), EngineError> {
    if block.inputs.len() != variables.len() {
        let rule = "a block takes as many values as there are loop variables";
        return Err(run.fault(step, OpFault::value("loop_vars", variables.len(), rule)));
    }
    for (&id, variable) in block.inputs.iter().zip(variables) {
        run.set(id, variable.clone());
    }
    Ok(())
}

fn finish(run: &mut Run<'_>, step: &Step, results: Vec<Tensor>) -> Result<(), EngineError> {
    if results.len() != step.op.outputs.len() {
        let rule = "a block yields as many values as the operation has results";
        return Err(run.fault(step, OpFault::value("outputs", results.len(), rule)));
    }
    for (&id, tensor) in step.op.outputs.iter().zip(results) {
        run.set(id, tensor);
    }
    Ok(())
}
