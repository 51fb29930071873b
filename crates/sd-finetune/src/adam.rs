//! Adam (Kingma and Ba, 2015), of numbers in memory.

use rayon::prelude::*;

/// Decay of the mean of gradients.
const BETA_1: f32 = 0.9;
/// Decay of the mean of their squares.
const BETA_2: f32 = 0.99;
/// Keeps a gradient of nothing from a division by zero.
const EPSILON: f32 = 1e-12;

/// Running means of gradients and of their squares.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Adam {
    pub(crate) means: Vec<f32>,
    pub(crate) squares: Vec<f32>,
}

impl Adam {
    pub(crate) fn new(n: usize) -> Self {
        Self { means: vec![0.0; n], squares: vec![0.0; n] }
    }

    /// One step, which is number `at` from 1; a number whose gradient keeps its sign moves by the rate of its part.
    ///
    /// Parts have `len` numbers each.
    pub(crate) fn step(&mut self, numbers: &mut [f32], gradient: &[f32], at: usize, len: usize, rates: &[f32]) {
        let at = at as f64;
        let (first, second) = (1.0 - f64::from(BETA_1).powf(at), 1.0 - f64::from(BETA_2).powf(at));
        let (first, second) = ((1.0 / first) as f32, (1.0 / second) as f32);
        let own = self.means.par_chunks_mut(len).zip(self.squares.par_chunks_mut(len));
        let parts = numbers.par_chunks_mut(len).zip(gradient.par_chunks(len)).zip(own).zip(rates);
        parts.for_each(|(((numbers, gradient), (means, squares)), &rate)| {
            let own = means.iter_mut().zip(squares);
            for ((number, &g), (mean, square)) in numbers.iter_mut().zip(gradient).zip(own) {
                *mean = BETA_1 * *mean + (1.0 - BETA_1) * g;
                *square = BETA_2 * *square + (1.0 - BETA_2) * g * g;
                *number -= rate * (*mean * first) / ((*square * second).sqrt() + EPSILON);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_has_the_length_of_the_rate() {
        let (mut numbers, gradient) = (vec![1.0, 1.0, 1.0], [3.0, -0.01, 0.0]);
        Adam::new(3).step(&mut numbers, &gradient, 1, 3, &[0.1]);
        for (found, expected) in numbers.iter().zip([0.9, 1.1, 1.0]) {
            assert!((found - expected).abs() < 1e-6, "{numbers:?}");
        }
    }

    #[test]
    fn it_finds_the_bottom_of_a_bowl() {
        let (mut numbers, mut adam) = (vec![5.0, -3.0], Adam::new(2));
        for at in 1..=2000 {
            let gradient = [2.0 * (numbers[0] - 1.0), 20.0 * (numbers[1] - 2.0)];
            adam.step(&mut numbers, &gradient, at, 1, &[0.02, 0.02]);
        }
        assert!((numbers[0] - 1.0).abs() < 1e-2 && (numbers[1] - 2.0).abs() < 1e-2, "{numbers:?}");
    }
}
