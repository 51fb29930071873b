//! Heun's method for flow matching, equal to diffusers' `FlowMatchHeunDiscreteScheduler`.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::flow::{Keys, Stream};
use super::options::WalkOptions;
use super::walk::{Course, Scheduler};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::FlowMatchHeunDiscrete,
    class: "FlowMatchHeunDiscreteScheduler",
    name: "flow-heun",
    aliases: &["flow-match-heun"],
    label: "Flow Heun",
    summary: "Heun's method for flow matching, two evaluations for each step",
    near: &[],
    family: Family::Flow,
    betas: None,
    takes: &[],
    keys: &keys::FLOW_MATCH_HEUN_DISCRETE,
    words: &[],
    check: |_| Ok(()),
    build: |config, options| Ok(Box::new(FlowHeun::new(config, options)?)),
};

/// A walk of flow matching by Heun's method.
#[derive(Debug)]
struct FlowHeun {
    stream: Stream,
    /// The sample and the velocity at the step's beginning, between its two calls.
    begun: Option<(Vec<f32>, Vec<f32>)>,
}

impl FlowHeun {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys = Keys::of(config)?;
        Ok(Self { stream: Stream::double(config, &keys, options)?, begun: None })
    }
}

impl Scheduler for FlowHeun {
    fn course(&self) -> &dyn Course {
        &self.stream
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        _: &mut dyn RandomSource,
    ) -> Result<()> {
        let call = self.stream.admit(step_index, model_output, sample)?;
        let (from, to) = self.stream.ends(call / 2);
        let dt = to - from;
        match self.begun.take().filter(|_| call % 2 == 1) {
            Some((first, velocity)) => {
                for (((x, first), a), b) in sample.iter_mut().zip(first).zip(velocity).zip(model_output) {
                    *x = first + 0.5 * (a + b) * dt;
                }
            }
            None => {
                self.begun = Some((sample.to_vec(), model_output.to_vec()));
                sample.iter_mut().zip(model_output).for_each(|(x, out)| *x += dt * out);
            }
        }
        Ok(())
    }
}
