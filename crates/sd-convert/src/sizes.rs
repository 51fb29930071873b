//! One model for several sizes of picture.
//!
//! A network has the same weights for every size, and only shapes differ. From `CoreML8` on a package may hold a
//! function per size, and the weights once; for older systems there is a package per size.

use crate::{
    Checkpoint, ConvertError, Converted, LatentSize, Options, Role, Target, convert::convert_with, exceptional::Mapped,
};
use mil::{Const, Literal, Opset, Program};
use std::collections::{BTreeMap, HashMap};

/// True when the shapes of a role's model follow from the size of the latents.
#[must_use]
pub fn has_sizes(role: Role) -> bool {
    role.spec().is_sized()
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
    role: Role,
    options: &Options,
    sizes: &[LatentSize],
) -> Result<Converted, ConvertError> {
    join_sizes(ckpt, role, options, sizes, &Mapped::new(ckpt.weights(role)?))
}

/// As [`convert_sizes`], with weights that were mapped before.
pub(crate) fn join_sizes(
    ckpt: &Checkpoint,
    role: Role,
    options: &Options,
    sizes: &[LatentSize],
    mapped: &Mapped,
) -> Result<Converted, ConvertError> {
    check_sizes(sizes)?;
    if !has_functions(options.target) {
        return Err(ConvertError::Option("packages for macOS 14 and older hold one size each".into()));
    }
    let mut joined: Option<Converted> = None;
    for &size in sizes {
        let options = Options { latent_size: Some(size), ..options.clone() };
        let mut one = convert_with(ckpt, role, &options, mapped)?;
        rename(&mut one, &size_function(size));
        match &mut joined {
            None => joined = Some(one),
            Some(all) => {
                share_constants(&all.program, &mut one.program);
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

/// Lets constants that were computed for each size, and are the same for all, be those of the first.
///
/// Weights are views of the checkpoint in every function: what is compared here is little.
fn share_constants(first: &Program, other: &mut Program) {
    let Some(known) = first.functions.values().next() else { return };
    let constants = known.values().iter().filter_map(|v| Some((&*v.name, v.literal.as_ref()?.as_const()?)));
    let constants: HashMap<&str, &Const> = constants.collect();
    for function in other.functions.values_mut() {
        let named = function.values().iter().filter(|v| v.literal.is_some()).map(|v| v.name.clone());
        let names: Vec<_> = named.collect();
        for id in names.iter().filter_map(|name| function.by_name(name)).collect::<Vec<_>>() {
            let own = function.literal(id).and_then(Literal::as_const);
            let Some((own, theirs)) = own.zip(constants.get(function.name_of(id)).copied()) else { continue };
            let is_like = own.dtype() == theirs.dtype() && own.shape() == theirs.shape() && !own.same_view(theirs);
            if is_like && own.read().bytes() == theirs.read().bytes() {
                function.set_literal(id, Literal::Tensor(theirs.clone()));
            }
        }
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
