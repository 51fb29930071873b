//! Seeds as people give them.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use smelt::SeedList;

/// A seed, several of them, or the wish for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seed {
    /// This one.
    Fixed(u64),
    /// A picture for each of these.
    Several(Vec<u64>),
    /// Another one each time: `random`, or -1 as other tools have it.
    Random,
}

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("random") || text == "-1" {
            return Ok(Self::Random);
        }
        match text.parse::<SeedList>() {
            Ok(SeedList(seeds)) => Ok(match seeds[..] {
                [seed] => Self::Fixed(seed),
                _ => Self::Several(seeds),
            }),
            Err(error) => Err(format!("{error}, and any is random (-1 means the same)")),
        }
    }
}

impl Seed {
    /// The seed to draw with, of several the first.
    pub(crate) fn value(&self) -> u64 {
        match self {
            Self::Fixed(seed) => *seed,
            Self::Several(seeds) => seeds.first().copied().unwrap_or_default(),
            Self::Random => {
                // Any number that differs from run to run will do; the hasher's keys are the system's random ones.
                use std::hash::{BuildHasher, RandomState};
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos());
                // Of 32 bits, which every random source takes.
                RandomState::new().hash_one(now) & u64::from(u32::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_numbers_or_random() {
        assert_eq!("7".parse(), Ok(Seed::Fixed(7)));
        assert_eq!("18446744073709551615".parse(), Ok(Seed::Fixed(u64::MAX)));
        assert_eq!("-1".parse(), Ok(Seed::Random));
        assert_eq!("Random".parse(), Ok(Seed::Random));
        assert_eq!("1..3,7".parse(), Ok(Seed::Several(vec![1, 2, 3, 7])));
        assert_eq!("1-3".parse(), Ok(Seed::Several(vec![1, 2, 3])));
        for wrong in ["-2", "18446744073709551616", "", "seven", "1.5"] {
            assert!(wrong.parse::<Seed>().unwrap_err().contains("0 to 18446744073709551615, several"), "{wrong}");
        }
    }

    #[test]
    fn random_seeds_differ() {
        let seeds: std::collections::BTreeSet<u64> = (0..8).map(|_| Seed::Random.value()).collect();
        assert!(seeds.len() > 1, "{seeds:?}");
        assert_eq!(Seed::Fixed(7).value(), 7);
    }
}
