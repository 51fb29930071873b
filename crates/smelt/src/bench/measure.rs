//! Runs that are measured, with the machine's peak around each.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sd_checkpoint::hub;
use sd_checkpoint::place::Wanted;
use sd_convert::verify::random_inputs;
use sd_engines::{MilEngine, PlanSummary, Profile};
use serde::Serialize;

use crate::engine::{EngineKind, EngineSpec};
use crate::error::{Context, Result, refuse};
use crate::model_dir::folder;
use crate::package::{inputs_of, is_named_as_package, not_wanted, open_package};

/// How long the peak is measured at a time.
const PEAK_SECONDS: f64 = 0.1;

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Benchmark {
    /// Measured runs, after one to warm up.
    pub runs: u16,
    /// Seed of the random inputs.
    pub seed: u64,
    /// Tell which steps the time goes to.
    pub profile: bool,
    /// Tell what Core ML runs where.
    pub plan: bool,
    /// What executes the packages.
    pub engine: EngineSpec,
}

impl Default for Benchmark {
    fn default() -> Self {
        Self { runs: 5, seed: 0, profile: false, plan: false, engine: EngineSpec::default() }
    }
}

/// How fast a package runs.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Measured {
    /// The instruction set.
    #[serde(skip)]
    pub isa: String,
    /// Threads that ran.
    #[serde(skip)]
    pub threads: usize,
    /// The package.
    pub package: String,
    /// Time to open and plan it.
    pub load_s: f64,
    /// Median of the runs.
    pub median_s: f64,
    /// The fastest run.
    pub min_s: f64,
    /// The slowest run.
    pub max_s: f64,
    /// Floating-point operations of a run, in 1e9.
    pub gflop: f64,
    /// The same for each second.
    pub gflops: f64,
    /// GFLOP/s of multiplications and additions in f32 that nothing else limits, all threads together.
    pub peak_gflops: f64,
    /// Median of the share of the peak that was measured around each run.
    pub share_of_peak: f64,
    /// Bytes of its weights.
    pub weight_bytes: u64,
    /// Bytes of results that live while it runs.
    pub result_bytes: u64,
    /// Anonymous memory of the process after the runs, where the system tells.
    pub memory_bytes: Option<u64>,
    /// Which steps the time goes to, where it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<ProfileLine>,
}

/// One line of a profile: a step, or all steps of a kernel.
#[derive(Debug, Clone, Serialize)]
pub struct ProfileLine {
    /// Its name.
    pub name: String,
    /// What computes it.
    pub kernel: &'static str,
    /// Shapes and the like.
    pub detail: String,
    /// Median of its times.
    pub seconds: f64,
    /// Floating-point operations of a run, in 1e9.
    pub gflop: f64,
}

impl Benchmark {
    /// Measures a package.
    ///
    /// # Errors
    /// For engines without a plan, and for packages that cannot be opened or run.
    pub fn run(&self, path: &Path) -> Result<Measured> {
        self.check()?;
        let cannot = || format!("cannot run {}", path.display());
        let begin = Instant::now();
        let package = open_package(path)?;
        let engine =
            MilEngine::from_model(package.model(), self.engine.cpu().with_context(cannot)?).with_context(cannot)?;
        let load_s = begin.elapsed().as_secs_f64();
        let plans = engine.plans();
        let inputs = random_inputs(&inputs_of(&engine), None, self.seed)?;
        engine.run_once(&inputs).with_context(cannot)?;
        let (mut times, mut peaks) = (Vec::new(), vec![peak(&plans)]);
        let mut profiles = Vec::new();
        for _ in 0..self.runs {
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
        let profile = if self.profile { lines(&plans, &profiles) } else { Vec::new() };
        Ok(Measured {
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
            isa: plans.first().map_or_else(String::new, |(_, plan)| plan.isa.to_string()),
            threads: plans.first().map_or(0, |(_, plan)| plan.threads),
        })
    }
}

impl Benchmark {
    /// The package itself, or those of a directory or of the bundle in it.
    ///
    /// # Errors
    /// For engines without a plan, and for a directory without packages.
    pub fn packages(&self, path: &Path) -> Result<Vec<PathBuf>> {
        match self.engine.kind {
            EngineKind::CoreMl => self.engine.check_system()?,
            _ => self.check()?,
        }
        packages(path)
    }

    /// Refuses engines whose steps nobody can measure, and a plan of another engine than Core ML.
    fn check(&self) -> Result<()> {
        self.engine.check_has_plans()?;
        if self.plan {
            refuse!(
                "bench --plan is for --engine coreml; smelt inspect --plan tells the fast engine's, and --profile its times"
            );
        }
        Ok(())
    }
}

/// The package itself, or those of a directory.
fn packages(path: &Path) -> Result<Vec<PathBuf>> {
    if is_named_as_package(path) || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let path = &hub::resolve(path)?;
    match folder(path)? {
        Some(folder) => crate::model_dir::packages(&folder),
        None => Err(not_wanted(path, Wanted::Packages).into()),
    }
}

/// What all threads together reach when nothing but arithmetic limits them.
pub(crate) fn peak(plans: &[(String, PlanSummary)]) -> f64 {
    let Some((_, plan)) = plans.first() else { return f64::NAN };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..plan.threads).map(|_| scope.spawn(|| plan.isa.peak_gflops(PEAK_SECONDS))).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).sum()
    })
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
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
fn lines(plans: &[(String, PlanSummary)], profiles: &[Vec<Profile>]) -> Vec<ProfileLine> {
    let mut lines = Vec::new();
    for (p, (_, plan)) in plans.iter().enumerate() {
        // Steady steps were done by the run that warmed up.
        for (i, step) in plan.steps.iter().enumerate().filter(|(_, step)| !step.steady) {
            let times = profiles.iter().filter_map(|run| run.get(p)?.seconds.get(i).copied()).collect();
            lines.push(ProfileLine {
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
