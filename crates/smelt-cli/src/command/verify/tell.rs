//! The verdict, as text and as `--json`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use mil::Opset;
use mlpackage::Package;
use sd_convert::half::CHECK_SIZE;
use sd_convert::verify::{Comparison, reference_options};
use sd_convert::{Interface, Options, Role, has_sizes};
use sd_engines::Cause;
use serde::Serialize;

use super::functions::Pairing;
use super::half::{At, Look};
use super::{Against, Verdict, role_of};
use crate::cli::VerifyArgs;
use crate::report::{Report, Table, decibels};
use smelt::half_precision::{Overflow, cure};

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    package: String,
    against: String,
    seed: u64,
    min_psnr_db: f64,
    passed: bool,
    outputs: Vec<Output>,
    /// A look at each function in half precision, where it computes in it and no rounding was asked for.
    half_precision: Vec<Half>,
    /// The first operation that made values which are not finite in the rounding that was asked for, of each function.
    not_finite: Vec<NotFinite>,
    /// What to type against an overflow.
    cure: Option<String>,
    /// Functions that the other model does not have.
    only_in_package: Vec<String>,
    only_in_against: Vec<String>,
}

#[derive(Serialize)]
struct Output {
    function: String,
    name: String,
    shape: Vec<usize>,
    /// Null when the tensors are identical, or cannot be compared because of values that are not finite.
    psnr_db: Option<f64>,
    identical: bool,
    passed: bool,
}

#[derive(Serialize)]
struct Half {
    function: String,
    /// `package`, or `checkpoint` where its component was run at a small size; null when nobody looked.
    of: Option<&'static str>,
    /// Size of the latents, where it is not the package's own.
    latent_size: Option<String>,
    /// Why nobody looked.
    why_not: Option<String>,
    overflow: Option<Overflow>,
    outputs: Vec<HalfOutput>,
}

#[derive(Serialize)]
struct HalfOutput {
    name: String,
    shape: Vec<usize>,
    psnr_db: Option<f64>,
    identical: bool,
}

#[derive(Serialize)]
struct NotFinite {
    function: String,
    #[serde(flatten)]
    first: Overflow,
}

