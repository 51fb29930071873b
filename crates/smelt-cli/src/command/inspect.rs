//! `smelt inspect`: what a package or a checkpoint holds.

mod bundle;
mod checkpoint;
mod embedding;
mod hashes;
mod lora;
pub(super) mod plan;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use smelt::Opening;
use smelt::hashes::{Hashing, SourcePart};
use smelt::inspect::{
    BundleFacts, CheckpointFacts, EmbeddingFile, Facts, FunctionFacts, HashFacts, LoraFile, ModelFacts, PackageFacts,
    StoredWeights, WeightOrder, mil_text,
};

use crate::cli::{InspectArgs, SortName};
use crate::file::cache_folder;
use crate::report::{Report, Table, bytes, count};
use crate::screen::Screen;

pub(super) fn run(args: &InspectArgs, report: &Report) -> Result<ExitCode> {
    let opening = Opening::from(&args.opening);
    let mut screen = Screen::new(report);
    opening.fetch(std::iter::once(&args.package).chain(&args.sources), &[], &mut screen)?;
    let hashing = Hashing { sources: args.sources.clone(), cache: cache_folder() };
    let path = opening.locate(&args.package)?;
    let mut asked = Asked { args, opening, path, hashing, report, screen };
    let _ = asked.lora()? || asked.embedding()? || asked.checkpoint()? || asked.bundle()? || asked.package()?;
    Ok(ExitCode::SUCCESS)
}

/// What is asked, of what.
struct Asked<'a> {
    args: &'a InspectArgs,
    opening: Opening,
    path: PathBuf,
    hashing: Hashing,
    report: &'a Report,
    screen: Screen<'a>,
}

/// Each tells what it knows, and whether it is that.
impl Asked<'_> {
    fn refuse_program(&self, what: &str) -> Result<()> {
        let InspectArgs { mil, plan, weights, .. } = self.args;
        ensure!(!(*mil || *plan || *weights), "{} is {what}, which holds no program", self.path.display());
        Ok(())
    }

    fn lora(&mut self) -> Result<bool> {
        if !LoraFile::is_one(&self.path) {
            ensure!(self.args.against.is_none(), "--against is for a LoRA, and {} is none", self.path.display());
            return Ok(false);
        }
        self.refuse_program("a LoRA")?;
        let against = self.args.against.clone().map(smelt::open_checkpoint).transpose()?;
        let mut file = LoraFile::of(&self.path, against.as_ref())?;
        if self.args.hashes {
            file.add_hashes(&self.hashing, &mut self.screen)?;
        }
        self.report.json(&file)?;
        lora::tell(&file, self.report);
        Ok(true)
    }

    fn embedding(&mut self) -> Result<bool> {
        let found = if self.path.is_file() { EmbeddingFile::of(&self.path)? } else { None };
        let Some(mut file) = found else { return Ok(false) };
        self.refuse_program("a textual inversion")?;
        if self.args.hashes {
            let hashed = self.hashing.file(&self.path, SourcePart::Embedding, &mut self.screen)?;
            file.hashes = HashFacts::of(&[hashed]);
        }
        self.report.json(&file)?;
        embedding::tell(&file, self.report);
        Ok(true)
    }

    fn checkpoint(&mut self) -> Result<bool> {
        let Some(mut facts) = CheckpointFacts::of(&self.path, &self.opening)? else { return Ok(false) };
        self.refuse_program("a checkpoint")?;
        if self.args.hashes {
            let opened = self.opening.open_checkpoint(self.path.as_path())?;
            facts.hashes = HashFacts::of(&opened.hashes(&self.hashing, &mut self.screen)?);
        }
        self.report.json(&facts)?;
        checkpoint::tell(&facts, self.report);
        Ok(true)
    }

    fn bundle(&mut self) -> Result<bool> {
        let Some(mut facts) = BundleFacts::of(&self.path)? else { return Ok(false) };
        self.refuse_options()?;
        self.refuse_program("a folder of packages")?;
        if self.args.hashes {
            let opened = self.opening.open(self.path.as_path())?;
            facts.sources = HashFacts::of(&opened.hashes(&self.hashing, &mut self.screen)?);
        }
        self.report.json(&facts)?;
        bundle::tell(&facts, self.report);
        Ok(true)
    }

    fn package(&mut self) -> Result<bool> {
        let package = smelt::open_package(&self.path)?;
        self.refuse_options()?;
        let (args, report) = (self.args, self.report);
        if args.hashes {
            bail!(
                "--hashes is for the files that weights came from, which the folder of {} knows",
                self.path.display()
            );
        }
        if args.mil {
            mil_text(&package).iter().for_each(|text| report.text(text));
        } else if args.plan {
            plan::run(args, &package, report)?;
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
        Ok(true)
    }

    /// Refuses what says how a checkpoint is read.
    fn refuse_options(&self) -> Result<()> {
        match self.opening.typed().first() {
            Some(option) => bail!("{option} is for a checkpoint, and {} is converted already", self.path.display()),
            None => Ok(()),
        }
    }
}

fn tell_package(package: &PackageFacts, report: &Report) {
    report.line(&package.path);
    let mut table = Table::new(2, "<<");
    for item in &package.items {
        table.row([item.path.clone(), item.description.clone()]);
    }
    report.text(table);
    if let Some(compiler) = &package.compiler {
        report.line(format_args!("  compiled by {compiler}"));
    }
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
