//! New words that a checkpoint is opened with (textual inversion).

use std::path::PathBuf;

use sd_checkpoint::{Checkpoint, Embedding};

use crate::error::{Result, refusal};
pub use sd_checkpoint::{EmbeddingAsked, Word};

/// Files of new words, and where names of such are looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Embeddings {
    /// The files or names; the words' ids follow in their order.
    pub asked: Vec<EmbeddingAsked>,
    /// Where names are looked up.
    pub folder: Option<PathBuf>,
}

impl Embeddings {
    /// The checkpoint with all of them in its text encoders and tokenizers.
    ///
    /// # Errors
    /// For files that are not there, hold no new words, or do not fit.
    pub(crate) fn apply(&self, checkpoint: Checkpoint) -> Result<Checkpoint> {
        let read = |asked: &EmbeddingAsked| -> Result<Embedding> {
            let found = asked.find(self.folder.as_deref());
            let (path, word) = found.map_err(|what| refusal!("--embedding: {what}"))?;
            Ok(Embedding::read(&path, word.as_deref())?)
        };
        let embeddings: Vec<Embedding> = self.asked.iter().map(read).collect::<Result<_>>()?;
        Ok(sd_checkpoint::Embeddings::add_to(checkpoint, &embeddings)?)
    }

    /// The options that are given, as they are typed.
    pub(crate) fn typed(&self) -> Vec<String> {
        let files = self.asked.iter().flat_map(|asked| ["--embedding".to_owned(), asked.to_string()]);
        let folder = self.folder.iter().flat_map(|dir| ["--embedding-dir".to_owned(), dir.display().to_string()]);
        files.chain(folder).collect()
    }
}
