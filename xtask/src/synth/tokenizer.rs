//! CLIP's tokenizer files.

use std::{fs, path::Path};

use anyhow::{Context, Result};
pub(super) use sd_spec::clip_tokenizer::Padding;
use sd_spec::clip_tokenizer::{FILES, file};

/// Writes `merges.txt`, `vocab.json`, `tokenizer_config.json` and `special_tokens_map.json`.
pub(super) fn write_tokenizer(dir: &Path, padding: Padding) -> Result<()> {
    FILES.into_iter().try_for_each(|name| {
        let bytes = file(name, padding).context("no file of the tokenizer")?;
        Ok(fs::write(dir.join(name), bytes)?)
    })
}
