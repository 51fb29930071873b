//! What is computed in which order, what of it stays, and until when.
//!
//! A normalisation needs the statistics of a whole picture before its first row, so every one is the end of a pass over
//! all rows. What a pass computes is kept where that fits the limit; else it is computed again by the passes that need
//! it, from what was kept last.

use super::{
    feature_map::{FeatureMap, Form},
    nodes::{Node, Rule, height},
};
use crate::cpu::body::Body;
use mil::ValueId;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// A value, row by row.
    Pass(Pass),
    /// A node that is whole, after which nobody reads these values.
    Whole {
        /// The node.
        node: usize,
        /// See above.
        frees: Vec<ValueId>,
    },
}

/// A pass over all rows of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    /// The picture.
    pub(super) of: ValueId,
    /// Whether it stays.
    pub(super) keeps: bool,
    /// Normalisations that it gives their statistics.
    pub(super) norms: Vec<usize>,
    /// Whether the function returns it.
    pub(super) returns: bool,
    /// What nobody reads afterwards, and which of its rows nobody reads once the pass is beyond them.
    pub(super) frees: Vec<ValueId>,
}

/// Everything to do.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) acts: Vec<Act>,
    /// How features are kept.
    pub(super) form: Form,
    /// The most bytes that are kept at a time.
    pub(super) kept_bytes: usize,
}

/// The schedule for a function of which at most so many bytes are kept, if that can be: in single precision if nothing
/// need be computed twice then, else in half.
pub(super) fn schedule(body: &Body<'_>, nodes: &[Node], limit: usize) -> Schedule {
    let single = Planner::new((body, nodes), (Form::Single, limit)).plan();
    match single {
        (schedule, 0) => schedule,
        _ => Planner::new((body, nodes), (Form::Half, limit)).plan().0,
    }
}

struct Planner<'a, 'f> {
    body: &'a Body<'f>,
    nodes: &'a [Node],
    readers: HashMap<ValueId, Vec<usize>>,
    form: Form,
    limit: usize,
    acts: Vec<Act>,
    /// Bytes of each value that is there.
    there: BTreeMap<ValueId, usize>,
    /// Nodes that are whole and done, and normalisations whose statistics are known.
    done: BTreeSet<usize>,
    returned: BTreeSet<ValueId>,
    kept_bytes: usize,
    /// How often something was not kept.
    n_denied: usize,
}

