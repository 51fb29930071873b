//! Whether the model that draws is the one that drew.

use std::path::Path;

use super::Like;
use crate::error::Result;
use crate::hashes::model_hash;
use crate::open::Opened;

/// Digits of the shortest hash that names a file.
const MIN_DIGITS: usize = 8;

impl Like {
    /// What the user should know where the picture was drawn with another model than is loaded: by its hash where both are
    /// known, else by its name. No weights are read for that; `cache` is where hashes of files are kept, if not where that
    /// is usual.
    ///
    /// # Errors
    /// When the model's own settings cannot be read.
    pub fn model_warning(&self, opened: &Opened, name: &str, cache: Option<&Path>) -> Result<Option<String>> {
        let files = opened.known_hashes(cache)?;
        let is_called =
            |hash: &str| files.iter().filter_map(|file| file.hashes.as_ref()).any(|own| own.is_called(hash));
        let said = self.model_hash.as_deref().filter(|hash| is_hash(hash));
        Ok(self.other_model(name, said.is_some_and(is_called), model_hash(&files)))
    }

    /// The same of names and hashes.
    fn other_model(&self, name: &str, is_called_so: bool, own_hash: Option<&str>) -> Option<String> {
        let said_hash = self.model_hash.as_deref().filter(|hash| is_hash(hash));
        if is_called_so {
            return None;
        }
        let said = self.model.as_deref();
        if let (Some(said_hash), Some(own_hash)) = (said_hash, own_hash) {
            let said = said.map(|said| format!("{said}, ")).unwrap_or_default();
            return Some(format!(
                "the picture was drawn with another model: {said}whose hash is {said_hash}; that of {name} is {own_hash}"
            ));
        }
        let said = said.filter(|said| bare(said) != bare(name))?;
        Some(format!("the picture was drawn with the model {said}, and {name} is loaded: it will be another picture"))
    }
}

/// A model's name without folder, ending and the hash behind it, in lower case.
pub(super) fn bare(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name).to_lowercase();
    let name = match name.split_once(" [") {
        Some((name, hash)) if hash.ends_with(']') => name.to_owned(),
        _ => name,
    };
    let endings = [".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf"];
    let without = endings.into_iter().find_map(|ending| name.strip_suffix(ending));
    without.unwrap_or(&name).trim().to_owned()
}

/// Whether a text is a hash of the kind that files are called by here.
pub(super) fn is_hash(text: &str) -> bool {
    text.len() >= MIN_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sd_metadata::Tool;

    #[test]
    fn models_are_compared_by_hash_before_name() {
        let like = |model: &str, hash: Option<&str>| Like {
            model: Some(model.to_owned()),
            model_hash: hash.map(str::to_owned),
            ..Like::by(Tool::Automatic1111)
        };
        let own = Some("0123456789");
        for (model, hash, is_called, own_hash, words) in [
            ("v1-5", None, false, own, None),
            ("sd/V1-5.safetensors", None, false, None, None),
            ("v1-5 [0123456789]", Some("abc"), false, own, None),
            ("other", Some("0123456789"), true, own, None),
            ("other", None, false, own, Some("with the model other, and v1-5 is loaded")),
            ("other", Some("6ce0161689"), false, None, Some("with the model other")),
            (
                "v1-5",
                Some("6ce0161689"),
                false,
                own,
                Some("v1-5, whose hash is 6ce0161689; that of v1-5 is 0123456789"),
            ),
        ] {
            let said = like(model, hash).other_model("v1-5", is_called, own_hash);
            match words {
                None => assert_eq!(said, None, "{model}"),
                Some(words) => assert!(said.as_ref().is_some_and(|said| said.contains(words)), "{model}: {said:?}"),
            }
        }
    }
}
