//! What a package must agree with.

use std::path::{Path, PathBuf};

use mlpackage::Package;
use sd_checkpoint::Source;
use sd_checkpoint::place::{Wanted, is_named_as_checkpoint};
use sd_convert::verify::{Input, reference_options};
use sd_convert::{Checkpoint, Role, convert};
use sd_engines::{MilEngine, Rounding};

use super::functions::Side;
use crate::engine::EngineSpec;
use crate::error::{Context, Result, refuse};
use crate::model_dir;
use crate::open::Opening;
use crate::package::{is_named_as_package, open_package};

/// How a package is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// Which component of the checkpoint it is; default: the one that has its inputs.
    pub role: Option<Role>,
    /// How the checkpoint is read.
    pub opening: Opening,
    /// Seed of the random inputs.
    pub seed: u64,
    /// Least peak signal-to-noise ratio of every output, in dB.
    pub min_psnr: f64,
    /// How results are rounded; default: the comparison in f32, and a look at a package in half precision as a device
    /// rounds.
    pub rounding: Option<Rounding>,
    /// What executes both.
    pub engine: EngineSpec,
}

impl Default for Verification {
    fn default() -> Self {
        let engine = EngineSpec::default();
        Self { role: None, opening: Opening::default(), seed: 0, min_psnr: 35.0, rounding: None, engine }
    }
}

/// The same, with the paths.
pub(super) struct Asked {
    pub(super) package: PathBuf,
    pub(super) against: Source,
    pub(super) how: Verification,
}

impl Asked {
    /// How results of the comparison are rounded.
    pub(super) fn rounding(&self) -> Rounding {
        self.how.rounding.unwrap_or(Rounding::Boundary)
    }
}

/// Whether a path is that of a package; a file is a model of Core ML, unless its name says that it is a checkpoint.
fn is_package(path: &Path) -> bool {
    is_named_as_package(path) || (path.is_file() && !is_named_as_checkpoint(path))
}

/// What the package must agree with.
#[derive(Debug)]
pub(super) enum Against {
    Package(Box<Package>),
    Checkpoint(Box<Checkpoint>),
}

impl Against {
    pub(super) fn open(asked: &Asked) -> Result<Self> {
        let opening = &asked.how.opening;
        let Some(path) = asked.against.path().filter(|path| is_package(path)) else {
            let checkpoint = opening.checkpoint(&asked.against, Wanted::Checkpoint)?;
            return Ok(Self::Checkpoint(Box::new(checkpoint)));
        };
        if let Some(option) = opening.typed().first() {
            refuse!("{option} is for a checkpoint, and {} is a package", asked.against);
        }
        if asked.how.role.is_some() {
            refuse!("--component chooses from a checkpoint, and {} is a package", asked.against);
        }
        Ok(Self::Package(Box::new(open_package(path)?)))
    }

    /// What a function must agree with, ready to run in f32.
    pub(super) fn engine(&self, asked: &Asked, function: &str, inputs: &[Input]) -> Result<MilEngine> {
        let cannot = || format!("cannot run {}", asked.against);
        let executor = asked.how.engine.executor(Rounding::Boundary)?;
        match self {
            Self::Package(package) => Side::of(package.model()).engine(function, executor).with_context(cannot),
            Self::Checkpoint(checkpoint) => {
                let role = role_of(asked, checkpoint, inputs)?;
                let converted = convert(checkpoint, role, &reference_options(checkpoint, role, inputs)?)?;
                MilEngine::from_program(&converted.program, executor).with_context(cannot)
            }
        }
    }
}

/// The component that the package is: one that takes its inputs and that the checkpoint has; among several, the one that
/// the package's name says.
pub(super) fn role_of(asked: &Asked, checkpoint: &Checkpoint, inputs: &[Input]) -> Result<Role> {
    if let Some(role) = asked.how.role {
        return Ok(role);
    }
    let names: Vec<&str> = inputs.iter().map(|f| f.name.as_str()).collect();
    let candidates = Role::of_inputs(names.iter().copied());
    if candidates.is_empty() {
        refuse!(
            "{} takes {}, as no component does; say which with --component",
            asked.package.display(),
            names.join(", ")
        );
    }
    let there: Vec<Role> = candidates.iter().copied().filter(|&role| checkpoint.has(role)).collect();
    let named = asked.package.file_name().and_then(|name| model_dir::role_of(&name.to_string_lossy()));
    match (&there[..], named) {
        // What is not there is said by whoever converts it.
        ([], _) => Ok(candidates[0]),
        (&[role], _) => Ok(role),
        (several, Some(role)) if several.contains(&role) => Ok(role),
        (several, _) => {
            let several: Vec<&str> = several.iter().map(|role| role.name()).collect();
            refuse!(
                "{} takes {}, as several components do; say which with --component: {}",
                asked.package.display(),
                names.join(", "),
                several.join(" or ")
            )
        }
    }
}
