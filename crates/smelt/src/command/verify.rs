//! `smelt verify`: a package against its checkpoint or another package, on random inputs.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use mil::Function;
use mlpackage::Model;
use sd_convert::verify::{Comparison, Input, compare, component_of, random_inputs, reference_options};
use sd_convert::{Checkpoint, Component, convert};
use sd_engines::{MilEngine, Rounding};
use serde::Serialize;

use super::{inputs_of, open_package};
use crate::cli::VerifyArgs;
use crate::report::{Report, Table, decibels};

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    package: String,
    against: String,
    seed: u64,
    min_psnr_db: f64,
    passed: bool,
    outputs: Vec<Output>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    shape: Vec<usize>,
    /// Null when the tensors are identical, or cannot be compared because of values that are not finite.
    psnr_db: Option<f64>,
    identical: bool,
    passed: bool,
}

pub(super) fn run(args: &VerifyArgs, report: &Report) -> Result<ExitCode> {
    let options = args.engine.executor(args.rounding.into())?;
    let package = open_package(&args.package)?;
    let spinner = report.spinner("comparing");
    let engine = MilEngine::from_model(package.model(), options)
        .with_context(|| format!("cannot run {}", args.package.display()))?;
    let inputs = inputs_of(&engine);
    let reference = reference(args, &inputs)?;
    check_same_inputs(args, &inputs, &inputs_of(&reference))?;
    let drawn = random_inputs(&inputs, first_function(package.model()), args.seed)?;
    let expected = reference.run_once(&drawn).with_context(|| format!("cannot run {}", args.against.display()))?;
    let outputs = engine.run_once(&drawn).with_context(|| format!("cannot run {}", args.package.display()))?;
    let comparisons = compare(&expected, &outputs)?;
    spinner.finish_and_clear();
    tell(args, report, comparisons)
}

/// What the package must agree with, ready to run in f32.
fn reference(args: &VerifyArgs, inputs: &[Input]) -> Result<MilEngine> {
    let cannot = || format!("cannot run {}", args.against.display());
    let is_package = args.against.is_file() || args.against.extension().is_some_and(|e| e == "mlpackage");
    if is_package {
        if args.component.is_some() {
            bail!("--component chooses from a checkpoint, and {} is a package", args.against.display());
        }
        let package = open_package(&args.against)?;
        return MilEngine::from_model(package.model(), args.engine.executor(Rounding::Boundary)?).with_context(cannot);
    }
    let checkpoint = Checkpoint::open(&args.against)?;
    let told = || component_of(inputs.iter().map(|f| f.name.as_str()));
    let component: Component = args.component.or_else(told).with_context(|| {
        let names: Vec<&str> = inputs.iter().map(|f| f.name.as_str()).collect();
        format!(
            "{} takes {}, as no component does; say which with --component",
            args.package.display(),
            names.join(", ")
        )
    })?;
    let converted = convert(&checkpoint, component, &reference_options(&checkpoint, component, inputs)?)?;
    MilEngine::from_program(&converted.program, args.engine.executor(Rounding::Boundary)?).with_context(cannot)
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

/// The function that reads the caller's inputs first.
fn first_function(model: &Model) -> Option<&Function> {
    let program = *model.programs().first()?;
    program.functions.get(&model.description.default_function).or_else(|| program.main())
}

fn tell(args: &VerifyArgs, report: &Report, comparisons: Vec<Comparison>) -> Result<ExitCode> {
    let outputs: Vec<Output> = comparisons.iter().map(|c| Output::of(c, args.min_psnr)).collect();
    let passed = outputs.iter().all(|o| o.passed);
    let mut table = Table::new(2, "<<><");
    for (comparison, output) in comparisons.iter().zip(&outputs) {
        let verdict = if output.passed { "" } else { "too low" };
        table.row([
            output.name.clone(),
            format!("{:?}", output.shape),
            decibels(comparison.psnr_db),
            verdict.to_owned(),
        ]);
    }
    report.text(table);
    let verdict = if passed { "agrees with" } else { "does not agree with" };
    report.line(format_args!(
        "{} {verdict} {} at {} dB",
        args.package.display(),
        args.against.display(),
        args.min_psnr
    ));
    report.json(&Summary {
        package: args.package.display().to_string(),
        against: args.against.display().to_string(),
        seed: args.seed,
        min_psnr_db: args.min_psnr,
        passed,
        outputs,
    })?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Output {
    fn of(comparison: &Comparison, min_psnr: f64) -> Self {
        Self {
            name: comparison.output.clone(),
            shape: comparison.shape.clone(),
            psnr_db: Some(comparison.psnr_db).filter(|db| db.is_finite()),
            identical: comparison.psnr_db == f64::INFINITY,
            passed: comparison.psnr_db >= min_psnr,
        }
    }
}
