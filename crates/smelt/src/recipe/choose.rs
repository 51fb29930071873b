//! A choice for every weight, so that a goal is met.

use std::collections::BTreeMap;

use mil_compress::assign::{Assignment, Group, within_bytes, within_loss};
use mil_compress::{Plan, Scheme};

use super::weighed::{Part, Way, Weighed, estimate, groups, weigh};
use super::{Choosing, Goal, psnr_db, size};
use crate::analysis::Analysis;
use crate::error::{Result, refuse};
use crate::report::ChoiceReport;
use crate::units::bytes;
use crate::watch::{Watch, warn};

/// Weights to choose for; whatever can be refused without their losses was.
#[derive(Debug)]
pub(crate) struct Chooser {
    goal: Goal,
    /// The weights of each part.
    weights: Vec<Vec<Weighed>>,
    /// Largest magnitude of the output, where losses were measured there.
    peak: Option<f64>,
    /// Bytes of what is copied.
    others: u64,
}

/// What was chosen: plans for each part.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) plans: Vec<Vec<Plan>>,
    pub(crate) report: ChoiceReport,
}

/// Times that a size is tried before the last that fits is taken: what a program says of its weights differs by some hundred
/// bytes each.
const TRIES: usize = 8;

impl Chooser {
    /// Looks at the weights and what was asked for; `others` are bytes that are written beside the parts.
    pub(crate) fn new(asked: &Choosing, parts: &[Part<'_>], others: u64) -> Result<Self> {
        asked.goal.check(asked.analysis.is_some())?;
        let analysis = asked.analysis.as_deref().map(Analysis::read).transpose()?;
        if let Some(shard) = analysis.as_ref().and_then(|analysis| analysis.shard) {
            refuse!(
                "--analysis is shard {} of {}, and has only some of the weights; put them together",
                shard.index,
                shard.of
            );
        }
        let peak = analysis.as_ref().map(|analysis| analysis.peak);
        if let (Goal::Psnr(_), Some(peak)) = (asked.goal, peak.filter(|peak| !peak.is_normal() || *peak < 0.0)) {
            refuse!("--psnr is a ratio to the largest magnitude of the output, which is {peak} in the analysis");
        }
        let weights = weigh(parts, &asked.schemes, analysis.as_ref())?;
        let chooser = Self { goal: asked.goal, weights, peak, others };
        chooser.check_possible(parts)?;
        Ok(chooser)
    }

    /// Refuses sizes and means below what the smallest schemes come to.
    fn check_possible(&self, parts: &[Part<'_>]) -> Result<()> {
        match self.goal {
            Goal::MeanBits(mean) => {
                for (part, weights) in parts.iter().zip(&self.weights) {
                    let least: u64 =
                        weights.iter().map(|w| w.ways.iter().map(|way| way.bytes).min().unwrap_or(0)).sum();
                    let bits = (least + left_bytes(part)) as f64 * 8.0 / n_elements(part).max(1) as f64;
                    if bits > mean {
                        refuse!(
                            "{}: --mean-bits {mean} is not possible: the smallest schemes come to {bits:.2}",
                            part.name
                        );
                    }
                }
            }
            Goal::Fit(limit) => {
                let smallest: Vec<usize> = self.weights.iter().flatten().map(smallest).collect();
                let least = self.total(parts, &self.plans(parts, &smallest)?)?;
                if least > limit {
                    refuse!("--fit {} is not possible: with the smallest schemes it is {}", bytes(limit), bytes(least));
                }
            }
            Goal::Psnr(_) => {}
        }
        Ok(())
    }

    /// Chooses; without an analysis the weights are read for it.
    pub(crate) fn choose(mut self, parts: &[Part<'_>], watch: &mut dyn Watch) -> Result<Chosen> {
        if self.peak.is_none() {
            warn(
                watch,
                "what is lost is estimated from the weights alone, as if all mattered alike; smelt analyse measures it, and \
                 --analysis FILE takes what it found",
            )?;
            estimate(parts, &mut self.weights, watch)?;
        }
        let (found, planned_bytes) = match self.goal {
            Goal::MeanBits(mean) => (self.by_part(parts, mean)?, None),
            Goal::Psnr(floor) => (self.within_psnr(floor)?, None),
            Goal::Fit(limit) => {
                let (found, planned) = self.fit(parts, limit)?;
                (found, Some(planned))
            }
        };
        if found.gap > 0.0 {
            let share =
                100.0 * found.gap / if matches!(self.goal, Goal::Psnr(_)) { found.bytes as f64 } else { found.loss };
            warn(watch, &format!("the choice may not be the very best: it is proven to be within {share:.3} % of it"))?;
        }
        let plans = self.plans(parts, &found.chosen)?;
        let mut schemes = BTreeMap::new();
        for (weight, &i) in self.weights.iter().flatten().zip(&found.chosen) {
            *schemes.entry(weight.ways[i].scheme.to_string()).or_insert(0) += 1;
        }
        let psnr_db = self.peak.map(|peak| psnr_db(peak, found.loss)).filter(|db| db.is_finite());
        let (estimated, loss, gap) = (self.peak.is_none(), found.loss, found.gap);
        Ok(Chosen { plans, report: ChoiceReport { schemes, estimated, loss, psnr_db, planned_bytes, gap } })
    }

    /// The best for each part by itself.
    fn by_part(&self, parts: &[Part<'_>], mean: f64) -> Result<Assignment> {
        let mut all = Assignment { chosen: Vec::new(), bytes: 0, loss: 0.0, gap: 0.0 };
        for (part, weights) in parts.iter().zip(&self.weights) {
            let budget = (mean * n_elements(part) as f64 / 8.0) as u64;
            let budget = budget.saturating_sub(left_bytes(part));
            let Some(found) = within_bytes(&groups(weights, |way| way.bytes), budget) else {
                refuse!("{}: --mean-bits {mean} is not possible with the schemes that suit its weights", part.name);
            };
            all.chosen.extend(found.chosen);
            (all.bytes, all.loss, all.gap) = (all.bytes + found.bytes, all.loss + found.loss, all.gap + found.gap);
        }
        Ok(all)
    }

    fn within_psnr(&self, floor: f64) -> Result<Assignment> {
        let peak = self.peak.unwrap_or_default();
        let found = within_loss(&self.groups(|way| way.bytes), peak * peak / 10f64.powf(floor / 10.0));
        match found {
            Some(found) => Ok(found),
            None => refuse!("--psnr {floor} is not possible"),
        }
    }

    /// The best of a size, and how large that is to the byte.
    fn fit(&self, parts: &[Part<'_>], limit: u64) -> Result<(Assignment, u64)> {
        let groups = self.groups(|way| way.footprint);
        let mut found: Option<(Assignment, u64)> = None;
        // What comes beside the weights is not known before they are chosen; each try tells it better.
        let mut beside = self.others;
        for _ in 0..TRIES {
            let Some(next) = within_bytes(&groups, limit.saturating_sub(beside)) else { break };
            let total = self.total(parts, &self.plans(parts, &next.chosen)?)?;
            let is_better = found.as_ref().is_none_or(|(best, _)| next.loss < best.loss);
            let is_repeated = found.as_ref().is_some_and(|(best, _)| best.chosen == next.chosen);
            let now = total.saturating_sub(next.bytes);
            if total <= limit && is_better {
                found = Some((next, total));
            }
            if is_repeated || now == beside {
                break;
            }
            // Two choices that call for each other would go on for ever: from the second fit on it only grows.
            beside = if found.is_some() { beside.max(now) } else { now.max(beside + 1) };
        }
        match found {
            Some(found) => Ok(found),
            None => refuse!("--fit {} is not possible with the schemes that suit the weights", bytes(limit)),
        }
    }

    fn groups(&self, bytes: impl Fn(&Way) -> u64 + Copy) -> Vec<Group> {
        groups(self.weights.iter().flatten(), bytes)
    }

    /// Plans for a choice.
    fn plans(&self, parts: &[Part<'_>], chosen: &[usize]) -> Result<Vec<Vec<Plan>>> {
        let schemes: Vec<Scheme> =
            self.weights.iter().flatten().zip(chosen).map(|(weight, &i)| weight.ways[i].scheme.scheme()).collect();
        let mut rest = &schemes[..];
        let mut plans = Vec::new();
        for part in parts {
            let mut here = Vec::new();
            for (program, plan) in part.programs() {
                let (own, others) = rest.split_at(plan.len());
                rest = others;
                here.push(plan.with_schemes(program, part.config, own)?);
            }
            plans.push(here);
        }
        Ok(plans)
    }

    /// Bytes of everything that is written.
    fn total(&self, parts: &[Part<'_>], plans: &[Vec<Plan>]) -> Result<u64> {
        let sizes = parts.iter().zip(plans).map(|(part, plans)| size::planned(part, plans));
        Ok(self.others + sizes.sum::<Result<u64>>()?)
    }
}

impl Goal {
    fn check(self, is_measured: bool) -> Result<()> {
        match self {
            Self::MeanBits(mean) if !(mean.is_finite() && mean > 0.0) => {
                refuse!("--mean-bits {mean} is no number of bits; 4.04 would be")
            }
            Self::Psnr(floor) if !floor.is_finite() => refuse!("--psnr {floor} is no ratio in dB; 30 would be"),
            Self::Psnr(_) if !is_measured => refuse!(
                "--psnr needs --analysis FILE: what is lost at the model's output cannot be told from the weights alone; smelt \
                 analyse measures it"
            ),
            _ => Ok(()),
        }
    }
}

/// The way that adds least to a package.
fn smallest(weight: &Weighed) -> usize {
    let ways = weight.ways.iter().enumerate();
    ways.min_by_key(|(_, way)| way.footprint).map_or(0, |(i, _)| i)
}

/// Elements of all weights that a report counts.
fn n_elements(part: &Part<'_>) -> u64 {
    let all = part.plans.iter().flat_map(|plan| plan.weights().chain(plan.left_weights()));
    all.map(|weight| weight.n_elements()).sum()
}

/// Bytes of those that are left whatever is chosen.
fn left_bytes(part: &Part<'_>) -> u64 {
    part.plans.iter().flat_map(Plan::left_weights).map(|weight| weight.bytes).sum()
}
