//! What this machine has, whether the engine computes rightly on it, and what to choose.
//!
//! Nothing is changed, and nothing but a matrix product is run.

mod advice;
mod self_test;

use crate::error::Result;
pub use crate::machine::{Disk, Machine, Memory, Processor};
use crate::watch::{self, Watch};
pub use advice::{Advice, Fit, FitVerdict};
pub use self_test::SelfTest;

/// What was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The machine.
    pub machine: Machine,
    /// `None` where it was left out, and where the engine does not start.
    pub self_test: Option<SelfTest>,
    /// What fits into memory.
    pub fits: Vec<Fit>,
    /// What to choose.
    pub advice: Vec<Advice>,
    /// What keeps models from running here.
    pub problems: Vec<String>,
}

/// Whether the engine is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// It computes a moment, and is compared with the plain one.
    Computed,
    /// It is left out.
    LeftOut,
}

/// Looks at this machine; `isa` names the instruction set that the engine is told to use.
///
/// # Errors
/// When the current directory cannot be told.
pub fn diagnose(trial: Trial, isa: Option<&str>, watch: &mut dyn Watch) -> Result<Diagnosis> {
    let machine = Machine::look(isa)?;
    let mut problems: Vec<String> = machine.processor.problem.iter().cloned().collect();
    let mut self_test = None;
    if trial == Trial::Computed && problems.is_empty() {
        watch::begin(watch, "computing")?;
        match self_test::run(isa) {
            Ok(done) => self_test = Some(done),
            Err(error) => problems.push(format!("the self-test fails: {}", error.chain())),
        }
        watch::end(watch)?;
    }
    if let Some(test) = self_test.as_ref().filter(|test| !test.right) {
        problems.push(format!(
            "the CPU engine computes wrongly on this machine ({:.0} dB against the plain engine); \
             use --engine reference, and report it with the output of smelt doctor --json",
            test.psnr_db.unwrap_or(f64::NEG_INFINITY)
        ));
    }
    Ok(Diagnosis {
        fits: advice::fits(&machine.memory),
        advice: advice::choose(&machine, self_test.as_ref()),
        machine,
        self_test,
        problems,
    })
}
