//! Euler's method for flow matching, equal to diffusers' `FlowMatchEulerDiscreteScheduler`.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::flow::{Keys, Stream};
use super::options::{Take, WalkOptions};
use super::walk::{Course, Scheduler, add_draws};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::FlowMatchEulerDiscrete,
    class: "FlowMatchEulerDiscreteScheduler",
    name: "flow-euler",
    aliases: &["flow-match-euler"],
    label: "Flow Euler",
    summary: "Euler's method for flow matching, as Stable Diffusion 3",
    near: &["FlowMapEulerDiscrete", "LTXEulerAncestralRF", "SCM"],
    family: Family::Flow,
    betas: None,
    takes: &[Take::Timesteps, Take::Sigmas, Take::Mu],
    keys: &keys::FLOW_MATCH_EULER_DISCRETE,
    words: &[],
    check: |_| Ok(()),
    build: |config, options| Ok(Box::new(FlowEuler::new(config, options)?)),
};

/// An Euler walk of flow matching.
#[derive(Debug)]
struct FlowEuler {
    stream: Stream,
    /// Whether each step goes to the clean sample and back under fresh noise.
    is_stochastic: bool,
}

impl FlowEuler {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys = Keys::of(config)?;
        Ok(Self { stream: Stream::single(config, &keys, options)?, is_stochastic: keys.stochastic_sampling })
    }
}

impl Scheduler for FlowEuler {
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
        if self.is_stochastic {
            renoise(from, to, model_output, sample, noise);
            return Ok(());
        }
        let dt = to - from;
        sample.iter_mut().zip(model_output).for_each(|(x, out)| *x += dt * out);
        Ok(())
    }
}

/// To the clean sample, and back to a sigma under fresh noise; draws also where sigma is 0.
pub(super) fn renoise(from: f32, to: f32, output: &[f32], sample: &mut [f32], noise: &mut dyn RandomSource) {
    sample.iter_mut().zip(output).for_each(|(x, out)| *x = (1.0 - to) * (*x - from * out));
    add_draws(sample, f64::from(to), noise);
}
