//! `smelt doctor`: what this machine has, whether the engine computes rightly on it, and what to choose.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use smelt::doctor::{Advice, Diagnosis, Fit, Machine, Processor, SelfTest, Trial, diagnose};

use crate::cli::DoctorArgs;
use crate::engine_args::isa;
use crate::preview::Protocol;
use crate::report::{Report, Table, bytes, count, seconds};
use crate::screen::Screen;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    smelt: &'static str,
    machine: Here,
    /// Null with `--quick`, and where the engine does not start.
    self_test: Option<SelfTest>,
    fits: Vec<Fit>,
    advice: Vec<Advice>,
    /// What keeps models from running here; the exit code is 1 if there is any.
    problems: Vec<String>,
}

/// The machine, and where the program runs on it.
#[derive(Serialize)]
struct Here {
    #[serde(flatten)]
    machine: Machine,
    /// How `--show` draws; null where standard output shows no pictures.
    terminal: Option<&'static str>,
    /// Golden data of the tests, in words; null unless `SMELT_GOLDEN` is set.
    golden: Option<String>,
}

pub(super) fn run(args: &DoctorArgs, report: &Report) -> Result<ExitCode> {
    let trial = if args.quick { Trial::LeftOut } else { Trial::Computed };
    let Diagnosis { machine, self_test, fits, advice, problems, .. } =
        diagnose(trial, isa().as_deref(), &mut Screen::new(report))?;
    let terminal = Protocol::of_terminal().filter(|_| std::io::stdout().is_terminal()).map(Protocol::name);
    let golden = std::env::var_os("SMELT_GOLDEN").map(|dir| golden(Path::new(&dir)));
    let machine = Here { machine, terminal, golden };
    let summary = Summary { smelt: env!("CARGO_PKG_VERSION"), machine, self_test, fits, advice, problems };
    tell(&summary, report);
    report.json(&summary)?;
    Ok(if summary.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What `SMELT_GOLDEN` leads to.
fn golden(dir: &Path) -> String {
    let dir_shown = dir.display();
    if dir.join("checkpoints").is_dir() {
        format!("in {dir_shown}, for the tests")
    } else {
        format!("none in {dir_shown} (SMELT_GOLDEN), so tests skip what needs it")
    }
}

fn tell(summary: &Summary, report: &Report) {
    let here = &summary.machine;
    let machine = &here.machine;
    report.line(format_args!("Smelt {} on {}, {}", summary.smelt, machine.system, machine.architecture));
    let mut table = Table::new(2, "<<");
    let mut row = |name: &str, what: String| table.row([name.to_owned(), what]);
    let cpu = &machine.processor;
    let cores = cpu.cores.map_or_else(String::new, |n| format!("{}, ", count(n, "core")));
    row("processor", format!("{}, {cores}{}", cpu.name, count(cpu.threads, "thread")));
    row("instructions", instructions(cpu));
    let memory = &machine.memory;
    row("memory", format!("{}, {} available", bytes(memory.total_bytes), bytes(memory.available_bytes)));
    row(
        "disk",
        match machine.disk.free_bytes {
            Some(free) => format!("{} free in {}", bytes(free), machine.disk.directory),
            None => format!("free space in {} is unknown", machine.disk.directory),
        },
    );
    row("Core ML", machine.core_ml.to_owned());
    row(
        "Burn",
        match &machine.burn_devices[..] {
            [] => "not in this build (cargo feature burn; for GPUs burn-cuda, burn-metal, …)".to_owned(),
            devices => format!("--engine burn, --device {}", devices.join(", ")),
        },
    );
    row(
        "pictures",
        match here.terminal {
            Some(how) => format!("--show draws them as {how}"),
            None => "not in this terminal; --show=HOW draws them all the same".to_owned(),
        },
    );
    if let Some(golden) = &here.golden {
        row("golden data", golden.to_owned());
    }
    if let Some(test) = &summary.self_test {
        row("self-test", self_test_line(test));
        if cpu.is_busy() {
            row("", "other programs are computing: on an idle machine these figures are higher".to_owned());
        }
    }
    report.text(table);
    tell_advice(summary, report);
}

fn instructions(cpu: &Processor) -> String {
    let chosen = |name: &&str| cpu.chosen == Some(*name);
    let why = if cpu.is_told { "told by SMELT_ISA" } else { "used" };
    let named = cpu
        .instruction_sets
        .iter()
        .map(|name| if chosen(name) { format!("{name} ({why})") } else { (*name).to_owned() });
    let bf16 = if cpu.multiplies_bf16 { ", with products of bf16" } else { "" };
    named.collect::<Vec<_>>().join(", ") + bf16
}

fn self_test_line(test: &SelfTest) -> String {
    let right = if test.right { "right" } else { "WRONG" };
    let bf16 = test.bf16_gflops.map_or_else(String::new, |g| format!(", in bf16 {g:.0}"));
    let build = if cfg!(debug_assertions) { "; this is a debug build, cargo's --release is faster" } else { "" };
    format!(
        "{right}; a product of {} in {}: {:.0} GFLOP/s in f32 of a peak of {:.0}{bf16}{build}",
        test.product,
        seconds(std::time::Duration::from_secs_f64(test.seconds)),
        test.f32_gflops,
        test.peak_gflops
    )
}

fn tell_advice(summary: &Summary, report: &Report) {
    report.line("\nWhat fits into memory");
    let mut table = Table::new(2, "<><");
    for fit in &summary.fits {
        table.row([fit.what.to_owned(), bytes(fit.needs_bytes), fit.verdict.words().to_owned()]);
    }
    report.text(table);
    report.line("\nWhat to choose");
    let mut table = Table::new(2, "<<");
    for Advice { option, why } in &summary.advice {
        table.row([option.clone(), why.clone()]);
    }
    report.text(table);
    for problem in &summary.problems {
        report.line(format_args!("\nproblem: {problem}"));
    }
}
