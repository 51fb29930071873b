//! What a folder of packages says of its model, in words.

use smelt::inspect::{BundleFacts, MissingFile, ProgramFacts};

use super::hashes;
use crate::report::{Report, Table, count};

pub(super) fn tell(facts: &BundleFacts, report: &Report) {
    report.line(&facts.path);
    let mut table = Table::new(2, "<<");
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("model", facts.model.clone().unwrap_or_else(|| "no smelt.json says it".to_owned()));
    facts.prediction.iter().for_each(|prediction| row("predicts", prediction.clone()));
    facts.vae_of.iter().for_each(|vae| row("VAE of", vae.clone()));
    facts.loras.iter().for_each(|lora| row("LoRA", lora.clone()));
    for word in &facts.words {
        row("word", format!("{}, {}", word.word, count(word.vectors, "vector")));
    }
    for package in &facts.packages {
        row(if package.ends_with(".mlmodelc") { "compiled" } else { "package" }, package.clone());
    }
    report.text(table);
    report.line("programs for Apple's systems");
    let mut table = Table::new(2, "<<");
    for program in &facts.programs {
        let mut lines = verdict(program).into_iter();
        table.row([program.program.to_owned(), lines.next().unwrap_or_default()]);
        lines.for_each(|line| table.row([String::new(), line]));
    }
    report.text(table);
    if !facts.sources.is_empty() {
        report.line("made of");
        hashes::tell(&facts.sources, report);
    }
}

/// What a program makes of a folder, in lines.
fn verdict(program: &ProgramFacts) -> Vec<String> {
    let mut lines = Vec::new();
    if program.finds_all {
        lines.push("finds all that it needs".to_owned());
    } else if !program.missing.is_empty() {
        lines.push(format!("does not find {}", list(&program.missing)));
    }
    lines.extend(program.faults.iter().map(|fault| format!("does not take it: {fault}")));
    if let Some(reads) = &program.reads {
        let size = reads.size.map_or_else(|| "any size".to_owned(), |[width, height]| format!("{width}x{height}"));
        lines.push(format!("reads Stable Diffusion {}, {size}, {}", reads.family, reads.attention));
    }
    lines.extend(program.left_out.iter().map(|left| format!("{} it lacks {}", left.what, list(&left.missing))));
    lines.extend(program.notes.iter().cloned());
    lines
}

/// Files that are not there, and what is in their places.
fn list(missing: &[MissingFile]) -> String {
    let one = |missing: &MissingFile| match &missing.instead {
        Some(instead) => format!("{} ({instead} is there, to be compiled)", missing.file),
        None => missing.file.clone(),
    };
    missing.iter().map(one).collect::<Vec<_>>().join(", ")
}
