//! `smelt verify`: a package against its checkpoint or another package, on random inputs.
//!
//! Every function is compared. A package in half precision is besides run as a device computes, with every result
//! rounded, unless one rounding was asked for.

mod functions;
mod half;
mod tell;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use mlpackage::Package;
use sd_convert::verify::{Comparison, Input, compare, random_inputs, reference_options};
use sd_convert::{Checkpoint, Role, convert};
use sd_engines::{MilEngine, NonFinite, Options, Rounding};

use super::{inputs_of, open_package};
use crate::cli::VerifyArgs;
use crate::report::Report;
use functions::{Pairing, Side};
use half::Look;

/// What the package must agree with.
enum Against {
    Package(Box<Package>),
    Checkpoint(Checkpoint),
}

/// What was found about one function.
struct Verdict {
    function: String,
    comparisons: Vec<Comparison>,
    /// The look at half precision, where one was taken.
    look: Option<Look>,
    /// What the run in the rounding that was asked for made that is not finite.
    found: Option<NonFinite>,
    /// What it takes.
    inputs: Vec<Input>,
}

pub(super) fn run(args: &VerifyArgs, report: &Report) -> Result<ExitCode> {
    args.engine.executor(rounding(args))?;
    let package = open_package(&args.package)?;
    refuse_chunk(&package)?;
    let against = Against::open(args)?;
    let spinner = report.spinner("comparing");
    let ours = Side::of(package.model());
    let pairing = match &against {
        Against::Package(other) => Pairing::by_name(&ours, &Side::of(other.model())),
        Against::Checkpoint(_) => Pairing::all(&ours),
    };
    if pairing.both.is_empty() {
        let (here, there) = (pairing.only_here.join(", "), pairing.only_there.join(", "));
        bail!(
            "no function of {} ({here}) is in {} ({there}), so there is nothing to compare",
            args.package.display(),
            args.against.display()
        );
    }
    let verify = |function: &String| verify_function(args, &against, &ours, function);
    let verdicts = pairing.both.iter().map(verify).collect::<Result<Vec<_>>>()?;
    spinner.finish_and_clear();
    tell::tell(args, report, &package, &against, pairing, verdicts)
}

/// A part of a model agrees with no component; chunks say in their description what they are, or in their name.
fn refuse_chunk(package: &Package) -> Result<()> {
    let stem = package.path().file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let description = &package.model().description.metadata.short_description;
    let is_numbered = |(_, n): (&str, &str)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    let is_chunk = stem.rsplit_once("_chunk").or_else(|| stem.rsplit_once("Chunk")).is_some_and(is_numbered)
        || description.rsplit_once(", chunk ").is_some_and(|(_, rest)| rest.contains(" of "));
    if is_chunk {
        bail!(
            "{} is one chunk of a model, which agrees with nothing by itself; verify the whole package, and compare the \
             chunks with it: smelt chunk WHOLE.mlpackage -o DIR --check",
            package.path().display()
        );
    }
    Ok(())
}

/// How results of the comparison are rounded.
fn rounding(args: &VerifyArgs) -> Rounding {
    args.rounding.map_or(Rounding::Boundary, Rounding::from)
}

impl Against {
    fn open(args: &VerifyArgs) -> Result<Self> {
        let is_package = args.against.is_file() || args.against.extension().is_some_and(|e| e == "mlpackage");
        if !is_package {
            return Ok(Self::Checkpoint(Checkpoint::open(&args.against)?.with_variant(args.variant.clone())));
        }
        if args.variant.is_some() {
            bail!("--variant chooses weights of a checkpoint, and {} is a package", args.against.display());
        }
        if args.role.is_some() {
            bail!("--component chooses from a checkpoint, and {} is a package", args.against.display());
        }
        Ok(Self::Package(Box::new(open_package(&args.against)?)))
    }

    /// What a function must agree with, ready to run in f32.
    fn engine(&self, args: &VerifyArgs, function: &str, inputs: &[Input]) -> Result<MilEngine> {
        let cannot = || format!("cannot run {}", args.against.display());
        let executor = args.engine.executor(Rounding::Boundary)?;
        match self {
            Self::Package(package) => Side::of(package.model()).engine(function, executor).with_context(cannot),
            Self::Checkpoint(checkpoint) => {
                let role = role_of(args, inputs)?;
                let converted = convert(checkpoint, role, &reference_options(checkpoint, role, inputs)?)?;
                MilEngine::from_program(&converted.program, executor).with_context(cannot)
            }
        }
    }
}

/// The component that the package is.
fn role_of(args: &VerifyArgs, inputs: &[Input]) -> Result<Role> {
    let told = || Role::of_inputs(inputs.iter().map(|f| f.name.as_str()));
    args.role.or_else(told).with_context(|| {
        let names: Vec<&str> = inputs.iter().map(|f| f.name.as_str()).collect();
        format!(
            "{} takes {}, as no component does; say which with --component",
            args.package.display(),
            names.join(", ")
        )
    })
}

fn verify_function(args: &VerifyArgs, against: &Against, ours: &Side<'_>, function: &str) -> Result<Verdict> {
    let cannot = || format!("cannot run {}", args.package.display());
    let engine = ours.engine(function, args.engine.executor(rounding(args))?).with_context(cannot)?;
    let inputs = inputs_of(&engine);
    let reference = against.engine(args, function, &inputs)?;
    check_same_inputs(args, &inputs, &inputs_of(&reference))?;
    let drawn = random_inputs(&inputs, ours.first_function(function), args.seed)?;
    let expected = reference.run_once(&drawn).with_context(|| format!("cannot run {}", args.against.display()))?;
    let (outputs, mut found) = engine.run_watched(&drawn).with_context(cannot)?;
    let comparisons = compare(&expected, &outputs)?;
    let is_finite = outputs.values().all(|tensor| tensor.to_f32_vec().iter().all(|v| v.is_finite()));
    if found.is_none() && !is_finite {
        // The fast engine does not watch what it makes.
        let plain =
            ours.engine(function, Options::default().with_rounding(rounding(args)).into()).with_context(cannot)?;
        found = plain.run_watched(&drawn).with_context(cannot)?.1;
    }
    let compared =
        half::Compared { function, inputs: &inputs, reference: &reference, drawn: &drawn, expected: &expected };
    let look = match args.rounding {
        None => half::look(args, against, ours, &compared, half::MOST_FLOPS)?,
        Some(_) => None,
    };
    Ok(Verdict { function: function.to_owned(), comparisons, look, found, inputs })
}

/// Names and shapes must be equal; element types need not be.
fn check_same_inputs(args: &VerifyArgs, package: &[Input], against: &[Input]) -> Result<()> {
    let list = |inputs: &[Input]| {
        let mut list: Vec<String> = inputs.iter().map(|f| format!("{} {:?}", f.name, f.shape)).collect();
        list.sort();
        list.join(", ")
    };
    let (ours, theirs) = (list(package), list(against));
    if ours != theirs {
        bail!("{} takes {ours}, but {} takes {theirs}", args.package.display(), args.against.display());
    }
    Ok(())
}
