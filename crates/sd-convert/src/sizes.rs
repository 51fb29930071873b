//! One model for several sizes of picture.
//!
//! A network has the same weights for every size, and only shapes differ. From `CoreML8` on a package may hold a
//! function per size, and the weights once; for older systems there is a package per size.

use crate::{Checkpoint, Component, ConvertError, Converted, LatentSize, Options, Target, convert::convert_with};
use mil::{Opset, Program};
use std::collections::BTreeMap;

/// True when the shapes of a component's model follow from the size of the latents.
#[must_use]
pub const fn has_sizes(component: Component) -> bool {
    match component {
        Component::TextEncoder => false,
        Component::UNet | Component::VaeDecoder | Component::VaeEncoder | Component::SafetyChecker => true,
    }
}

/// True when a package for this system may hold several functions.
#[must_use]
pub fn has_functions(target: Target) -> bool {
    target.opset() >= Opset::CoreML8
}

/// Name of the function for a size, in a package of several.
#[must_use]
pub fn size_function(size: LatentSize) -> String {
    format!("size_{size}")
}

/// Converts one component for several sizes into one model with a function for each; the first is the default.
///
/// Functions share the bytes of their weights, which are views of the checkpoint.
///
/// # Errors
/// As [`convert()`](crate::convert()); when the target has no functions, or there is no size or one twice.
pub fn convert_sizes(
    ckpt: &Checkpoint,
    component: Component,
    options: &Options,
    sizes: &[LatentSize],
) -> Result<Converted, ConvertError> {
    check_sizes(sizes)?;
    if !has_functions(options.target) {
        return Err(ConvertError::Option("packages for macOS 14 and older hold one size each".into()));
    }
    let weights = ckpt.weights(component)?;
    let mut joined: Option<Converted> = None;
    for &size in sizes {
        let options = Options { latent_size: Some(size), ..options.clone() };
        let mut one = convert_with(ckpt, component, &options, &weights)?;
        rename(&mut one, &size_function(size));
        match &mut joined {
            None => joined = Some(one),
            Some(all) => {
                all.program.functions.append(&mut one.program.functions);
                all.description.functions.append(&mut one.description.functions);
            }
        }
    }
    let mut joined = joined.ok_or_else(|| ConvertError::Option("no size was given".into()))?;
    joined.description.functions.sort_by(|a, b| a.name.cmp(&b.name));
    joined.valid()?;
    Ok(joined)
}

/// Refuses a list of sizes with one of them twice.
///
/// # Errors
/// [`ConvertError::Option`], which names it.
pub fn check_sizes(sizes: &[LatentSize]) -> Result<(), ConvertError> {
    let twice = sizes.iter().enumerate().find(|(i, size)| sizes[..*i].contains(size));
    match twice {
        Some((_, size)) => Err(ConvertError::Option(format!("latent size {size} is given twice"))),
        None => Ok(()),
    }
}

/// Gives the only function another name.
fn rename(converted: &mut Converted, name: &str) {
    let Program { functions, .. } = &mut converted.program;
    *functions = std::mem::take(functions)
        .into_values()
        .map(|mut f| {
            f.name = name.to_owned();
            (f.name.clone(), f)
        })
        .collect::<BTreeMap<_, _>>();
    for interface in &mut converted.description.functions {
        interface.name = name.to_owned();
    }
    converted.description.default_function = name.to_owned();
}
