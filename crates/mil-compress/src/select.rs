//! Which weights of a program are compressed, and how: decided before any work, with all errors at once.

mod weights;

use crate::{
    Axes, Blocks, CompressError, Config, PaletteGroups, Scheme,
    config::{Name, is_weight_of, matches, near},
    lower::{check, needs_core_ml_8},
};
use mil::{Opset, Program, ValueId, validate};
use std::collections::BTreeSet;
pub(crate) use weights::{Source, Weight, of as weights_of};

/// What happens to each weight of one program.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) jobs: Vec<Job>,
    pub(crate) kept: Vec<(Weight, String)>,
    pub(crate) raise: Option<Opset>,
}

/// One weight to be compressed.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) weight: Weight,
    pub(crate) scheme: Scheme,
    pub(crate) axes: Axes,
}

impl Plan {
    /// Plans the compression of a valid program.
    ///
    /// # Errors
    /// Names that nothing has, schemes that an opset or a named weight does not admit, weights that are compressed
    /// already: all that are found.
    pub fn new(program: &Program, config: &Config) -> Result<Self, CompressError> {
        let weights = weights::of(program);
        let mut errors = Vec::new();
        let schemes = config.op_types.values().chain(config.names.iter().map(|(_, scheme)| scheme));
        errors.extend(std::iter::once(&config.global).chain(schemes).filter_map(|scheme| check(scheme).err()));
        unknown_names(config, &weights, program, &mut errors);
        CompressError::all(errors)?;

        let mut plan = Self { jobs: Vec::new(), kept: Vec::new(), raise: None };
        let mut errors = Vec::new();
        for weight in weights {
            match decide(&weight, config) {
                Ok(Decision::Ignore) => {}
                Ok(Decision::Keep(reason)) => plan.kept.push((weight, reason)),
                Ok(Decision::Compress(scheme, axes)) => plan.jobs.push(Job { weight, scheme, axes }),
                Err(error) => errors.push(error),
            }
        }
        plan.check_compressed(config, &mut errors);
        plan.check_opsets(program, config, &mut errors);
        CompressError::all(errors)?;
        Ok(plan)
    }

    /// Number of weights that are compressed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// True when no weight is compressed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Weights that are left, each with the reason.
    pub fn left(&self) -> impl Iterator<Item = (&str, &str)> {
        self.kept.iter().map(|(weight, reason)| (weight.name.as_str(), reason.as_str()))
    }

    /// Elements of all weights that are compressed.
    #[must_use]
    pub fn n_elements(&self) -> u64 {
        self.jobs.iter().map(|job| job.weight.len() as u64).sum()
    }

    fn check_compressed(&self, config: &Config, errors: &mut Vec<CompressError>) {
        let mut there = self.jobs.iter().filter_map(|job| match &job.weight.source {
            Source::Chain { kind, .. } => Some((&job.weight.name, kind)),
            Source::Const(_) => None,
        });
        if config.recompress {
            return;
        }
        if let Some((name, kind)) = there.next() {
            let n = 1 + there.count();
            errors.push(CompressError::AlreadyCompressed { n, example: name.clone(), encoding: kind.clone() });
        }
    }

    pub(crate) fn check_opsets(&mut self, program: &Program, config: &Config, errors: &mut Vec<CompressError>) {
        let mut said = BTreeSet::new();
        for job in &self.jobs {
            let functions = || job.weight.places.iter().map(|(f, _)| f);
            // Compressed weights exist from here on; coremltools raises such programs without a word.
            if functions().any(|f| program.functions.get(f).is_some_and(|f| f.opset < Opset::CoreML6)) {
                self.raise = self.raise.max(Some(Opset::CoreML6));
            }
            let Some(what) = needs_core_ml_8(&job.scheme) else { continue };
            for function in functions() {
                let Some(f) = program.functions.get(function).filter(|f| f.opset < Opset::CoreML8) else { continue };
                if config.raise_opset {
                    self.raise = Some(Opset::CoreML8);
                } else if said.insert((what.clone(), function.clone())) {
                    let (function, opset) = (function.clone(), f.opset);
                    errors.push(CompressError::Opset { what: what.clone(), needed: Opset::CoreML8, function, opset });
                }
            }
        }
        if let Some(opset) = self.raise {
            let mut raised = program.clone();
            raised.functions.values_mut().for_each(|f| f.opset = f.opset.max(opset));
            if let Err(faults) = validate(&raised) {
                errors.push(CompressError::Raise { opset, faults: faults.to_string() });
            }
        }
    }
}

