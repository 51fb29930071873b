//! What a function declares at its border: element types and names of inputs and outputs.

use super::error::{Failure, PassError, atomically};
use crate::{
    builder::Emitter,
    ir::Function,
    ops::OpError,
    types::{TensorType, Type},
};
use host_tensor::DType;

/// Declares an input with another element type; a `cast` at the start gives the body what it had.
///
/// ```text
/// func(fp32 %x)             func(fp16 %x)
///                    ==>    %x_to_fp32 = cast(x=%x, dtype="fp32")
/// ```
///
/// # Errors
/// When there is no such tensor input, or the cast is refused in this opset.
pub fn declare_input(function: &mut Function, name: &str, dtype: DType) -> Result<(), PassError> {
    atomically("declare_input", function, |function| input(function, name, dtype))
}

fn input(function: &mut Function, name: &str, dtype: DType) -> Result<(), Failure> {
    let input = function.inputs.iter().copied().find(|&v| function.name_of(v) == name);
    let tensor = input.and_then(|v| Some((v, function.ty(v).as_tensor()?.clone())));
    let Some((input, old)) = tensor else {
        return Err(OpError::new(format!("function {} has no tensor input {name}", function.name)).into());
    };
    if old.dtype == dtype {
        return Ok(());
    }
    function.set_ty(input, Type::Tensor(TensorType { dtype, shape: old.shape }));
    let mut emitter = Emitter::new(function);
    let label = format!("{name}_to_{}", old.dtype.name());
    let cast = emitter.op("cast", &label, [("x", input.into()), ("dtype", old.dtype.name().into())])?;
    let mut ops = emitter.into_ops();
    function.body.for_each_use_mut(&mut |v| {
        if *v == input {
            *v = cast;
        }
    });
    ops.append(&mut function.body.ops);
    function.body.ops = ops;
    Ok(())
}

/// Gives output `index` its public name and element type, with a `cast` where the type differs.
///
/// ```text
/// return %var_12           %noise_pred = cast(x=%var_12, dtype="fp32")
///                   ==>    return %noise_pred
/// ```
///
/// # Errors
/// When there is no such tensor output, or the cast is refused in this opset.
pub fn declare_output(function: &mut Function, index: usize, name: &str, dtype: DType) -> Result<(), PassError> {
    atomically("declare_output", function, |function| output(function, index, name, dtype))
}

fn output(function: &mut Function, index: usize, name: &str, dtype: DType) -> Result<(), Failure> {
    let found = function.body.outputs.get(index).and_then(|&v| Some((v, function.ty(v).as_tensor()?.dtype)));
    let Some((mut output, old)) = found else {
        return Err(OpError::new(format!("function {} has no tensor output #{index}", function.name)).into());
    };
    let computed = function.body.ops.iter().any(|op| op.outputs.contains(&output));
    let shared = function.body.outputs.iter().filter(|&&v| v == output).count() > 1;
    if old != dtype || !computed || shared {
        let mut emitter = Emitter::new(function);
        output = if old == dtype {
            emitter.op("identity", name, [("x", output.into())])?
        } else {
            emitter.op("cast", name, [("x", output.into()), ("dtype", dtype.name().into())])?
        };
        let ops = emitter.into_ops();
        function.body.ops.extend(ops);
        function.body.outputs[index] = output;
    }
    function.rename(output, name);
    Ok(())
}

/// Lets an operation read each input that none reads, because a model has its inputs whether they count or not.
///
/// Run it last: to every other pass that operation is dead code.
/// Source: coremltools 9.0, `handle_unused_inputs`.
///
/// ```text
/// func(%x, %y)             func(%x, %y)
///                   ==>    %y_tmp = identity(x=%y)
/// %z = relu(x=%x)          %z = relu(x=%x)
/// ```
///
/// # Errors
/// When an `identity` is refused, which does not happen.
pub fn keep_inputs(function: &mut Function) -> Result<usize, PassError> {
    atomically("keep_inputs", function, |function| {
        let mut unused = function.inputs.clone();
        function.body.for_each_use(&mut |v| unused.retain(|&input| input != v));
        let mut emitter = Emitter::new(function);
        for &input in &unused {
            let label = format!("{}_tmp", emitter.function().name_of(input));
            emitter.op("identity", &label, [("x", input.into())])?;
        }
        let mut ops = emitter.into_ops();
        ops.append(&mut function.body.ops);
        function.body.ops = ops;
        Ok(unused.len())
    })
}
