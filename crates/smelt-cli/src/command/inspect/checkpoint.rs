//! What a checkpoint holds, for people.

use smelt::inspect::{AveragesFacts, CheckpointFacts, ComponentFacts};

use super::hashes;
use crate::report::{Report, Table, count};

/// Keys of leftover tensors that are shown.
const SHOWN: usize = 8;

pub(super) fn tell(facts: &CheckpointFacts, report: &Report) {
    report.line(&facts.path);
    let pipeline = facts.pipeline.iter().map(|class| format!(" ({class})")).collect::<String>();
    report.line(format_args!("  {}{pipeline}, {} parameters", facts.kind, millions(facts.n_parameters)));
    if let (Some(prediction), Some(source)) = (&facts.prediction, &facts.prediction_source) {
        report.line(format_args!("  predicts {prediction}, {source}"));
    }
    let mut table = Table::new(2, "<>><<");
    facts.components.iter().for_each(|component| table.row(row(component)));
    report.text(table);
    for component in &facts.components {
        if let Some(fault) = &component.fault {
            report.line(format_args!("  {} cannot be converted: {fault}", component.component));
        }
    }
    if !facts.missing.is_empty() {
        report.line(format_args!("  not there: {}", facts.missing.join(", ")));
    }
    match facts.averages {
        Some(AveragesFacts::LeftAside) => report.line("  holds an average (EMA) of its weights too"),
        Some(AveragesFacts::Taken) => report.line("  of its denoiser, the average (EMA) of its weights is taken"),
        None => {}
    }
    if !facts.leftover.is_empty() {
        let shown = facts.leftover.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        let more = if facts.leftover.len() > SHOWN { ", …" } else { "" };
        report.line(format_args!("  {} of nothing known: {shown}{more}", count(facts.leftover.len(), "tensor")));
    }
    let mut table = Table::new(2, "<<");
    for (key, value) in &facts.metadata {
        let line = value.lines().next().unwrap_or_default();
        table.row([key.clone(), line.chars().take(80).collect()]);
    }
    report.text(table);
    hashes::tell(&facts.hashes, report);
    facts.warnings.iter().for_each(|warning| report.warn(warning));
}

fn row(component: &ComponentFacts) -> [String; 5] {
    let precision: Vec<String> = component.precision.iter().map(|(dtype, n)| format!("{dtype} × {n}")).collect();
    [
        component.component.to_owned(),
        count(component.n_tensors, "tensor"),
        format!("{} parameters", millions(component.n_parameters)),
        precision.join(", "),
        component.prefix.unwrap_or_default().to_owned(),
    ]
}

/// A number of parameters as people say it.
fn millions(n: u64) -> String {
    match n {
        0..1_000_000 => n.to_string(),
        _ => format!("{:.1} M", n as f64 / 1e6),
    }
}
