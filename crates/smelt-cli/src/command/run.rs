//! `smelt run`: one package on tensors from a file.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use safe_files::{OutputFile, Outputs};
use serde::Serialize;
use smelt::{EngineSpec, Execution, TensorSummary, Tensors, tensor_file};

use crate::cli::RunArgs;
use crate::file;
use crate::report::{Report, Table, seconds};
use crate::screen::Screen;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    package: String,
    prepare_s: f64,
    run_s: f64,
    outputs: Vec<TensorSummary>,
}

pub(super) fn run(args: &RunArgs, report: &Report) -> Result<ExitCode> {
    let mut outputs = Outputs::new();
    outputs.reads("the package", &args.package)?;
    outputs.reads("--inputs", &args.inputs)?;
    let target = file::binary(&mut outputs, "--outputs", None, &args.outputs)?;
    report.make_way(&outputs)?;
    let engine = EngineSpec { vae_memory: args.vae_memory, ..args.engine.spec() };
    let execution = Execution { function: args.function.clone(), rounding: args.rounding.into(), engine };
    let begin = Instant::now();
    let mut package = execution.prepare(&args.package)?;
    let inputs = package.fit(tensor_file::read(&args.inputs)?, &args.inputs.display().to_string())?;
    let prepared = begin.elapsed();
    let begin = Instant::now();
    let spinner = report.spinner("running");
    let (outputs, not_finite) = package.run(&inputs)?;
    spinner.finish_and_clear();
    if let Some(first) = not_finite {
        report.warn(format_args!("results are not finite, first those of one operation: {first}"));
    }
    let elapsed = begin.elapsed();
    tensor_file::write(&target, &outputs, &mut Screen::new(report))?;
    tell(args, report, &target, &outputs, prepared, elapsed)?;
    Ok(ExitCode::SUCCESS)
}

fn tell(
    args: &RunArgs,
    report: &Report,
    target: &OutputFile,
    outputs: &Tensors,
    prepared: Duration,
    elapsed: Duration,
) -> Result<()> {
    let outputs: Vec<TensorSummary> = outputs.iter().map(|(name, tensor)| TensorSummary::of(name, tensor)).collect();
    let mut table = Table::new(2, "<<<>>>");
    table.row(["output", "type", "shape", "min", "mean", "max"].map(String::from));
    for o in &outputs {
        let [min, mean, max] = [f64::from(o.min), o.mean, f64::from(o.max)].map(|x| format!("{x:.4}"));
        table.row([o.name.clone(), o.dtype.to_owned(), format!("{:?}", o.shape), min, mean, max]);
    }
    report.text(table);
    report.line(format_args!("wrote {target} after {} ({} to prepare)", seconds(elapsed), seconds(prepared)));
    let package = args.package.display().to_string();
    report.json(&Summary { package, prepare_s: prepared.as_secs_f64(), run_s: elapsed.as_secs_f64(), outputs })
}
