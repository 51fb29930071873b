//! From the relaxed optimum to the exact one.
//!
//! At the price λ of the relaxation, an item that a group does not choose has an excess: what its cost and λ times its weight
//! are above the group's least. An assignment costs more than the relaxation's bound by the excesses of its items and λ times
//! the weight that it leaves over. So only items count whose excess is below that of the best assignment so far, and mostly
//! few groups have any. These are gone through, those whose items come closest to the price first; of the partial
//! assignments those are kept that no other beats in weight and cost (Nemhauser and Ullmann 1969), and that can still be
//! better than the best: what is left over at the end can only be filled, and what is too much only be given back, at the
//! best rate of the groups to come (Pisinger, "A minimal algorithm for the multiple-choice knapsack problem", 1995).

use super::problem::{Base, Problem};

/// Partial assignments that are looked at before the search is broken off: about a second.
const MAX_WORK: usize = 20_000_000;

/// An item that is not the base's.
#[derive(Debug, Clone, Copy)]
struct Move {
    item: usize,
    /// Weight more than the base's.
    weight: f64,
    /// What it costs above the price.
    excess: f64,
}

/// A group whose item is not settled.
#[derive(Debug)]
struct Open {
    group: usize,
    moves: Vec<Move>,
}

/// The best rates of this group and all that follow.
#[derive(Debug, Clone, Copy)]
struct Rates {
    /// Least excess per unit of weight that is filled.
    up: f64,
    /// Least excess per unit of weight that is given back.
    down: f64,
    /// Least excess of an item that gives back.
    least_down: f64,
}

/// A partial assignment.
#[derive(Debug, Clone, Copy)]
struct State {
    /// Weight more than the base's.
    weight: f64,
    excess: f64,
    /// The last group that left the base, among [`Search::trail`].
    last: Option<u32>,
}

struct Search {
    price: f64,
    /// Weight that the base leaves over.
    room: f64,
    /// Excess of the best assignment.
    best: f64,
    /// Better ones are better by at least this.
    step: f64,
    /// Where the best was found; none when it is the one at the beginning.
    found: Option<Option<u32>>,
    /// Group and item of each move that was taken, and the one before it.
    trail: Vec<(Option<u32>, u32, u32)>,
    work: usize,
}

/// The best choices, and by how much they may miss the optimum; costs of two assignments differ by `step` or not at all.
pub(super) fn solve(problem: &Problem, step: f64) -> Option<(Vec<usize>, f64)> {
    solve_within(problem, step, MAX_WORK)
}

pub(super) fn solve_within(problem: &Problem, step: f64, work: usize) -> Option<(Vec<usize>, f64)> {
    let Base { mut items, price, filled } = problem.base();
    let mut gap = 0.0;
    if let Some(price) = price {
        let room = problem.limit - problem.weight(&items);
        let best = excess(problem, &items, &filled, price) + price * (problem.limit - problem.weight(&filled)).max(0.0);
        // Rounding of sums must not rule out what is better by one step.
        let step = step * 0.999;
        let mut search = Search { price, room, best, step, found: None, trail: Vec::new(), work };
        gap = search.run(problem, &items);
        match search.found {
            Some(last) => search.follow(last, &mut items),
            None => items = filled,
        }
    }
    problem
        .groups
        .iter()
        .zip(&items)
        .map(|(group, &i)| group.get(i).map(|item| item.choice))
        .collect::<Option<_>>()
        .map(|c| (c, gap))
}

/// Excess of one assignment over another at a price.
fn excess(problem: &Problem, from: &[usize], to: &[usize], price: f64) -> f64 {
    let of = |((items, &a), &b): ((&Vec<super::problem::Item>, &usize), &usize)| {
        let (a, b) = (items[a], items[b]);
        ((b.cost - a.cost) + price * (b.weight - a.weight)).max(0.0)
    };
    problem.groups.iter().zip(from).zip(to).map(of).sum()
}

