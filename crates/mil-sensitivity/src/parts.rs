//! A function in parts that run one after another, and single operations of one.

use crate::SensitivityError;
use host_tensor::{HostTensor, Stop};
use mil::{Function, Program, split, validate};
use mil_engine::{
    Isa,
    cpu::{Cpu, Options},
};
use std::collections::BTreeMap;

/// Values by name: those of a function have names of their own.
pub(crate) type Values = BTreeMap<String, HostTensor>;

/// A part, ready to run.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) function: Function,
    engine: Cpu,
}

impl Part {
    pub(crate) fn new(function: Function, options: &Options) -> Result<Self, SensitivityError> {
        let program = Program::single(function.clone());
        let engine = Cpu::compile(validate(&program)?, options.clone())?;
        Ok(Self { function, engine })
    }

    /// Runs it on values of one of these maps, the first that has one.
    pub(crate) fn run(&self, from: &[&Values], stop: &Stop) -> Result<Values, SensitivityError> {
        let mut inputs = Values::new();
        for feature in self.engine.inputs() {
            if let Some(value) = from.iter().find_map(|values| values.get(&feature.name)) {
                inputs.insert(feature.name.clone(), value.clone());
            }
        }
        Ok(self.engine.run(&inputs, stop)?)
    }

    pub(crate) fn isa(&self) -> Isa {
        self.engine.isa()
    }

    /// Whether it reads one of these values.
    pub(crate) fn reads(&self, values: &Values) -> bool {
        self.engine.inputs().iter().any(|feature| values.contains_key(&feature.name))
    }

    /// Whether it holds a value of one of these names.
    pub(crate) fn holds(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.function.by_name(name).is_some())
    }
}

/// Cuts a function into about `n` parts of the same work, where few bytes cross.
pub(crate) fn even(function: &Function, work: &[f64], n: usize) -> Result<Vec<Function>, SensitivityError> {
    let places = split::places(function);
    let share = work.iter().sum::<f64>() / n.max(1) as f64;
    let mut before = vec![0.0; work.len() + 1];
    work.iter().enumerate().for_each(|(i, w)| before[i + 1] = before[i] + w);
    let (mut cuts, mut last) = (Vec::new(), 0);
    while before[work.len()] - before[last] > 1.5 * share {
        let since = |place: &&split::Place| before[place.at] - before[last];
        let behind = || places.iter().filter(|place| place.at > last);
        let window = behind().filter(|place| (0.6 * share..=1.2 * share).contains(&since(place)));
        // Where nothing lies in the window, a step is larger than it: right behind that.
        let next = window.min_by_key(|place| place.crossing_bytes).or_else(|| behind().find(|p| since(p) > share));
        let Some(next) = next else { break };
        cuts.push(next.at);
        last = next.at;
    }
    Ok(split::split_at(function, &cuts)?)
}

/// Cuts a function so that each step which reads one of these values is as alone as it can be.
pub(crate) fn around(function: &Function, names: &[&str]) -> Result<Vec<Function>, SensitivityError> {
    let steps = split::steps(function);
    let places: Vec<usize> = split::places(function).into_iter().map(|place| place.at).collect();
    let is_wanted = |v: mil::ValueId| names.contains(&function.name_of(v));
    let mut cuts = Vec::new();
    for (i, op) in steps.iter().enumerate() {
        let mut reads = false;
        op.for_each_use(&mut |v| reads |= is_wanted(v));
        if reads {
            cuts.extend(places.iter().rev().find(|&&at| at <= i));
            cuts.extend(places.iter().find(|&&at| at > i));
        }
    }
    cuts.sort_unstable();
    cuts.dedup();
    Ok(split::split_at(function, &cuts)?)
}
