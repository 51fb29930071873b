//! What prompts name beside what they say: LoRAs (`<lora:name:0.8>`), and new words whose files lie in a folder.
//!
//! Both say which weights a model has, so a checkpoint is opened with them, before a prompt is read.

use std::ffi::OsStr;
use std::path::Path;

use sd_checkpoint::Applied;
use sd_runtime::prompt::{Emphasis, NamedNetwork, take_networks};

use crate::embeddings::EmbeddingAsked;
use crate::error::{Context, Result, refuse};
use crate::loras::{LoraAsked, Strength};
use crate::open::Opening;
use crate::request::Request;

/// Endings of files of new words.
const ENDINGS: [&str; 3] = ["safetensors", "pt", "bin"];

impl Request {
    /// Adds what the prompts name to what a checkpoint is opened with: LoRAs, and words that files in
    /// [`Embeddings::folder`](crate::Embeddings::folder) are named by.
    ///
    /// # Errors
    /// For a LoRA that is named with other weights than it is asked for, and for a folder that cannot be read.
    pub fn name_in(&self, opening: &mut Opening) -> Result<()> {
        for network in self.networks()? {
            let strength = Strength { denoiser: network.weights[1] as f32, text: network.weights[0] as f32 };
            let asked = LoraAsked { file: network.name.clone().into(), strength };
            let is_same = |other: &&LoraAsked| stem(&other.file) == Some(network.name.as_str());
            match opening.loras.asked.iter().find(is_same) {
                None => opening.loras.asked.push(asked),
                Some(other) if other.strength == strength => {}
                Some(other) => {
                    refuse!("the prompt names <lora:{asked}>, and --lora asks for {other}; leave one of them out")
                }
            }
        }
        let Some(folder) = opening.embeddings.folder.clone().filter(|_| self.emphasis != Emphasis::Plain) else {
            return Ok(());
        };
        for word in words_in(&folder)? {
            let asked = EmbeddingAsked::read(OsStr::new(&format!("{word}={word}"))).ok();
            let is_known = |other: &EmbeddingAsked| {
                let other = other.to_string();
                let (file, name) = other.rsplit_once('=').unwrap_or((other.as_str(), other.as_str()));
                name == word || stem(Path::new(file)) == Some(word.as_str())
            };
            if self.texts().any(|text| has_word(text, &word)) && !opening.embeddings.asked.iter().any(is_known) {
                opening.embeddings.asked.extend(asked);
            }
        }
        Ok(())
    }

    /// Refuses networks that the prompts name and a model was not opened with.
    pub(crate) fn check_named(&self, loras: &[Applied]) -> Result<()> {
        for NamedNetwork { name, weights: [text, unet], .. } in self.networks()? {
            let Some(applied) = loras.iter().find(|lora| lora.name == name) else {
                refuse!(
                    "the prompt names the LoRA {name}, which is not in the model; packages have those that they were \
                     converted with (smelt convert … --lora FILE), and a checkpoint those that it is opened with (--lora-dir \
                     DIR)"
                );
            };
            if (applied.weight, applied.text_weight) != (unet as f32, text as f32) {
                refuse!(
                    "the prompt names the LoRA {name} with the weights {text}:{unet}, and the model has it as {applied}"
                );
            }
        }
        Ok(())
    }

