//! Weights with the ways to store them: what each takes and what each loses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use mil::Program;
use mil_compress::assign::{Choice, Group};
use mil_compress::{Config, Loss, Named, Plan, Scheme, stored_weights};
use mlpackage::{Model, Package, footprint};

use crate::analysis::{AnalysedWeight, Analysis};
use crate::error::{Context, Result, refusal, refuse};
use crate::units::count;
use crate::watch::{Event, Progress, Unit, Watch};

/// Palettes that are chosen among unless others are named; what a package's opset lacks is left out.
const USUAL: [&str; 6] = ["1", "2", "3", "4", "6", "8"];

/// A package whose weights are chosen for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    pub(crate) package: &'a Package,
    /// A plan for each program, of all weights that may be compressed.
    pub(crate) plans: &'a [Plan],
    pub(crate) config: &'a Config,
}

impl<'a> Part<'a> {
    pub(crate) fn model(&self) -> &'a Model {
        self.package.model()
    }

    /// The programs with their plans.
    pub(crate) fn programs(&self) -> impl Iterator<Item = (&'a Program, &'a Plan)> {
        self.model().programs().into_iter().zip(self.plans)
    }
}

/// A weight.
#[derive(Debug, Clone)]
pub(crate) struct Weighed {
    pub(crate) ways: Vec<Way>,
}

/// A way to store it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) scheme: Named,
    /// Bytes of the tensors that it is decoded from.
    pub(crate) bytes: u64,
    /// Bytes that these add to a package.
    pub(crate) footprint: u64,
    /// Not known yet where it is no number.
    pub(crate) loss: f64,
}

/// All weights of all parts, in their order.
pub(crate) fn weigh(parts: &[Part<'_>], asked: &[Named], analysis: Option<&Analysis>) -> Result<Vec<Vec<Weighed>>> {
    let known = analysis.map(|analysis| Known::new(analysis, parts)).transpose()?;
    let mut all = Vec::new();
    for part in parts {
        let mut here = Vec::new();
        for (program, plan) in part.programs() {
            let schemes = offered(part, program, asked, known.as_ref())?;
            for (i, weight) in plan.weights().enumerate() {
                let known = known.as_ref().map(|known| known.find(part, weight.name, weight.shape)).transpose()?;
                let way = |&scheme: &Named| {
                    let tensors = plan.tensors(program, i, &scheme.scheme())?;
                    let loss = known.map_or(Some(f64::NAN), |known| loss_of(known, scheme))?;
                    let bytes = |(dtype, n): &(mil::DType, usize)| dtype.byte_len(*n).unwrap_or(usize::MAX) as u64;
                    Some(Way {
                        scheme,
                        bytes: tensors.iter().map(bytes).sum(),
                        footprint: tensors.iter().map(|&(dtype, n)| footprint(dtype, n)).sum(),
                        loss,
                    })
                };
                let mut ways: Vec<Way> = schemes.iter().filter_map(way).collect();
                ways.push(kept(weight.bytes));
                here.push(Weighed { ways });
            }
        }
        all.push(here);
    }
    let is_taken =
        |scheme: &&Named| all.iter().flatten().any(|weight| weight.ways.iter().any(|way| way.scheme == **scheme));
    if let Some(scheme) = asked.iter().filter(|scheme| **scheme != Named::KEEP).find(|scheme| !is_taken(scheme)) {
        refuse!("no weight can have the scheme {scheme}: groups and blocks must divide the channels");
    }
    Ok(all)
}

/// A weight that is left.
fn kept(bytes: u64) -> Way {
    let n = usize::try_from(bytes).unwrap_or(usize::MAX);
    Way { scheme: Named::KEEP, bytes, footprint: footprint(mil::DType::U8, n), loss: 0.0 }
}

/// The schemes that a program can have.
fn offered(part: &Part<'_>, program: &Program, asked: &[Named], known: Option<&Known<'_>>) -> Result<Vec<Named>> {
    let plan = |scheme: &Named| Plan::new(program, &Config { global: scheme.scheme(), ..part.config.clone() });
    let mut asked: Vec<Named> = asked.iter().copied().filter(|scheme| scheme.scheme() != Scheme::Keep).collect();
    if asked.is_empty() {
        let usual: Vec<Named> = match known {
            Some(known) => known.schemes.values().copied().collect(),
            None => USUAL.iter().filter_map(|name| name.parse().ok()).collect(),
        };
        return Ok(usual.into_iter().filter(|scheme| plan(scheme).is_ok()).collect());
    }
    for scheme in &asked {
        plan(scheme)?;
        if let Some(known) = known.filter(|known| !known.schemes.contains_key(&scheme.to_string())) {
            let there: Vec<&str> = known.schemes.keys().map(String::as_str).collect();
            refuse!("the analysis has nothing of the scheme {scheme}; it has {}", there.join(", "));
        }
    }
    asked.dedup();
    Ok(asked)
}

fn loss_of(weight: &AnalysedWeight, scheme: Named) -> Option<f64> {
    let name = scheme.to_string();
    weight.choices.iter().find(|choice| choice.scheme == name).map(|choice| choice.loss)
}

/// An analysis that fits.
struct Known<'a> {
    weights: HashMap<&'a str, &'a AnalysedWeight>,
    /// All schemes that were looked at, by name.
    schemes: BTreeMap<String, Named>,
}

