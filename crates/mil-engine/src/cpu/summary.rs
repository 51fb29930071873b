//! Plans and profiles as data, for people and machines.

use super::{plan::Planned, precision::Precision};
use crate::Isa;
use std::fmt;

/// A plan in words and numbers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PlanSummary {
    /// The instruction set.
    pub isa: Isa,
    /// What products round their operands to.
    pub precision: Precision,
    /// Threads.
    pub threads: usize,
    /// Steps in their order.
    pub steps: Vec<StepSummary>,
    /// Bytes for everything that is computed in every run.
    pub arena_bytes: usize,
    /// Bytes of what steady steps compute and others read: it is kept from run to run.
    pub kept_bytes: usize,
    /// Bytes of scratch of all threads.
    pub scratch_bytes: usize,
    /// Bytes of weights, as they are kept or lie in their file.
    pub weight_bytes: usize,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepSummary {
    /// Name of the operation at whose place it stands.
    pub name: String,
    /// What executes it.
    pub kernel: &'static str,
    /// Shapes and encodings.
    pub detail: String,
    /// Floating-point operations; of convolutions those of the direct form.
    pub flops: f64,
    /// Operations of the program that it stands for.
    pub ops: usize,
    /// Whether it is done only when the steady inputs have changed.
    pub steady: bool,
}

/// How long each step of a plan took.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// Seconds, in the order of [`PlanSummary::steps`].
    pub seconds: Vec<f64>,
}

impl PlanSummary {
    pub(super) fn new(planned: &Planned, (isa, precision): (Isa, Precision), threads: usize) -> Self {
        let steps = planned.steps.iter().enumerate().map(|(i, s)| StepSummary {
            name: s.name.clone(),
            kernel: s.kernel,
            detail: s.detail.clone(),
            flops: s.flops,
            ops: s.stands_for,
            steady: i < planned.n_steady,
        });
        Self {
            isa,
            precision,
            threads,
            steps: steps.collect(),
            arena_bytes: planned.arena_floats * 4,
            kept_bytes: planned.kept_bytes,
            scratch_bytes: threads * super::threads::pitch(planned.scratch) * 4,
            weight_bytes: planned.weight_bytes,
        }
    }

    /// Floating-point operations of a run whose steady inputs are those of the run before.
    #[must_use]
    pub fn flops(&self) -> f64 {
        self.flops_of(false)
    }

    /// Floating-point operations that a run does besides when the steady inputs have changed.
    #[must_use]
    pub fn steady_flops(&self) -> f64 {
        self.flops_of(true)
    }

    fn flops_of(&self, steady: bool) -> f64 {
        self.steps.iter().filter(|s| s.steady == steady).map(|s| s.flops).sum()
    }
}

impl fmt::Display for PlanSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: usize| bytes as f64 / 1e6;
        writeln!(
            f,
            "{} steps on {} in {} with {} threads: {:.2} GFLOP, {:.1} MB of weights, {:.1} MB of results, {:.1} MB of scratch",
            self.steps.len(),
            self.isa,
            self.precision,
            self.threads,
            self.flops() / 1e9,
            mb(self.weight_bytes),
            mb(self.arena_bytes),
            mb(self.scratch_bytes),
        )?;
        let n_steady = self.steps.iter().filter(|s| s.steady).count();
        if n_steady > 0 {
            let gflop = self.steady_flops() / 1e9;
            let kept = mb(self.kept_bytes);
            writeln!(f, "the first {n_steady} steps are steady: {gflop:.2} GFLOP once, {kept:.1} MB of results kept")?;
        }
        for (i, s) in self.steps.iter().enumerate() {
            let (gflop, when) = (s.flops / 1e9, if s.steady { "once " } else { "" });
            writeln!(f, "{i:5}  {when}{:11} {gflop:9.4} GFLOP {:3} ops  {}  {}", s.kernel, s.ops, s.name, s.detail)?;
        }
        Ok(())
    }
}
