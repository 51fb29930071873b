//! Result types of operations, those that follow from nested blocks included.

use crate::{
    ir::{Block, Function, Op, ValueId},
    ops::{OpError, OpSpec, View},
    types::Type,
};
use host_tensor::DType;

/// The result types of `op` by its specification.
pub(super) fn result_types(
    f: &Function,
    op: &Op,
    spec: &'static OpSpec,
    operands: &View<'_>,
) -> Result<Vec<Type>, OpError> {
    let fault = |message: String| OpError::new(format!("{}: {message}", spec.kind));
    if op.blocks.len() != spec.n_blocks {
        return Err(fault(format!("has {} blocks, but must have {}", op.blocks.len(), spec.n_blocks)));
    }
    let [first, second] = &op.blocks[..] else { return spec.result_types(operands) };
    match spec.kind {
        "cond" => {
            spec.check(operands)?;
            branches(f, first, second).map_err(fault)
        }
        "while_loop" => {
            let vars = spec.result_types(operands)?;
            check_loop(f, &vars, first, second).map_err(fault)?;
            Ok(vars)
        }
        _ => spec.result_types(operands),
    }
}

fn types(f: &Function, values: &[ValueId]) -> Vec<Type> {
    values.iter().map(|&v| f.ty(v).clone()).collect()
}

fn agree(a: &[Type], b: &[Type]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.agrees(b))
}

fn show(types: &[Type]) -> String {
    let types: Vec<_> = types.iter().map(ToString::to_string).collect();
    format!("({})", types.join(", "))
}

fn branches(f: &Function, yes: &Block, no: &Block) -> Result<Vec<Type>, String> {
    if !yes.inputs.is_empty() || !no.inputs.is_empty() {
        return Err("its blocks take no arguments".into());
    }
    let (a, b) = (types(f, &yes.outputs), types(f, &no.outputs));
    if agree(&a, &b) { Ok(a) } else { Err(format!("one block yields {}, the other {}", show(&a), show(&b))) }
}

fn check_loop(f: &Function, vars: &[Type], condition: &Block, body: &Block) -> Result<(), String> {
    for (name, block) in [("condition", condition), ("body", body)] {
        let takes = types(f, &block.inputs);
        if !agree(&takes, vars) {
            return Err(format!("its {name} takes {}, but the loop's variables are {}", show(&takes), show(vars)));
        }
    }
    let test = types(f, &condition.outputs);
    if !agree(&test, &[Type::tensor(DType::Bool, &[])]) {
        return Err(format!("its condition yields {}, not one boolean", show(&test)));
    }
    let next = types(f, &body.outputs);
    if !agree(&next, vars) {
        return Err(format!("its body yields {}, but the loop's variables are {}", show(&next), show(vars)));
    }
    Ok(())
}