impl<'a, 'f> Planner<'a, 'f> {
    fn new((body, nodes): (&'a Body<'f>, &'a [Node]), (form, limit): (Form, usize)) -> Self {
        let mut readers: HashMap<ValueId, Vec<usize>> = HashMap::new();
        for (at, node) in nodes.iter().enumerate() {
            node.reads.iter().for_each(|&id| readers.entry(id).or_default().push(at));
        }
        let mut planner = Self {
            body,
            nodes,
            readers,
            form,
            limit,
            acts: Vec::new(),
            there: BTreeMap::new(),
            done: BTreeSet::new(),
            returned: BTreeSet::new(),
            kept_bytes: 0,
            n_denied: 0,
        };
        for &id in &body.function.inputs {
            let bytes = planner.bytes(id, Form::Single);
            planner.there.insert(id, bytes);
        }
        planner
    }

    fn plan(mut self) -> (Schedule, usize) {
        let nodes = self.nodes;
        for (at, node) in nodes.iter().enumerate() {
            match &node.rule {
                Rule::Norm(norm) if !self.done.contains(&at) => self.statistics(norm.x),
                // What is about to grow is smaller than what it grows to.
                Rule::Repeat(_) => node.reads.iter().for_each(|&id| self.keep_if_it_fits(id)),
                Rule::Whole => self.whole(at),
                _ => {}
            }
        }
        for &id in &self.body.function.body.outputs {
            if height(self.body, id).is_some() {
                self.pass(id, false, Vec::new(), true);
            }
        }
        (Schedule { acts: self.acts, form: self.form, kept_bytes: self.kept_bytes }, self.n_denied)
    }

    fn bytes(&self, id: ValueId, form: Form) -> usize {
        let shape = self.body.shape(id).unwrap_or_default();
        match (&shape[..], height(self.body, id)) {
            (&[_, channels, _, width], Some(height)) => FeatureMap::bytes_of(form, height, channels * width),
            _ => shape.iter().product::<usize>().saturating_mul(8),
        }
    }

    fn statistics(&mut self, x: ValueId) {
        let is_of = |node: &Node| matches!(&node.rule, Rule::Norm(norm) if norm.x == x);
        let norms: Vec<usize> = (0..self.nodes.len()).filter(|&at| is_of(&self.nodes[at])).collect();
        self.done.extend(&norms);
        let keeps = !self.there.contains_key(&x) && self.fits(x);
        self.pass(x, keeps, norms, false);
    }

    fn keep_if_it_fits(&mut self, id: ValueId) {
        if !self.there.contains_key(&id) && self.fits(id) {
            self.pass(id, true, Vec::new(), false);
        }
    }

    fn whole(&mut self, at: usize) {
        let node = &self.nodes[at];
        for &id in &node.reads {
            if !self.there.contains_key(&id) {
                self.pass(id, true, Vec::new(), false);
            }
        }
        self.done.insert(at);
        for &id in &node.makes {
            let bytes = self.bytes(id, self.form);
            self.there.insert(id, bytes);
        }
        self.note();
        let frees = self.free();
        self.acts.push(Act::Whole { node: at, frees });
    }

    fn pass(&mut self, of: ValueId, keeps: bool, norms: Vec<usize>, returns: bool) {
        if keeps {
            let bytes = self.bytes(of, self.form);
            self.there.insert(of, bytes);
        }
        if returns {
            self.returned.insert(of);
        }
        let frees = self.free();
        self.note();
        self.acts.push(Act::Pass(Pass { of, keeps, norms, returns, frees }));
    }

    fn note(&mut self) {
        self.kept_bytes = self.kept_bytes.max(self.there.values().sum());
    }

    /// Whether all that must stay fits when this does too; its rows take the place of those that nobody reads any more.
    fn fits(&mut self, id: ValueId) -> bool {
        let (bytes, before) = (self.bytes(id, self.form), self.there.clone());
        self.there.insert(id, bytes);
        self.free();
        let fits = self.there.values().sum::<usize>() <= self.limit;
        self.there = before;
        self.n_denied += usize::from(!fits);
        fits
    }

    /// Takes out what nobody reads any more.
    fn free(&mut self) -> Vec<ValueId> {
        let memo = RefCell::new(HashMap::new());
        let frees: Vec<ValueId> = self.there.keys().copied().filter(|&id| !self.is_needed(id, &memo)).collect();
        frees.iter().for_each(|id| {
            self.there.remove(id);
        });
        frees
    }

    /// Whether something that is not there yet is made of a value.
    fn is_needed(&self, id: ValueId, memo: &RefCell<HashMap<ValueId, bool>>) -> bool {
        if let Some(&known) = memo.borrow().get(&id) {
            return known;
        }
        let is_returned = self.body.function.body.outputs.contains(&id) && !self.returned.contains(&id);
        let readers = self.readers.get(&id).map_or(&[][..], Vec::as_slice);
        let needed = is_returned || readers.iter().any(|&at| self.needs(at, memo));
        memo.borrow_mut().insert(id, needed);
        needed
    }

    fn needs(&self, at: usize, memo: &RefCell<HashMap<ValueId, bool>>) -> bool {
        let node = &self.nodes[at];
        let is_done = self.done.contains(&at);
        match node.rule {
            Rule::Whole => !is_done,
            Rule::Norm(_) if !is_done => true,
            _ => node.makes.iter().any(|&id| !self.there.contains_key(&id) && self.is_needed(id, memo)),
        }
    }
}
