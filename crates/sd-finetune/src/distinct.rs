//! The distinct values of a weight in half precision, and which of them each element has.

use half::f16;

use crate::soft::Values;

/// Patterns of sixteen bits.
const PATTERNS: usize = 1 << 16;
/// From so many elements on, values occur often enough that it pays to look for them.
const FEWEST: usize = 1 << 13;
/// A pattern that has not occurred.
const ABSENT: u32 = u32::MAX;

/// Distinct values of a group; a small group's are its elements as they are, each once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Distinct {
    values: Vec<f32>,
    /// Empty where each element is a value of its own.
    counts: Vec<f32>,
    /// Place of each element's value; empty likewise.
    places: Vec<u16>,
}

impl Distinct {
    pub(crate) fn of(elements: &[f32]) -> Self {
        if elements.len() < FEWEST {
            return Self { values: elements.to_vec(), ..Self::default() };
        }
        let mut places = vec![ABSENT; PATTERNS];
        let mut found = Self { places: Vec::with_capacity(elements.len()), ..Self::default() };
        for &element in elements {
            let half = f16::from_f32(element);
            let place = &mut places[usize::from(half.to_bits())];
            if *place == ABSENT {
                *place = found.values.len() as u32;
                found.values.push(half.to_f32());
                found.counts.push(0.0);
            }
            found.counts[*place as usize] += 1.0;
            found.places.push(*place as u16);
        }
        found
    }

    pub(crate) fn values(&self) -> Values<'_> {
        Values { values: &self.values, counts: &self.counts }
    }

    /// What each element has of what each value has.
    pub(crate) fn gather(&self, of_values: Vec<f32>) -> Vec<f32> {
        match self.places.is_empty() {
            true => of_values,
            false => self.places.iter().map(|&place| of_values[usize::from(place)]).collect(),
        }
    }

    /// What the elements of each value have together.
    pub(crate) fn scatter(&self, of_elements: &[f32]) -> Vec<f32> {
        if self.places.is_empty() {
            return of_elements.to_vec();
        }
        let mut sums = vec![0.0; self.values.len()];
        for (&place, &element) in self.places.iter().zip(of_elements) {
            sums[usize::from(place)] += element;
        }
        sums
    }

    /// The gradient of each element: its own times its value's slope, and its value's shift.
    pub(crate) fn chain(&self, gradient: &[f32], slopes: &[f32], shifts: &[f32]) -> Vec<f32> {
        let shift = |place: usize| shifts.get(place).copied().unwrap_or(0.0);
        let place = |idx: usize| self.places.get(idx).map_or(idx, |&place| usize::from(place));
        gradient.iter().enumerate().map(|(idx, g)| g * slopes[place(idx)] + shift(place(idx))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_group_has_each_value_once() {
        let elements: Vec<f32> = (0..10_000).map(|i| (i % 7) as f32).collect();
        let distinct = Distinct::of(&elements);
        assert_eq!(distinct.values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(distinct.counts.iter().sum::<f32>(), 10_000.0);
        assert_eq!(distinct.gather(distinct.values.clone()), elements);
        assert_eq!(distinct.scatter(&vec![1.0; 10_000]), distinct.counts);
    }
}
