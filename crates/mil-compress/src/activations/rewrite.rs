//! Puts `quantize` and `dequantize` before operations.

use super::operations::{Reader, for_each_operand};
use super::range::scale_of;
use crate::CompressError;
use host_tensor::HostTensor;
use mil::{Emitter, Function, Literal, OpError, Opset, Program, ValueId, validate};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The opset that has both operations.
const SINCE: Opset = Opset::CoreML7;

/// The magnitude that the largest integer stands for, by the names of a function and of a value of its.
pub type Limits = BTreeMap<(String, String), f32>;

/// Lets operations, given by the names of their function and their own, read integers of 8 bits, symmetric and with one scale
/// for each tensor. Values that several of them read are quantized once; what is a decoded integer already stays.
///
/// The program is raised to `CoreML7` where it is for an older system. Returns it with the number of values that are
/// quantized.
///
/// # Errors
/// [`CompressError::Activation`] for an operation that is not there or reads a value without a limit, and
/// [`CompressError::Raise`] where the program is not valid on the system that it is raised to.
pub fn quantize_activations(
    program: &Program,
    ops: &BTreeSet<(String, String)>,
    limits: &Limits,
) -> Result<(Program, usize), CompressError> {
    let mut program = program.clone();
    let (mut n_values, mut missing) = (0, ops.clone());
    for (name, function) in &mut program.functions {
        let here: BTreeSet<&str> = ops.iter().filter(|(f, _)| f == name).map(|(_, op)| op.as_str()).collect();
        if here.is_empty() {
            continue;
        }
        missing.retain(|(f, op)| f != name || !function.body.ops.iter().any(|known| *known.name == **op));
        n_values += rewrite(function, &here, limits)?;
    }
    if let Some((function, op)) = missing.pop_first() {
        return Err(CompressError::Activation { op, reason: format!("function {function} has no such operation") });
    }
    if n_values > 0 {
        // Functions of one program have one version of the operations in common.
        program.functions.values_mut().for_each(|function| function.opset = function.opset.max(SINCE));
        if let Err(faults) = validate(&program) {
            return Err(CompressError::Raise { opset: SINCE, faults: faults.to_string() });
        }
    }
    Ok((program, n_values))
}

fn rewrite(function: &mut Function, chosen: &BTreeSet<&str>, limits: &Limits) -> Result<usize, CompressError> {
    let refuse = |op: &mil::Op, reason: String| Err(CompressError::Activation { op: op.name.to_string(), reason });
    let reader = Reader::new(function);
    let mut plans = HashMap::new();
    for op in function.body.ops.iter().filter(|op| chosen.contains(&*op.name)) {
        let activations = reader.activations(op);
        for &value in &activations {
            let key = (function.name.clone(), function.name_of(value).to_owned());
            match limits.get(&key) {
                Some(limit) if limit.is_finite() && *limit >= 0.0 => drop(plans.insert(value, *limit)),
                Some(limit) => return refuse(op, format!("the limit of {} is {limit}", key.1)),
                None => return refuse(op, format!("no limit of {} is known", key.1)),
            }
        }
    }
    function.opset = function.opset.max(SINCE);
    let ops = std::mem::take(&mut function.body.ops);
    let mut e = Emitter::new(function);
    let mut made: HashMap<ValueId, ValueId> = HashMap::new();
    for mut op in ops {
        if chosen.contains(&*op.name) {
            let mut read = Vec::new();
            for_each_operand(&mut op, &mut |value| read.push(*value));
            for value in read {
                if let (Some(limit), false) = (plans.get(&value), made.contains_key(&value)) {
                    e.set_origin(op.origin.clone());
                    let decoded = pair(&mut e, value, *limit);
                    let fail = |source| CompressError::Rewrite { weight: op.name.to_string(), source };
                    made.insert(value, decoded.map_err(fail)?);
                }
            }
            for_each_operand(&mut op, &mut |value| *value = made.get(value).copied().unwrap_or(*value));
        }
        e.keep(op);
    }
    let (function, ops) = e.into_parts();
    function.body.ops = ops;
    Ok(made.len())
}

/// A value as integers, and what these stand for.
fn pair(e: &mut Emitter<'_>, value: ValueId, limit: f32) -> Result<ValueId, OpError> {
    let function = e.function();
    let (name, dtype) = (function.name_of(value).to_owned(), function.ty(value).as_tensor().map(|ty| ty.dtype));
    let dtype = dtype.ok_or_else(|| OpError::new(format!("{name} is no tensor")))?;
    let scale = HostTensor::from_f32([], vec![scale_of(limit, dtype)]).cast(dtype);
    let scale = e.constant(&format!("{name}_scale"), Literal::from(scale));
    let integers = [("input", value.into()), ("scale", scale.into()), ("output_dtype", "int8".into())];
    let integers = e.op("quantize", &format!("{name}_quantized"), integers)?;
    e.op("dequantize", &format!("{name}_dequantized"), [("input", integers.into()), ("scale", scale.into())])
}
