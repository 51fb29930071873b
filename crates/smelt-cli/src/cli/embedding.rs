//! New words as they are named.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use smelt::{EmbeddingAsked, Embeddings};

/// New words that a checkpoint is opened with.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EmbeddingArgs {
    /// Add a textual inversion to a checkpoint: its word, or WORD in the place of it, then stands in prompts for its vectors;
    /// repeat it for more. FILE is a safetensors, .pt or .bin file, or a name in --embedding-dir.
    #[arg(
        long = "embedding",
        value_name = "FILE[=WORD]",
        value_parser = OsStringValueParser::new().try_map(|text| EmbeddingAsked::read(&text))
    )]
    embeddings: Vec<EmbeddingAsked>,
    /// Where names of textual inversions are looked up; a prompt's word that a file here is named by is its word.
    #[arg(long, value_name = "DIR")]
    embedding_dir: Option<PathBuf>,
}

impl EmbeddingArgs {
    /// What they are called by: their files, and their words, where these are given.
    pub(crate) fn names(&self) -> Vec<String> {
        self.embeddings.iter().flat_map(EmbeddingAsked::names).map(str::to_owned).collect()
    }
}

impl From<&EmbeddingArgs> for Embeddings {
    fn from(args: &EmbeddingArgs) -> Self {
        Self { asked: args.embeddings.clone(), folder: args.embedding_dir.clone() }
    }
}
