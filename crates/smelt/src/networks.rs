//! Networks that prompts name (`<lora:name:0.8>`): as they are asked for, and prompts without them.

use sd_runtime::prompt::{Emphasis, NamedNetwork, take_networks};

use crate::loras::{LoraAsked, Strength};

/// A network as a LoRA that is asked for.
pub(crate) fn asked(network: &NamedNetwork) -> LoraAsked {
    let [text, denoiser] = network.weights.map(|weight| weight as f32);
    LoraAsked { file: network.name.clone().into(), strength: Strength { denoiser, text } }
}

/// A prompt without the networks that it names, which are no part of the text.
pub(crate) fn without_networks(prompt: &str, emphasis: Emphasis) -> String {
    match emphasis.is_of_web_ui() {
        // What is wrong with one was refused before.
        true => take_networks(prompt).map_or_else(|_| prompt.to_owned(), |(text, _)| text),
        false => prompt.to_owned(),
    }
}
