//! Where to cut.

use crate::{
    constant::Literal,
    ir::{Function, Op, ValueId},
    types::Type,
};
use host_tensor::DType;
use std::collections::HashMap;

/// What parts would cost. Positions are those of operations that do not decode constants.
pub(super) struct Costs {
    /// Numbers of the stored constants that each operation reads.
    reads: Vec<Vec<usize>>,
    /// Bytes of each stored constant.
    bytes: Vec<u64>,
    /// Bytes that cross before each position; `None` where no cut can be.
    crossing: Vec<Option<u64>>,
}

/// Cuts may leave the largest part so much larger than it need be, if fewer bytes cross then: one part in …
const SLACK: u64 = 50;

impl Costs {
    pub(super) fn of(function: &Function) -> Self {
        let steps: Vec<&Op> = function.body.ops.iter().filter(|op| !op.is_constexpr()).collect();
        let decoders: HashMap<ValueId, &Op> = function
            .body
            .ops
            .iter()
            .filter(|op| op.is_constexpr())
            .flat_map(|op| op.outputs.iter().map(move |&v| (v, op)))
            .collect();
        let (mut numbers, mut bytes) = (HashMap::new(), Vec::new());
        let mut reads = Vec::with_capacity(steps.len());
        for op in &steps {
            let mut here = Vec::new();
            let mut open = Vec::new();
            op.for_each_use(&mut |v| open.push(v));
            while let Some(v) = open.pop() {
                if let Some(decoder) = decoders.get(&v) {
                    decoder.for_each_use(&mut |v| open.push(v));
                } else if let Some(Literal::Tensor(c)) = function.literal(v) {
                    let number = *numbers.entry(v).or_insert_with(|| {
                        bytes.push(c.dtype().byte_len(c.len()).unwrap_or(0) as u64);
                        bytes.len() - 1
                    });
                    here.push(number);
                }
            }
            here.sort_unstable();
            here.dedup();
            reads.push(here);
        }
        let crossing = crossing(function, &steps, &decoders);
        Self { reads, bytes, crossing }
    }

    /// Leaves only places where the other function may be cut too.
    pub(super) fn restrict(&mut self, other: &Self) {
        for (mine, theirs) in self.crossing.iter_mut().zip(&other.crossing) {
            *mine = mine.filter(|_| theirs.is_some());
        }
    }

    /// Positions before which a part may begin.
    pub(super) fn places(&self) -> Vec<usize> {
        (1..self.reads.len()).filter(|&i| self.crossing[i].is_some()).collect()
    }

    /// Bytes that cross before a position where a cut can be.
    pub(super) fn crossing(&self, at: usize) -> u64 {
        self.crossing.get(at).copied().flatten().unwrap_or_default()
    }

    /// Bytes that the part `from..to` stores.
    fn part(&self, from: usize, to: usize, seen: &mut Seen) -> u64 {
        seen.clear();
        self.reads[from..to].iter().flatten().map(|&c| if seen.insert(c) { self.bytes[c] } else { 0 }).sum()
    }

    /// Positions at which parts begin, the first part's left out, and the end: as even as they can be.
    pub(super) fn cut(&self, parts: usize) -> Vec<usize> {
        let mut places = self.places();
        let end = self.reads.len();
        places.push(end);
        let mut seen = Seen::new(self.bytes.len());
        // least[p]: of the largest part, when the first places[p] operations make so many parts; and where the last began.
        let mut least: Vec<u64> = places.iter().map(|&to| self.part(0, to, &mut seen)).collect();
        let mut begins: Vec<Vec<usize>> = Vec::new();
        for k in 2..=parts {
            let (mut next, mut begin) = (vec![u64::MAX; places.len()], vec![0; places.len()]);
            for to in k - 1..places.len() {
                seen.clear();
                let (mut stored, mut reached) = (0, places[to]);
                for from in (k - 2..to).rev() {
                    for &c in self.reads[places[from]..reached].iter().flatten() {
                        stored += if seen.insert(c) { self.bytes[c] } else { 0 };
                    }
                    reached = places[from];
                    let largest = stored.max(least[from]);
                    if largest < next[to] {
                        (next[to], begin[to]) = (largest, from);
                    }
                    if stored > next[to] {
                        break;
                    }
                }
            }
            least = next;
            begins.push(begin);
        }
        let mut at = places.len() - 1;
        let mut cuts = vec![end];
        for begin in begins.iter().rev() {
            at = begin[at];
            cuts.push(places[at]);
        }
        cuts.reverse();
        self.settle(&mut cuts, least[places.len() - 1], &mut seen);
        cuts
    }

