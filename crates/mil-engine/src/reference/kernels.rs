//! What a kernel is: how one operation kind is executed.

use super::call::{Call, Results};

/// How one operation kind is executed.
#[derive(Debug)]
pub(super) struct Kernel {
    /// Operation type.
    pub(super) kind: &'static str,
    /// Computes the results.
    pub(super) eval: for<'a> fn(&mut Call<'a>) -> Results,
    /// Whether results may need rounding to their declared type.
    pub(super) effect: Effect,
}

/// What a kernel does to elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It computes new ones.
    Computes,
    /// It only moves them: they are representable in the declared type already.
    Moves,
    /// It decodes a weight: the result depends on constants only, and is always rounded to its type.
    Decodes,
}

/// A kernel that computes new elements.
pub(super) const fn computes(kind: &'static str, eval: for<'a> fn(&mut Call<'a>) -> Results) -> Kernel {
    Kernel { kind, eval, effect: Effect::Computes }
}

/// A kernel that only moves elements.
pub(super) const fn moves(kind: &'static str, eval: for<'a> fn(&mut Call<'a>) -> Results) -> Kernel {
    Kernel { kind, eval, effect: Effect::Moves }
}

/// A kernel that decodes a weight.
pub(super) const fn decodes(kind: &'static str, eval: for<'a> fn(&mut Call<'a>) -> Results) -> Kernel {
    Kernel { kind, eval, effect: Effect::Decodes }
}
