//! Golden checkpoints that share parts, put together as `assemble.json` among them says.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

/// Copies a checkpoint to `to`, with what is another's.
pub(super) fn checkpoint(checkpoints: &Path, name: &str, to: &Path) -> Result<()> {
    let assemble = fs::read(checkpoints.join("assemble.json")).context("no assemble.json among golden checkpoints")?;
    part(checkpoints, &serde_json::from_slice(&assemble)?, name, to)
}

/// Copies a checkpoint, or a folder or file of it (`tiny-sd3/tokenizer`), and what belongs below it.
fn part(checkpoints: &Path, assemble: &Value, from: &str, to: &Path) -> Result<()> {
    copy(&checkpoints.join(from), to).with_context(|| format!("cannot copy {from}"))?;
    let (name, folder) = from.split_once('/').unwrap_or((from, ""));
    for (place, other) in assemble[name].as_object().into_iter().flatten() {
        let below = match folder {
            "" => Some(place.as_str()),
            folder => place.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')),
        };
        if let Some((below, other)) = below.zip(other.as_str()) {
            part(checkpoints, assemble, other, &to.join(below))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        return fs::read_dir(from)?.try_for_each(|entry| {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))
        });
    }
    fs::create_dir_all(to.parent().context("a file without a folder")?)?;
    fs::copy(from, to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_parts_are_copied_too() {
        let dir = tempfile::tempdir().expect("a folder");
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        put("a/unet/config.json", "a");
        put("b/tokenizer/config.json", "b");
        put("c/vocab.json", "c");
        put("assemble.json", r#"{"a": {"tokenizer": "b/tokenizer"}, "b": {"tokenizer/vocab.json": "c/vocab.json"}}"#);
        let to = dir.path().join("out");
        checkpoint(dir.path(), "a", &to).expect("put together");
        let read = |name: &str| fs::read_to_string(to.join(name)).expect(name);
        assert_eq!(["unet/config.json", "tokenizer/config.json", "tokenizer/vocab.json"].map(read), ["a", "b", "c"]);
    }
}
