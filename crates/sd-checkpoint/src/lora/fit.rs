//! A LoRA that was fitted to a checkpoint: which weights it changes, and which of its tensors fit nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use host_tensor::HostTensor;
use sd_spec::Role;

use super::facts::explain;
use super::key::Slot;
use super::module::{Added, Fault, Matter, Module, Stored};
use super::names::{self, Part, Target, Targets};
use super::{Lora, Strength};
use crate::adapter::Applied;
use crate::{Adapter, Checkpoint, CheckpointError, Delta, Matrix, Weight, WeightError, Weights};

/// What a LoRA adds to the weights of one checkpoint.
#[derive(Debug)]
pub struct Fitted {
    name: String,
    path: PathBuf,
    strength: Strength,
    /// By the folder of the network, which roles share.
    changes: BTreeMap<&'static str, Vec<Change>>,
    unapplied: Vec<String>,
}

/// What is added to one weight.
#[derive(Debug)]
struct Change {
    key: String,
    delta: Delta,
    /// Lengths that its rows or inputs have afterwards.
    lengths: Option<HostTensor>,
}

impl Change {
    fn apply(&self, base: Weight) -> Result<Weight, WeightError> {
        match &self.lengths {
            Some(lengths) => Weight::decomposed(base, vec![self.delta.clone()], lengths),
            None => Weight::sum(base, vec![self.delta.clone()]),
        }
    }
}

impl Fitted {
    /// The tensors that nothing in the checkpoint is changed by, by name.
    #[must_use]
    pub fn unapplied(&self) -> &[String] {
        &self.unapplied
    }

    /// How many tensors of the checkpoint it changes.
    #[must_use]
    pub fn n_changed(&self) -> usize {
        self.changes.values().map(Vec::len).sum()
    }
}

impl Adapter for Fitted {
    fn adapt(&self, role: Role, weights: &mut Weights) -> Result<(), CheckpointError> {
        for change in self.changes.get(role.spec().folder).into_iter().flatten() {
            let fail =
                |what: String| CheckpointError::Adapter(format!("the LoRA {}: {}: {what}", self.name, change.key));
            let base = weights.remove(&change.key).ok_or_else(|| fail("the weight is not there".to_owned()))?;
            let changed = change.apply(base).map_err(|error| fail(error.to_string()))?;
            weights.insert(change.key.clone(), changed);
        }
        Ok(())
    }

    fn applied(&self) -> Option<Applied> {
        let Strength { denoiser, text } = self.strength;
        Some(Applied { name: self.name.clone(), weight: denoiser, text_weight: text })
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn warnings(&self) -> Vec<String> {
        let of = |what| format!("the LoRA {}: {what}", self.name);
        // Who leaves tensors out is told all of them.
        let names = self.unapplied.join(", ");
        let left_out = (!self.unapplied.is_empty()).then(|| of(format!("left out, for it fits nothing: {names}")));
        left_out.into_iter().collect()
    }
}

/// A checkpoint, looked at once for as many LoRAs as are fitted to it.
#[derive(Debug)]
pub struct Fitting<'a> {
    checkpoint: &'a Checkpoint,
    weights: HashMap<Part, Weights>,
    targets: Targets,
}

impl<'a> Fitting<'a> {
    /// Looks at the networks that LoRAs may change.
    ///
    /// # Errors
    /// When their weights cannot be read.
    pub fn new(checkpoint: &'a Checkpoint) -> Result<Self, CheckpointError> {
        let weights = names::weights(checkpoint)?;
        Ok(Self { checkpoint, targets: Targets::of(checkpoint, &weights), weights })
    }

    /// Finds the weights that a LoRA changes; of strength 0 it changes none, but must fit all the same.
    ///
    /// # Errors
    /// [`CheckpointError::Lora`] with the tensor's name for a module that lacks a tensor or has another shape than the
    /// weight that it is for, and with the families where the LoRA is for another one.
    pub fn fit(&self, lora: &Lora, strength: Strength) -> Result<Fitted, CheckpointError> {
        let mut fitter =
            Fitter { lora, weights: &self.weights, strength, changes: BTreeMap::new(), done: HashSet::new() };
        let mut unapplied = lora.strays.clone();
        for (name, module) in &lora.modules {
            let fitted = match self.targets.find(name) {
                Some(found) => fitter.module(name, module, found),
                None => Ok(module.names().collect()),
            };
            unapplied.extend(fitted.map_err(|what| self.misfit(lora, what))?);
        }
        unapplied.sort();
        let changes = fitter.changes;
        Ok(Fitted { name: lora.name(), path: lora.path().to_owned(), strength, changes, unapplied })
    }

