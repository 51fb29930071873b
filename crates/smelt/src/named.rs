//! What prompts name beside what they say: LoRAs (`<lora:name:0.8>`), and new words whose files lie in a folder.
//!
//! Both say which weights a model has, so a checkpoint is opened with them, before a prompt is read.

use sd_checkpoint::Applied;
use sd_runtime::prompt::{Emphasis, NamedNetwork, has_word, take_networks};

use crate::embeddings::EmbeddingAsked;
use crate::error::{Context, Result, refuse};
use crate::networks::asked;
use crate::open::{Opened, Opening, Source};
use crate::request::Request;

impl Opening {
    /// Opens a model with what the prompts of requests name: packages have that in their weights, or the pipeline says what is
    /// missing; a checkpoint is opened with it ([`Request::name_in`]).
    ///
    /// # Errors
    /// As [`Opening::open`], and for what is named and not there.
    pub fn open_for_prompts<'r>(
        &self,
        source: &Source,
        requests: impl IntoIterator<Item = &'r Request>,
    ) -> Result<Opened> {
        let mut named = self.clone();
        if self.packages(source)?.is_none() {
            requests.into_iter().try_for_each(|request| request.name_in(&mut named))?;
        }
        named.open(source.clone())
    }
}

impl Request {
    /// Adds what the prompts name to what a checkpoint is opened with: LoRAs, and words that files in
    /// [`Embeddings::folder`](crate::Embeddings::folder) are named by.
    ///
    /// # Errors
    /// For a LoRA that is named with other weights than it is asked for, and for a folder that cannot be read.
    pub fn name_in(&self, opening: &mut Opening) -> Result<()> {
        for network in self.networks()? {
            let asked = asked(&network);
            match opening.loras.asked.iter().find(|other| other.name() == Some(&network.name)) {
                None => opening.loras.asked.push(asked),
                Some(other) if other.strength == asked.strength => {}
                Some(other) => {
                    refuse!("the prompt names <lora:{asked}>, and --lora asks for {other}; leave one of them out")
                }
            }
        }
        let Some(folder) = opening.embeddings.folder.clone().filter(|_| self.emphasis != Emphasis::Plain) else {
            return Ok(());
        };
        let texts: Vec<String> = self.texts().map(str::to_lowercase).collect();
        let what = || format!("--embedding-dir {}", folder.display());
        for (word, asked) in EmbeddingAsked::all_in(&folder).with_context(what)? {
            let is_known = opening.embeddings.asked.iter().any(|other| other.is_called(&word));
            if !is_known && texts.iter().any(|text| has_word(text, &word.to_lowercase())) {
                opening.embeddings.asked.push(asked);
            }
        }
        Ok(())
    }

    /// Refuses networks that the prompts name and a model was not opened with.
    pub(crate) fn check_named(&self, loras: &[Applied]) -> Result<()> {
        for network in self.networks()? {
            let (strength, name) = (asked(&network).strength, network.name);
            let Some(applied) = loras.iter().find(|lora| lora.name == name) else {
                refuse!(
                    "the prompt names the LoRA {name}, which is not in the model; packages have those that they were \
                     converted with (smelt convert … --lora FILE), and a checkpoint those that it is opened with (--lora-dir \
                     DIR)"
                );
            };
            if (applied.weight, applied.text_weight) != (strength.denoiser, strength.text) {
                let [text, denoiser] = network.weights;
                refuse!(
                    "the prompt names the LoRA {name} with the weights {text}:{denoiser}, and the model has it as {applied}"
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

    /// Names of the LoRAs that the prompts name (`<lora:name:0.8>`), for who decides which may be looked up.
    ///
    /// # Errors
    /// For what is no way to name one.
    pub fn lora_names(&self) -> Result<Vec<String>> {
        Ok(self.networks()?.into_iter().map(|network| network.name).collect())
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
