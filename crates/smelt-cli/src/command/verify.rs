//! `smelt verify`: a package against its checkpoint or another package, on random inputs.

use std::process::ExitCode;

use anyhow::Result;
use smelt::{At, CHECK_SIZE, Look, Verdict, Verification, VerifiedOutput, VerifyReport};

use crate::cli::VerifyArgs;
use crate::report::{Report, Table, decibels};
use crate::screen::Screen;

pub(super) fn run(args: &VerifyArgs, report: &Report) -> Result<ExitCode> {
    let verification = Verification {
        role: args.role,
        opening: (&args.opening).into(),
        seed: args.seed,
        min_psnr: args.min_psnr,
        rounding: args.rounding.map(Into::into),
        engine: args.engine.spec(),
    };
    verification.fetch(&args.package, &args.against, &mut Screen::new(report))?;
    let found = verification.run(&args.package, &args.against, &mut Screen::new(report))?;
    tell(args, report, &found);
    report.json(&found)?;
    Ok(if found.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(args: &VerifyArgs, report: &Report, found: &VerifyReport) {
    tell_outputs(report, &found.verdicts, &found.outputs);
    let many = found.verdicts.len() > 1;
    found.verdicts.iter().for_each(|verdict| tell_function(report, verdict, many));
    let (here, there) = (args.package.display().to_string(), args.against.to_string());
    for (names, has, lacks) in [(&found.only_in_package, &here, &there), (&found.only_in_against, &there, &here)] {
        names.iter().for_each(|name| {
            report.line(format_args!("  {has} has a function {name}, and {lacks} has none"));
        });
    }
    let agrees = found.agrees();
    let verdict = if agrees { "agrees with" } else { "does not agree with" };
    let does = match found.verdicts.iter().filter_map(|v| v.look.as_ref()).any(Look::is_overflow) {
        false => "makes values that are not finite",
        true => "overflows half precision on a device",
    };
    let but = match (found.overflows(), agrees) {
        (false, _) => String::new(),
        (true, true) => format!(", but {does}"),
        (true, false) => format!(", and {does}"),
    };
    report.line(format_args!("{here} {verdict} {there} at {} dB{but}", args.min_psnr));
    if let Some(command) = &found.cure {
        report.line(format_args!("convert it in float32:\n  {command}"));
    }
}

fn tell_outputs(report: &Report, verdicts: &[Verdict], outputs: &[VerifiedOutput]) {
    let many = verdicts.len() > 1;
    let mut table = Table::new(2, if many { "<<<><" } else { "<<><" });
    let all = verdicts.iter().flat_map(|v| &v.comparisons);
    for (comparison, output) in all.zip(outputs) {
        let verdict = if output.passed { "" } else { "too low" };
        let (name, shape) = (output.name.clone(), format!("{:?}", output.shape));
        let (decibels, verdict) = (decibels(comparison.psnr_db), verdict.to_owned());
        match many {
            true => table.row([output.function.clone(), name, shape, decibels, verdict]),
            false => table.row([name, shape, decibels, verdict]),
        }
    }
    report.text(table);
}

/// What there is to say of a function besides how near it came.
fn tell_function(report: &Report, verdict: &Verdict, many: bool) {
    let of = if many { format!("{}: ", verdict.function) } else { String::new() };
    if let Some(found) = &verdict.found {
        report.line(format_args!("  {of}the first operation that is not finite: {found}"));
    }
    let Some(look) = &verdict.look else { return };
    let what = match &look.at {
        At::Package => "rounded as a device rounds".to_owned(),
        At::Checkpoint { flops } => format!(
            "rounded as a device rounds, the checkpoint's at {CHECK_SIZE} latents (the package itself is not run so, \
             for it takes {:.0} GFLOP)",
            flops / 1e9
        ),
        At::Nothing(why) => {
            return report.line(format_args!("  {of}half precision was not looked at: {why}"));
        }
    };
    match &look.found {
        Some(found) => report.line(format_args!("  {of}{what}: {found}")),
        None => {
            let all: Vec<String> =
                look.comparisons.iter().map(|c| format!("{} {}", c.output, decibels(c.psnr_db))).collect();
            report.line(format_args!("  {of}{what}: {}; nothing overflows", all.join(", ")));
        }
    }
}