impl<'a> Known<'a> {
    fn new(analysis: &'a Analysis, parts: &[Part<'_>]) -> Result<Self> {
        let programs = parts.iter().flat_map(Part::programs);
        let there: BTreeSet<String> =
            programs.flat_map(|(program, _)| stored_weights(program)).map(|w| w.name).collect();
        let unknown: Vec<&str> =
            analysis.weights.iter().map(|w| w.name.as_str()).filter(|name| !there.contains(*name)).collect();
        if !unknown.is_empty() {
            let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
            refuse!(
                "the analysis, of {}, is of {}, which {} has not",
                analysis.model,
                some(&unknown),
                names.join(", ")
            );
        }
        let mut schemes = BTreeMap::new();
        for choice in analysis.weights.iter().flat_map(|weight| &weight.choices) {
            if !schemes.contains_key(&choice.scheme) {
                let scheme: Named = choice.scheme.parse().map_err(|e| refusal!("the analysis: {e}"))?;
                schemes.insert(choice.scheme.clone(), scheme);
            }
        }
        Ok(Self { weights: analysis.weights.iter().map(|w| (w.name.as_str(), w)).collect(), schemes })
    }

    fn find(&self, part: &Part<'_>, name: &str, shape: &[usize]) -> Result<&'a AnalysedWeight> {
        let Some(weight) = self.weights.get(name) else {
            refuse!(
                "{}: the analysis has nothing of {name}; it is of another model, or only this package's others were \
                 analysed: leave them with --skip, or analyse this package",
                part.name
            );
        };
        if weight.shape != shape {
            refuse!("{}: {name} has shape {shape:?}, and {:?} in the analysis", part.name, weight.shape);
        }
        Ok(weight)
    }
}

/// A few names of many.
fn some(names: &[&str]) -> String {
    const TOLD: usize = 3;
    let told = names.iter().take(TOLD).copied().collect::<Vec<_>>().join(", ");
    if names.len() > TOLD { format!("{told} and {}", count(names.len() - TOLD, "other weight")) } else { told }
}

/// Estimates what every way loses: the error of the weight over its energy, which is noise to signal at the output of its
/// operation, where that is given what has no preferred direction.
pub(crate) fn estimate(parts: &[Part<'_>], weights: &mut [Vec<Weighed>], watch: &mut dyn Watch) -> Result<()> {
    for (part, weights) in parts.iter().zip(weights) {
        let mut weights = weights.iter_mut();
        for (program, plan) in part.programs() {
            let here: Vec<&mut Weighed> = weights.by_ref().take(plan.len()).collect();
            let schemes: Vec<Vec<Scheme>> = here
                .iter()
                .map(|w| w.ways[..w.ways.len() - 1].iter().map(|way| way.scheme.scheme()).collect())
                .collect();
            let mut progress = |at: mil_compress::Progress| -> ControlFlow<()> {
                let (what, unit) = (part.name, Unit::Elements);
                watch.event(Event::Progress(Progress { what, done: at.done, total: at.total, unit }))
            };
            let losses = plan.losses(program, &schemes, &mut progress);
            let losses = losses.with_context(|| format!("cannot read the weights of {}", part.name))?;
            for (weight, losses) in here.into_iter().zip(losses) {
                // Where a scheme leaves the weight, its loss stays no number, and it is never chosen.
                weight.ways.iter_mut().zip(losses).for_each(|(way, loss)| way.loss = loss.map_or(f64::NAN, relative));
            }
        }
    }
    Ok(())
}

fn relative(loss: Loss) -> f64 {
    if loss.squared_error == 0.0 { 0.0 } else { loss.squared_error / loss.signal }
}

/// Groups to choose in.
pub(crate) fn groups<'w>(
    weights: impl IntoIterator<Item = &'w Weighed>,
    bytes: impl Fn(&Way) -> u64 + Copy,
) -> Vec<Group> {
    let choice = |way: &Way| Choice { bytes: bytes(way), loss: way.loss };
    weights.into_iter().map(|weight| Group { choices: weight.ways.iter().map(choice).collect() }).collect()
}
