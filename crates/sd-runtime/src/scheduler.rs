//! Schedulers: the walk from noise to latents, equal to diffusers' step by step.
//!
//! A [`SchedulerConfig`] is the checkpoint's `scheduler_config.json`; [`SchedulerConfig::build`] makes a [`Scheduler`] for a number of steps.
//! One file is one scheduler, with keys, defaults and refusals of its own; the table knows them all (`docs/adding-a-scheduler.md`).
//! Tables are computed where diffusers computes them (f32 for alphas, f64 for interpolated sigmas), samples in f32.
//! A scheduler holds at most four earlier outputs and two samples, whatever the number of steps.
//! Random numbers are the caller's: a scheduler that adds noise draws it from the source that a step is given.

mod alphas;
mod beta;
mod build;
mod config;
mod ddim;
mod ddpm;
mod deis;
mod distilled;
mod dpm_solver;
mod dpm_solver_sde;
mod dpm_solver_singlestep;
mod dpmpp_2s_ancestral;
mod edm;
mod edm_dpm_solver;
mod edm_euler;
mod entry;
mod euler;
mod euler_ancestral;
mod flow;
mod flow_euler;
mod flow_heun;
mod flow_lcm;
mod gains;
mod heun;
mod ipndm;
mod kdpm2;
mod kdpm2_ancestral;
mod ladder;
mod lcm;
mod linear;
mod lms;
mod options;
mod pndm;
mod rectify;
mod rungs;
mod sa_solver;
mod sampler;
mod schedule;
mod settle;
mod spread;
mod table;
mod tcd;
#[cfg(test)]
mod tests;
mod unipc;
mod walk;

pub use config::{BetaSchedule, PredictionType, SchedulerConfig, TimestepSpacing};
pub use entry::SchedulerKind;
pub use options::{Churn, WalkOptions};
pub use sampler::Sampler;
pub use spread::Spread;
pub use walk::{Course, Scheduler};
