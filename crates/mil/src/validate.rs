//! Validation: the only way from a [`Program`] to a [`Valid`] one.
//!
//! It collects every fault, so that a producer sees all that is wrong at once, and takes time linear in the
//! size of the program. It decides whether a program keeps the rules of MIL; whether a device runs it fast,
//! or a model description matches it, is not its question.

mod blocks;
mod boundary;
mod function;
#[cfg(test)]
mod tests;

use crate::ir::Program;
use std::{fmt, ops::Deref, sync::Arc};

/// A program that keeps every rule of its opsets: the token that writers and engines ask for.
///
/// Only [`validate`] makes one, and the borrow keeps the program from changing while it lives.
#[derive(Debug, Clone, Copy)]
pub struct Valid<'p> {
    program: &'p Program,
}

impl<'p> Valid<'p> {
    /// The program, for as long as it was borrowed.
    #[must_use]
    pub const fn program(self) -> &'p Program {
        self.program
    }
}

impl Deref for Valid<'_> {
    type Target = Program;

    fn deref(&self) -> &Program {
        self.program
    }
}

/// One breach of a rule, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Function; empty when the program as a whole is at fault.
    pub function: String,
    /// The operation at fault, unless the function as a whole is.
    pub op: Option<OpPlace>,
    /// What is wrong.
    pub message: String,
}

/// Where an operation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpPlace {
    /// Position among the function's operations, constants not counted; an operation counts before those of
    /// its blocks.
    pub index: usize,
    /// Its name.
    pub name: Arc<str>,
    /// Where it came from, when that is known.
    pub origin: Option<Arc<str>>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.function.is_empty() {
            write!(f, "{}: ", self.function)?;
        }
        if let Some(op) = &self.op {
            write!(f, "op #{} ", op.index)?;
            match &op.origin {
                Some(origin) => write!(f, "{origin} ({}): ", op.name)?,
                None => write!(f, "{}: ", op.name)?,
            }
        }
        f.write_str(&self.message)
    }
}

/// All faults of a program, in the order of the program; never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The faults, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }

    /// Number of faults.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none, which an error never says.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One line per fault.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if i > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Checks every rule and returns the token that says so.
///
/// Names are identifiers; every value is defined once, before its uses, in a block that sees it; every
/// operation belongs to its function's opset and keeps its specification; declared types agree with inferred
/// ones; inputs are used, and outputs are results of operations, of types that may cross the boundary.
///
/// # Errors
/// All breaches found, in program order.
pub fn validate(program: &Program) -> Result<Valid<'_>, Faults> {
    let mut faults = Vec::new();
    let whole = |message: String| Fault { function: String::new(), op: None, message };
    if program.functions.is_empty() {
        faults.push(whole("the program has no function".into()));
    }
    for (key, function) in &program.functions {
        if *key != function.name {
            faults.push(whole(format!("function {:?} stands under the name {key:?}", function.name)));
        }
        function::check(function, &mut faults);
    }
    boundary::check_function_count(program, &mut |message| faults.push(whole(message)));
    if faults.is_empty() { Ok(Valid { program }) } else { Err(Faults(faults)) }
}
