//! `smelt inspect`: what a package or a checkpoint holds.

mod checkpoint;
mod embedding;
mod lora;

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use smelt::Opening;
use smelt::inspect::{
    CheckpointFacts, EmbeddingFile, Facts, FunctionFacts, LoraFile, ModelFacts, PackageFacts, StoredWeights,
    WeightOrder, mil_text, plan_text,
};

use crate::cli::{InspectArgs, SortName};
use crate::engine_args::isa;
use crate::report::{Report, Table, bytes, count};
use crate::screen::Screen;

pub(super) fn run(args: &InspectArgs, report: &Report) -> Result<ExitCode> {
    let opening = Opening::from(&args.opening);
    opening.fetch([&args.package], &[], &mut Screen::new(report))?;
    let path = &opening.locate(&args.package)?;
    let holds_no_program = |what: &str| {
        ensure!(!(args.mil || args.plan || args.weights), "{} is {what}, which holds no program", path.display());
        Ok(())
    };
    if LoraFile::is_one(path) {
        holds_no_program("a LoRA")?;
        let against = args.against.clone().map(smelt::open_checkpoint).transpose()?;
        let file = LoraFile::of(path, against.as_ref())?;
        report.json(&file)?;
        lora::tell(&file, report);
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(args.against.is_none(), "--against is for a LoRA, and {} is none", path.display());
    if path.is_file()
        && let Some(file) = EmbeddingFile::of(path)?
    {
        holds_no_program("a textual inversion")?;
        report.json(&file)?;
        embedding::tell(&file, report);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(facts) = CheckpointFacts::of(path, &opening)? {
        holds_no_program("a checkpoint")?;
        report.json(&facts)?;
        checkpoint::tell(&facts, report);
        return Ok(ExitCode::SUCCESS);
    }
    let package = smelt::open_package(path)?;
    if let Some(option) = opening.typed().first() {
        bail!("{option} is for a checkpoint, and {} is a package", path.display());
    }
    if args.mil {
        mil_text(&package).iter().for_each(|text| report.text(text));
    } else if args.plan {
        plan_text(&package, isa().as_deref())?.iter().for_each(|plan| report.line(plan));
    } else if args.weights {
        let order = match args.sort {
            SortName::Program => WeightOrder::Program,
            SortName::Size => WeightOrder::Size,
        };
        let weights = StoredWeights::of(&package, order);
        report.json(&weights)?;
        tell_weights(&weights, report);
    } else {
        let facts = Facts::of(&package);
        report.json(&facts)?;
        tell_package(&facts.package, report);
        tell_model(&facts.model, report);
    }
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

/// Lists the weights of all programs of a package.
fn tell_weights(summary: &StoredWeights, report: &Report) {
    let mut table = Table::new(2, "<<<>>>");
    for w in &summary.weights {
        let shape: Vec<String> = w.shape.iter().map(ToString::to_string).collect();
        let share = format!("{:.2} %", w.share * 100.0);
        let bits = format!("{:.2} bits", w.bits);
        table.row([w.name.clone(), shape.join("×"), w.encoding.clone(), bits, bytes(w.bytes), share]);
    }
    report.text(table);
    report.line("");
    let mut table = Table::new(2, "<>>>");
    for e in &summary.encodings {
        let bits = format!("{:.2} bits", e.bytes as f64 * 8.0 / e.n_elements.max(1) as f64);
        table.row([e.encoding.clone(), count(e.n_weights, "weight"), bits, bytes(e.bytes)]);
    }
    let bits = format!("{:.2} bits", summary.average_bits);
    table.row(["all".into(), count(summary.weights.len(), "weight"), bits, bytes(summary.bytes)]);
    report.text(table);
}
