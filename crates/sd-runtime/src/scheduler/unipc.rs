//! UniPC: a multistep predictor whose every step is corrected by the next output (arXiv 2302.04867), equal to diffusers'
//! `UniPCMultistepScheduler`.

use sd_spec::keys;
use serde::Deserialize;

use super::config::{PredictionType, SchedulerConfig};
use super::entry::{Entry, Family, SchedulerKind};
use super::linear::solve;
use super::options::{Take, WalkOptions};
use super::rectify::Rectify;
use super::rungs::{End, FlowLayout, Layout, Rungs};
use super::schedule::SigmaKeys;
use super::walk::{Course, History, Scheduler, blend};
use crate::error::{Result, RuntimeError};
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::UniPcMultistep,
    class: "UniPCMultistepScheduler",
    name: "unipc",
    aliases: &["uni-pc"],
    label: "UniPC",
    summary: "Unified predictor and corrector of second order",
    near: &["Helios", "HeliosDMD"],
    family: Family::BetasOrFlow,
    betas: None,
    takes: &[Take::Sigmas, Take::Mu],
    keys: &keys::UNI_PC_MULTISTEP,
    words: &[],
    check: |config| SigmaKeys::of(config).and(config.own::<Keys>()).map(drop),
    build: |config, options| Ok(Box::new(UniPc::new(config, options)?)),
};

/// Keys of its own.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    solver_order: usize,
    /// Whether outputs become clean samples, and not noise.
    predict_x0: bool,
    /// `bh1` or `bh2`; the names of other solvers mean `bh2`.
    solver_type: String,
    lower_order_final: bool,
    /// Steps that are not corrected.
    disable_corrector: Vec<i64>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            solver_order: 2,
            predict_x0: true,
            solver_type: "bh2".to_owned(),
            lower_order_final: true,
            disable_corrector: Vec::new(),
        }
    }
}

/// What B(h) is in the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    /// h
    Bh1,
    /// eʰ − 1
    Bh2,
}

/// A UniPC walk.
#[derive(Debug)]
struct UniPc {
    rungs: Rungs,
    prediction: PredictionType,
    takes_clean: bool,
    basis: Basis,
    order: usize,
    lower_order_final: bool,
    uncorrected: Vec<i64>,
    rectify: Rectify,
    history: History,
    /// The sample before the last step, and that step's order.
    last: Option<(Vec<f32>, usize)>,
}

