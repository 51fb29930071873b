//! `smelt bench`: how fast models run here, and how close that is to what the machine can do.

mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use safe_files::Outputs;
use serde::Serialize;
use smelt::EngineKind;
use smelt::bench::{Benchmark, Measured, MeasuredByCoreMl, ProfileLine, flame_graph};

use super::inspect::plan;
use crate::cli::BenchArgs;
use crate::file;
use crate::report::{Report, Table, bytes};

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    isa: String,
    compute: &'static str,
    threads: usize,
    models: Vec<Measured>,
}

pub(super) fn run(args: &BenchArgs, report: &Report) -> Result<ExitCode> {
    let Some(package) = args.package.as_deref().filter(|_| !args.table) else { return table::run(args, report) };
    let benchmark = Benchmark {
        runs: args.runs,
        seed: args.seed,
        profile: args.profile || args.svg.is_some(),
        plan: args.plan,
        engine: args.engine.spec(),
    };
    let packages = benchmark.packages(package)?;
    if args.engine.engine == EngineKind::CoreMl {
        return by_core_ml(&benchmark, &packages, report);
    }
    let mut outputs = Outputs::new();
    packages.iter().try_for_each(|path| outputs.reads("the package", path))?;
    let svg = args.svg.as_deref().map(|path| outputs.file("--svg", path)).transpose()?;
    report.make_way(&outputs)?;
    let mut models = Vec::new();
    for path in &packages {
        let spinner = report.spinner(&path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()));
        models.push(benchmark.run(path)?);
        spinner.finish_and_clear();
    }
    let (isa, threads) = models.last().map_or_else(Default::default, |m| (m.isa.clone(), m.threads));
    let compute = args.engine.compute.name();
    tell(args, report, &format!("{isa} in {compute}"), threads, &models);
    if let Some(svg) = &svg {
        let all: Vec<ProfileLine> = models.iter().flat_map(|m| m.profile.iter().cloned()).collect();
        file::write(svg, |out| Ok(out.write_all(flame_graph(&all).as_bytes())?))?;
        report.line(format_args!("wrote {svg}"));
    }
    report.json(&Summary { isa, compute, threads, models })?;
    Ok(ExitCode::SUCCESS)
}

/// What `--json` prints of packages that Core ML ran.
#[derive(Serialize)]
struct SummaryOfCoreMl {
    models: Vec<MeasuredByCoreMl>,
}

fn by_core_ml(benchmark: &Benchmark, packages: &[PathBuf], report: &Report) -> Result<ExitCode> {
    let mut models = Vec::new();
    for path in packages {
        let spinner = report.spinner(&path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()));
        models.push(benchmark.run_by_core_ml(path)?);
        spinner.finish_and_clear();
    }
    let mut table = Table::new(2, "<<>>>>");
    table.row(["", "device", "load", "load again", "median", "range"].map(String::from));
    for m in &models {
        let range = format!("{}–{}", time(m.min_s), time(m.max_s));
        let [load, again, median] = [m.load_s, m.load_again_s, m.median_s].map(time);
        table.row([file::stem(Path::new(&m.package)), m.device.to_owned(), load, again, median, range]);
    }
    report.text(table);
    models.iter().filter_map(|m| m.plan.as_ref()).for_each(|plan| plan::tell(plan, report));
    report.json(&SummaryOfCoreMl { models })?;
    Ok(ExitCode::SUCCESS)
}

fn tell(args: &BenchArgs, report: &Report, how: &str, threads: usize, models: &[Measured]) {
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

fn tell_profile(report: &Report, model: &Measured) {
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
