//! `smelt bench`: how fast models run here, and how close that is to what the machine can do.
//!
//! Inputs are the same in every run, so that a UNet's run is a step of a picture whose text has been seen before.
//! The machine's peak is measured before and after every run: on shared machines it wanders, and only the ratio says
//! something.

mod flame;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use safe_files::Outputs;
use sd_convert::verify::random_inputs;
use sd_engines::{MilEngine, PlanSummary, Profile};
use serde::Serialize;

use super::{inputs_of, open_package};
use crate::cli::BenchArgs;
use crate::report::{Report, Table, bytes};

/// How long the peak is measured at a time.
const PEAK_SECONDS: f64 = 0.1;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    isa: String,
    compute: &'static str,
    threads: usize,
    models: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    package: String,
    load_s: f64,
    median_s: f64,
    min_s: f64,
    max_s: f64,
    gflop: f64,
    gflops: f64,
    /// GFLOP/s of multiplications and additions in f32 that nothing else limits, all threads together.
    peak_gflops: f64,
    share_of_peak: f64,
    weight_bytes: u64,
    result_bytes: u64,
    /// Anonymous memory of the process after the runs, where the system tells.
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    profile: Vec<Line>,
}

/// One line of a profile: a step, or all steps of a kernel.
#[derive(Debug, Clone, Serialize)]
struct Line {
    name: String,
    kernel: &'static str,
    detail: String,
    seconds: f64,
    gflop: f64,
}

pub(super) fn run(args: &BenchArgs, report: &Report) -> Result<ExitCode> {
    args.engine.check_has_plans()?;
    let packages = packages(&args.package)?;
    let mut outputs = Outputs::new();
    packages.iter().try_for_each(|path| outputs.reads("the package", path))?;
    let svg = args.svg.as_deref().map(|path| outputs.file("--svg", path)).transpose()?;
    report.make_way(&outputs)?;
    let mut models = Vec::new();
    let (mut isa, mut threads) = (String::new(), 0);
    for path in &packages {
        let spinner = report.spinner(&path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()));
        let (model, plans) = measure(args, path)?;
        spinner.finish_and_clear();
        if let Some((_, plan)) = plans.first() {
            (isa, threads) = (plan.isa.to_string(), plan.threads);
        }
        models.push(model);
    }
    let compute = args.engine.compute.name();
    tell(args, report, &format!("{isa} in {compute}"), threads, &models);
    if let Some(svg) = &svg {
        let all: Vec<Line> = models.iter().flat_map(|m| m.profile.iter().cloned()).collect();
        crate::file::write(svg, |out| Ok(out.write_all(flame::draw(&all).as_bytes())?))?;
        report.line(format_args!("wrote {svg}"));
    }
    report.json(&Summary { isa, compute, threads, models })?;
    Ok(ExitCode::SUCCESS)
}

/// The package itself, or those of a directory.
fn packages(path: &Path) -> Result<Vec<PathBuf>> {
    if path.extension().is_some_and(|e| e == "mlpackage") || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let path = &sd_convert::hub::resolve(path)?;
    let found = smelt::model_dir::packages(path)?;
    if found.is_empty() {
        bail!(super::not_wanted(path, sd_convert::place::Wanted::Packages));
    }
    Ok(found)
}

fn measure(args: &BenchArgs, path: &Path) -> Result<(Model, Vec<(String, PlanSummary)>)> {
    let cannot = || format!("cannot run {}", path.display());
    let begin = Instant::now();
    let package = open_package(path)?;
    let options = args.engine.cpu().with_context(cannot)?;
    let engine = MilEngine::from_model(package.model(), options).with_context(cannot)?;
    let load_s = begin.elapsed().as_secs_f64();
    let plans = engine.plans();
    let inputs = random_inputs(&inputs_of(&engine), None, args.seed)?;
    engine.run_once(&inputs).with_context(cannot)?;
    let (mut times, mut peaks) = (Vec::new(), vec![peak(&plans)]);
    let mut profiles = Vec::new();
    for _ in 0..args.runs {
        let begin = Instant::now();
        let (_, profile) = engine.profile(&inputs).with_context(cannot)?;
        times.push(begin.elapsed().as_secs_f64());
        peaks.push(peak(&plans));
        profiles.push(profile);
    }
    // Each run beside the mean of the peaks around it.
    let gflop = plans.iter().map(|(_, p)| p.flops()).sum::<f64>() / 1e9;
    let shares = times.iter().zip(peaks.windows(2)).map(|(t, p)| gflop / t / ((p[0] + p[1]) / 2.0)).collect();
    let median_s = median(times.clone());
    let profile = if args.profile || args.svg.is_some() { lines(&plans, &profiles) } else { Vec::new() };
    let model = Model {
        package: path.display().to_string(),
        load_s,
        median_s,
        min_s: times.iter().copied().fold(f64::INFINITY, f64::min),
        max_s: times.iter().copied().fold(0.0, f64::max),
        gflop,
        gflops: gflop / median_s,
        peak_gflops: median(peaks),
        share_of_peak: median(shares),
        weight_bytes: plans.iter().map(|(_, p)| p.weight_bytes as u64).sum(),
        result_bytes: plans.iter().map(|(_, p)| (p.arena_bytes + p.scratch_bytes + p.kept_bytes) as u64).sum(),
        memory_bytes: memory(),
        profile,
    };
    Ok((model, plans))
}

