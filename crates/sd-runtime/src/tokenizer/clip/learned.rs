//! Words that were learned with several vectors (textual inversion): the first has the word itself, the others the word with
//! `_1`, `_2`, …, as diffusers numbers them.
//!
//! Whoever writes the word means all of them. diffusers 0.42 writes the others into the prompt before it is cut into tokens
//! (`maybe_convert_prompt`); here their ids follow that of the first, which gives the same and leaves the prompt as it is.

use std::collections::HashMap;

use super::special::SpecialToken;

/// Ids that follow the id of a word's first vector.
#[derive(Debug, Default)]
pub(super) struct Learned {
    following: HashMap<u32, Vec<u32>>,
}

impl Learned {
    /// Finds them among the tokens that were added.
    pub(super) fn of(tokens: &[SpecialToken]) -> Self {
        let ids: HashMap<&str, u32> =
            tokens.iter().filter_map(|token| Some((token.content.as_str(), token.id?))).collect();
        let following = |word: &str| -> Vec<u32> {
            (1..).map_while(|number: usize| ids.get(format!("{word}_{number}").as_str()).copied()).collect()
        };
        let found = ids.iter().map(|(word, id)| (*id, following(word)));
        Self { following: found.filter(|(_, ids)| !ids.is_empty()).collect() }
    }

    /// An id, and those that follow it.
    pub(super) fn ids(&self, id: u32) -> impl Iterator<Item = u32> {
        let following = self.following.get(&id).map_or(&[][..], Vec::as_slice);
        std::iter::once(id).chain(following.iter().copied())
    }
}
