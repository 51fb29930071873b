//! Improved PNDM: linear multistep for models whose noise follows a sine and whose time runs from 1 to 0, equal to
//! diffusers' `IPNDMScheduler`.

use sd_spec::keys;

use super::entry::{Entry, Family, SchedulerKind};
use super::options::WalkOptions;
use super::schedule::torch_linspace;
use super::walk::{Course, History, Scheduler, StepGuard, mix};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::Ipndm,
    class: "IPNDMScheduler",
    name: "ipndm",
    aliases: &[],
    label: "IPNDM",
    summary: "Improved pseudo linear multistep, for models with a sine schedule",
    near: &[],
    family: Family::Sine,
    betas: None,
    takes: &[],
    keys: &keys::IPNDM,
    words: &[],
    check: |_| Ok(()),
    build: |_, options| Ok(Box::new(Ipndm::new(options))),
};

/// An IPNDM walk.
#[derive(Debug)]
struct Ipndm {
    timesteps: Vec<f32>,
    /// Noise of each step of the whole walk, and none at its end.
    betas: Vec<f32>,
    /// Signal of each.
    alphas: Vec<f32>,
    skipped: usize,
    outputs: History,
    guard: StepGuard,
}

impl Ipndm {
    fn new(options: &WalkOptions) -> Self {
        let n = options.steps;
        let sine = |step: f32| (step * std::f32::consts::PI / 2.0).sin();
        let steps = torch_linspace(1.0, 0.0, n + 1);
        let betas: Vec<f32> = steps.into_iter().map(|step| sine(step) * sine(step)).collect();
        let alphas: Vec<f32> = betas.iter().map(|beta| (1.0 - beta * beta).max(0.0).sqrt()).collect();
        let angle = |(beta, alpha): (&f32, &f32)| beta.atan2(*alpha) / std::f32::consts::PI * 2.0;
        let timesteps = betas.iter().zip(&alphas).take(n).skip(options.start).map(angle).collect();
        Self { timesteps, betas, alphas, skipped: options.start, outputs: History::new(4), guard: StepGuard::default() }
    }
}

impl Course for Ipndm {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, step_index: usize, clean: &[f32], noise: &mut [f32]) {
        match step_index < self.timesteps.len() {
            true => mix(self.alphas[step_index + self.skipped], clean, self.betas[step_index + self.skipped], noise),
            false => noise.copy_from_slice(clean),
        }
    }
}

impl Scheduler for Ipndm {
    fn course(&self) -> &dyn Course {
        self
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        _: &mut dyn RandomSource,
    ) -> Result<()> {
        self.guard.admit(self.timesteps.len(), step_index, model_output, sample)?;
        let step = step_index + self.skipped;
        let (alpha, beta) = (self.alphas[step], self.betas[step]);
        let (next_alpha, next_beta) = (self.alphas[step + 1], self.betas[step + 1]);
        self.outputs.push(sample.iter().zip(model_output).map(|(x, out)| x * beta + out * alpha).collect());
        let e = |back: usize| self.outputs.ago(back);
        for (i, x) in sample.iter_mut().enumerate() {
            let slope = match self.outputs.len() {
                1 => e(0)[i],
                2 => (3.0 * e(0)[i] - e(1)[i]) / 2.0,
                3 => (23.0 * e(0)[i] - 16.0 * e(1)[i] + 5.0 * e(2)[i]) / 12.0,
                _ => (1.0 / 24.0) * (55.0 * e(0)[i] - 59.0 * e(1)[i] + 37.0 * e(2)[i] - 9.0 * e(3)[i]),
            };
            let clean = (*x - beta * slope) / alpha.max(1e-8);
            *x = next_alpha * clean + slope * next_beta;
        }
        Ok(())
    }
}