/// What all threads together reach when nothing but arithmetic limits them.
pub(super) fn peak(plans: &[(String, PlanSummary)]) -> f64 {
    let Some((_, plan)) = plans.first() else { return f64::NAN };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..plan.threads).map(|_| scope.spawn(|| plan.isa.peak_gflops(PEAK_SECONDS))).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).sum()
    })
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 { f64::NAN } else { (values[(n - 1) / 2] + values[n / 2]) / 2.0 }
}

/// Anonymous memory of this process now; pages of mapped weights belong to the page cache.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = |key: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches("kB").trim().parse().ok()
    };
    Some((kib("RssAnon:")? + kib("RssShmem:")?) * 1024)
}

/// The steps of all plans with the median of their times.
fn lines(plans: &[(String, PlanSummary)], profiles: &[Vec<Profile>]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (p, (_, plan)) in plans.iter().enumerate() {
        // Steady steps were done by the run that warmed up.
        for (i, step) in plan.steps.iter().enumerate().filter(|(_, step)| !step.steady) {
            let times = profiles.iter().filter_map(|run| run.get(p)?.seconds.get(i).copied()).collect();
            lines.push(Line {
                name: step.name.clone(),
                kernel: step.kernel,
                detail: step.detail.clone(),
                seconds: median(times),
                gflop: step.flops / 1e9,
            });
        }
    }
    lines
}

fn tell(args: &BenchArgs, report: &Report, how: &str, threads: usize, models: &[Model]) {
    report.line(format_args!("{how}, {threads} threads; shares are of the peak in f32 measured between the runs"));
    let mut table = Table::new(2, "<>>>>>>>>");
    table.row(["", "load", "median", "range", "GFLOP/s", "share", "weights", "results", "memory"].map(String::from));
    for m in models {
        let name = Path::new(&m.package).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        table.row([
            name,
            time(m.load_s),
            time(m.median_s),
            format!("{}–{}", time(m.min_s), time(m.max_s)),
            format!("{:.0}", m.gflops),
            format!("{:.2}", m.share_of_peak),
            bytes(m.weight_bytes),
            bytes(m.result_bytes),
            m.memory_bytes.map_or_else(|| "?".into(), bytes),
        ]);
    }
    report.text(table);
    if args.profile {
        models.iter().for_each(|m| tell_profile(report, m));
    }
}

fn time(seconds: f64) -> String {
    if seconds < 0.9995 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

fn tell_profile(report: &Report, model: &Model) {
    let total: f64 = model.profile.iter().map(|l| l.seconds).sum();
    let mut by_kernel: Vec<(&str, usize, f64, f64)> = Vec::new();
    for l in &model.profile {
        match by_kernel.iter_mut().find(|k| k.0 == l.kernel) {
            Some(k) => (k.1, k.2, k.3) = (k.1 + 1, k.2 + l.seconds, k.3 + l.gflop),
            None => by_kernel.push((l.kernel, 1, l.seconds, l.gflop)),
        }
    }
    by_kernel.sort_by(|a, b| b.2.total_cmp(&a.2));
    report.line(format_args!("\n{}", model.package));
    let of_peak = |gflop: f64, seconds: f64| format!("{:.2}", gflop / seconds / model.peak_gflops);
    let mut table = Table::new(2, "<>>>>");
    table.row(["kernel", "steps", "time", "of all", "of peak"].map(String::from));
    for (kernel, n, seconds, gflop) in by_kernel {
        let share = format!("{:.1} %", 100.0 * seconds / total);
        table.row([kernel.to_owned(), n.to_string(), time(seconds), share, of_peak(gflop, seconds)]);
    }
    report.text(table);
    let mut top = model.profile.clone();
    top.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let mut table = Table::new(2, ">>><<");
    table.row(["time", "of all", "of peak", "step", ""].map(String::from));
    for l in top.iter().take(20) {
        let share = format!("{:.1} %", 100.0 * l.seconds / total);
        table.row([time(l.seconds), share, of_peak(l.gflop, l.seconds), l.name.clone(), l.detail.clone()]);
    }
    report.text(table);
}
