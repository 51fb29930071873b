//! Prompts without the networks that they name.

use sd_runtime::prompt::{Emphasis, take_networks};

/// A prompt without the networks that it names, which are no part of the text.
pub(crate) fn without_networks(prompt: &str, emphasis: Emphasis) -> String {
    match emphasis.is_of_web_ui() {
        // What is wrong with one was refused before.
        true => take_networks(prompt).map_or_else(|_| prompt.to_owned(), |(text, _)| text),
        false => prompt.to_owned(),
    }
}