    /// Refuses requests of which one names other networks than the first: these are in the weights of the model that draws all
    /// of them.
    pub(crate) fn check_same_networks<'r>(mut requests: impl Iterator<Item = &'r Self>) -> Result<()> {
        let named = |request: &Self| -> Result<Vec<String>> {
            let mut named: Vec<String> =
                request.networks()?.iter().map(|network| format!("{}:{:?}", network.name, network.weights)).collect();
            named.sort();
            Ok(named)
        };
        let Some(first) = requests.next() else { return Ok(()) };
        let own = named(first)?;
        for other in requests {
            if named(other)? != own {
                refuse!(
                    "the prompts {:?} and {:?} name different LoRAs, and pictures of one run are drawn by one model, which has \
                     them in its weights; draw them by runs of their own",
                    first.prompt,
                    other.prompt
                );
            }
        }
        Ok(())
    }

    /// The networks that the prompts name.
    fn networks(&self) -> Result<Vec<NamedNetwork>> {
        let mut networks: Vec<NamedNetwork> = Vec::new();
        if !self.emphasis.is_of_web_ui() {
            return Ok(networks);
        }
        for text in [Some(&self.prompt), self.prompt_2.as_ref()].into_iter().flatten() {
            for network in take_networks(text)?.1 {
                match networks.iter().find(|other| other.name == network.name) {
                    None => networks.push(network),
                    Some(other) if other.weights == network.weights => {}
                    Some(_) => refuse!("the prompt names the LoRA {} twice, with different weights", network.name),
                }
            }
        }
        Ok(networks)
    }

    /// All that is read.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let others = [&self.prompt_2, &self.negative_prompt, &self.negative_prompt_2];
        std::iter::once(self.prompt.as_str()).chain(others.into_iter().filter_map(|text| text.as_deref()))
    }
}

/// The words that files of a folder are named by.
fn words_in(folder: &Path) -> Result<Vec<String>> {
    let what = || format!("--embedding-dir {}", folder.display());
    let mut words = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(what)? {
        let path = entry.with_context(what)?.path();
        let is_one = path.extension().and_then(OsStr::to_str).is_some_and(|end| ENDINGS.contains(&end));
        words.extend(stem(&path).filter(|_| is_one).map(str::to_owned));
    }
    words.sort();
    words.dedup();
    Ok(words)
}

/// Whether a text has a word by itself, whatever its case.
fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    !word.is_empty()
        && text
            .match_indices(&word)
            .any(|(at, found)| !text[..at].ends_with(is_of_word) && !text[at + found.len()..].starts_with(is_of_word))
}

/// A file's name without the ending of weights, if it has one.
fn stem(path: &Path) -> Option<&str> {
    let is_weights =
        path.extension().and_then(OsStr::to_str).is_some_and(|end| ENDINGS.contains(&end) || end == "ckpt");
    let name = if is_weights { path.file_stem() } else { path.file_name() };
    name.and_then(OsStr::to_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_name_loras_and_words() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["charturner.pt", "easy-negative.safetensors", "unused.bin", "notes.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let mut opening = Opening::default();
        opening.embeddings.folder = Some(dir.path().into());
        let request = Request {
            negative_prompt: Some("Easy-Negative, notes".into()),
            ..Request::new("a (CharTurner:1.2) <lora:pixel.v2:0.5:0.75> fox, unusedly")
        };
        request.name_in(&mut opening).unwrap();
        // Twice is once.
        request.name_in(&mut opening).unwrap();
        let asked: Vec<String> = opening.loras.asked.iter().map(ToString::to_string).collect();
        assert_eq!(asked, ["pixel.v2:0.75:0.5"]);
        let words: Vec<String> = opening.embeddings.asked.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["charturner=charturner", "easy-negative=easy-negative"]);
        assert_eq!(
            crate::networks::without_networks(&request.prompt, request.emphasis),
            "a (CharTurner:1.2)  fox, unusedly"
        );
    }

    #[test]
    fn a_lora_that_the_model_has_not_is_refused() {
        let request = Request::new("a fox <lora:pixel:0.5>");
        let applied = |weight| Applied { name: "pixel".into(), weight, text_weight: weight };
        request.check_named(&[applied(0.5)]).unwrap();
        let error = request.check_named(&[applied(1.0)]).unwrap_err().to_string();
        assert!(error.contains("0.5:0.5") && error.contains("pixel:1"), "{error}");
        let error = request.check_named(&[]).unwrap_err().to_string();
        assert!(error.contains("LoRA pixel, which is not in the model"), "{error}");
        Request { emphasis: Emphasis::Plain, ..request }.check_named(&[]).unwrap();
        let error = Request::new("<lora:x:1> <lora:x:2>").check_named(&[]).unwrap_err().to_string();
        assert!(error.contains("twice"), "{error}");
    }
}
