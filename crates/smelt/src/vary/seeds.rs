//! Lists of seeds as people write them: `7`, `1,4,9`, `1..5`, `1-5`.

use std::str::FromStr;

use crate::error::{Error, Result, refuse};

/// More seeds than that are a slip.
const MAX_SEEDS: u64 = 10_000;

/// Seeds, in their order; one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedList(pub Vec<u64>);

impl FromStr for SeedList {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut seeds = Vec::new();
        for item in text.split(',').map(str::trim) {
            let number = |text: &str| text.trim().parse::<u64>().ok();
            let ends = item.split_once("..").or_else(|| item.split_once('-'));
            match (number(item), ends.map(|(first, last)| (number(first), number(last)))) {
                (Some(seed), _) => seeds.push(seed),
                (None, Some((Some(first), Some(last)))) if first <= last && last - first < MAX_SEEDS => {
                    seeds.extend(first..=last);
                }
                (None, Some((Some(first), Some(last)))) if first <= last => {
                    refuse!("{item:?} are {} seeds; up to {MAX_SEEDS} are drawn at a time", last - first)
                }
                _ => refuse!("{item:?} is no seed; seeds are 0 to {}, several are written 1,4,9 or 1..5", u64::MAX),
            }
        }
        Ok(Self(seeds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_numbers_and_ranges() {
        let parse = |text: &str| text.parse::<SeedList>().map(|list| list.0);
        assert_eq!(parse("7").unwrap(), [7]);
        assert_eq!(parse("1,4, 9").unwrap(), [1, 4, 9]);
        assert_eq!(parse("1..5").unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(parse("1-3,9,18446744073709551615").unwrap(), [1, 2, 3, 9, u64::MAX]);
        for wrong in ["", "1,", "5..1", "-2", "seven", "1.5", "18446744073709551616", "1..", "..3", "1...3"] {
            assert!(parse(wrong).unwrap_err().to_string().contains("0 to 18446744073709551615"), "{wrong}");
        }
        assert!(parse("0..18446744073709551615").unwrap_err().to_string().contains("up to 10000"));
    }
}
