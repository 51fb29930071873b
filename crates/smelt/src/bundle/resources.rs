//! The files beside models where Apple's Swift package looks for them.

use super::{Bundle, MERGES_FILE, THIRD, TOKENIZER_FILES, VOCAB_FILE};

/// Folder of CLIP's tokenizer, where its files are not beside the models.
const FIRST: &str = "tokenizer";

impl Bundle {
    /// The same files as the Swift package reads them: T5's tokenizer lies beside the models, under names that CLIP's has
    /// too, of which all but the vocabulary is in a folder then.
    pub(crate) fn for_resources(mut self) -> Self {
        let of_t5 = |name: &str| Some(name.strip_prefix(THIRD)?.strip_prefix('/')?.to_owned());
        let own = self.files.iter().filter_map(|(name, bytes)| Some((of_t5(name)?, bytes.clone())));
        let beside: Vec<(String, Vec<u8>)> = own.collect();
        if beside.is_empty() {
            return self;
        }
        let clips = self.files.iter().filter(|(name, _)| TOKENIZER_FILES.contains(&name.as_str()));
        let clips: Vec<(String, Vec<u8>)> =
            clips.map(|(name, bytes)| (format!("{FIRST}/{name}"), bytes.clone())).collect();
        let is_kept = |name: &str| !TOKENIZER_FILES.contains(&name) || name == VOCAB_FILE || name == MERGES_FILE;
        self.files.retain(|(name, _)| is_kept(name));
        self.files.extend(clips);
        self.files.extend(beside);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t5s_tokenizer_takes_the_place_of_clips_which_is_in_a_folder() {
        let files = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect();
        let of = |names: &[&str]| Bundle { files: files(names), ..Bundle::default() }.for_resources();
        let clip = ["vocab.json", "merges.txt", "tokenizer_config.json", "smelt.json"];
        assert_eq!(of(&clip).names().collect::<Vec<_>>(), clip);
        let both = of(&[&clip[..], &["tokenizer_3/tokenizer.json", "tokenizer_3/tokenizer_config.json"]].concat());
        let said = |name: &str| both.file(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert_eq!(said("tokenizer_config.json").as_deref(), Some("tokenizer_3/tokenizer_config.json"));
        assert_eq!(said("tokenizer.json").as_deref(), Some("tokenizer_3/tokenizer.json"));
        for name in &clip[..3] {
            assert_eq!(said(&format!("tokenizer/{name}")).as_deref(), Some(*name));
        }
        assert!(
            ["vocab.json", "merges.txt", "smelt.json", "tokenizer_3/tokenizer.json"].iter().all(|n| said(n).is_some())
        );
        assert_eq!(both.names().filter(|name| *name == "tokenizer_config.json").count(), 1);
    }
}
