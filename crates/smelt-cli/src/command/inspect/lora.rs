//! What a LoRA file is, in words.

use smelt::inspect::LoraFile;

use super::hashes;
use crate::report::{Report, Table, count};

pub(super) fn tell(file: &LoraFile, report: &Report) {
    let facts = &file.facts;
    report.line(&file.path);
    let list = |numbers: Vec<String>| if numbers.is_empty() { "none".to_owned() } else { numbers.join(", ") };
    let mut kinds: Vec<String> = facts.kinds.iter().map(|(kind, n)| format!("{kind} ({n})")).collect();
    kinds.extend(facts.is_dora.then(|| "decomposed (DoRA)".to_owned()));
    let stabilised = if facts.is_rank_stabilised { ", divided by the root of the rank" } else { "" };
    let mut table = Table::new(2, "<<");
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("a LoRA for", facts.base.unwrap_or("a model that its names and shapes do not tell").to_owned());
    row("kinds", list(kinds));
    row("ranks", list(facts.ranks.iter().map(ToString::to_string).collect()));
    row("alphas", list(facts.alphas.iter().map(ToString::to_string).collect()) + stabilised);
    let modules = facts.modules.iter().map(|(network, n)| format!("{n} of {network}")).collect();
    row("modules", list(modules));
    row("names of", facts.naming.unwrap_or("no program that is known").to_owned());
    row("tensors", facts.n_tensors.to_string());
    report.text(table);
    hashes::tell(&file.hashes, report);
    tell_names("belong to no module", &facts.strays, report);
    if let Some(fit) = &file.fit {
        report.line(format_args!("\nchanges {} of {}", count(fit.n_changed, "tensor"), fit.checkpoint));
        tell_names("fit nothing there", &fit.unapplied, report);
    }
}

fn tell_names(what: &str, names: &[String], report: &Report) {
    if names.is_empty() {
        return;
    }
    report.line(format_args!("{} {what}:", count(names.len(), "tensor")));
    names.iter().for_each(|name| report.line(format_args!("  {name}")));
}
