//! Cuts a program into several that run one after another.
//!
//! Cuts are chosen by the bytes that the parts store: compressed constants count with their compressed size, and what
//! two parts read counts in both. What a later part needs crosses the boundary as an output of the part that makes it
//! and an input of those that read it, under its own name; half-precision values cross in `f32`, which is exact, since
//! some systems take no other type there. A part in between does not pass on what it does not read: whoever runs the
//! parts keeps all features, as Core ML pipelines do.

mod cut;
mod part;

use crate::{
    ir::{Function, Op, Program},
    types::Type,
};
use cut::Costs;
use std::collections::BTreeMap;

/// Why a program cannot be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// It is asked for no part at all, or for more than there can be.
    #[error("a program with {most} places to end a part cannot be split into {parts} parts: from 1 to {most} would do")]
    Parts {
        /// Wanted number.
        parts: usize,
        /// Largest possible number.
        most: usize,
    },
    /// It has states.
    #[error("function {function} has states, which cannot be shared by several programs")]
    State {
        /// The function.
        function: String,
    },
    /// Functions differ, so that they cannot be cut at the same places.
    #[error("functions {one} and {other} have different operations, so that they cannot be split at the same places")]
    Functions {
        /// The first function.
        one: String,
        /// One that differs.
        other: String,
    },
    /// There is no function.
    #[error("the program has no function")]
    Empty,
    /// It cannot be cut there.
    #[error("no part can begin at step {at}: it is no place to cut at, or not behind the place before it")]
    Place {
        /// The step before which it should be cut.
        at: usize,
    },
}

/// A place at which a function can be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The step of [`steps`] before which a part may begin.
    pub at: usize,
    /// Bytes that cross there.
    pub crossing_bytes: u64,
}

/// The operations of a function between which it can be cut: all but those that decode constants.
#[must_use]
pub fn steps(function: &Function) -> Vec<&Op> {
    function.body.ops.iter().filter(|op| !op.is_constexpr()).collect()
}

/// Where a function can be cut, in order.
#[must_use]
pub fn places(function: &Function) -> Vec<Place> {
    let costs = Costs::of(function);
    costs.places().into_iter().map(|at| Place { at, crossing_bytes: costs.crossing(at) }).collect()
}

/// Cuts a valid function before each of these steps, which are some of [`places`] in order.
///
/// # Errors
/// [`SplitError::Place`] for steps that are none, and [`SplitError::State`].
pub fn split_at(function: &Function, cuts: &[usize]) -> Result<Vec<Function>, SplitError> {
    if function.values().iter().any(|v| matches!(v.ty, Type::State(_))) {
        return Err(SplitError::State { function: function.name.clone() });
    }
    let (places, mut before) = (places(function), 0);
    for &at in cuts {
        if at <= before || places.binary_search_by_key(&at, |place| place.at).is_err() {
            return Err(SplitError::Place { at });
        }
        before = at;
    }
    let mut ends = cuts.to_vec();
    ends.push(steps(function).len());
    Ok(part::parts(function, &ends))
}

/// Splits a valid program into `parts` programs that run in this order.
///
/// All functions are cut at the same places, so that parts share weights as the whole does.
///
/// # Errors
/// When there are not so many places to cut at, or the program has states or functions that differ.
pub fn split(program: &Program, parts: usize) -> Result<Vec<Program>, SplitError> {
    let (name, first) = program.functions.iter().next().ok_or(SplitError::Empty)?;
    for (other, function) in &program.functions {
        if function.values().iter().any(|v| matches!(v.ty, Type::State(_))) {
            return Err(SplitError::State { function: other.clone() });
        }
        if !same_operations(first, function) {
            return Err(SplitError::Functions { one: name.clone(), other: other.clone() });
        }
    }
    // Every function has to end its parts where a boundary can be; sizes are those of the first.
    let mut costs = Costs::of(first);
    program.functions.values().skip(1).for_each(|f| costs.restrict(&Costs::of(f)));
    let most = costs.places().len() + 1;
    if parts == 0 || parts > most {
        return Err(SplitError::Parts { parts, most });
    }
    let cuts = costs.cut(parts);
    let mut programs = vec![Program { functions: BTreeMap::new(), attributes: program.attributes.clone() }; parts];
    for (name, function) in &program.functions {
        for (program, part) in programs.iter_mut().zip(part::parts(function, &cuts)) {
            program.functions.insert(name.clone(), part);
        }
    }
    Ok(programs)
}

fn same_operations(a: &Function, b: &Function) -> bool {
    a.body.ops.len() == b.body.ops.len() && a.body.ops.iter().zip(&b.body.ops).all(|(a, b)| a.kind == b.kind)
}

#[cfg(test)]
mod tests;