    /// Moves cuts to where fewer bytes cross, as long as no part grows beyond the slack.
    fn settle(&self, cuts: &mut [usize], largest: u64, seen: &mut Seen) {
        let limit = largest + largest / SLACK;
        for i in 0..cuts.len() - 1 {
            let (left, right) = (if i == 0 { 0 } else { cuts[i - 1] }, cuts[i + 1]);
            let mut best = (self.crossing[cuts[i]].unwrap_or(u64::MAX), cuts[i]);
            for step in [-1isize, 1] {
                let mut at = cuts[i];
                while let Some(next) = at.checked_add_signed(step).filter(|&n| n > left && n < right) {
                    at = next;
                    if self.part(left, at, seen) > limit || self.part(at, right, seen) > limit {
                        break;
                    }
                    if let Some(bytes) = self.crossing[at].filter(|&bytes| bytes < best.0) {
                        best = (bytes, at);
                    }
                }
            }
            cuts[i] = best.1;
        }
    }
}

/// Bytes of the values that live across each position, or none where one of them may not cross.
fn crossing(function: &Function, steps: &[&Op], decoders: &HashMap<ValueId, &Op>) -> Vec<Option<u64>> {
    let mut made: HashMap<ValueId, usize> = HashMap::new();
    let mut last: HashMap<ValueId, usize> = HashMap::new();
    for (i, op) in steps.iter().enumerate() {
        op.for_each_use(&mut |v| {
            if made.contains_key(&v) {
                last.insert(v, i);
            }
        });
        made.extend(op.outputs.iter().map(|&v| (v, i)));
    }
    // Changes at each position: bytes, and number of values that may not cross.
    let mut changes = vec![(0i64, 0i64); steps.len() + 2];
    for (v, &end) in last.iter().filter(|(v, _)| !decoders.contains_key(v)) {
        let begin = made[v] + 1;
        let (bytes, bad) = match crossing_bytes(function, *v) {
            Some(bytes) => (bytes, 0),
            None => (0, 1),
        };
        changes[begin].0 += bytes;
        changes[begin].1 += bad;
        changes[end + 1].0 -= bytes;
        changes[end + 1].1 -= bad;
    }
    let (mut bytes, mut bad) = (0, 0);
    let at = |&(b, n): &(i64, i64)| {
        bytes += b;
        bad += n;
        (bad == 0).then_some(bytes as u64)
    };
    changes[..=steps.len()].iter().map(at).collect()
}

/// Bytes of a value as it crosses a boundary; `None` for types that no interface has.
fn crossing_bytes(function: &Function, v: ValueId) -> Option<i64> {
    match function.ty(v) {
        Type::Tensor(t) if matches!(t.dtype, DType::F16 | DType::F32 | DType::I32) => {
            let n = t.shape.iter().map(|d| d.size()).try_fold(1usize, |n, d| n.checked_mul(d?))?;
            // A scalar is no feature of a model.
            (t.rank() > 0).then_some(n as i64 * 4)
        }
        _ => None,
    }
}

/// A set of numbers that is emptied at no cost.
struct Seen {
    round: Vec<u32>,
    now: u32,
}

impl Seen {
    fn new(n: usize) -> Self {
        Self { round: vec![0; n], now: 0 }
    }

    fn clear(&mut self) {
        self.now += 1;
    }

    fn insert(&mut self, i: usize) -> bool {
        std::mem::replace(&mut self.round[i], self.now) != self.now
    }
}
