//! Operations: one declarative specification each, and type inference.
//!
//! A specification says what an operation takes, in which opset it appeared, and how its result types
//! follow. Builder, validator, printer and engines read it; nothing else in the workspace lists operations.
//! Each family has a file with a table `SPECS` on top and inference below; `const` is not among them, because
//! the representation has no such operation.
//!
//! Source of the rules: coremltools 9.0, `converters/mil/mil/ops/defs` (iOS 15 to iOS 18). Where it says
//! nothing of values that make no sense (a stride of zero, an axis named twice), they are errors here.

/// Returns an error with a formatted message from the calling function.
macro_rules! fail {
    ($($message:tt)*) => { return Err($crate::ops::OpError::new(format!($($message)*))) };
}

/// Returns an error with a formatted message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if $condition {
        } else {
            fail!($($message)*)
        }
    };
}

mod activation;
mod attention;
mod catalogue;
mod constexpr;
mod control_flow;
mod conv;
mod dims;
mod domain;
mod elementwise_binary;
mod elementwise_unary;
mod gather_scatter;
mod generation;
mod linear_algebra;
mod normalization;

mod pool;
mod quantization;
mod rearrange;
mod recurrent;
mod reduction;
mod resize;
mod shape;
mod slice;
mod spec;
mod state;
#[cfg(test)]
mod tests;
mod view;

pub use catalogue::first_opset;
pub use spec::{Accepts, Default, Infer, OpSpec, Param, Rank, Stage};
pub use view::View;

use crate::{ir::Op, opset::Opset, types::Type};
use std::sync::LazyLock;

/// Why an operation is not acceptable; names the parameter and the types at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OpError {
    message: String,
}

impl OpError {
    /// An error with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// The tables of all families, by the name of their file.
const FAMILIES: [(&str, &[OpSpec]); 20] = [
    ("activation", activation::SPECS),
    ("attention", attention::SPECS),
    ("constexpr", constexpr::SPECS),
    ("control_flow", control_flow::SPECS),
    ("conv", conv::SPECS),
    ("elementwise_binary", elementwise_binary::SPECS),
    ("elementwise_unary", elementwise_unary::SPECS),
    ("gather_scatter", gather_scatter::SPECS),
    ("generation", generation::SPECS),
    ("linear_algebra", linear_algebra::SPECS),
    ("normalization", normalization::SPECS),
    ("pool", pool::SPECS),
    ("quantization", quantization::SPECS),
    ("rearrange", rearrange::SPECS),
    ("recurrent", recurrent::SPECS),
    ("reduction", reduction::SPECS),
    ("resize", resize::SPECS),
    ("shape", shape::SPECS),
    ("slice", slice::SPECS),
    ("state", state::SPECS),
];

/// Sorted by kind, then by opset, for [`lookup`].
static ALL: LazyLock<Vec<OpSpec>> = LazyLock::new(|| {
    let mut specs = FAMILIES.map(|(_, specs)| specs).concat();
    specs.sort_unstable_by_key(|s| (s.kind, s.since));
    specs
});

/// Every specification, in every version, sorted by kind and opset.
#[must_use]
pub fn all() -> &'static [OpSpec] {
    &ALL
}

/// Every specification by family: the name of the file that holds it, and the table there.
pub fn families() -> impl Iterator<Item = (&'static str, &'static [OpSpec])> {
    FAMILIES.into_iter()
}

/// The version of `kind` that is valid in `opset`: the newest that is not newer.
///
/// `scaled_dot_product_attention` is found in every opset: builders and passes use it as an abstraction, which
/// a pass replaces where it does not exist. Its [`OpSpec::since`] says where it does.
#[must_use]
pub fn lookup(kind: &str, opset: Opset) -> Option<&'static OpSpec> {
    let (before, after) = all().split_at(all().partition_point(|s| (s.kind, s.since) <= (kind, opset)));
    let is_it = |s: &&OpSpec| s.kind == kind;
    before.last().filter(is_it).or_else(|| after.first().filter(is_it).filter(|s| s.is_abstract_before))
}

/// When operations of this kind are computed, in any opset.
///
/// Core ML names those that are computed at load so that one can tell them without a specification.
#[must_use]
pub fn stage(kind: &str) -> Stage {
    let specs = all();
    match specs.get(specs.partition_point(|s| s.kind < kind)).filter(|s| s.kind == kind) {
        Some(spec) => spec.stage,
        None if kind.starts_with("constexpr_") => Stage::Load,
        None => Stage::Run,
    }
}

impl Op {
    /// True when it is computed while the model is loaded, as the `constexpr_*` operations are.
    #[must_use]
    pub fn is_constexpr(&self) -> bool {
        stage(&self.kind) == Stage::Load
    }
}

/// The result types of an operation.
///
/// # Errors
/// When the operation is unknown in this opset, or its operands break its specification.
pub fn infer(kind: &str, operands: &View<'_>, opset: Opset) -> Result<Vec<Type>, OpError> {
    match lookup(kind, opset) {
        Some(spec) => spec.result_types(operands),
        None => Err(unknown_operation(kind, opset)),
    }
}

/// Says in which opset an operation appears, if it is one at all, and whether it is specified here.
pub(crate) fn unknown_operation(kind: &str, opset: Opset) -> OpError {
    let first = all().iter().find(|s| s.kind == kind).map(|s| s.since).or_else(|| first_opset(kind));
    match first {
        Some(since) if since > opset => {
            OpError::new(format!("{kind} is an operation of {since} and later, not of {opset}"))
        }
        Some(_) => OpError::new(format!("{kind} is an operation of Core ML that is not implemented")),
        None => OpError::new(format!("{kind} is no known operation")),
    }
}

/// True when Core ML has the operation in this opset, but no specification says here what it takes and gives.
#[must_use]
pub fn is_unspecified(kind: &str, opset: Opset) -> bool {
    all().iter().all(|s| s.kind != kind) && first_opset(kind).is_some_and(|since| since <= opset)
}

/// The result of an operation that keeps the type of x.
fn same_as_x(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    Ok(vec![Type::Tensor(o.tensor("x")?.clone())])
}
