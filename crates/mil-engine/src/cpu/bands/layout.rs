//! Which rows of which values a band of a result is made of.

use super::nodes::{Node, height};
use crate::cpu::body::Body;
use mil::ValueId;
use std::{collections::BTreeMap, ops::Range};

/// The rows that a band needs, of everything between what is there and the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// What is made, and of what.
    pub(super) nodes: Vec<Made>,
    /// What is there and is read: its rows, `None` where it has none.
    pub(super) inputs: BTreeMap<ValueId, Option<Range<usize>>>,
    /// The result, and which of its rows.
    pub(super) result: (ValueId, Range<usize>),
    /// The rows that there are of each picture that the band reads or makes.
    pub(super) rows: BTreeMap<ValueId, Range<usize>>,
}

/// A node's part in a band.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    /// The node.
    pub(super) node: usize,
    /// Which rows it makes.
    pub(super) rows: Range<usize>,
    /// Rows that it wants above and below, and that are not there.
    pub(super) missing: [usize; 2],
    /// Which rows it reads of each picture.
    pub(super) reads: BTreeMap<ValueId, Range<usize>>,
}

impl Layout {
    /// What rows of a value need, back to what is there.
    pub(super) fn new(
        (body, nodes): (&Body<'_>, &[Node]),
        is_there: &dyn Fn(ValueId) -> bool,
        (result, rows): (ValueId, Range<usize>),
    ) -> Self {
        let mut wanted = BTreeMap::from([(result, rows.clone())]);
        let mut layout =
            Self { nodes: Vec::new(), inputs: BTreeMap::new(), result: (result, rows), rows: BTreeMap::new() };
        if is_there(result) {
            let (_, rows) = &layout.result;
            layout.inputs.insert(result, Some(rows.clone()));
            layout.rows.insert(result, rows.clone());
            return layout;
        }
        for (at, node) in nodes.iter().enumerate().rev() {
            let own = || node.makes.iter().filter(|&&id| id == result || !is_there(id));
            let Some(whole) = own().filter_map(|id| wanted.get(id).cloned()).reduce(|a, b| hull(&a, &b)) else {
                continue;
            };
            let mut made = Made { node: at, rows: node.rule.makes(&whole), missing: [0, 0], reads: BTreeMap::new() };
            layout.rows.extend(own().map(|&id| (id, made.rows.clone())));
            for &id in &node.reads {
                let Some(height) = height(body, id) else {
                    layout.inputs.insert(id, None);
                    continue;
                };
                let (needed, missing) = node.rule.reads(&made.rows, height);
                made.missing = missing;
                let of = if is_there(id) { &mut layout.rows } else { &mut wanted };
                let all = of.get(&id).map_or_else(|| needed.clone(), |old| hull(old, &needed));
                of.insert(id, all.clone());
                if is_there(id) {
                    layout.inputs.insert(id, Some(all));
                }
                made.reads.insert(id, needed);
            }
            layout.nodes.push(made);
        }
        layout.nodes.reverse();
        layout
    }

    /// How far into the rows that there are a range begins.
    pub(super) fn offset(&self, id: ValueId, rows: &Range<usize>) -> usize {
        self.rows.get(&id).map_or(0, |all| rows.start.saturating_sub(all.start))
    }

    /// Equal for bands that differ only in where they lie.
    pub(super) fn key(&self) -> Vec<usize> {
        let (result, rows) = &self.result;
        let mut key = vec![rows.len(), self.offset(*result, rows)];
        key.extend(self.inputs.values().map(|rows| rows.as_ref().map_or(0, Range::len)));
        for made in &self.nodes {
            key.extend([made.node, made.rows.len(), made.missing[0], made.missing[1]]);
            key.extend(made.reads.iter().flat_map(|(&id, rows)| [rows.len(), self.offset(id, rows)]));
        }
        key
    }
}

/// The least range that holds both.
fn hull(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.min(b.start)..a.end.max(b.end)
}