    /// Refuses tensors that fit nothing.
    ///
    /// # Errors
    /// [`CheckpointError::Lora`] with their names, and with the families where the LoRA is for another one.
    pub fn refuse_unapplied(&self, lora: &Lora, fitted: &Fitted) -> Result<(), CheckpointError> {
        match fitted.unapplied.is_empty() {
            true => Ok(()),
            false => Err(self.misfit(lora, unapplied_words(&fitted.unapplied))),
        }
    }

    fn misfit(&self, lora: &Lora, what: String) -> CheckpointError {
        let message = match explain(lora, self.checkpoint) {
            Some(families) => format!("{families}: {what}"),
            None => what,
        };
        CheckpointError::Lora { path: lora.path.clone(), message }
    }
}

/// What does not apply, in words.
fn unapplied_words(names: &[String]) -> String {
    /// More names than this are of a LoRA for another model, and are counted.
    const SHOWN: usize = 24;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let (n, tensors) = (names.len(), if names.len() == 1 { "tensor fits" } else { "tensors fit" });
    format!("{n} {tensors} nothing in the checkpoint: {shown}{more}; --allow-unapplied leaves them out")
}

impl Module {
    fn names(&self) -> impl Iterator<Item = String> {
        self.tensors.values().map(|stored| stored.name.clone())
    }

    fn shapes(&self) -> impl Iterator<Item = String> {
        self.tensors.values().map(|Stored { name, tensor }| format!("{name} of shape {:?}", tensor.shape()))
    }
}

struct Fitter<'a> {
    lora: &'a Lora,
    weights: &'a HashMap<Part, Weights>,
    strength: Strength,
    changes: BTreeMap<&'static str, Vec<Change>>,
    /// Weights that a module of this file is for already.
    done: HashSet<(&'static str, String)>,
}

