//! Every operation that Core ML has, those without a specification here included.
//!
//! A program with one of these is not wrong; it is only more than Smelt implements. The list says the name and the
//! first opset of each, nothing of operands and results.
//!
//! Source: coremltools 9.0, the registry of `converters/mil/mil/ops/defs`; `const`, which is no operation here, is left
//! out, and `write_state` stands under the name that it has in model files.

use crate::opset::Opset;
use std::sync::LazyLock;

/// Names and first opsets, sorted by name.
static CATALOGUE: LazyLock<Vec<(&'static str, Opset)>> = LazyLock::new(|| {
    let entries = include_str!("core_ml.txt").lines().filter_map(|line| line.split_once(' '));
    let mut all: Vec<_> = entries.filter_map(|(kind, tag)| Some((kind, Opset::from_ios_tag(tag)?))).collect();
    all.sort_unstable();
    all
});

/// The opset in which Core ML's operation of this name appeared; `None` when Core ML has no such operation.
#[must_use]
pub fn first_opset(kind: &str) -> Option<Opset> {
    let at = CATALOGUE.binary_search_by(|(known, _)| known.cmp(&kind)).ok()?;
    Some(CATALOGUE[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops;

    #[test]
    fn every_line_is_a_name_and_an_opset() {
        assert_eq!(CATALOGUE.len(), include_str!("core_ml.txt").lines().count());
        assert!(CATALOGUE.windows(2).all(|pair| pair[0].0 < pair[1].0), "a name stands twice");
    }

    #[test]
    fn every_specified_operation_is_in_the_catalogue_since_its_first_version() {
        for spec in ops::all() {
            let first = ops::all().iter().filter(|s| s.kind == spec.kind).map(|s| s.since).min();
            assert_eq!(first_opset(spec.kind), first, "{}", spec.kind);
        }
    }

    #[test]
    fn operations_without_a_specification_are_known_by_name() {
        assert_eq!(first_opset("lstm"), Some(Opset::CoreML5));
        assert_eq!(first_opset("pixel_unshuffle"), Some(Opset::CoreML6));
        assert_eq!(first_opset("frobnicate"), None);
        assert_eq!(first_opset(""), None);
    }
}
