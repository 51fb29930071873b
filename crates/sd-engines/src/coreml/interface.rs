//! What a model takes and gives: by its own files, in their order, and by Core ML, which must say the same.

use std::collections::BTreeSet;

use host_tensor::HostTensor;
use mil::Function;
use mlpackage::{Body, Feature, FeatureType, Interface as Declared, Model, ShapeFlexibility};
use sd_runtime::{Shape, Signature, Tensors};

use super::CoreMlError;
use super::element::{code_of, dtype_of};
use super::runtime::{Described, DescribedArray, DescribedFeature};

/// Inputs and outputs of the function that runs.
#[derive(Debug, Clone)]
pub(super) struct Interface {
    pub(super) signature: Signature,
    /// Inputs that have other shapes than the default one too.
    flexible: BTreeSet<String>,
}

impl Interface {
    /// The interface of a function, by default of the model's own choice.
    ///
    /// # Errors
    /// [`CoreMlError::NoFunction`], and [`CoreMlError::Feature`] for what is no tensor.
    pub(super) fn of(model: &Model, function: Option<&str>) -> Result<Self, CoreMlError> {
        let description = &model.description;
        let is_pipeline = matches!(model.body, Body::Pipeline(_));
        let declared = match function {
            Some(_) if is_pipeline => None,
            Some(name) => description.function(name),
            None => description.main(),
        };
        let declared = declared.ok_or_else(|| CoreMlError::NoFunction {
            name: function.unwrap_or(&description.default_function).to_owned(),
            known: description.functions.iter().filter(|_| !is_pipeline).map(|f| f.name.clone()).collect(),
        })?;
        if let Some(state) = declared.states.first() {
            return Err(not_a_tensor(state));
        }
        let program = model.program().and_then(|program| program.functions.get(&declared.name));
        let features =
            |features: &[Feature]| features.iter().map(|f| feature(f, program)).collect::<Result<Vec<_>, _>>();
        let signature = Signature { inputs: features(&declared.inputs)?, outputs: features(&declared.outputs)? };
        Ok(Self { signature, flexible: flexible(declared) })
    }

    /// Every input in the type that is declared, in the signature's order.
    ///
    /// # Errors
    /// [`CoreMlError::Input`].
    pub(super) fn fit<'a>(&'a self, inputs: &Tensors) -> Result<Vec<(&'a str, HostTensor)>, CoreMlError> {
        let fault = |name: &str, what: String| CoreMlError::Input { name: name.to_owned(), what };
        if let Some(name) = inputs.keys().find(|name| self.signature.input(name).is_none()) {
            let known: Vec<&str> = self.signature.inputs.iter().map(|f| &*f.name).collect();
            return Err(fault(name, format!("there is no such input; the model takes {known:?}")));
        }
        let fit = |declared: &'a sd_runtime::Feature| {
            let name = &*declared.name;
            let given = inputs.get(name).ok_or_else(|| fault(name, "this input is missing".into()))?;
            match declared.shape.dims().filter(|dims| *dims != given.shape()) {
                Some(dims) if !self.flexible.contains(name) => {
                    Err(fault(name, format!("it has shape {:?}, the model takes {dims:?}", given.shape())))
                }
                _ => Ok((name, given.cast(declared.dtype))),
            }
        };
        self.signature.inputs.iter().map(fit).collect()
    }

    /// Compares with what Core ML says of the model that it loaded.
    ///
    /// # Errors
    /// The first difference, in words.
    pub(super) fn compare(&self, described: &Described) -> Result<(), String> {
        for (what, own, theirs) in [
            ("input", &self.signature.inputs, &described.inputs),
            ("output", &self.signature.outputs, &described.outputs),
        ] {
            if let Some(other) = theirs.iter().find(|other| own.iter().all(|f| f.name != other.name)) {
                return Err(format!("it has an {what} {} there, and none here", other.name));
            }
            for feature in own {
                let other = theirs.iter().find(|other| other.name == feature.name);
                let other = other.ok_or_else(|| format!("it has an {what} {} here, and none there", feature.name))?;
                same(feature, other, what == "input").map_err(|there| {
                    format!(
                        "the {what} {} is {} {} here, and {there} there",
                        feature.name, feature.dtype, feature.shape
                    )
                })?;
            }
        }
        Ok(())
    }
}

/// Whether Core ML means the same by a feature; else what it means. Outputs may have shapes that it does not know.
fn same(own: &sd_runtime::Feature, other: &DescribedFeature, is_input: bool) -> Result<(), String> {
    let Some(DescribedArray { code, shape }) = &other.array else { return Err("no array".into()) };
    let Some(dtype) = dtype_of(*code) else { return Err(format!("of an unknown type ({code:#x})")) };
    let is_shape = |dims: &[usize]| {
        dims.len() == shape.len() && dims.iter().zip(shape).all(|(a, b)| usize::try_from(*b) == Ok(*a))
    };
    let has_shape = match own.shape.dims() {
        Some(dims) => is_shape(dims) || (!is_input && (shape.is_empty() || dims.is_empty())),
        None => true,
    };
    if dtype == own.dtype && has_shape { Ok(()) } else { Err(format!("{dtype} {shape:?}")) }
}

/// A feature with its shape by the description, or else by the program.
fn feature(declared: &Feature, program: Option<&Function>) -> Result<sd_runtime::Feature, CoreMlError> {
    let FeatureType::MultiArray(array) = &declared.ty else { return Err(not_a_tensor(declared)) };
    if code_of(array.dtype).is_none() {
        let what = format!("of type {}", array.dtype);
        return Err(CoreMlError::Feature { name: declared.name.clone(), what });
    }
    let in_program = || {
        let function = program?;
        function.ty(function.by_name(&declared.name)?).as_tensor()?.static_shape()
    };
    let described = Some(array.shape.clone()).filter(|shape| !shape.is_empty());
    let shape = Shape::from(described.or_else(in_program));
    Ok(sd_runtime::Feature::new(&declared.name, array.dtype, shape))
}

fn flexible(declared: &Declared) -> BTreeSet<String> {
    let is_flexible = |f: &&Feature| match &f.ty {
        FeatureType::MultiArray(array) => array.flexibility != ShapeFlexibility::Fixed,
        _ => false,
    };
    declared.inputs.iter().filter(is_flexible).map(|f| f.name.clone()).collect()
}

fn not_a_tensor(feature: &Feature) -> CoreMlError {
    let what = match &feature.ty {
        FeatureType::Int64 | FeatureType::Double => "a number",
        FeatureType::String => "text",
        FeatureType::Image(_) => "a picture",
        FeatureType::Dictionary(_) => "a dictionary",
        FeatureType::Sequence(..) => "a list",
        FeatureType::State(_) => "a state",
        FeatureType::MultiArray(_) => "a tensor",
    };
    CoreMlError::Feature { name: feature.name.clone(), what: what.into() }
}

#[cfg(test)]
mod tests;