impl UniPc {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        let layout = Layout { end: End::AskedOrLast, flow: FlowLayout::FromOne, ..Layout::default() };
        let rungs = Rungs::of(config, options, layout)?;
        let basis = if keys.solver_type == "bh1" { Basis::Bh1 } else { Basis::Bh2 };
        let refuse = |option: String, next: &str| {
            Err(RuntimeError::SchedulerUnsupported { scheduler: ENTRY.class, option, next: next.to_owned() })
        };
        if rungs.ends_at_zero() && basis == Basis::Bh1 {
            return refuse(
                "solver_type \"bh1\" with final_sigmas_type \"zero\"".to_owned(),
                "its last step has no end; choose \"bh2\", or \"sigma_min\"",
            );
        }
        if rungs.ends_at_zero() && !keys.predict_x0 {
            return refuse(
                "predict_x0 false with final_sigmas_type \"zero\"".to_owned(),
                "its last step would divide by zero; choose \"sigma_min\"",
            );
        }
        if rungs.ends_at_zero() && !keys.lower_order_final && keys.solver_order > 1 && rungs.len() > 1 {
            return refuse(
                "lower_order_final false with final_sigmas_type \"zero\"".to_owned(),
                "its last step has no end; choose lower_order_final true, or \"sigma_min\"",
            );
        }
        Ok(Self {
            prediction: config.prediction_type,
            takes_clean: keys.predict_x0,
            basis,
            order: keys.solver_order,
            lower_order_final: keys.lower_order_final,
            uncorrected: keys.disable_corrector,
            rectify: Rectify::of(config, None)?,
            history: History::new(keys.solver_order),
            last: None,
            rungs,
        })
    }

    /// Goes from the level of the step `from` to that of the next, by outputs so far and perhaps the one at the end.
    fn go(&self, from: usize, order: usize, sample: &mut [f32], output_at_end: Option<&[f32]>) {
        let lambda = |step: usize| f64::from(self.rungs.level(step).lambda);
        let (start, end) = (self.rungs.level(from), self.rungs.level(from + 1));
        let h = lambda(from + 1) - lambda(from);
        if h == 0.0 {
            return;
        }
        let hh = if self.takes_clean { -h } else { h };
        let growth = hh.exp_m1();
        let b_h = if self.basis == Basis::Bh1 { hh } else { growth };
        // Where earlier outputs stand, in lengths of this step.
        let mut ratios: Vec<f64> = (1..order).map(|back| (lambda(from - back) - lambda(from)) / h).collect();
        ratios.push(1.0);
        let weights = match output_at_end {
            None => predictor_weights(&ratios[..order - 1], hh, b_h),
            Some(_) if order == 1 => vec![0.5],
            Some(_) => solve_for(&ratios, hh, b_h),
        };
        let (keep, gain) = if self.takes_clean {
            (f64::from(end.sigma) / f64::from(start.sigma), f64::from(end.alpha))
        } else {
            (f64::from(end.alpha) / f64::from(start.alpha), f64::from(end.sigma))
        };
        let m0 = self.history.ago(0);
        let mut of_m0 = -gain * growth;
        let mut terms: Vec<(f64, &[f32])> = Vec::with_capacity(order + 1);
        for (i, weight) in weights.iter().enumerate() {
            let factor = -gain * b_h * weight / ratios[i];
            let output = match output_at_end {
                Some(end) if i + 1 == order => end,
                _ => self.history.ago(i + 1),
            };
            terms.push((factor, output));
            of_m0 -= factor;
        }
        terms.push((of_m0, m0));
        blend(sample, keep, &terms);
    }
}

/// Weights of the predictor for the differences to `ratios.len()` earlier outputs.
fn predictor_weights(ratios: &[f64], hh: f64, b_h: f64) -> Vec<f64> {
    match ratios.len() {
        0 => Vec::new(),
        // As diffusers: the paper's exact solution is left for its limit.
        1 => vec![0.5],
        _ => solve_for(ratios, hh, b_h),
    }
}

/// Solves the paper's conditions of as many orders as there are ratios.
fn solve_for(ratios: &[f64], hh: f64, b_h: f64) -> Vec<f64> {
    let n = ratios.len();
    let rows = (0..n).map(|power| ratios.iter().map(|r| r.powi(power as i32)).collect()).collect();
    let (mut phi, mut factorial) = (hh.exp_m1() / hh - 1.0, 1.0);
    let mut right = Vec::with_capacity(n);
    for i in 1..=n {
        right.push(phi * factorial / b_h);
        factorial *= (i + 1) as f64;
        phi = phi / hh - 1.0 / factorial;
    }
    solve(rows, right)
}

impl Scheduler for UniPc {
    fn course(&self) -> &dyn Course {
        &self.rungs
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        _: &mut dyn RandomSource,
    ) -> Result<()> {
        let step = self.rungs.admit(step_index, model_output, sample)?;
        let output = if self.takes_clean {
            let mut clean = self.rungs.clean(step, self.prediction, model_output, sample);
            self.rectify.apply(&mut clean);
            clean
        } else {
            self.rungs.noise(step, self.prediction, model_output, sample)
        };
        let corrects = |step: usize| i64::try_from(step).is_ok_and(|step| !self.uncorrected.contains(&(step - 1)));
        if let Some((before, order)) = self.last.take()
            && corrects(step)
        {
            sample.copy_from_slice(&before);
            self.go(step - 1, order, sample, Some(&output));
        }
        self.history.push(output);
        let left = self.rungs.len() - step;
        let most = if self.lower_order_final { self.order.min(left) } else { self.order };
        let order = most.min(self.history.len());
        let before = sample.to_vec();
        self.go(step, order, sample, None);
        self.last = Some((before, order));
        Ok(())
    }
}