impl Fitter<'_> {
    /// Fits one module to its targets; returns the names of tensors that do not apply.
    fn module(&mut self, name: &str, module: &Module, targets: &[Target]) -> Result<Vec<String>, String> {
        let added = module.added(name, &self.lora.config).map_err(|fault| in_words(name, module, fault))?;
        let Some(added) = added else { return Ok(module.names().collect()) };
        let lengths = module.lengths().transpose().map_err(|fault| in_words(name, module, fault))?;
        let mut unapplied = Vec::new();
        for target in targets {
            if !self.done.insert((target.folder, target.module.clone())) {
                return Err(format!("{name} is a second module for {}", target.module));
            }
            if let Some((matter, scale)) = &added.weight {
                self.weight(name, module, (matter, *scale), lengths.as_ref(), target)?;
            }
            self.bias(module, &added, target, &mut unapplied)?;
        }
        Ok(unapplied)
    }

    const fn factor(&self, part: Part) -> f32 {
        match part {
            Part::Denoiser => self.strength.denoiser,
            Part::Text | Part::Text2 | Part::Text3 => self.strength.text,
        }
    }

    fn weight(
        &mut self,
        name: &str,
        module: &Module,
        (matter, scale): (&Matter, f32),
        lengths: Option<&HostTensor>,
        target: &Target,
    ) -> Result<(), String> {
        let key = format!("{}.weight", target.module);
        let Some(base) = self.weights.get(&target.part).and_then(|weights| weights.get(&key)) else { return Ok(()) };
        let shape = base.shape();
        let delta = matter.delta(scale * self.factor(target.part)).map_err(|error| format!("{name}: {error}"))?;
        let pieces = names::pieces(target.how, shape.first().copied().unwrap_or(1));
        let fitted = match &pieces {
            Some(pieces) => delta.taking(pieces.clone()).ok(),
            None => Some(delta),
        };
        let wanted = shape.first().map(|&n_rows| [n_rows, shape[1..].iter().product()]);
        let Some(delta) = fitted.filter(|delta| Some(delta.shape()) == wanted) else {
            return Err(misfit(name, module, &key, &shape));
        };
        let lengths = match (lengths, &pieces) {
            (Some(lengths), Some(pieces)) => Some(
                rows_of(lengths, pieces).ok_or_else(|| format!("{name}: lengths of inputs are not read for {key}"))?,
            ),
            (lengths, _) => lengths.cloned(),
        };
        let change = Change { key, delta, lengths };
        change.apply(base.clone()).map_err(|error| format!("{name}: {error}"))?;
        self.add(target, change);
        Ok(())
    }

    /// What is added to a bias; a tensor for which there is none does not apply.
    fn bias(
        &mut self,
        module: &Module,
        added: &Added,
        target: &Target,
        unapplied: &mut Vec<String>,
    ) -> Result<(), String> {
        let key = format!("{}.bias", target.module);
        for (slot, scale) in &added.bias {
            let Some(Stored { name, tensor }) = module.tensors.get(slot) else { continue };
            let Some(base) = self.weights.get(&target.part).and_then(|weights| weights.get(&key)) else {
                unapplied.push(name.clone());
                continue;
            };
            let shape = base.shape();
            let fail = || format!("{name} has shape {:?}, which does not fit {key} of shape {shape:?}", tensor.shape());
            let column = tensor.reshape([tensor.len()]).map_err(|_| fail())?;
            let matrix = Matrix::whole(column).map_err(|error| format!("{name}: {error}"))?;
            let delta = Delta::matrix(matrix, scale * self.factor(target.part));
            let delta = match names::pieces(target.how, shape.first().copied().unwrap_or(1)) {
                Some(pieces) => delta.taking(pieces).map_err(|_| fail())?,
                None => delta,
            };
            let change = Change { key: key.clone(), delta, lengths: None };
            change.apply(base.clone()).map_err(|_| fail())?;
            self.add(target, change);
        }
        Ok(())
    }

    /// What has no strength changes nothing, lengths included.
    fn add(&mut self, target: &Target, change: Change) {
        if self.factor(target.part) != 0.0 {
            self.changes.entry(target.folder).or_default().push(change);
        }
    }
}

/// Rows of lengths of rows, one piece after another.
fn rows_of(lengths: &HostTensor, pieces: &[Range<usize>]) -> Option<HostTensor> {
    let values = lengths.to_f32_vec();
    if lengths.shape().first() != Some(&values.len()) {
        return None;
    }
    let taken: Option<Vec<&[f32]>> = pieces.iter().map(|piece| values.get(piece.clone())).collect();
    let taken = taken?.concat();
    Some(HostTensor::from_f32([taken.len()], taken))
}

/// The tensor that has another shape than the weight wants, in words.
fn misfit(name: &str, module: &Module, key: &str, shape: &[usize]) -> String {
    let rows = |slot| module.tensors.get(&slot).and_then(|stored: &Stored| stored.tensor.shape().first().copied());
    let slot = if rows(Slot::Up) == shape.first().copied() { Slot::Down } else { Slot::Up };
    let shapes: Vec<String> = match module.tensors.get(&slot) {
        Some(Stored { name, tensor }) => vec![format!("{name} has shape {:?}", tensor.shape())],
        None => module.shapes().collect(),
    };
    format!("{}, which does not fit {key} of shape {shape:?} ({name})", shapes.join(", "))
}

/// A fault of a module in words, with the names of its tensors.
fn in_words(name: &str, module: &Module, fault: Fault) -> String {
    match fault {
        Fault::Missing { end } => {
            let there: Vec<String> = module.names().collect();
            format!("{name} has no {end} beside {}", there.join(", "))
        }
        Fault::Value { name, what } => format!("{name} {what}"),
        Fault::Shapes(error) => {
            let shapes: Vec<String> = module.shapes().collect();
            format!("{name}: {error}; it has {}", shapes.join(", "))
        }
    }
}