pub(super) fn tell(
    args: &VerifyArgs,
    report: &Report,
    package: &Package,
    against: &Against,
    pairing: Pairing,
    verdicts: Vec<Verdict>,
) -> Result<ExitCode> {
    let outputs: Vec<Output> = verdicts.iter().flat_map(|v| outputs_of(v, args.min_psnr)).collect();
    let agrees = outputs.iter().all(|o| o.passed) && pairing.is_complete();
    let overflows = verdicts.iter().filter_map(|v| v.look.as_ref()).any(|look| look.found.is_some());
    let cure = overflows.then(|| cure_of(args, package, against, &verdicts)).flatten();
    let passed = agrees && !overflows;
    tell_outputs(report, &verdicts, &outputs);
    let many = verdicts.len() > 1;
    verdicts.iter().for_each(|verdict| tell_function(report, verdict, many));
    for (names, has, lacks) in
        [(&pairing.only_here, &args.package, &args.against), (&pairing.only_there, &args.against, &args.package)]
    {
        names.iter().for_each(|name| {
            report.line(format_args!("  {} has a function {name}, and {} has none", has.display(), lacks.display()));
        });
    }
    let verdict = if agrees { "agrees with" } else { "does not agree with" };
    let is_constant = |look: &Look| look.found.as_ref().is_none_or(|f| matches!(f.cause, Cause::Constant { .. }));
    let does = match verdicts.iter().filter_map(|v| v.look.as_ref()).all(is_constant) {
        true => "makes values that are not finite",
        false => "overflows half precision on a device",
    };
    let but = match (overflows, agrees) {
        (false, _) => String::new(),
        (true, true) => format!(", but {does}"),
        (true, false) => format!(", and {does}"),
    };
    let (here, there) = (args.package.display(), args.against.display());
    report.line(format_args!("{here} {verdict} {there} at {} dB{but}", args.min_psnr));
    if let Some(command) = &cure {
        report.line(format_args!("convert it in float32:\n  {command}"));
    }
    report.json(&Summary {
        package: args.package.display().to_string(),
        against: args.against.display().to_string(),
        seed: args.seed,
        min_psnr_db: args.min_psnr,
        passed,
        outputs,
        half_precision: verdicts.iter().filter_map(half_of).collect(),
        not_finite: verdicts.iter().filter_map(not_finite_of).collect(),
        cure,
        only_in_package: pairing.only_here,
        only_in_against: pairing.only_there,
    })?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell_outputs(report: &Report, verdicts: &[Verdict], outputs: &[Output]) {
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

/// The command that converts the component in full precision; what is not known of it is left to be filled in.
fn cure_of(args: &VerifyArgs, package: &Package, against: &Against, verdicts: &[Verdict]) -> Option<String> {
    let is_cured = |look: &Look| look.found.as_ref().is_some_and(|f| !matches!(f.cause, Cause::Constant { .. }));
    let verdict = verdicts.iter().find(|v| v.look.as_ref().is_some_and(is_cured))?;
    let role = role_of(args, &verdict.inputs).ok()?;
    let output = args.package.parent().unwrap_or(Path::new("."));
    let mut more = Vec::new();
    let opset = package.model().program().and_then(|p| p.functions.values().map(|f| f.opset).max());
    match opset {
        Some(Opset::CoreML7) => more.extend(["--target".to_owned(), "macOS14".to_owned()]),
        Some(opset) if opset >= Opset::CoreML8 => more.extend(["--target".to_owned(), "macOS15".to_owned()]),
        _ => {}
    }
    let Against::Checkpoint(checkpoint) = against else {
        return Some(cure(Path::new("CHECKPOINT"), output, role, &more));
    };
    let version = &package.model().description.metadata.version;
    if !version.is_empty() && *version != checkpoint.name() {
        more.extend(["--model-version".to_owned(), version.clone()]);
    }
    if has_sizes(role) && !is_of_default_size(checkpoint, role, verdicts) {
        let options = verdicts.iter().filter_map(|v| reference_options(checkpoint, role, &v.inputs).ok());
        let sizes: Vec<String> = options.filter_map(|o| Some(o.latent_size?.to_string())).collect();
        more.extend(["--latent-size".to_owned(), sizes.join(",")]);
    }
    Some(cure(checkpoint.root(), output, role, &more))
}

/// True when a conversion without a size makes what these functions take.
fn is_of_default_size(checkpoint: &sd_convert::Checkpoint, role: Role, verdicts: &[Verdict]) -> bool {
    let [only] = verdicts else { return false };
    Interface::new(checkpoint, role, &Options::default()).is_ok_and(|interface| {
        interface.inputs.iter().all(|f| {
            // The first dimension is the batch, which is no size.
            only.inputs.iter().any(|o| o.name == f.name && o.shape.get(1..) == f.shape.get(1..))
        })
    })
}

fn outputs_of(verdict: &Verdict, min_psnr: f64) -> impl Iterator<Item = Output> {
    verdict.comparisons.iter().map(move |c| Output {
        function: verdict.function.clone(),
        name: c.output.clone(),
        shape: c.shape.clone(),
        psnr_db: Some(c.psnr_db).filter(|db| db.is_finite()),
        identical: c.psnr_db == f64::INFINITY,
        passed: c.psnr_db >= min_psnr,
    })
}

fn half_of(verdict: &Verdict) -> Option<Half> {
    let look = verdict.look.as_ref()?;
    let (of, latent_size, why_not) = match &look.at {
        At::Package => (Some("package"), None, None),
        At::Checkpoint { .. } => (Some("checkpoint"), Some(CHECK_SIZE.to_string()), None),
        At::Nothing(why) => (None, None, Some(why.clone())),
    };
    let output = |c: &Comparison| HalfOutput {
        name: c.output.clone(),
        shape: c.shape.clone(),
        psnr_db: Some(c.psnr_db).filter(|db| db.is_finite()),
        identical: c.psnr_db == f64::INFINITY,
    };
    Some(Half {
        function: verdict.function.clone(),
        of,
        latent_size,
        why_not,
        overflow: look.found.as_ref().map(Overflow::from),
        outputs: look.comparisons.iter().map(output).collect(),
    })
}

fn not_finite_of(verdict: &Verdict) -> Option<NotFinite> {
    let first = Overflow::from(verdict.found.as_ref()?);
    Some(NotFinite { function: verdict.function.clone(), first })
}
