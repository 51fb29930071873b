//! Schedulers: the walk from noise to latents, equal to diffusers' step by step.
//!
//! A [`SchedulerConfig`] is the checkpoint's `scheduler_config.json`; [`SchedulerConfig::build`] makes a [`Scheduler`] for a number of steps.
//! One file is one scheduler, with keys, defaults and refusals of its own; the table knows them all (`docs/adding-a-scheduler.md`).
//! Tables are computed where diffusers computes them (f32 for alphas, f64 for interpolated sigmas), samples in f32.
//! A scheduler holds at most four earlier outputs, whatever the number of steps.
//! Stochastic samplers (ancestral, SDE) are not here.

mod build;
mod config;
mod ddim;
mod dpm_solver;
mod entry;
mod euler;
mod pndm;
mod schedule;
mod settle;
mod table;
#[cfg(test)]
mod tests;
mod walk;

pub use config::{BetaSchedule, PredictionType, SchedulerConfig, TimestepSpacing};
pub use entry::SchedulerKind;
pub use walk::Scheduler;
