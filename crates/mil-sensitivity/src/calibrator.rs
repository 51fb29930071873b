//! What the operations that read weights are given, gathered for their compression.

mod reader;
#[cfg(test)]
mod tests;

use crate::{
    SensitivityError,
    parts::{Part, Values, even},
    work,
};
use host_tensor::{HostTensor, Stop};
use mil::{Function, Opset, ValueId};
use mil_compress::{Calibration, CompressError, PlannedWeight, Statistics};
use mil_engine::cpu;
use reader::Reader;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

/// Parts of a run: between two of them what crosses is kept for all batches.
const PARTS: usize = 32;

/// How much memory the statistics of one weight may take where nobody says, in bytes.
///
/// That is enough for 23 170 columns: the widest convolution of Stable Diffusion 1.5 and XL has 23 040.
pub const STATISTICS_BYTES: u64 = 4 << 30;

/// Runs a function once, part by part, and tells of each weight what it is multiplied by.
///
/// The parts run when the first of their weights is asked for, all batches one after another, so that weights that are asked
/// for in the order of the program need no more than what one part is given, and the moments of one weight.
#[derive(Debug)]
pub struct Calibrator {
    parts: Vec<Function>,
    engine: cpu::Options,
    /// Weights that will be asked for.
    wanted: BTreeSet<String>,
    memory: u64,
    stop: Stop,
    walk: Mutex<Walk>,
}

/// How far the run has come.
#[derive(Debug)]
struct Walk {
    next: usize,
    /// What later parts read, batch by batch.
    live: Vec<Values>,
    /// By the name of a weight's value, what its readers were given.
    given: BTreeMap<String, Vec<Given>>,
}

/// What an operation was given in all batches.
#[derive(Debug)]
struct Given {
    reader: Reader,
    inputs: Vec<HostTensor>,
}

impl Calibrator {
    /// Prepares the run of a valid function on some batches of inputs; `weights` are those that will be compressed.
    ///
    /// Of weights whose statistics would take more than `memory` bytes nothing is told ([`STATISTICS_BYTES`]).
    ///
    /// # Errors
    /// For functions with states.
    pub fn new(
        function: &Function,
        weights: &[PlannedWeight<'_>],
        batches: Vec<Values>,
        (memory, engine): (u64, cpu::Options),
        stop: &Stop,
    ) -> Result<Self, SensitivityError> {
        let parts = even(function, &work::of(function), PARTS)?;
        let wanted = weights.iter().flat_map(|weight| weight.values.iter().cloned()).collect();
        let walk = Mutex::new(Walk { next: 0, live: batches, given: BTreeMap::new() });
        Ok(Self { parts, engine, wanted, memory, stop: stop.clone(), walk })
    }

    /// Runs the next part, and keeps what its readers were given.
    fn step(&self, walk: &mut Walk) -> Result<(), SensitivityError> {
        let Some(function) = self.parts.get(walk.next) else { return Ok(()) };
        walk.next += 1;
        let readers = self.readers(function);
        let (part, shown) = showing(function, &readers, &self.engine)?;
        let mut inputs = vec![Vec::with_capacity(walk.live.len()); readers.len()];
        let later = &self.parts[walk.next..];
        for live in &mut walk.live {
            let mut made = part.run(&[live], &self.stop)?;
            for (reader, inputs) in readers.iter().zip(&mut inputs) {
                let name = function.name_of(reader.x);
                inputs.extend(made.get(name).or_else(|| live.get(name)).cloned());
            }
            made.retain(|name, _| !shown.contains(name));
            live.extend(made);
            live.retain(|name, _| later.iter().any(|f| f.inputs.iter().any(|&v| f.name_of(v) == name)));
        }
        for (reader, inputs) in readers.into_iter().zip(inputs) {
            walk.given.entry(reader.weight.clone()).or_default().push(Given { reader, inputs });
        }
        Ok(())
    }

    /// The operations of a part that read a wanted weight.
    fn readers(&self, function: &Function) -> Vec<Reader> {
        let mut readers = Vec::new();
        function.body.for_each_op(&mut |op| {
            for v in op.operands().filter(|&v| self.wanted.contains(function.name_of(v))) {
                readers.extend(Reader::of(function, op, v));
            }
        });
        readers
    }

    fn gather(&self, weight: &PlannedWeight<'_>) -> Result<Option<Statistics>, SensitivityError> {
        let mut walk = self.walk.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |function: &Function| weight.values.iter().any(|name| function.by_name(name).is_some());
        let Some(last) = self.parts.iter().rposition(holds) else { return Ok(None) };
        while walk.next <= last {
            self.step(&mut walk)?;
        }
        let given: Vec<Given> = weight.values.iter().filter_map(|name| walk.given.remove(name)).flatten().collect();
        let Some((columns, groups)) = given.first().map(|given| given.reader.extent()) else { return Ok(None) };
        let is_alike = |given: &Given| given.reader.extent() == (columns, groups);
        if !given.iter().all(is_alike) || Statistics::bytes(columns, groups) > self.memory {
            return Ok(None);
        }
        let mut statistics = Statistics::new(columns, groups);
        for Given { reader, inputs } in &given {
            inputs.iter().for_each(|x| reader.count(x, &mut statistics));
        }
        Ok(Some(statistics))
    }
}

impl Calibration for Calibrator {
    fn statistics(&self, weight: &PlannedWeight<'_>) -> Result<Option<Statistics>, CompressError> {
        self.gather(weight).map_err(|error| match error {
            SensitivityError::Compress(error) => error,
            error if error.is_stopped() => CompressError::Stopped,
            error => CompressError::Calibration { weight: weight.name.to_owned(), reason: chain(&error) },
        })
    }
}

/// An error and what it comes from, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut from = error.source();
    while let Some(error) = from {
        text = format!("{text}: {error}");
        from = error.source();
    }
    text
}

/// A part that gives what readers take besides its own outputs, and the names of these.
fn showing(
    function: &Function,
    readers: &[Reader],
    engine: &cpu::Options,
) -> Result<(Part, BTreeSet<String>), SensitivityError> {
    let mut function = function.clone();
    let mut shown = BTreeSet::new();
    let is_there = |function: &Function, v: ValueId| function.inputs.contains(&v) || function.body.outputs.contains(&v);
    for reader in readers {
        if !is_there(&function, reader.x) {
            function.body.outputs.push(reader.x);
            shown.insert(function.name_of(reader.x).to_owned());
        }
    }
    // Outputs in half precision exist from here on.
    function.opset = function.opset.max(Opset::CoreML6);
    Ok((Part::new(function, engine)?, shown))
}