impl Search {
    /// Groups that may leave the base, the closest first, and the rates from each on.
    fn open(&self, problem: &Problem, base: &[usize]) -> (Vec<Open>, Vec<Rates>) {
        let mut open: Vec<(f64, Open)> = Vec::new();
        for (group, (items, &at)) in problem.groups.iter().zip(base).enumerate() {
            let of = |(item, it): (usize, &super::problem::Item)| {
                let (weight, cost) = (it.weight - items[at].weight, it.cost - items[at].cost);
                Move { item, weight, excess: (cost + self.price * weight).max(0.0) }
            };
            let may_win = |m: &Move| m.item != at && m.excess < self.best - self.step;
            let moves: Vec<Move> = items.iter().enumerate().map(of).filter(may_win).collect();
            let closest = moves.iter().map(|m| m.excess / m.weight.abs()).fold(f64::INFINITY, f64::min);
            if !moves.is_empty() {
                open.push((closest, Open { group, moves }));
            }
        }
        open.sort_by(|a, b| a.0.total_cmp(&b.0));
        let open: Vec<Open> = open.into_iter().map(|(_, open)| open).collect();
        let none = Rates { up: self.price, down: f64::INFINITY, least_down: f64::INFINITY };
        let mut rates = vec![none; open.len() + 1];
        for i in (0..open.len()).rev() {
            let mut here = rates[i + 1];
            for m in &open[i].moves {
                if m.weight > 0.0 {
                    here.up = here.up.min(m.excess / m.weight);
                } else {
                    here.down = here.down.min(m.excess / -m.weight);
                    here.least_down = here.least_down.min(m.excess);
                }
            }
            rates[i] = here;
        }
        (open, rates)
    }

    /// Goes through the open groups; returns by how much the best may miss the optimum.
    fn run(&mut self, problem: &Problem, base: &[usize]) -> f64 {
        let (open, rates) = self.open(problem, base);
        let start = State { weight: 0.0, excess: 0.0, last: None };
        self.offer(start);
        let mut states = vec![start];
        for (i, group) in open.iter().enumerate() {
            let least = |search: &Self| states.iter().map(|s| search.bound(s, &rates[i])).fold(f64::INFINITY, f64::min);
            if self.work == 0 {
                return (self.best - least(self)).max(0.0);
            }
            states = self.extend(&states, group, &rates[i + 1]);
            if states.is_empty() {
                break;
            }
        }
        0.0
    }

    /// The least excess that an assignment can have which continues a state through the groups of these rates.
    fn bound(&self, state: &State, rates: &Rates) -> f64 {
        let room = self.room - state.weight;
        let rest = if room >= 0.0 { room * rates.up } else { (-room * rates.down).max(rates.least_down) };
        state.excess + rest
    }

    /// Takes a state for the best assignment, if it is one.
    fn offer(&mut self, state: State) {
        let room = self.room - state.weight;
        if room >= 0.0 && state.excess + self.price * room < self.best {
            self.best = state.excess + self.price * room;
            self.found = Some(state.last);
        }
    }

    /// The states that follow when a group is settled, by weight, each cheaper than all lighter ones.
    fn extend(&mut self, states: &[State], group: &Open, rates: &Rates) -> Vec<State> {
        let stay = Move { item: usize::MAX, weight: 0.0, excess: 0.0 };
        let moves: Vec<Move> = std::iter::once(stay).chain(group.moves.iter().copied()).collect();
        let mut at = vec![0; moves.len()];
        let mut next: Vec<State> = Vec::with_capacity(states.len());
        let mut cheapest = f64::INFINITY;
        loop {
            // The lightest state that has not been taken; every list is in the order of weight.
            let lightest = moves.iter().zip(&at).enumerate();
            let lightest = lightest.filter_map(|(list, (m, &i))| Some((list, states.get(i)?.weight + m.weight)));
            let Some((list, weight)) = lightest.min_by(|a, b| a.1.total_cmp(&b.1)) else { break };
            let (from, m) = (states[at[list]], moves[list]);
            at[list] += 1;
            self.work = self.work.saturating_sub(1);
            let mut state = State { weight, excess: from.excess + m.excess, last: from.last };
            let cost = state.excess - self.price * weight;
            let is_beaten = cost >= cheapest || self.bound(&state, rates) >= self.best - self.step;
            if is_beaten {
                continue;
            }
            cheapest = cost;
            if list > 0 {
                state.last = Some(self.trail.len() as u32);
                self.trail.push((from.last, group.group as u32, m.item as u32));
                self.offer(state);
            }
            next.push(state);
        }
        next
    }

    /// Makes the moves that led to a state.
    fn follow(&self, mut last: Option<u32>, items: &mut [usize]) {
        while let Some((before, group, item)) = last.and_then(|last| self.trail.get(last as usize)) {
            items[*group as usize] = *item as usize;
            last = *before;
        }
    }
}
