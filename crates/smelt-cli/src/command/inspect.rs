//! `smelt inspect`: what a package holds.

mod facts;
mod weights;

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::open_package;
use crate::cli::InspectArgs;
use crate::report::{Report, Table, bytes, count};
use facts::{Facts, FunctionFacts, ModelFacts, PackageFacts};

pub(super) fn run(args: &InspectArgs, report: &Report) -> Result<ExitCode> {
    let package = open_package(&args.package)?;
    if args.mil {
        for program in package.model().programs() {
            report.text(mil::text::print(program, &mil::text::PrintOptions::default()).text);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.plan {
        let cannot = || format!("cannot plan {}", args.package.display());
        let options = crate::engine_args::cpu_default().with_context(cannot)?;
        let engine = sd_engines::MilEngine::from_model(package.model(), options).with_context(cannot)?;
        for (name, plan) in engine.plans() {
            report.line(format_args!("{name}: {plan}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.weights {
        weights::tell(&package, args.sort, report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let facts = Facts::of(&package);
    report.json(&facts)?;
    tell_package(&facts.package, report);
    tell_model(&facts.model, report);
    Ok(ExitCode::SUCCESS)
}

fn tell_package(package: &PackageFacts, report: &Report) {
    report.line(&package.path);
    let mut table = Table::new(2, "<<");
    for item in &package.items {
        table.row([item.path.clone(), item.description.clone()]);
    }
    report.text(table);
    let mut line = format!("  model {}", bytes(package.model_bytes));
    for file in &package.weight_files {
        line.push_str(&format!(", {} {} in {}", file.name, bytes(file.bytes), count(file.n_blobs as usize, "blob")));
    }
    report.line(line);
}

fn tell_model(model: &ModelFacts, report: &Report) {
    if let Some(name) = &model.name {
        report.line(format_args!("\nmodel {name}"));
    }
    report.line(format_args!("  specification version {}", model.specification_version));
    let mut table = Table::new(2, "<<");
    for (key, value) in &model.metadata {
        let mut lines = value.lines();
        table.row([key.clone(), lines.next().unwrap_or_default().to_owned()]);
        lines.for_each(|line| table.row([String::new(), line.to_owned()]));
    }
    report.text(table);
    for function in &model.functions {
        tell_function(function, report);
    }
    for sub in &model.models {
        tell_model(sub, report);
    }
}

fn tell_function(function: &FunctionFacts, report: &Report) {
    let default = if function.is_default { "" } else { " (not the default)" };
    report.line(format_args!("\nfunction {} · opset {}{default}", function.name, function.opset));
    for (title, features) in
        [("inputs", &function.inputs), ("outputs", &function.outputs), ("states", &function.states)]
    {
        if features.is_empty() {
            continue;
        }
        report.line(format_args!("  {title}"));
        let mut table = Table::new(4, "<<<");
        for f in features {
            table.row([f.name.clone(), f.ty.clone(), f.description.clone()]);
        }
        report.text(table);
    }
    report.line(format_args!(
        "  {}, {}",
        count(function.n_operations, "operation"),
        count(function.n_constants, "constant")
    ));
    let mut table = Table::new(4, "<>");
    for (kind, n) in &function.operations {
        table.row([kind.clone(), n.to_string()]);
    }
    report.text(table);
    report.line(format_args!("  weights {}", bytes(function.weight_bytes)));
    let mut table = Table::new(4, "<>>>");
    for w in &function.weights {
        let share = format!("{:.1} %", 100.0 * w.share);
        table.row([w.dtype.to_owned(), count(w.n_tensors, "tensor"), bytes(w.bytes), share]);
    }
    report.text(table);
}
