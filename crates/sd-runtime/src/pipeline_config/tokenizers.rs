//! The CLIP tokenizers of a family, from the files of a checkpoint or of a directory of packages.
//!
//! The second one of Stable Diffusion XL and 3 has the first one's vocabulary and pads with "!": what of its files is
//! missing follows from the first one's.

use std::path::{Path, PathBuf};

use safe_files::{Below, Folder, NamedFiles, ReadError};
use sd_spec::Family;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::tokenizer::ClipTokenizer;

const FIRST: &str = "tokenizer";
const SECOND: &str = "tokenizer_2";
/// What the second one pads with.
const PAD: &str = "!";
/// Files that say the vocabulary.
const VOCABULARY: [&str; 3] = ["tokenizer.json", "vocab.json", "merges.txt"];
/// Files that say what ids are padded with.
const SETTINGS: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

/// The tokenizers of a family's CLIP text encoders, in their order; the first one's files may be in a directory of their own.
pub(super) fn of_family(family: Family, files: &dyn NamedFiles, given: Option<&Path>) -> Result<Vec<ClipTokenizer>> {
    let own = Below { files, folder: FIRST };
    let given = given.map(Folder);
    let first: &dyn NamedFiles = match &given {
        Some(given) => given,
        None if own.has("") => &own,
        None => files,
    };
    let read = |folder: &&str| match *folder {
        SECOND => {
            let own = Below { files, folder: SECOND };
            // Files that are given take the place of both.
            let own = given.is_none().then_some(own).filter(|own| own.has(""));
            ClipTokenizer::from_files(&Second { own, first })
        }
        _ => ClipTokenizer::from_files(first),
    };
    family.spec().tokenizers.iter().filter(|folder| [FIRST, SECOND].contains(folder)).map(read).collect()
}

/// The second tokenizer's files, or what follows from the first one's in their place.
struct Second<'a> {
    own: Option<Below<'a>>,
    first: &'a dyn NamedFiles,
}

impl Second<'_> {
    /// Its own files, where they say what this file says.
    fn own(&self, name: &str) -> Option<&dyn NamedFiles> {
        let beside: &[&str] = if VOCABULARY.contains(&name) { &VOCABULARY } else { &SETTINGS };
        let own = self.own.as_ref().filter(|own| beside.iter().any(|name| own.has(name)))?;
        Some(own)
    }
}

impl NamedFiles for Second<'_> {
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        if let Some(own) = self.own(name) {
            return own.read(name, limit);
        }
        let bytes = self.first.read(name, limit)?;
        Ok(if SETTINGS.contains(&name) { padded(name, bytes) } else { bytes })
    }

    fn has(&self, name: &str) -> bool {
        match self.own(name) {
            Some(own) => own.has(name),
            None => self.first.has(name) || name == SETTINGS[0],
        }
    }

    fn place(&self, name: &str) -> PathBuf {
        match (self.own(name), &self.own) {
            (Some(own), _) => own.place(name),
            (None, Some(own)) if name.is_empty() => own.place(name),
            _ => self.first.place(name),
        }
    }
}

/// A file of settings with the second tokenizer's padding; what is no JSON is refused by whoever parses it.
fn padded(name: &str, bytes: Option<Vec<u8>>) -> Option<Vec<u8>> {
    let settings = match &bytes {
        Some(bytes) => serde_json::from_slice::<Map<String, Value>>(bytes).ok(),
        None => (name == SETTINGS[0]).then(Map::new),
    };
    let Some(mut settings) = settings else { return bytes };
    settings.insert("pad_token".to_owned(), PAD.into());
    serde_json::to_vec(&settings).ok().or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(files: &[&str], to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for name in files {
            std::fs::copy(testkit::demo().join(FIRST).join(name), to.join(name)).unwrap();
        }
    }

    /// Padding of both tokenizers, and what the second makes of an exclamation mark.
    fn pads(dir: &Path) -> (Vec<u32>, Vec<u32>) {
        let both = of_family(Family::Sdxl, &Folder(dir), None).unwrap();
        (both.iter().map(ClipTokenizer::pad_id).collect(), both[1].ids("!").unwrap())
    }

    #[test]
    fn a_second_tokenizer_without_files_is_the_first_that_pads_with_an_exclamation_mark() {
        let dir = tempfile::tempdir().unwrap();
        copy(&["vocab.json", "merges.txt", "tokenizer_config.json"], dir.path());
        let first = ClipTokenizer::from_dir(dir.path()).unwrap();
        let vocab = std::fs::read(dir.path().join("vocab.json")).unwrap();
        let vocab: std::collections::HashMap<String, u32> = serde_json::from_slice(&vocab).unwrap();
        let pad = vocab[PAD];
        let (pads, mark) = pads(dir.path());
        assert_eq!((pads, mark), (vec![first.end_id(), pad], vec![pad]));
        let refiner = of_family(Family::SdxlRefiner, &Folder(dir.path()), None).unwrap();
        assert_eq!(refiner.iter().map(ClipTokenizer::pad_id).collect::<Vec<_>>(), [pad]);
    }

    #[test]
    fn settings_of_its_own_count_with_the_vocabulary_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        copy(&["vocab.json", "merges.txt"], dir.path());
        std::fs::create_dir(dir.path().join(SECOND)).unwrap();
        let config = dir.path().join(SECOND).join(SETTINGS[0]);
        std::fs::write(config, r#"{"pad_token": "<|startoftext|>"}"#).unwrap();
        let first = ClipTokenizer::from_dir(dir.path()).unwrap();
        assert_eq!(pads(dir.path()).0, [first.end_id(), first.start_id()]);
    }
}
