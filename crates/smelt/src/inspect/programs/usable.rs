//! Whether programs could load what is there under the right name: every model is opened, every file read.
//!
//! Weights are mapped and their places looked at; nothing is computed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::rules::{Item, Layout};
use super::{COMPILED, compiled};
use crate::package::open_package;

/// Cap on files of tokenizers; CLIP's own are below 4 MB.
const MAX_BYTES: u64 = 64 << 20;
/// What of a model is a few lines of text where the file itself was never fetched.
const MAX_POINTER_BYTES: u64 = 1023;
const PROGRAM: &str = "model.mil";
const INTERFACE: &str = "coremldata.bin";

/// Why things in a folder cannot be loaded, by their names.
#[derive(Debug, Default)]
pub(super) struct Unusable(BTreeMap<String, Option<String>>);

impl Unusable {
    /// What is wrong with what a program would load of a folder; each thing is looked at once.
    pub(super) fn of(&mut self, dir: &Path, layout: &Layout) -> Vec<String> {
        let needed = layout.needs.iter().flat_map(|need| need.0);
        let wanted = layout.wants.iter().flat_map(|want| want.any_of);
        let mut names: Vec<String> = Vec::new();
        for name in needed.chain(wanted).flat_map(|set| *set).flat_map(|item| there(dir, *item)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let why = |name: String| self.0.entry(name.clone()).or_insert_with(|| why_not(dir, &name)).clone();
        names.into_iter().filter_map(why).collect()
    }
}

/// Names of what is there of an item.
fn there(dir: &Path, item: Item) -> Vec<String> {
    match item {
        Item::Model(_) | Item::Chunk(..) => {
            Some(compiled(item)).filter(|name| dir.join(name).is_dir()).into_iter().collect()
        }
        Item::File(name) => Some(name.to_owned()).filter(|name| dir.join(name).is_file()).into_iter().collect(),
        Item::Any(_) => {
            let folder = item.name();
            let entries = std::fs::read_dir(dir.join(&folder)).into_iter().flatten().flatten();
            let models = entries.map(|entry| PathBuf::from(entry.file_name()));
            let models = models.filter(|name| name.extension().is_some_and(|own| own == COMPILED));
            let mut names: Vec<String> = models.map(|name| format!("{folder}/{}", name.display())).collect();
            names.sort();
            names
        }
    }
}

/// Why something cannot be loaded.
fn why_not(dir: &Path, name: &str) -> Option<String> {
    let path = dir.join(name);
    let why = if name.ends_with(COMPILED) { model(&path) } else { file(&path, name) }.err()?;
    // Messages of files name the file already.
    Some(if why.contains(name) { why } else { format!("{name}: {why}") })
}

fn model(path: &Path) -> Result<(), String> {
    let has = |file: &str| path.join(file).is_file();
    if !mlpackage::is_compiled(path) {
        return Err(format!("it holds no model: there is no {PROGRAM}, nor {INTERFACE}"));
    }
    if let Err(pointer @ safe_files::ReadError::Kind { .. }) = safe_files::read(&path.join(PROGRAM), MAX_POINTER_BYTES)
    {
        return Err(pointer.to_string());
    }
    open_package(path).map_err(|error| error.chain())?;
    // It says enough for Smelt without this file, and not for Core ML.
    if has(INTERFACE) { Ok(()) } else { Err(format!("there is no {INTERFACE}")) }
}

fn file(path: &Path, name: &str) -> Result<(), String> {
    let text = safe_files::read_text(path, MAX_BYTES).map_err(|error| error.to_string())?;
    let not_json = |error: serde_json::Error| format!("not what it must be: {error}");
    match name {
        "vocab.json" => {
            let words: BTreeMap<String, u64> = serde_json::from_str(&text).map_err(not_json)?;
            if words.is_empty() { Err("it has no words".to_owned()) } else { Ok(()) }
        }
        _ if name.ends_with(".json") => serde_json::from_str::<Map<String, Value>>(&text).map(drop).map_err(not_json),
        _ if text.trim().is_empty() => Err("it is empty".to_owned()),
        _ => Ok(()),
    }
}
