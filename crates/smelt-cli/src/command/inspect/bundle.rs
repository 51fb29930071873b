//! What a folder of packages says of its model, in words.

use smelt::inspect::BundleFacts;

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
    facts.packages.iter().for_each(|package| row("package", package.clone()));
    report.text(table);
    if !facts.sources.is_empty() {
        report.line("made of");
        hashes::tell(&facts.sources, report);
    }
}
