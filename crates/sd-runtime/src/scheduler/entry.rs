//! What a scheduler's file says of it to the table.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::options::{Take, WalkOptions};
use super::walk::Scheduler;
use crate::error::Result;

/// The schedulers implemented here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchedulerKind {
    /// Pseudo linear multistep (PLMS), with Runge–Kutta steps where asked for: the default of SD 1.x.
    Pndm,
    /// DPM-Solver and DPM-Solver++ multistep of orders 1 to 3, as ODE and SDE.
    DpmSolverMultistep,
    /// Denoising diffusion implicit models.
    Ddim,
    /// Euler's method on the probability-flow ODE.
    EulerDiscrete,
    /// The same with noise added after each step.
    EulerAncestralDiscrete,
    /// Heun's method.
    HeunDiscrete,
    /// Linear multistep.
    LmsDiscrete,
    /// DPM-Solver-2 by Karras et al.
    Kdpm2Discrete,
    /// The same with noise added after each step.
    Kdpm2AncestralDiscrete,
    /// DPM-Solver++ of second order as SDE, two evaluations for each step.
    DpmSolverSde,
    /// DPM-Solver++ of second order with noise added after each step, two evaluations for each.
    Dpmpp2sAncestral,
    /// DPM-Solver and DPM-Solver++ in single steps.
    DpmSolverSinglestep,
    /// Exponential integrator.
    DeisMultistep,
    /// Unified predictor and corrector.
    UniPcMultistep,
    /// Stochastic Adams.
    SaSolver,
    /// Ancestral sampling of denoising diffusion probabilistic models.
    Ddpm,
    /// Latent consistency models.
    Lcm,
    /// Trajectory consistency distillation.
    Tcd,
    /// Euler's method for flow matching.
    FlowMatchEulerDiscrete,
    /// Heun's method for flow matching.
    FlowMatchHeunDiscrete,
    /// Latent consistency models of flow matching.
    FlowMatchLcm,
    /// Euler's method for models of Karras et al.
    EdmEuler,
    /// DPM-Solver++ for models of Karras et al.
    EdmDpmSolverMultistep,
    /// Improved pseudo linear multistep.
    Ipndm,
}

/// The noise that models were trained with, as far as it decides which schedulers can draw with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Betas, as Stable Diffusion 1.x, 2.x and XL.
    Betas,
    /// A scheduler for betas that can follow flow matching's sigmas too.
    BetasOrFlow,
    /// Flow matching, as Stable Diffusion 3.
    Flow,
    /// Preconditioned models of Karras et al.
    Edm,
    /// A sine over a time from 1 to 0.
    Sine,
}

/// One scheduler: its names, its keys, and how it is built.
pub(super) struct Entry {
    pub(super) kind: SchedulerKind,
    /// The diffusers class, as `_class_name` spells it; for a scheduler that diffusers lacks, a name like one.
    pub(super) class: &'static str,
    /// The short name: on command lines, in JSON and in the settings of pictures.
    pub(super) name: &'static str,
    /// Other short names that are read, and never written.
    pub(super) aliases: &'static [&'static str],
    /// The name that AUTOMATIC1111's web UI shows, or one in its manner.
    pub(super) label: &'static str,
    /// What it is, in a line.
    pub(super) summary: &'static str,
    /// Classes that are not implemented and for which it is the nearest, without `Scheduler`.
    pub(super) near: &'static [&'static str],
    /// Which models it is for.
    pub(super) family: Family,
    /// Betas of files that leave them out, where they are not diffusers' usual ones: first, last and the curve's word.
    pub(super) betas: Option<(f64, f64, &'static str)>,
    /// Which of the options of a walk it takes that only some do.
    pub(super) takes: &'static [Take],
    /// What becomes of each key of its configuration.
    pub(super) keys: &'static keys::Table,
    /// What is said of keys of its own.
    pub(super) words: &'static [Words],
    /// Reads its own keys, which a file may have for another class.
    pub(super) check: fn(&SchedulerConfig) -> Result<()>,
    /// A walk as the options say; the configuration has no keys but those of the table.
    pub(super) build: fn(&SchedulerConfig, &WalkOptions) -> Result<Box<dyn Scheduler>>,
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