/// Every name in the configuration must be there.
fn unknown_names(config: &Config, weights: &[Weight], program: &Program, errors: &mut Vec<CompressError>) {
    let mut names = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for f in program.functions.values() {
        f.body.for_each_op(&mut |op| {
            names.insert(op.name.to_string());
            kinds.insert(op.kind.to_string());
        });
    }
    names.extend(weights.iter().map(|w| w.name.clone()));
    let known = |pattern: &str| names.iter().chain(&kinds).any(|name| matches(pattern, name));
    let mut check = |role: &'static str, name: &str, is_known: bool| {
        if !is_known {
            let weights = weights.iter().filter(|w| w.shape.len() >= 2).map(|w| w.name.as_str());
            let near = near(name, weights.chain(kinds.iter().filter(|_| role != "layer").map(String::as_str)));
            errors.push(CompressError::UnknownName { role, name: name.to_owned(), near });
        }
    };
    config.only.iter().for_each(|name| check("--only", name, known(name)));
    config.skip.iter().for_each(|name| check("--skip", name, known(name)));
    for (name, _) in &config.names {
        match name {
            Name::Pattern(name) => check("weight", name, known(name)),
            Name::Layer(layer) => {
                check("layer", layer, weights.iter().any(|w| is_weight_of(layer, &w.name, &config.roots)))
            }
        }
    }
    for kind in config.op_types.keys().filter(|kind| *kind != "gather") {
        check("operation type", kind, kinds.contains(kind) || mil::ops::all().iter().any(|spec| spec.kind == kind));
    }
}

enum Decision {
    /// Not a weight, or too small to speak of.
    Ignore,
    Keep(String),
    Compress(Scheme, Axes),
}

fn decide(weight: &Weight, config: &Config) -> Result<Decision, CompressError> {
    let fits = weight.shape.len() >= 2 && weight.len() > config.min_elements;
    let named = named(weight, config);
    if !fits && named.is_none() {
        return Ok(Decision::Ignore);
    }
    let selects = |patterns: &[String]| {
        let by_user = |p: &str| weight.users.iter().any(|u| matches(p, &u.name) || matches(p, &u.kind));
        patterns.iter().any(|p| matches(p, &weight.name) || by_user(p))
    };
    let keep = |reason: &str| Ok(Decision::Keep(reason.to_owned()));
    if !config.only.is_empty() && !selects(&config.only) {
        return keep("not among those asked for");
    }
    if selects(&config.skip) {
        return keep("skipped as asked for");
    }
    let scheme = match named {
        Some(scheme) => scheme,
        None => match by_users(weight, config)? {
            Ok(scheme) => scheme,
            Err(reason) => return Ok(Decision::Keep(reason)),
        },
    };
    let refuse = |reason: String| Err(CompressError::Weight { weight: weight.name.clone(), reason });
    let unfit = |reason: String| if named.is_some() { refuse(reason) } else { Ok(Decision::Keep(reason)) };
    if scheme == Scheme::Keep {
        return keep("left alone as configured");
    }
    if weight.shape.len() < 2 {
        return refuse(format!("it has {} dimensions, and compression takes weights of 2 or more", weight.shape.len()));
    }
    if weight.feeds_output {
        return unfit("a block returns it, and only an operation may stand there".into());
    }
    let Some(axes) = weight.axes() else {
        let reason = "its readers take different axes for the output channels";
        return if depends_on_axes(&scheme) { unfit(reason.into()) } else { Ok(Decision::Compress(scheme, FIRST)) };
    };
    if let Some(reason) = indivisible(&scheme, &weight.shape, axes) {
        return unfit(reason);
    }
    Ok(Decision::Compress(scheme, axes))
}

const FIRST: Axes = Axes { output: 0, input: 1 };

