//! What may exist at run time, and what of it may cross a function's boundary.
//!
//! Source: coremltools 9.0, `converters/mil/backend/mil/load.py`, and its rule for several functions.

use crate::{
    ir::{Function, Program, ValueId},
    opset::Opset,
    types::{TensorType, Type},
};
use host_tensor::{DType, element_count};
use std::collections::HashSet;

/// The most dimensions that a tensor may have at run time; Core ML refuses more.
/// Constants are exempt: the lookup table of a convolution's palettized weight has six.
pub(super) const MAX_RANK: usize = 5;

/// Several functions need specification version 9, so CoreML8.
pub(super) fn check_function_count(program: &Program, fault: &mut impl FnMut(String)) {
    if program.functions.len() > 1 {
        for f in program.functions.values().filter(|f| f.opset < Opset::CoreML8) {
            let n = program.functions.len();
            fault(format!("function {} is of {}, but a program of {n} functions needs CoreML8", f.name, f.opset));
        }
    }
}

/// Types, and that no input stands twice.
pub(super) fn check_inputs(f: &Function, fault: &mut impl FnMut(String)) {
    let mut seen = HashSet::new();
    for &input in &f.inputs {
        let Some(value) = f.values().get(input.index()) else { continue };
        if !seen.insert(input) {
            fault(format!("input {} stands twice in the signature", value.name));
        }
        if value.literal.is_some() {
            fault(format!("input {} is a constant", value.name));
        }
        if let Err(why) = check_type(&value.ty, f.opset, true) {
            fault(format!("input {}: {why}", value.name));
        }
    }
}

/// Types, and that there is an output and none stands twice; who produces them is known to the walk.
///
/// What an operation that is not implemented yields, such as a classifier's label, has the type that it has.
pub(super) fn check_outputs(f: &Function, unimplemented: &[bool], fault: &mut impl FnMut(String)) {
    if f.body.outputs.is_empty() {
        fault("the function has no output".into());
    }
    let mut seen: HashSet<ValueId> = HashSet::new();
    for &output in &f.body.outputs {
        let Some(value) = f.values().get(output.index()) else { continue };
        if !seen.insert(output) {
            fault(format!("output {} stands twice in the signature", value.name));
        }
        let is_known = !unimplemented.get(output.index()).copied().unwrap_or(false);
        if let (true, Err(why)) = (is_known, check_type(&value.ty, f.opset, false)) {
            fault(format!("output {}: {why}", value.name));
        }
    }
}

/// Rank, size, and an element type that the opset's run time has.
pub(super) fn check_run_time(t: &TensorType, opset: Opset) -> Result<(), String> {
    let since = match t.dtype {
        DType::F16 | DType::F32 | DType::I32 | DType::Bool => Opset::CoreML5,
        DType::I8 | DType::U8 | DType::I16 | DType::U16 => Opset::CoreML7,
        other => return Err(format!("{} exists in constants only, not at run time", other.name())),
    };
    if opset < since {
        return Err(format!("{} exists at run time from {since} on, not in {opset}", t.dtype.name()));
    }
    if t.rank() > MAX_RANK {
        return Err(format!("rank {} is more than Core ML's {MAX_RANK}", t.rank()));
    }
    let fits = |shape: Vec<usize>| element_count(&shape).and_then(|n| t.dtype.byte_len(n)).is_some();
    if t.static_shape().is_some_and(|shape| !fits(shape)) {
        return Err(format!("{t} does not fit into memory"));
    }
    Ok(())
}

fn check_type(ty: &Type, opset: Opset, is_input: bool) -> Result<(), String> {
    match ty {
        Type::Tensor(t) => check_tensor(t, opset),
        Type::State(t) if is_input && opset >= Opset::CoreML8 => {
            if t.dtype == DType::F16 {
                Ok(())
            } else {
                Err(format!("a state must be of fp16, not {t}"))
            }
        }
        other => Err(format!("{other} may not cross the boundary of a function of {opset}")),
    }
}

fn check_tensor(t: &TensorType, opset: Opset) -> Result<(), String> {
    let since = match t.dtype {
        DType::F32 | DType::I32 => Opset::CoreML5,
        DType::F16 => Opset::CoreML6,
        DType::I8 => Opset::CoreML9,
        other => return Err(format!("{} may not cross a function's boundary; cast it to fp32 or int32", other.name())),
    };
    if opset < since {
        return Err(format!("{} crosses a function's boundary only from {since} on, not in {opset}", t.dtype.name()));
    }
    check_run_time(t, opset.max(Opset::CoreML7))
}
