//! A description must say what the program says.

use std::collections::BTreeSet;

use mil::{Function, Program, TensorType, Type};

use super::{Description, Feature, FeatureType, Interface, MultiArray};
use crate::error::{Error, ModelFault, model_error};

/// Checks that the description has exactly the program's functions, with exactly their inputs, outputs and states.
///
/// # Errors
/// [`ModelFault::Description`] or [`ModelFault::NoFunction`].
pub(crate) fn check_names(description: &Description, program: &Program) -> Result<(), Error> {
    for interface in &description.functions {
        let function = program.functions.get(&interface.name);
        let missing = || model_error("description", ModelFault::NoFunction(interface.name.clone()));
        check_lists(interface, function.ok_or_else(missing)?)?;
    }
    for name in program.functions.keys() {
        if description.functions.iter().filter(|f| f.name == *name).count() != 1 {
            return Err(fault(name, "functions", name, "it is not described exactly once"));
        }
    }
    if description.main().is_none() {
        return Err(model_error("description", ModelFault::NoFunction(description.default_function.clone())));
    }
    Ok(())
}

fn check_lists(interface: &Interface, function: &Function) -> Result<(), Error> {
    let is_state = |ty: &Type| matches!(ty, Type::State(_));
    let inputs = |state: bool| {
        function.inputs.iter().filter(move |&&id| is_state(function.ty(id)) == state).map(|&id| function.name_of(id))
    };
    let outputs = function.body.outputs.iter().map(|&id| function.name_of(id));
    check_list(function, "input", &interface.inputs, inputs(false).collect())?;
    check_list(function, "state", &interface.states, inputs(true).collect())?;
    check_list(function, "output", &interface.outputs, outputs.collect())
}

fn check_list(
    function: &Function,
    what: &'static str,
    features: &[Feature],
    mut names: BTreeSet<&str>,
) -> Result<(), Error> {
    for feature in features {
        if !names.remove(feature.name.as_str()) {
            return Err(fault(&function.name, what, &feature.name, "it is described, but not in the program"));
        }
    }
    match names.first() {
        Some(name) => Err(fault(&function.name, what, name, "it is in the program, but not described")),
        None => Ok(()),
    }
}

/// Checks that element types and shapes of tensors are the program's. Names are known to be right.
///
/// # Errors
/// [`ModelFault::Description`].
pub(crate) fn check_features(description: &Description, program: &Program) -> Result<(), Error> {
    for interface in &description.functions {
        let Some(function) = program.functions.get(&interface.name) else { continue };
        let lists = [("input", &interface.inputs), ("output", &interface.outputs), ("state", &interface.states)];
        for (what, features) in lists {
            for feature in features {
                let Some(id) = function.by_name(&feature.name) else { continue };
                check_feature(feature, function.ty(id), what == "output")
                    .map_err(|p| fault(&function.name, what, &feature.name, p))?;
            }
        }
    }
    Ok(())
}

fn check_feature(feature: &Feature, ty: &Type, is_output: bool) -> Result<(), String> {
    match (&feature.ty, ty) {
        (FeatureType::MultiArray(array), Type::Tensor(t)) | (FeatureType::State(array), Type::State(t)) => {
            check_array(array, t, is_output)
        }
        // A picture is a tensor of rank 4; a classifier's label and probabilities are other types by nature.
        (FeatureType::Image(_), Type::Tensor(t)) if t.rank() == 4 => Ok(()),
        (FeatureType::String | FeatureType::Int64 | FeatureType::Double, Type::Tensor(_) | Type::Strings(_)) => Ok(()),
        (FeatureType::Dictionary(_), Type::Dict(..)) | (FeatureType::Sequence(..), Type::List(..)) => Ok(()),
        (described, ty) => Err(format!("it is described as {described:?}, but the program says {ty}")),
    }
}

fn check_array(array: &MultiArray, ty: &TensorType, is_output: bool) -> Result<(), String> {
    if array.dtype != ty.dtype {
        return Err(format!("it is described as {}, but the program says {}", array.dtype, ty.dtype));
    }
    // coremltools leaves the shapes of outputs out in what it wrote before it was told otherwise.
    if is_output && array.shape.is_empty() {
        return Ok(());
    }
    let is_scalar = ty.rank() == 0 && (array.shape.is_empty() || array.shape == [1]);
    match ty.static_shape() {
        Some(shape) if shape != array.shape && !is_scalar => {
            Err(format!("its shape is described as {:?}, but the program says {shape:?}", array.shape))
        }
        _ => Ok(()),
    }
}

fn fault(function: &str, what: &'static str, name: &str, problem: impl Into<String>) -> Error {
    let fault = ModelFault::Description { what, name: name.to_owned(), problem: problem.into() };
    model_error(format!("function {function}"), fault)
}