/// The scheme given to a weight's own name.
fn named(weight: &Weight, config: &Config) -> Option<Scheme> {
    let is_meant = |name: &Name| match name {
        Name::Pattern(pattern) => matches(pattern, &weight.name),
        Name::Layer(layer) => is_weight_of(layer, &weight.name, &config.roots),
    };
    let exact = |name: &Name| matches!(name, Name::Pattern(p) if *p == weight.name);
    let found = config.names.iter().find(|(name, _)| exact(name));
    found.or_else(|| config.names.iter().find(|(name, _)| is_meant(name))).map(|(_, scheme)| *scheme)
}

/// The scheme that all readers agree on; one that is to be left alone prevails.
fn by_users(weight: &Weight, config: &Config) -> Result<Result<Scheme, String>, CompressError> {
    let mut found: Option<Scheme> = None;
    let mut disagree = false;
    for user in &weight.users {
        let by_name = config.names.iter().find(|(name, _)| matches!(name, Name::Pattern(p) if matches(p, &user.name)));
        let scheme =
            by_name.map(|(_, s)| *s).or_else(|| config.op_types.get(&user.kind).copied()).unwrap_or(config.global);
        if scheme == Scheme::Keep {
            let reason = format!("{} reads it, which is left alone", user.kind);
            return Ok(Err(if config.global == Scheme::Keep { "left alone as configured".into() } else { reason }));
        }
        disagree |= found.is_some_and(|f| f != scheme);
        found = Some(scheme);
    }
    if disagree {
        let users = weight.users.iter().map(|u| u.name.clone()).collect::<Vec<_>>().join(", ");
        return Err(CompressError::Disagree { weight: weight.name.clone(), users });
    }
    Ok(found.ok_or_else(|| "nothing reads it".to_owned()))
}

pub(crate) fn depends_on_axes(scheme: &Scheme) -> bool {
    match scheme {
        Scheme::Keep | Scheme::Half => false,
        Scheme::Palettize(p) | Scheme::PrunePalettize(_, p) => {
            p.groups != PaletteGroups::PerTensor || p.cluster_dim > 1 || p.per_channel_scale
        }
        Scheme::Quantize(q) | Scheme::PruneQuantize(_, q) => q.blocks != Blocks::PerTensor,
        Scheme::Prune(p) => matches!(p, crate::Prune::Block { .. } | crate::Prune::NOfM { .. }),
    }
}

/// Why groups, vectors or blocks do not fit a shape, and what would.
pub(crate) fn indivisible(scheme: &Scheme, shape: &[usize], axes: Axes) -> Option<String> {
    let divisors = |n: usize| {
        let all: Vec<String> = (2..=n.min(128)).filter(|d| n.is_multiple_of(*d)).map(|d| d.to_string()).collect();
        if all.is_empty() { "nothing but 1 would".to_owned() } else { format!("{} would", all.join(", ")) }
    };
    let blocks = |blocks: Blocks| match blocks {
        Blocks::PerBlock { size } if size == 0 || !shape[axes.input].is_multiple_of(size) => {
            let n = shape[axes.input];
            Some(format!("blocks of {size} do not divide {n} input channels: {}", divisors(n)))
        }
        _ => None,
    };
    match scheme {
        Scheme::Palettize(p) => {
            let (axis, size) = match p.groups {
                PaletteGroups::PerTensor => (axes.output, shape[axes.output]),
                PaletteGroups::PerGroupedChannel { group_size, axis } => (axis.unwrap_or(axes.output), group_size),
            };
            let Some(&n) = shape.get(axis) else { return Some(format!("it has no axis {axis}")) };
            if size == 0 || n % size != 0 {
                return Some(format!("groups of {size} do not divide {n} channels: {}", divisors(n)));
            }
            (size % p.cluster_dim != 0)
                .then(|| format!("vectors of {} do not divide {size} channels: {}", p.cluster_dim, divisors(size)))
        }
        Scheme::Quantize(q) | Scheme::PruneQuantize(_, q) => blocks(q.blocks),
        _ => None,
    }
}

/// A weight's place in a function.
pub(crate) type Place = (String, ValueId);
