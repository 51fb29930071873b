//! The function that is analysed: a package's, or that of a network converted as a package would be.

use mil::Function;
use sd_checkpoint::Source;
use sd_checkpoint::place::{Wanted, is_named_as_checkpoint};
use sd_convert::{Checkpoint, Options, Role, convert};
use sd_runtime::{Feature, Signature};

use super::Analysing;
use crate::error::{Context, Result, refusal, refuse};
use crate::package::{default_function, is_named_as_package, open_package, stem};

/// A model, as one function.
pub(super) struct Model {
    pub(super) name: String,
    pub(super) function: Function,
    /// What it takes.
    pub(super) signature: Signature,
}

impl Model {
    pub(super) fn open(asked: &Analysing, source: &Source) -> Result<Self> {
        let is_package =
            |path: &&std::path::Path| is_named_as_package(path) || (path.is_file() && !is_named_as_checkpoint(path));
        let (name, function) = match source.path().filter(is_package) {
            Some(path) => (stem(path), of_package(asked, path)?),
            None => of_checkpoint(asked, source)?,
        };
        let signature = Signature { inputs: inputs_of(&function, &name)?, outputs: Vec::new() };
        Ok(Self { name, function, signature })
    }
}

fn of_package(asked: &Analysing, path: &std::path::Path) -> Result<Function> {
    if let Some(option) = asked.opening.typed().first() {
        refuse!("{option} is for a checkpoint, and {} is a package", path.display());
    }
    if asked.component.is_some() {
        refuse!("--component chooses from a checkpoint, and {} is a package", path.display());
    }
    let package = open_package(path)?;
    let Some(program) = package.model().program() else {
        refuse!("{} is a pipeline of several programs; analyse the whole that it was cut from", path.display());
    };
    mil::validate(program).with_context(|| format!("cannot run {}", path.display()))?;
    Ok(default_function(&package).ok_or_else(|| refusal!("{} has no function", path.display()))?.clone())
}

fn of_checkpoint(asked: &Analysing, source: &Source) -> Result<(String, Function)> {
    let checkpoint = asked.opening.checkpoint(source, Wanted::Checkpoint)?;
    let role = match asked.component {
        Some(role) => role,
        None => denoiser(&checkpoint)?,
    };
    let converted = convert(&checkpoint, role, &Options::default())?;
    let function = converted.program.main().ok_or_else(|| refusal!("{role} has no function"))?.clone();
    Ok((format!("{}, {role}", checkpoint.name()), function))
}

fn denoiser(checkpoint: &Checkpoint) -> Result<Role> {
    let roles = checkpoint.roles();
    let found = roles.iter().copied().find(|role| role.is_denoiser());
    found.or_else(|| roles.first().copied()).ok_or_else(|| refusal!("{} has no network", checkpoint.name()))
}

/// The inputs, which must have one shape each.
pub(crate) fn inputs_of(function: &Function, name: &str) -> Result<Vec<Feature>> {
    let feature = |&v: &mil::ValueId| {
        let input = function.name_of(v);
        let ty = function.ty(v).as_tensor().ok_or_else(|| refusal!("input {input} of {name} is no tensor"))?;
        let shape: Option<Vec<usize>> = ty.shape.iter().map(|d| d.size()).collect();
        let shape = shape.ok_or_else(|| refusal!("input {input} of {name} has no fixed shape, {ty}"))?;
        Ok(Feature::new(input, ty.dtype, shape))
    };
    function.inputs.iter().map(feature).collect()
}
