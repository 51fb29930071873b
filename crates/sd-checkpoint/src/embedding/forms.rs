//! The forms of files, by the keys of their tensors.

use std::collections::BTreeMap;
use std::path::Path;

use sd_spec::Role;

use super::{LearnedToken, LearnedVectors};
use crate::torch::{self, TorchEntry};
use crate::{CheckpointError, Weight, Weights};

/// What a key says.
struct Row {
    key: &'static str,
    /// The text encoder, where it is of one.
    encoder: Option<Role>,
}

/// Keys of vectors whose word is said elsewhere: by the file's own name, or by an entry of it.
///
/// The first is that of Automatic1111 and of the original repository, whose word for training is `*`; the next is that of
/// safetensors files that are made of such. With both text encoders of Stable Diffusion XL there are two; those of
/// diffusers' trainings with both count them.
const ROWS: [Row; 6] = [
    Row { key: "string_to_param.*", encoder: None },
    Row { key: "emb_params", encoder: None },
    Row { key: "clip_l", encoder: Some(Role::TextEncoder) },
    Row { key: "clip_g", encoder: Some(Role::TextEncoder2) },
    Row { key: "text_encoders_0", encoder: Some(Role::TextEncoder) },
    Row { key: "text_encoders_1", encoder: Some(Role::TextEncoder2) },
];

/// Keys beside these that hold nothing of the kind.
const BESIDE: [&str; 1] = ["string_to_token"];
/// Keys of vectors for T5, whose tokenizer takes no new words here.
const OF_T5: [&str; 2] = ["t5xxl", "t5_xxl"];
/// Where Automatic1111 puts vectors, whatever it calls them.
const PARAMETERS: &str = "string_to_param.";
/// The entry that says the word.
const NAME: &str = "name";
/// Words in one file of diffusers.
const MAX_TOKENS: usize = 16;

/// What a file holds.
pub(super) struct Content {
    tensors: BTreeMap<String, Weight>,
    name: Option<String>,
}

impl Content {
    pub(super) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = crate::map::map_file(path)?;
        if !torch::is_torch(&bytes) {
            let weights = Weights::map(&[path.to_owned()])?;
            let tensors = weights.iter().map(|(key, weight)| (key.to_owned(), weight.clone())).collect();
            return Ok(Self { tensors, name: None });
        }
        let file = torch::of_bytes(path, &bytes)?;
        let name = match file.get(NAME) {
            Some(TorchEntry::Text(name)) if !name.trim().is_empty() => Some(name.clone()),
            _ => None,
        };
        let mut tensors = BTreeMap::new();
        for (key, entry) in file.entries() {
            match entry {
                TorchEntry::Tensor(weight) => drop(tensors.insert(key.to_owned(), weight.clone())),
                TorchEntry::Unread(why) => {
                    let message = format!("tensor {key}: {why}");
                    return Err(CheckpointError::Torch { path: path.to_owned(), message });
                }
                _ => {}
            }
        }
        Ok(Self { tensors, name })
    }

    /// The words and their vectors; none where the file holds something else.
    pub(super) fn tokens(&self, path: &Path) -> Result<Option<Vec<LearnedToken>>, String> {
        let named = self.named()?;
        if !named.is_empty() {
            let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let token = self.name.clone().or_else(stem).unwrap_or_default();
            return Ok(Some(vec![LearnedToken { token, vectors: named }]));
        }
        self.by_word()
    }

    /// Vectors under keys that are known.
    fn named(&self) -> Result<Vec<LearnedVectors>, String> {
        let mut found = Vec::new();
        for (key, weight) in &self.tensors {
            let row = ROWS.iter().find(|row| row.key == key);
            let encoder = match row {
                Some(row) => row.encoder,
                None if key.starts_with(PARAMETERS) => None,
                None => continue,
            };
            found.push(LearnedVectors::new(key, weight, encoder)?);
        }
        let is_single = |vectors: &LearnedVectors| vectors.encoder.is_none();
        if found.len() > 1 && found.iter().any(is_single) {
            return Err(format!("it has {} words of one model, and only one has the file's name", found.len()));
        }
        let is_beside = |key: &str| BESIDE.iter().chain(&OF_T5).any(|known| key.starts_with(known));
        let rest = self.tensors.keys().filter(|key| !is_beside(key)).count();
        Ok(if found.len() == rest { found } else { Vec::new() })
    }

    /// As diffusers saves them: a tensor's key is its word.
    fn by_word(&self) -> Result<Option<Vec<LearnedToken>>, String> {
        let is_vectors = |(key, weight): (&String, &Weight)| {
            let is_layer = key.ends_with(".weight") || key.ends_with(".bias") || key.ends_with(".alpha");
            !is_layer && weight.dtype().is_float() && matches!(weight.shape().len(), 1 | 2)
        };
        if self.tensors.is_empty() || self.tensors.len() > MAX_TOKENS || !self.tensors.iter().all(is_vectors) {
            return Ok(None);
        }
        let token = |(key, weight): (&String, &Weight)| {
            let vectors = vec![LearnedVectors::new(key, weight, None)?];
            Ok(LearnedToken { token: key.clone(), vectors })
        };
        self.tensors.iter().map(token).collect::<Result<_, String>>().map(Some)
    }

    /// Keys of vectors that no text encoder here takes.
    pub(super) fn left_aside(&self) -> Vec<String> {
        let is_of_t5 = |key: &&String| OF_T5.iter().any(|known| key.starts_with(known));
        self.tensors.keys().filter(is_of_t5).cloned().collect()
    }

    /// What it holds, for messages.
    pub(super) fn words(&self) -> String {
        match self.tensors.keys().next() {
            None => "no tensors at all".to_owned(),
            Some(first) => format!("{} tensors, such as {first}", self.tensors.len()),
        }
    }
}
