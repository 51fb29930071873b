//! Networks that a prompt names (`<lora:name:0.8>`): those that are not there are taken out of it, as nothing is drawn with a
//! prompt that names what the model has not.

use sd_metadata::Tool;
use sd_runtime::prompt::{Emphasis, NamedNetwork, NetworkTag, take_networks};
use serde_json::Value;

use super::Like;
use super::beside::{Given, bare};
use crate::loras::LoraAsked;
use crate::networks::asked;

impl Like {
    /// Leaves in the prompts the networks that are given as the prompts name them; returns the names of these.
    pub(super) fn settle_networks(&mut self, given: &Given) -> Vec<String> {
        let emphasis = self.settings.get("emphasis").and_then(Value::as_str).and_then(|name| name.parse().ok());
        if !emphasis.is_some_and(Emphasis::is_of_web_ui) {
            return Vec::new();
        }
        let mut kept: Vec<NamedNetwork> = Vec::new();
        for field in ["prompt", "prompt_2"] {
            let Some(text) = self.settings.get(field).and_then(Value::as_str).map(str::to_owned) else { continue };
            // Our own is to be the same to the byte; what it names and is not there is an error of its own.
            if self.tool == Tool::Smelt {
                kept.extend(take_networks(&text).map(|(_, networks)| networks).unwrap_or_default());
                continue;
            }
            let (mut left, mut rest) = (String::new(), text.as_str());
            while let Some(found) = NetworkTag::first_in(rest) {
                left.push_str(found.before);
                match found.network() {
                    Ok(network) => {
                        if is_given(&network, &kept, given) {
                            left.push_str(found.tag);
                            kept.push(network);
                        }
                    }
                    // What is wrong with a LoRA's is said already.
                    Err(_) if found.tag.starts_with("<lora:") || found.tag.starts_with("<lyco:") => {}
                    Err(_) => self.leave(found.tag, "", "networks of this kind are not here"),
                }
                rest = found.behind;
            }
            left.push_str(rest);
            if left != text {
                self.set(field, left.trim());
            }
        }
        kept.into_iter().map(|network| network.name).collect()
    }
}

/// Whether a network is there with the weights that the prompt says: the LoRA that is asked for, or else a file of its name.
fn is_given(network: &NamedNetwork, kept: &[NamedNetwork], given: &Given) -> bool {
    let wanted = asked(network);
    if let Some(other) = kept.iter().find(|other| other.name == network.name) {
        return other.weights == network.weights;
    }
    let name = |asked: &LoraAsked| bare(&asked.file.display().to_string());
    match given.loras.iter().find(|asked| name(asked) == bare(&network.name)) {
        Some(asked) => asked.strength == wanted.strength,
        None => given.lora_folder.as_deref().is_some_and(|folder| wanted.find(Some(folder)).is_ok()),
    }
}
