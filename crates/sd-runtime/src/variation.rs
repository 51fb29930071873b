//! Variation seeds: a picture's noise with some of another seed's mixed in, as AUTOMATIC1111's web UI mixes it.

use serde::{Deserialize, Serialize};

use crate::error::{Result, RuntimeError};

/// Noise of another seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variation {
    /// The other seed; of several pictures each takes the next.
    pub seed: u64,
    /// How much of its noise: 0 is none, 1 all.
    pub strength: f64,
}

impl Variation {
    pub(crate) fn check(self) -> Result<()> {
        match (0.0..=1.0).contains(&self.strength) {
            true => Ok(()),
            false => Err(RuntimeError::Options(format!("variation strength {} is not between 0 and 1", self.strength))),
        }
    }
}

/// Angles whose cosine is above this are too small to divide by their sine.
const ALMOST_ONE: f64 = 0.9995;

/// Turns latents `[C, h, w]` towards others of the shape `[C, h, w]`, in place.
///
/// Each column of each channel is a vector that is turned by a share of the angle to its counterpart (webui 1.10,
/// `rng.py`: norms and products run over the rows).
pub(crate) fn turn(own: &mut [f32], other: &[f32], [height, width]: [usize; 2], share: f64) {
    let plane = height * width;
    let columns = || (0..own.len() / plane.max(1)).flat_map(move |c| (0..width).map(move |x| c * plane + x));
    let cosine = |first: usize| {
        let places = (0..height).map(|y| first + y * width);
        let (mut dot, mut a, mut b) = (0.0, 0.0, 0.0);
        for i in places {
            let (x, y) = (f64::from(own[i]), f64::from(other[i]));
            (dot, a, b) = (dot + x * y, a + x * x, b + y * y);
        }
        dot / (a.sqrt() * b.sqrt())
    };
    let cosines: Vec<(usize, f64)> = columns().map(|first| (first, cosine(first))).collect();
    let mean = cosines.iter().map(|(_, cosine)| cosine).sum::<f64>() / cosines.len() as f64;
    for (first, cosine) in cosines {
        let (keep, take) = match mean > ALMOST_ONE {
            true => (1.0 - share, share),
            false => {
                let angle = cosine.acos();
                (((1.0 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin())
            }
        };
        for y in 0..height {
            let i = first + y * width;
            own[i] = (keep * f64::from(own[i]) + take * f64::from(other[i])) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_angle_between_columns() {
        // One channel, two rows, two columns: the first turns by a right angle, the second by none of 60 degrees.
        let mut own = [1.0, 1.0, 0.0, 0.0];
        let other = [0.0, 0.5, 2.0, 3.0_f32.sqrt() / 2.0];
        turn(&mut own, &other, [2, 2], 0.5);
        let right = std::f32::consts::FRAC_1_SQRT_2;
        let sixty = 0.5_f32 / (3.0_f32.sqrt() / 2.0);
        let want = [right, sixty * 1.5, right * 2.0, sixty * 3.0_f32.sqrt() / 2.0];
        testkit::assert_all_close("columns", &want, &own, 1e-6, 1e-6);
    }

    #[test]
    fn both_ends_are_the_noises_themselves() {
        let (first, second) = ([1.0, -2.0, 0.5, 0.25], [0.5, 1.0, -1.0, 4.0]);
        for (share, want) in [(0.0, first), (1.0, second)] {
            let mut own = first;
            turn(&mut own, &second, [2, 2], share);
            testkit::assert_all_close("end", &want, &own, 1e-6, 1e-6);
        }
    }

    #[test]
    fn noises_that_are_almost_one_are_mixed_in_a_straight_line() {
        let mut own = [1.0, 2.0];
        turn(&mut own, &[3.0, 6.0], [2, 1], 0.25);
        testkit::assert_all_close("line", &[1.5, 3.0], &own, 1e-6, 1e-6);
    }
}
