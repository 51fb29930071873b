//! One choice for each of many groups, so that least is lost within a number of bytes, or fewest bytes are taken within a
//! loss: the multiple-choice knapsack, solved exactly.
//!
//! What is chosen in one group changes nothing in another: bytes and losses add up. Nothing here knows what a choice is.
//!
//! ```
//! use mil_compress::assign::{Choice, Group, within_bytes};
//!
//! let choice = |bytes, loss| Choice { bytes, loss };
//! let fine = Group { choices: vec![choice(100, 9.0), choice(200, 1.0), choice(400, 0.0)] };
//! let coarse = Group { choices: vec![choice(100, 0.9), choice(200, 0.1), choice(400, 0.0)] };
//! let best = within_bytes(&[fine, coarse], 300).unwrap();
//! assert_eq!((best.chosen, best.bytes, best.gap), (vec![1, 0], 300, 0.0));
//! ```

mod problem;
mod search;

use problem::Problem;

/// Something that is stored in one of several ways.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// The ways; those whose loss is negative or no finite number are never taken.
    pub choices: Vec<Choice>,
}

/// A way to store it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Bytes that it takes.
    pub bytes: u64,
    /// What is lost by it.
    pub loss: f64,
}

/// A choice for each group.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Positions among the groups' choices.
    pub chosen: Vec<usize>,
    /// Bytes of all.
    pub bytes: u64,
    /// Loss of all.
    pub loss: f64,
    /// What is not proven, because the search was broken off: there may be an assignment whose loss (or, where bytes are
    /// to be few, whose number of bytes) is less by up to this. 0 where this one is known to be the best.
    pub gap: f64,
}

/// Digits to which sums of losses are compared.
const DIGITS: f64 = 1e-12;

/// The assignment that loses least within so many bytes; `None` when every one takes more.
#[must_use]
pub fn within_bytes(groups: &[Group], budget: u64) -> Option<Assignment> {
    let problem = Problem::new(groups, budget as f64, |choice| (choice.bytes as f64, choice.loss))?;
    let (chosen, gap) = search::solve(&problem, 0.0)?;
    Some(assignment(groups, chosen, gap))
}

/// The assignment that takes fewest bytes and loses no more than this, to twelve digits; `None` when every one loses more.
///
/// Of those with as few bytes it is the one that loses least.
#[must_use]
pub fn within_loss(groups: &[Group], ceiling: f64) -> Option<Assignment> {
    let problem = Problem::new(groups, ceiling * (1.0 + DIGITS), |choice| (choice.loss, choice.bytes as f64))?;
    let (chosen, gap) = search::solve(&problem, step(groups))?;
    let fewest = assignment(groups, chosen, gap);
    match within_bytes(groups, fewest.bytes) {
        Some(best) if best.loss <= fewest.loss => Some(Assignment { gap, ..best }),
        _ => Some(fewest),
    }
}

/// Bytes and losses of assignments that are the best for their bytes, from the fewest bytes to the least loss: those at which
/// bytes have one price everywhere. Between two neighbours lie no others that any price would choose.
#[must_use]
pub fn curve(groups: &[Group]) -> Vec<(u64, f64)> {
    let problem = Problem::new(groups, f64::INFINITY, |choice| (choice.bytes as f64, choice.loss));
    problem.map_or_else(Vec::new, |problem| {
        problem.curve().into_iter().map(|(bytes, loss)| (bytes as u64, loss)).collect()
    })
}

fn assignment(groups: &[Group], chosen: Vec<usize>, gap: f64) -> Assignment {
    let taken = || groups.iter().zip(&chosen).map(|(group, &i)| group.choices[i]);
    let (bytes, loss) = (taken().map(|choice| choice.bytes).sum(), taken().map(|choice| choice.loss).sum());
    Assignment { chosen, bytes, loss, gap }
}

/// What numbers of bytes of two assignments differ by at least, where they differ.
fn step(groups: &[Group]) -> f64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let differences = groups.iter().flat_map(|group| {
        let first = group.choices.first().map_or(0, |choice| choice.bytes);
        group.choices.iter().map(move |choice| choice.bytes.abs_diff(first))
    });
    differences.fold(0, gcd) as f64
}

#[cfg(test)]
mod tests;
