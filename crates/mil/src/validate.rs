//! Validation: the only way from a [`Program`] to a [`Valid`] one.
//!
//! It collects every fault, so that a producer sees all that is wrong at once, and takes time linear in the
//! size of the program. An operation that Core ML has and Smelt lacks is a fault of its own kind. It decides whether a program keeps the rules of MIL; whether a device runs it fast,
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

/// Whether a fault is the program's or Smelt's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The program breaks a rule of MIL.
    Breach,
    /// The program uses an operation that Core ML has and no specification here describes, so that nothing can be
    /// said of its operands and results, and nothing executes it.
    Unimplemented,
}

/// What keeps a program from being valid here, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Whose fault it is.
    pub kind: FaultKind,
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
    /// Its type, such as `conv`.
    pub kind: Arc<str>,
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

    /// The operations that Core ML has and Smelt does not implement, when nothing else is wrong.
    ///
    /// Empty when the program breaks a rule besides.
    #[must_use]
    pub fn unimplemented(&self) -> Vec<&OpPlace> {
        match self.0.iter().all(|fault| fault.kind == FaultKind::Unimplemented) {
            true => self.0.iter().filter_map(|fault| fault.op.as_ref()).collect(),
            false => Vec::new(),
        }
    }

    /// All of it in one line: what is not implemented, or how many rules are broken and the first of these breaches.
    #[must_use]
    pub fn summary(&self) -> String {
        if let [first, others @ ..] = &self.unimplemented()[..] {
            return unimplemented_summary(first, others);
        }
        let breaches = || self.0.iter().filter(|fault| fault.kind == FaultKind::Breach);
        let first = breaches().next().map(ToString::to_string).unwrap_or_default();
        match breaches().count() {
            1 => format!("the program is not valid; 1 fault: {first}"),
            n => format!("the program is not valid; {n} faults, the first: {first}"),
        }
    }
}

/// One kind of operation is named with its first place, the others by their names.
fn unimplemented_summary(first: &OpPlace, others: &[&OpPlace]) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for place in others.iter().filter(|place| place.kind != first.kind) {
        if !kinds.contains(&&*place.kind) {
            kinds.push(&place.kind);
        }
    }
    let again = others.iter().filter(|place| place.kind == first.kind).count();
    let again = if again > 0 { format!(" and {again} more of its kind") } else { String::new() };
    let (besides, is) = match kinds[..] {
        [] if again.is_empty() => (String::new(), "is"),
        [] => (String::new(), "are"),
        _ => (format!(", as well as {}", kinds.join(", ")), "are"),
    };
    format!(
        "the program is valid as far as Smelt knows, but {} (op #{} {}){again}{besides} {is} not implemented: \
         Core ML runs it; here it can be inspected, but neither run nor rewritten",
        first.kind, first.index, first.name
    )
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
/// The results of an operation that is not implemented have the types that they are declared with.
///
/// # Errors
/// All faults found, in program order.
pub fn validate(program: &Program) -> Result<Valid<'_>, Faults> {
    let mut faults = Vec::new();
    let whole = |message: String| Fault { kind: FaultKind::Breach, function: String::new(), op: None, message };
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
