//! LoRA and its relatives: files of small tensors that change the weights of a checkpoint.
//!
//! A file is read by its keys, whatever program wrote it ([`Lora::open`]), fitted to a checkpoint by tables of names
//! ([`Fitting`]), and computed by rows while weights are read, so that nothing of a checkpoint's size is ever held.
//! Which tensors fit nothing is part of the answer: whether that is an error is the caller's choice.

mod facts;
mod fit;
mod key;
mod module;
mod names;
mod scale;
mod strength;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use host_tensor::HostTensor;

use crate::{CheckpointError, Weights, hub, weights};
pub use facts::{Base, LoraFacts};
pub use fit::{Fitted, Fitting};
use key::Key;
pub use key::Spelling;
pub use module::Kind;
use module::{Module, Stored};
use scale::Config;
pub use strength::{Asked, Strength};

/// Modules of the largest LoRAs are a few thousand; a file with more tensors than this is none.
const MAX_TENSORS: usize = 1 << 17;

/// A LoRA file.
#[derive(Debug, Clone)]
pub struct Lora {
    path: PathBuf,
    modules: BTreeMap<String, Module>,
    /// Tensors that are parts of no module.
    strays: Vec<String>,
    config: Config,
    header: HashMap<String, String>,
}

impl Lora {
    /// Maps a LoRA file, or the one in a folder of PEFT or diffusers.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or holds no tensor of a LoRA.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let path = file_in(path);
        let fail = |message: String| CheckpointError::Lora { path: path.clone(), message };
        let stored = Weights::map(std::slice::from_ref(&path))?;
        // PyTorch's files have no header.
        let header = weights::metadata(&path).unwrap_or_default();
        let config = config(&path, &header).map_err(fail)?;
        let mut lora = Self { path: path.clone(), modules: BTreeMap::new(), strays: Vec::new(), config, header };
        if stored.iter().count() > MAX_TENSORS {
            return Err(fail("has more tensors than any LoRA".to_owned()));
        }
        for (name, weight) in stored.iter() {
            let tensor = weight.stored().cloned().unwrap_or_else(|| weight.constant().read());
            lora.add(name, tensor).map_err(fail)?;
        }
        match lora.modules.values().any(|module| module.kind().is_some()) {
            true => Ok(lora),
            false => Err(fail("is no LoRA: none of its tensors is named as those of LoRAs are".to_owned())),
        }
    }

    fn add(&mut self, name: &str, tensor: HostTensor) -> Result<(), String> {
        let Some(key) = Key::read(name) else {
            self.strays.push(name.to_owned());
            return Ok(());
        };
        let module = self.modules.entry(key.module).or_default();
        module.spelling = module.spelling.or(key.spelling);
        match module.tensors.insert(key.slot, Stored { name: name.to_owned(), tensor }) {
            Some(other) => Err(format!("{name} and {} are the same part of one module", other.name)),
            None => Ok(()),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's name without its ending, by which people call it; of one that PEFT or diffusers named, that of its folder,
    /// or of its repository of the Hub.
    #[must_use]
    pub fn name(&self) -> String {
        let words = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
        let stem = self.path.file_stem().map_or_else(|| "lora".to_owned(), words);
        if !NAMES.contains(&stem.as_str()) {
            return stem;
        }
        let folder = self.path.parent();
        let of_hub = folder.and_then(hub::repository_of_snapshot);
        of_hub.or_else(|| folder?.file_name().map(words)).unwrap_or(stem)
    }

    /// Whether a file, or what a folder holds, has a LoRA's tensors, whoever wrote it; nothing else of it is read.
    #[must_use]
    pub fn is_one(path: &Path) -> bool {
        let path = file_in(path);
        path.is_file() && weights::keys(&path).is_some_and(|keys| keys.iter().any(|key| Key::is_of_adapter(key)))
    }
}

/// What PEFT and diffusers call a file.
const NAMES: [&str; 2] = ["adapter_model", "pytorch_lora_weights"];

/// A folder stands for the file that PEFT or diffusers writes into it.
fn file_in(path: &Path) -> PathBuf {
    let names = ["safetensors", "bin"].into_iter().flat_map(|end| NAMES.map(|name| format!("{name}.{end}")));
    let files: Vec<PathBuf> = names.map(|name| path.join(name)).collect();
    let found = if path.is_dir() { files.into_iter().find(|file| file.is_file()) } else { None };
    found.unwrap_or_else(|| path.to_owned())
}

/// The configuration in the header, or in PEFT's file beside.
fn config(path: &Path, header: &HashMap<String, String>) -> Result<Config, String> {
    if let Some(json) = header.get(scale::HEADER_KEY) {
        return Config::read(json).map_err(|error| format!("{} in its header: {error}", scale::HEADER_KEY));
    }
    let beside = path.with_file_name("adapter_config.json");
    let is_of_peft = path.file_stem().is_some_and(|stem| stem == "adapter_model");
    match safe_files::read_text_if_present(&beside, crate::json::MAX_JSON_BYTES) {
        Ok(Some(json)) if is_of_peft => Config::read(&json).map_err(|error| format!("{}: {error}", beside.display())),
        Ok(_) => Ok(Config::default()),
        Err(error) => Err(error.to_string()),
    }
}
