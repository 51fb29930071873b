//! Prompts that are there when nobody gives any, a line each in a file: of general subjects, and for the model in the box
//! names that it knows.

use crate::wildcards::prompt_lines;

/// Which of the prompts that are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PromptSet {
    /// Those to calibrate with: 17.
    #[default]
    Calibration,
    /// Others to judge by what was calibrated: 8, none of which is among the 17.
    HeldOut,
}

impl PromptSet {
    /// Prompts of general subjects, for any model.
    #[must_use]
    pub fn general(self) -> Vec<String> {
        owned(match self {
            Self::Calibration => include_str!("prompts/calibration.txt"),
            Self::HeldOut => include_str!("prompts/held-out.txt"),
        })
    }

    /// Names of emoji, for the model in the box, which draws nothing else.
    #[must_use]
    pub fn demo(self) -> Vec<String> {
        owned(match self {
            Self::Calibration => include_str!("prompts/demo-calibration.txt"),
            Self::HeldOut => include_str!("prompts/demo-held-out.txt"),
        })
    }
}

fn owned(text: &str) -> Vec<String> {
    prompt_lines(text).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_17_and_8_prompts_and_none_is_in_both_lists() {
        for list in [PromptSet::general, PromptSet::demo] {
            let (calibration, held_out) = (list(PromptSet::Calibration), list(PromptSet::HeldOut));
            assert_eq!((calibration.len(), held_out.len()), (17, 8));
            assert_eq!(calibration.iter().chain(&held_out).collect::<BTreeSet<_>>().len(), 25);
        }
    }

    #[test]
    fn the_model_in_the_box_knows_the_names() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/src/demo_model/concepts.txt");
        let known = std::fs::read_to_string(path).unwrap();
        let known: BTreeSet<&str> = prompt_lines(&known).collect();
        for name in [PromptSet::Calibration, PromptSet::HeldOut].into_iter().flat_map(PromptSet::demo) {
            assert!(known.contains(name.as_str()), "{name}");
        }
    }
}
