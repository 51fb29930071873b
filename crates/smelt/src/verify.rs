//! A package against its checkpoint or another package, on random inputs.
//!
//! Every function is compared. A package in half precision is besides run as a device computes, with every result
//! rounded, unless one rounding was asked for.

mod against;
mod found;
mod functions;
mod half;

use std::path::Path;

use mlpackage::Package;
use sd_checkpoint::Source;
use sd_convert::verify::{Input, compare, random_inputs};
use sd_engines::Options;
use sd_spec::Role;

use crate::error::{Context, Result, refuse};
use crate::package::{inputs_of, open_package, stem};
use crate::watch::{self, Watch};
pub use against::Verification;
use against::{Against, Asked};
pub use found::{HalfOutput, NotFinite, Verdict, VerifiedHalf, VerifiedOutput, VerifyReport};
use functions::{Pairing, Side};
pub use half::{At, Look};

impl Verification {
    /// Fetches what the comparison needs of the Hub: the networks that the package may be, and what they are opened with.
    ///
    /// # Errors
    /// When the package cannot be read, and as [`Download::run`](crate::Download::run).
    pub fn fetch(&self, package: &Path, against: &Source, watch: &mut dyn Watch) -> Result<()> {
        let roles = match self.role {
            // What is there needs nothing, but it may be opened with what is not.
            _ if against.path().is_some() => Vec::new(),
            Some(role) => vec![role],
            None => {
                let package = open_package(package)?;
                let function = package.model().description.functions.first();
                Role::of_inputs(function.into_iter().flat_map(|f| f.inputs.iter().map(|input| input.name.as_str())))
            }
        };
        self.opening.fetch([against], &roles, watch)
    }

    /// Compares a package with a checkpoint, or with another package.
    ///
    /// # Errors
    /// When either cannot be opened or run, and when they do not take the same inputs; that they do not agree is no
    /// error.
    pub fn run(&self, package: &Path, against: &Source, watch: &mut dyn Watch) -> Result<VerifyReport> {
        let asked = Asked { package: package.to_owned(), against: against.clone(), how: self.clone() };
        self.engine.executor(asked.rounding())?;
        let package = open_package(package)?;
        refuse_chunk(&package)?;
        let against = Against::open(&asked)?;
        watch::begin(watch, "comparing")?;
        let ours = Side::of(package.model());
        let pairing = match &against {
            Against::Package(other) => Pairing::by_name(&ours, &Side::of(other.model())),
            Against::Checkpoint(_) => Pairing::all(&ours),
        };
        if pairing.both.is_empty() {
            let (here, there) = (pairing.only_here.join(", "), pairing.only_there.join(", "));
            refuse!(
                "no function of {} ({here}) is in {} ({there}), so there is nothing to compare",
                asked.package.display(),
                asked.against
            );
        }
        let verify = |function: &String| verify_function(&asked, &against, &ours, function);
        let verdicts = pairing.both.iter().map(verify).collect::<Result<Vec<_>>>()?;
        watch::end(watch)?;
        Ok(VerifyReport::new(&asked, &package, &against, pairing, verdicts))
    }
}

/// A part of a model agrees with no component; chunks say in their description what they are, or in their name.
fn refuse_chunk(package: &Package) -> Result<()> {
    let stem = stem(package.path());
    let description = &package.model().description.metadata.short_description;
    let is_numbered = |(_, n): (&str, &str)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    let is_chunk = stem.rsplit_once("_chunk").or_else(|| stem.rsplit_once("Chunk")).is_some_and(is_numbered)
        || description.rsplit_once(", chunk ").is_some_and(|(_, rest)| rest.contains(" of "));
    if is_chunk {
        refuse!(
            "{} is one chunk of a model, which agrees with nothing by itself; verify the whole package, and compare the \
             chunks with it: smelt chunk WHOLE.mlpackage -o DIR --check",
            package.path().display()
        );
    }
    Ok(())
}

fn verify_function(asked: &Asked, against: &Against, ours: &Side<'_>, function: &str) -> Result<Verdict> {
    let cannot = || format!("cannot run {}", asked.package.display());
    let engine = ours.engine(function, asked.how.engine.executor(asked.rounding())?).with_context(cannot)?;
    let inputs = inputs_of(&engine);
    let reference = against.engine(asked, function, &inputs)?;
    check_same_inputs(asked, &inputs, &inputs_of(&reference))?;
    let drawn = random_inputs(&inputs, ours.first_function(function), asked.how.seed)?;
    let expected = reference.run_once(&drawn).with_context(|| format!("cannot run {}", asked.against))?;
    let (outputs, mut found) = engine.run_watched(&drawn).with_context(cannot)?;
    let comparisons = compare(&expected, &outputs)?;
    let is_finite = outputs.values().all(|tensor| tensor.to_f32_vec().iter().all(|v| v.is_finite()));
    if found.is_none() && !is_finite {
        // The fast engine does not watch what it makes.
        let plain =
            ours.engine(function, Options::default().with_rounding(asked.rounding()).into()).with_context(cannot)?;
        found = plain.run_watched(&drawn).with_context(cannot)?.1;
    }
    let compared =
        half::Compared { function, inputs: &inputs, reference: &reference, drawn: &drawn, expected: &expected };
    let look = match asked.how.rounding {
        None => half::look(asked, against, ours, &compared, half::MOST_FLOPS)?,
        Some(_) => None,
    };
    Ok(Verdict { function: function.to_owned(), comparisons, look, found, inputs })
}

/// Names and shapes must be equal; element types need not be.
fn check_same_inputs(asked: &Asked, package: &[Input], against: &[Input]) -> Result<()> {
    let list = |inputs: &[Input]| {
        let mut list: Vec<String> = inputs.iter().map(|f| format!("{} {:?}", f.name, f.shape)).collect();
        list.sort();
        list.join(", ")
    };
    let (ours, theirs) = (list(package), list(against));
    if ours != theirs {
        refuse!("{} takes {ours}, but {} takes {theirs}", asked.package.display(), asked.against);
    }
    Ok(())
}
