//! Rows of choices in which every two values of different factors meet.
//!
//! Most faults come from one choice or from two together, and all pairs need far fewer rows than the full product.

/// Values of several factors, and which of them do not go together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factors {
    /// The values of each factor.
    pub(super) values: &'static [&'static [&'static str]],
    /// Two values of different factors that are never in one row.
    pub(super) apart: &'static [(&'static str, &'static str)],
}

/// One choice, by its factor and its place among the factor's values.
type Choice = (usize, usize);

impl Factors {
    /// Rows with one value of each factor, so that every pair that may meet does; the same each time.
    pub(super) fn rows(&self) -> Vec<Vec<&'static str>> {
        let mut missing = self.pairs();
        let mut rows = Vec::new();
        while let Some(&(first, second)) = missing.first() {
            let row = self.row(first, second, &missing);
            // Where the rest of the factors has no place for a pair, it is given up rather than asked for again.
            missing.retain(|&(a, b)| (a, b) != (first, second) && !(has(&row, a) && has(&row, b)));
            if row.iter().all(Option::is_some) {
                rows.push(row.iter().enumerate().filter_map(|(f, v)| v.map(|v| self.values[f][v])).collect());
            }
        }
        rows
    }

    /// Every pair that may meet.
    fn pairs(&self) -> Vec<(Choice, Choice)> {
        let choices: Vec<Choice> =
            self.values.iter().enumerate().flat_map(|(f, values)| (0..values.len()).map(move |v| (f, v))).collect();
        let pairs = choices.iter().flat_map(|&a| choices.iter().map(move |&b| (a, b)));
        pairs.filter(|&(a, b)| a.0 < b.0 && self.may_meet(a, b)).collect()
    }

    fn may_meet(&self, a: Choice, b: Choice) -> bool {
        let (a, b) = (self.values[a.0][a.1], self.values[b.0][b.1]);
        !self.apart.iter().any(|&(x, y)| (x, y) == (a, b) || (y, x) == (a, b))
    }

    /// The row that begins with a pair; each further value is one that most missing pairs want.
    fn row(&self, first: Choice, second: Choice, missing: &[(Choice, Choice)]) -> Vec<Option<usize>> {
        let mut row = vec![None; self.values.len()];
        row[first.0] = Some(first.1);
        row[second.0] = Some(second.1);
        for factor in 0..self.values.len() {
            if row[factor].is_some() {
                continue;
            }
            let fits = |v: &usize| chosen(&row).all(|choice| self.may_meet(choice, (factor, *v)));
            let gain = |v: usize| {
                let is_new = |a, b| (a == (factor, v) && has(&row, b)) || (b == (factor, v) && has(&row, a));
                missing.iter().filter(|&&(a, b)| is_new(a, b)).count()
            };
            // The earlier of equals, so that rows without need take the defaults.
            row[factor] = (0..self.values[factor].len()).filter(fits).rev().max_by_key(|&v| gain(v));
        }
        row
    }
}

fn chosen(row: &[Option<usize>]) -> impl Iterator<Item = Choice> {
    row.iter().enumerate().filter_map(|(factor, value)| value.map(|value| (factor, value)))
}

fn has(row: &[Option<usize>], (factor, value): Choice) -> bool {
    row[factor] == Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTORS: Factors = Factors {
        values: &[&["a", "b", "c"], &["1", "2"], &["", "x", "y"], &["p", "q"]],
        apart: &[("c", "2"), ("y", "1")],
    };

    #[test]
    fn every_pair_that_may_meet_is_in_a_row() {
        let rows = FACTORS.rows();
        for (a, b) in FACTORS.pairs() {
            let (a, b) = ((a.0, FACTORS.values[a.0][a.1]), (b.0, FACTORS.values[b.0][b.1]));
            // c goes with 1 alone and y with 2 alone, so that c and y have no row.
            let is_impossible = (a.1, b.1) == ("c", "y");
            let is_met = rows.iter().any(|row| row[a.0] == a.1 && row[b.0] == b.1);
            assert_eq!(is_met, !is_impossible, "{a:?} {b:?}");
        }
    }

    #[test]
    fn what_stands_apart_never_meets() {
        let rows = FACTORS.rows();
        assert!(!rows.is_empty());
        for row in rows {
            for pair in [["c", "2"], ["y", "1"]] {
                assert!(!pair.iter().all(|value| row.contains(value)), "{row:?}");
            }
        }
    }

    #[test]
    fn there_are_far_fewer_rows_than_in_the_product() {
        const FOUR: &[&str] = &["a", "b", "c", "d"];
        let factors = Factors { values: &[FOUR, FOUR, FOUR, FOUR, FOUR, FOUR], apart: &[] };
        let n_rows = factors.rows().len();
        assert!((16..=40).contains(&n_rows), "{n_rows} of {}", 4usize.pow(6));
    }
}
