//! What a scheduler's file says of it to the table.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::walk::Scheduler;
use crate::error::Result;

/// The schedulers implemented here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchedulerKind {
    /// Pseudo linear multistep (PLMS) without Runge-Kutta steps: the default of SD 1.x.
    Pndm,
    /// DPM-Solver++ multistep of order 1 or 2.
    DpmSolverMultistep,
    /// Denoising diffusion implicit models, deterministic (eta 0).
    Ddim,
    /// Euler's method on the probability-flow ODE.
    EulerDiscrete,
}

/// One scheduler: its names, its keys, and how it is built.
pub(super) struct Entry {
    pub(super) kind: SchedulerKind,
    /// The diffusers class, as `_class_name` spells it.
    pub(super) class: &'static str,
    /// The short name: on command lines, in JSON and in the settings of pictures.
    pub(super) name: &'static str,
    /// Other short names that are read, and never written.
    pub(super) aliases: &'static [&'static str],
    /// What it is, in a line.
    pub(super) summary: &'static str,
    /// Classes that are not implemented and for which it is the nearest, without `Scheduler`.
    pub(super) near: &'static [&'static str],
    /// What becomes of each key of its configuration.
    pub(super) keys: &'static keys::Table,
    /// What is said of keys of its own.
    pub(super) words: &'static [Words],
    /// A value that the noise schedule has for any scheduler and this one cannot follow: the key and the value.
    pub(super) refuses: fn(&SchedulerConfig) -> Option<(&'static str, &'static str)>,
    /// Reads its own keys, which a file may have for another class.
    pub(super) check: fn(&SchedulerConfig) -> Result<()>,
    /// A walk of a number of steps, without the first few.
    pub(super) build: fn(&SchedulerConfig, usize, usize) -> Result<Box<dyn Scheduler>>,
}

/// What is said of a key that only one scheduler has.
pub(super) struct Words {
    pub(super) key: &'static str,
    /// What a value that is refused would mean, before key and value.
    pub(super) meaning: &'static str,
    /// What is done in place of such a value by a scheduler that was asked for by name.
    pub(super) instead: &'static str,
    /// What is said of a file of the class that leaves the key out, if anything.
    pub(super) absent: Option<&'static str>,
}
