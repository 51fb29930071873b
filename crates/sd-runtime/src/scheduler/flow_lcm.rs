//! Latent consistency models of flow matching, equal to diffusers' `FlowMatchLCMScheduler`.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::flow::{Keys, Stream};
use super::flow_euler::renoise;
use super::options::{Take, WalkOptions};
use super::walk::{Course, Scheduler};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::FlowMatchLcm,
    class: "FlowMatchLCMScheduler",
    name: "flow-lcm",
    aliases: &["flow-match-lcm"],
    label: "Flow LCM",
    summary: "Latent consistency for flow matching: few steps, for models distilled for it",
    near: &[],
    family: Family::Flow,
    betas: None,
    takes: &[Take::Timesteps, Take::Sigmas, Take::Mu],
    keys: &keys::FLOW_MATCH_LCM,
    words: &[],
    check: |_| Ok(()),
    build: |config, options| Ok(Box::new(FlowLcm::new(config, options)?)),
};

/// An LCM walk of flow matching.
#[derive(Debug)]
struct FlowLcm {
    stream: Stream,
}

impl FlowLcm {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        Ok(Self { stream: Stream::single(config, &Keys::of(config)?, options)? })
    }
}

impl Scheduler for FlowLcm {
    fn course(&self) -> &dyn Course {
        &self.stream
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn RandomSource,
    ) -> Result<()> {
        let step = self.stream.admit(step_index, model_output, sample)?;
        let (from, to) = self.stream.ends(step);
        renoise(from, to, model_output, sample, noise);
        Ok(())
    }
}
