//! What is minimised, and its relaxation.
//!
//! Each item has a weight, of which there may be so much in all, and a cost. Of a group only items count that cost less than
//! every lighter one. The lower convex hull of these is what a price per unit of weight would choose; taking steps along the
//! hulls in the order of what they save per unit, as long as they fit, solves the problem in which items may be divided.

use super::{Choice, Group};

/// A choice as the solver sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Item {
    /// Position among the group's choices.
    pub(super) choice: usize,
    pub(super) weight: f64,
    pub(super) cost: f64,
}

/// Groups without what is never chosen: weights ascend, costs descend.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) groups: Vec<Vec<Item>>,
    pub(super) limit: f64,
}

/// A step along the hull of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) group: usize,
    /// The item that it leads to.
    pub(super) to: usize,
    /// Weight that it adds.
    weight: f64,
    /// What it saves for each unit of weight.
    pub(super) slope: f64,
}

/// The items that a price chooses, within the limit.
#[derive(Debug)]
pub(super) struct Base {
    /// An item for each group.
    pub(super) items: Vec<usize>,
    /// The price: what the first step that did not fit saves per unit of weight; none where all fit.
    pub(super) price: Option<f64>,
    /// A better choice that still fits: later steps that did.
    pub(super) filled: Vec<usize>,
}

impl Problem {
    /// `None` when a group has no choice, or no assignment fits.
    pub(super) fn new(groups: &[Group], limit: f64, of: impl Fn(&Choice) -> (f64, f64)) -> Option<Self> {
        let groups: Vec<Vec<Item>> = groups.iter().map(|group| undominated(group, &of)).collect();
        let least: f64 = groups.iter().map(|items| items.first().map(|item| item.weight)).sum::<Option<f64>>()?;
        (least <= limit).then_some(Self { groups, limit })
    }

    /// Weight of an item of each group.
    pub(super) fn weight(&self, items: &[usize]) -> f64 {
        self.groups.iter().zip(items).map(|(group, &i)| group[i].weight).sum()
    }

    /// All steps, those that save most per unit first; steps of one group in their order.
    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (group, items) in self.groups.iter().enumerate() {
            let hull = hull(items);
            steps.extend(hull.windows(2).map(|pair| {
                let (from, to) = (items[pair[0]], items[pair[1]]);
                let weight = to.weight - from.weight;
                Step { group, to: pair[1], weight, slope: (from.cost - to.cost) / weight }
            }));
        }
        steps.sort_by(|a, b| b.slope.total_cmp(&a.slope));
        steps
    }

    /// The relaxed optimum, rounded to what fits.
    pub(super) fn base(&self) -> Base {
        let mut items = vec![0; self.groups.len()];
        let mut room = self.limit - self.weight(&items);
        let steps = self.steps();
        let mut rest = steps.iter();
        let mut base = Base { items: Vec::new(), price: None, filled: Vec::new() };
        for step in rest.by_ref() {
            if step.weight > room {
                base.price = Some(step.slope);
                break;
            }
            items[step.group] = step.to;
            room -= step.weight;
        }
        base.items.clone_from(&items);
        // A step that is left out blocks those behind it in its group: from there on whatever item fits best is taken.
        for step in rest {
            let (from, to) = (self.groups[step.group][items[step.group]], self.groups[step.group][step.to]);
            if to.weight - from.weight <= room && to.weight > from.weight {
                room -= to.weight - from.weight;
                items[step.group] = step.to;
            }
        }
        base.filled = items;
        base
    }

    /// Weight and cost after each step.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        let mut items = vec![0; self.groups.len()];
        let first: f64 = self.groups.iter().map(|items| items[0].cost).sum();
        let mut points = vec![(self.weight(&items), first)];
        for step in self.steps() {
            let (from, to) = (self.groups[step.group][items[step.group]], self.groups[step.group][step.to]);
            items[step.group] = step.to;
            let (weight, cost) = points[points.len() - 1];
            points.push((weight + to.weight - from.weight, (cost + to.cost - from.cost).max(0.0)));
        }
        points
    }
}

/// Items by weight, without those that cost as much as a lighter one.
fn undominated(group: &Group, of: &impl Fn(&Choice) -> (f64, f64)) -> Vec<Item> {
    let is_possible = |choice: &Choice| choice.loss.is_finite() && choice.loss >= 0.0;
    let item = |(choice, values): (usize, &Choice)| {
        let (weight, cost) = of(values);
        Item { choice, weight, cost }
    };
    let possible = group.choices.iter().enumerate().filter(|(_, choice)| is_possible(choice));
    let mut items: Vec<Item> = possible.map(item).collect();
    items.sort_by(|a, b| a.weight.total_cmp(&b.weight).then(a.cost.total_cmp(&b.cost)));
    let mut least = f64::INFINITY;
    items.retain(|item| {
        let is_cheaper = item.cost < least;
        least = least.min(item.cost);
        is_cheaper
    });
    items
}

/// Positions of the items on the lower convex hull.
fn hull(items: &[Item]) -> Vec<usize> {
    let mut hull: Vec<usize> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        while let [.., a, b] = hull[..] {
            let (a, b) = (items[a], items[b]);
            // `b` stays when the way to it saves more per unit than the way on from it.
            let stays = (a.cost - b.cost) * (item.weight - b.weight) > (b.cost - item.cost) * (b.weight - a.weight);
            if stays {
                break;
            }
            hull.pop();
        }
        hull.push(i);
    }
    hull
}
