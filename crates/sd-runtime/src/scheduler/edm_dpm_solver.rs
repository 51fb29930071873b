//! DPM-Solver++ for EDM's models, equal to diffusers' `EDMDPMSolverMultistepScheduler`.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::dpm_solver::{Ends, Keys, second_order, third_order};
use super::edm::EdmWalk;
use super::entry::{Entry, Family, SchedulerKind};
use super::gains::{Algorithm, SecondOrder, multistep};
use super::options::WalkOptions;
use super::rectify::Rectify;
use super::rungs::Level;
use super::walk::{Course, History, Scheduler, add_draws};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::EdmDpmSolverMultistep,
    class: "EDMDPMSolverMultistepScheduler",
    name: "edm-dpmpp-2m",
    aliases: &[],
    label: "EDM DPM++ 2M",
    summary: "DPM-Solver++ of second order, for EDM's models",
    near: &[],
    family: Family::Edm,
    betas: None,
    takes: &[],
    keys: &keys::EDM_DPM_SOLVER_MULTISTEP,
    words: &[],
    check: |_| Ok(()),
    build: |config, options| Ok(Box::new(EdmDpmSolver::new(config, options)?)),
};

/// A DPM-Solver++ walk of an EDM model.
#[derive(Debug)]
struct EdmDpmSolver {
    walk: EdmWalk,
    algorithm: Algorithm,
    order: usize,
    kind: SecondOrder,
    ends: Ends,
    rectify: Rectify,
    history: History,
}

impl EdmDpmSolver {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        let walk = EdmWalk::of(config, options)?;
        let algorithm = Algorithm::named(&keys.algorithm_type).unwrap_or(Algorithm::DpmPlusPlus);
        if algorithm.draws() && keys.solver_order > 2 {
            return Err(third_order(&keys, ENTRY.class));
        }
        let ends_at_zero = walk.sigma(walk.len()) == 0.0;
        Ok(Self {
            algorithm,
            order: keys.solver_order,
            kind: second_order(keys.solver_type.as_deref()),
            ends: Ends::of(walk.len(), keys.lower_order_final, keys.euler_at_final, ends_at_zero),
            rectify: Rectify::of(config, None)?,
            history: History::new(keys.solver_order),
            walk,
        })
    }
}

impl Scheduler for EdmDpmSolver {
    fn course(&self) -> &dyn Course {
        &self.walk
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn RandomSource,
    ) -> Result<()> {
        let step = self.walk.admit(step_index, model_output, sample)?;
        let mut clean = self.walk.clean(self.walk.sigma(step), model_output, sample);
        self.rectify.apply(&mut clean);
        self.history.push(clean);
        let order = self.history.len().min(self.ends.most(step, self.walk.len())).min(self.order);
        let level = |step: usize| Level::unscaled(self.walk.sigma(step));
        let outputs: Vec<_> = (0..order).map(|back| (level(step - back), self.history.ago(back))).collect();
        let gains = multistep(sample, self.algorithm, self.kind, level(step + 1), &outputs);
        if self.algorithm.draws() {
            add_draws(sample, f64::from(gains.noise), noise);
        }
        Ok(())
    }
}
