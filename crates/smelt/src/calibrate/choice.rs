//! Which evaluations of the denoiser are recorded: as many of each picture, and as many at each place of its way.

use crate::error::{Result, refuse};

/// Samples unless another number is asked for: fewer where there are no more.
const USUAL_SAMPLES: usize = 128;

/// Evaluations that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct There {
    pub(super) n_pictures: usize,
    /// Of each picture.
    pub(super) n_evaluations: usize,
    /// Samples of each evaluation: with guidance the negative prompt's and the prompt's.
    pub(super) n_rows: usize,
}

impl There {
    /// The evaluations of each picture that are recorded for so many samples, rounded up to whole evaluations.
    ///
    /// Number `g` of `n` is of picture `g mod P`, at evaluation `⌊g·S/n⌋` of its `S`. So no two pictures, and no two
    /// evaluations of the way, differ by more than one in how often they are chosen; and none is chosen twice, for those of
    /// one picture are `P·S/n ≥ 1` evaluations apart.
    pub(super) fn choose(self, n_samples: Option<usize>) -> Result<Vec<Vec<usize>>> {
        let Self { n_pictures, n_evaluations, n_rows } = self;
        let n_there = n_pictures.saturating_mul(n_evaluations);
        let n_most = n_there.saturating_mul(n_rows);
        if let Some(asked) = n_samples.filter(|asked| *asked > n_most) {
            refuse!(
                "--samples {asked} is more than there are: {n_pictures} pictures with {n_evaluations} evaluations of the \
                 denoiser give {n_most}, {n_rows} each; ask for fewer, or draw more pictures with --count or --prompts"
            );
        }
        let n_wanted = n_samples.unwrap_or(USUAL_SAMPLES.min(n_most)).div_ceil(n_rows).min(n_there);
        let mut chosen = vec![Vec::new(); n_pictures];
        for idx in 0..n_wanted {
            // As u128, which no product of two sizes leaves.
            let place = (idx as u128 * n_evaluations as u128 / n_wanted as u128) as usize;
            chosen[idx % n_pictures].push(place);
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(n_pictures: usize, n_evaluations: usize, n_rows: usize, n_samples: usize) {
        let there = There { n_pictures, n_evaluations, n_rows };
        let chosen = there.choose(Some(n_samples)).unwrap();
        let n: usize = chosen.iter().map(Vec::len).sum();
        assert_eq!(n, n_samples.div_ceil(n_rows), "{there:?}");
        assert!(chosen.iter().all(|places| places.windows(2).all(|two| two[0] < two[1])), "{there:?}: {chosen:?}");
        let mut at = vec![0; n_evaluations];
        chosen.iter().flatten().for_each(|place| at[*place] += 1);
        for counts in [at, chosen.iter().map(Vec::len).collect()] {
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{there:?}: {counts:?}");
        }
    }

    #[test]
    fn choices_are_even_over_pictures_and_steps() {
        for (n_pictures, n_evaluations) in [(1, 1), (1, 20), (17, 20), (8, 8), (5, 3), (17, 1), (2, 50)] {
            for n_rows in [1, 2] {
                (1..=n_pictures * n_evaluations * n_rows)
                    .for_each(|n_samples| check(n_pictures, n_evaluations, n_rows, n_samples));
            }
        }
    }

    #[test]
    fn all_there_are_is_everything_once_and_more_is_refused() {
        let there = There { n_pictures: 2, n_evaluations: 3, n_rows: 2 };
        assert_eq!(there.choose(Some(12)).unwrap(), [[0, 1, 2], [0, 1, 2]]);
        assert_eq!(there.choose(None).unwrap(), [[0, 1, 2], [0, 1, 2]]);
        let error = there.choose(Some(13)).unwrap_err().to_string();
        assert!(error.contains("2 pictures with 3 evaluations of the denoiser give 12, 2 each"), "{error}");
    }
}
