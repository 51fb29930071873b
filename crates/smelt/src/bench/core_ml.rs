//! Packages that Core ML runs, measured: it tells no steps and no memory, but what it means to run where.

use std::path::Path;
use std::time::Instant;

use sd_convert::verify::random_inputs;
use serde::Serialize;

use super::measure::{Benchmark, median};
use crate::core_ml::{self, PlanFacts};
use crate::error::{Context, Result, refuse};
use crate::package::{inputs_of, open_package};

/// How fast Core ML runs a package.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct MeasuredByCoreMl {
    /// The package.
    pub package: String,
    /// What Core ML may use: `all`, `cpu`, `gpu` or `ne`.
    pub device: &'static str,
    /// Time to open and load it, and to compile it where the cache did not have it.
    pub load_s: f64,
    /// Time to load it once more.
    pub load_again_s: f64,
    /// Median of the runs.
    pub median_s: f64,
    /// The fastest run.
    pub min_s: f64,
    /// The slowest run.
    pub max_s: f64,
    /// What runs where, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanFacts>,
}

impl Benchmark {
    /// Measures a package that Core ML runs.
    ///
    /// # Errors
    /// On systems without Core ML, for a profile, which it does not tell, and for packages that it cannot open or run.
    pub fn run_by_core_ml(&self, path: &Path) -> Result<MeasuredByCoreMl> {
        self.engine.check_system()?;
        self.engine.check()?;
        if self.profile {
            refuse!(
                "Core ML does not tell how long each step takes, so --profile is for --engine cpu; --plan tells what \
                     it runs where"
            );
        }
        let cannot = || format!("cannot run {}", path.display());
        let begin = Instant::now();
        let package = open_package(path)?;
        let mut engine = core_ml::open(&package, None, &self.engine)?;
        let load_s = begin.elapsed().as_secs_f64();
        let plan = self.plan.then(|| PlanFacts::of_engine(path, &engine, &self.engine)).transpose()?;
        let inputs = random_inputs(&inputs_of(&engine), None, self.seed)?;
        engine.unload();
        // The first run loads the model, and warms up.
        let begin = Instant::now();
        engine.run_once(&inputs).with_context(cannot)?;
        let first = begin.elapsed().as_secs_f64();
        let mut times = Vec::new();
        for _ in 0..self.runs {
            let begin = Instant::now();
            engine.run_once(&inputs).with_context(cannot)?;
            times.push(begin.elapsed().as_secs_f64());
        }
        let median_s = median(times.clone());
        Ok(MeasuredByCoreMl {
            package: path.display().to_string(),
            device: core_ml::units(&self.engine).name(),
            load_s,
            load_again_s: (first - median_s).max(0.0),
            median_s,
            min_s: times.iter().copied().fold(f64::INFINITY, f64::min),
            max_s: times.iter().copied().fold(0.0, f64::max),
            plan,
        })
    }
}
