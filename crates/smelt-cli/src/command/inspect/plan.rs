//! What runs a package how: the fast engine's plan, or Core ML's.

use anyhow::{Result, bail, ensure};
use smelt::inspect::plan_text;
use smelt::{EngineKind, EngineSpec, Package, PlanFacts};

use crate::cli::InspectArgs;
use crate::engine_args::isa;
use crate::file::cache_folder;
use crate::report::{Report, Table, count};

pub(super) fn run(args: &InspectArgs, package: &Package, report: &Report) -> Result<()> {
    let (kind, device, cache) = (args.engine, args.device, cache_folder());
    let engine = EngineSpec { kind, device, cache, isa: isa(), ..EngineSpec::default() };
    engine.check()?;
    match kind {
        EngineKind::CoreMl => {
            let plan = PlanFacts::of(package, None, &engine)?;
            tell(&plan, report);
            report.json(&plan)
        }
        EngineKind::Cpu => {
            ensure!(!report.is_json(), "the fast engine's plan is text; leave --json out");
            plan_text(package, engine.isa.as_deref())?.iter().for_each(|plan| report.line(plan));
            Ok(())
        }
        _ => bail!("--plan is of --engine cpu or coreml; the others have none"),
    }
}

/// Operations with where they run, and sums.
pub(in crate::command) fn tell(plan: &PlanFacts, report: &Report) {
    report.line(format_args!("{} on {}", plan.package, plan.device));
    let share = |share: f64| format!("{:.2} %", 100.0 * share);
    let mut table = Table::new(2, "<<<>");
    table.row(["operation", "", "device", "share"].map(String::from));
    for o in &plan.operations {
        let device = o.device.unwrap_or("?").to_owned();
        table.row([o.operation.clone(), o.name.clone(), device, o.share.map_or_else(|| "?".into(), share)]);
    }
    report.text(table);
    let mut table = Table::new(2, "<>>");
    for d in &plan.devices {
        table.row([d.device.unwrap_or("?").to_owned(), count(d.operations, "operation"), share(d.share)]);
    }
    report.text(table);
}
