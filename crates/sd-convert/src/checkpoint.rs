//! A checkpoint on disk: a diffusers directory whose tensors are mapped, never read.
//!
//! Which components there are is what `model_index.json` says, as in diffusers, and where that is missing, what folders
//! there are. Configurations are read by `sd-models`; here only the class is looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sd_spec::Role;
use serde_json::{Map, Value};

use crate::{
    ConvertError, Weights, hub,
    place::{Place, Wanted},
    weights::Variant,
};

/// Largest JSON file that is read, in bytes; real ones have a few KiB, a sharded index a few hundred.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// A diffusers checkpoint directory.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    root: PathBuf,
    name: String,
    /// `model_index.json`, if there is one.
    index: Option<Map<String, Value>>,
    /// The variant of the weights that was asked for.
    variant: Option<String>,
}

/// What `model_index.json` says of an entry.
enum Listed {
    /// A class that is loaded.
    Class(String),
    /// Nothing is loaded, whatever the folder holds.
    LeftOut,
    /// There is no index.
    Unknown,
}

impl Checkpoint {
    /// Opens a directory that holds `model_index.json` or at least one component's folder, or the Hub's cache of one.
    ///
    /// # Errors
    /// [`ConvertError::Place`], which says what is there instead; [`ConvertError::Read`] and [`ConvertError::Json`] for an
    /// index that cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ConvertError> {
        Self::open_for(path, Wanted::Checkpoint)
    }

    /// The same, with an error that says what else would have done.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_for(path: impl AsRef<Path>, wanted: Wanted) -> Result<Self, ConvertError> {
        let path = path.as_ref();
        let root = hub::resolve(path)?;
        let refuse = || {
            let Place { what, next } = Place::of(&root, wanted);
            ConvertError::Place { path: root.clone(), what, next }
        };
        if !root.is_dir() {
            return Err(refuse());
        }
        let index_file = root.join("model_index.json");
        let index = match safe_files::read_if_present(&index_file, MAX_JSON_BYTES)? {
            Some(json) => {
                Some(serde_json::from_slice(&json).map_err(|source| ConvertError::Json { path: index_file, source })?)
            }
            None => None,
        };
        let checkpoint = Self { name: name(path, &root), root: root.clone(), index, variant: None };
        if checkpoint.index.is_none() && !Role::ALL.iter().any(|&c| checkpoint.has_folder(c)) {
            return Err(refuse());
        }
        Ok(checkpoint)
    }

    /// The same with the weights of a variant (`fp16`, `non_ema`) where a component has it; `None` asks for none.
    #[must_use]
    pub fn with_variant(self, variant: Option<String>) -> Self {
        Self { variant, ..self }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What stands for the model version where none is given: `owner/name` in the Hub's cache, else the directory's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// The folder of a component.
    #[must_use]
    pub fn folder(&self, role: Role) -> PathBuf {
        self.root.join(role.spec().folder)
    }

    /// True when the checkpoint has the component: the index lists it, or there is no index, and its configuration is there.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        !matches!(self.listed(role.spec().folder), Listed::LeftOut) && self.has_folder(role)
    }

    /// True when the index lists the component, whether it is there or not.
    #[must_use]
    pub fn lists(&self, role: Role) -> bool {
        matches!(self.listed(role.spec().folder), Listed::Class(_))
    }

    fn has_folder(&self, role: Role) -> bool {
        self.folder(role).join("config.json").is_file()
    }

    /// What the index says of an entry; one without an entry is left out, as in diffusers.
    fn listed(&self, entry: &str) -> Listed {
        let Some(index) = &self.index else { return Listed::Unknown };
        match index.get(entry).and_then(|pair| pair.get(1)).and_then(Value::as_str) {
            Some(class) => Listed::Class(class.to_owned()),
            None => Listed::LeftOut,
        }
    }

    /// What the user should know about the checkpoint as a whole.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let folders: BTreeMap<&str, Role> = Role::ALL.iter().rev().map(|role| (role.spec().folder, *role)).collect();
        for (entry, role) in folders {
            if matches!(self.listed(entry), Listed::LeftOut) && self.has_folder(role) {
                warnings.push(format!("model_index.json leaves out {entry}, so its folder is not used"));
            }
        }
        if self.lists(Role::SafetyChecker) && !self.has_folder(Role::SafetyChecker) {
            warnings.push(
                "model_index.json lists a safety_checker, which is not there; pictures are not checked".to_owned(),
            );
        }
        let others: Vec<&str> = self.other_models().collect();
        if !others.is_empty() {
            warnings.push(format!("model_index.json lists {}, which cannot be converted yet", others.join(", ")));
        }
        warnings
    }

    /// Entries of the index that are models, and none of ours.
    fn other_models(&self) -> impl Iterator<Item = &str> {
        let entries = self.index.iter().flatten();
        let is_model = |name: &str| {
            let is_ours = Role::ALL.iter().any(|&c| c.spec().folder == name);
            !is_ours && !["tokenizer", "scheduler", "feature_extractor"].iter().any(|no| name.starts_with(no))
        };
        let is_loaded = |pair: &Value| pair.get(1).is_some_and(Value::is_string);
        entries.filter(move |(name, pair)| is_loaded(pair) && is_model(name)).map(|(name, _)| name.as_str())
    }

    /// Refuses a checkpoint of which a part that cannot be converted is needed to draw.
    ///
    /// # Errors
    /// [`ConvertError::Unsupported`] with the class of the pipeline.
    pub fn check_family(&self) -> Result<(), ConvertError> {
        /// Networks beside the pipeline, which draws without them.
        const BESIDE: [&str; 2] = ["image_encoder", "controlnet"];
        let needed: Vec<&str> = self.other_models().filter(|name| !BESIDE.contains(name)).collect();
        if needed.is_empty() {
            return Ok(());
        }
        let class = self.pipeline().unwrap_or_else(|| "pipeline of another kind".to_owned());
        let what = format!(
            "this is a {class}, whose {} cannot be converted yet; --component NAME converts one of the others",
            needed.join(", ")
        );
        Err(ConvertError::Unsupported { path: self.root.join("model_index.json"), what })
    }

    /// Refuses a pipeline, or a component of it, that is known to be another thing; before anything is read of it.
    ///
    /// # Errors
    /// [`ConvertError::Unsupported`] with what it is; [`ConvertError::MissingComponent`] where the index lists a component
    /// that is not there.
    pub fn check(&self, role: Role) -> Result<(), ConvertError> {
        let entry = role.spec().folder;
        let unsupported = |what: String| ConvertError::Unsupported { path: self.root.join("model_index.json"), what };
        let class = match self.listed(entry) {
            Listed::Unknown => String::new(),
            Listed::LeftOut => {
                return Err(ConvertError::LeftOut { role, path: self.root.join("model_index.json") });
            }
            Listed::Class(class) => class,
        };
        if class.starts_with("Onnx") || class.starts_with("ORT") {
            return Err(unsupported(format!("{entry} is an ONNX model ({class}); give the checkpoint it was made of")));
        }
        if class.starts_with("Flax") {
            return Err(unsupported(format!(
                "{entry} is a model of Flax ({class}); save it as PyTorch, with safetensors"
            )));
        }
        let known = role.spec().classes;
        if !class.is_empty() && !known.contains(&class.as_str()) {
            return Err(unsupported(format!("{entry} is of the class {class}; supported: {}", known.join(", "))));
        }
        if !self.has_folder(role) {
            return Err(ConvertError::MissingComponent { role, path: self.folder(role).join("config.json") });
        }
        Ok(())
    }

    /// The class of the pipeline, if the index says it.
    #[must_use]
    pub fn pipeline(&self) -> Option<String> {
        self.index.as_ref()?.get("_class_name")?.as_str().map(str::to_owned)
    }

    /// The bytes of a component's `config.json`.
    ///
    /// # Errors
    /// As [`Checkpoint::check`]; when the file is unreadable or absurdly large.
    pub fn config(&self, role: Role) -> Result<Vec<u8>, ConvertError> {
        self.check(role)?;
        read_json(&self.folder(role).join("config.json"))
    }

    /// The component's tensors.
    ///
    /// # Errors
    /// When no weights are there, or a file is damaged.
    pub fn weights(&self, role: Role) -> Result<Weights, ConvertError> {
        Weights::open(&self.folder(role), self.variant.as_deref())
    }

    /// Which variant of the weights [`Checkpoint::weights`] takes for a component.
    ///
    /// # Errors
    /// As [`Checkpoint::weights`].
    pub fn variant(&self, role: Role) -> Result<Variant, ConvertError> {
        Variant::choose(&self.folder(role), self.variant.as_deref()).map(|(variant, _)| variant)
    }
}

/// `owner/name` where the directory lies in the Hub's cache, else its own name.
fn name(given: &Path, root: &Path) -> String {
    let repository = || hub::repository_name(given).filter(|_| given != root).or_else(|| hub::name_of(root));
    let own = || {
        let absolute = root.canonicalize().ok()?;
        absolute.file_name().map(|n| n.to_string_lossy().into_owned())
    };
    repository().or_else(own).unwrap_or_else(|| "model".to_owned())
}

/// Reads a JSON file of a checkpoint, whose size is capped; a byte order mark is left out.
///
/// # Errors
/// [`ConvertError::Read`]: the file is missing, unreadable, larger than any real one, or a Git LFS pointer.
pub fn read_json(path: &Path) -> Result<Vec<u8>, ConvertError> {
    Ok(safe_files::read(path, MAX_JSON_BYTES)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn checkpoint(index: Option<&str>, folders: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in folders {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("config.json"), "{}").unwrap();
        }
        if let Some(index) = index {
            fs::write(dir.path().join("model_index.json"), index).unwrap();
        }
        dir
    }

    #[test]
    fn the_index_says_which_components_there_are() {
        let index = r#"{"unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [null, null]}"#;
        let dir = checkpoint(Some(index), &["unet", "safety_checker", "vae"]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let has = Role::ALL.map(|c| checkpoint.has(c));
        assert_eq!(has, [false, true, false, false, false]);
        let warnings = checkpoint.warnings().join("\n");
        assert!(warnings.contains("leaves out safety_checker") && warnings.contains("leaves out vae"), "{warnings}");
        let error = checkpoint.config(Role::SafetyChecker).unwrap_err().to_string();
        assert!(
            error.contains("has no safety-checker: ") && error.contains("model_index.json leaves it out"),
            "{error}"
        );
    }

    #[test]
    fn without_an_index_folders_count() {
        let dir = checkpoint(None, &["unet", "vae"]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(Role::ALL.map(|c| checkpoint.has(c)), [false, true, true, true, false]);
        assert!(checkpoint.warnings().is_empty());
    }

    #[test]
    fn listed_components_that_are_absent_or_of_another_class_are_named() {
        let index = r#"{"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderTiny"],
            "text_encoder": ["diffusers", "OnnxRuntimeModel"], "image_encoder": ["x", "Y"], "tokenizer": ["a", "B"]}"#;
        let dir = checkpoint(Some(index), &["vae"]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let error = |c| checkpoint.config(c).unwrap_err().to_string();
        assert!(error(Role::UNet).contains("unet/config.json"), "{}", error(Role::UNet));
        assert!(error(Role::VaeDecoder).contains("vae is of the class AutoencoderTiny"));
        assert!(error(Role::TextEncoder).contains("ONNX"));
        assert_eq!(checkpoint.warnings(), ["model_index.json lists image_encoder, which cannot be converted yet"]);
    }

    #[test]
    fn a_byte_order_mark_before_the_index_is_no_fault_and_other_text_is() {
        let index = "\u{feff}{\"unet\": [\"diffusers\", \"UNet2DConditionModel\"]}";
        let dir = checkpoint(Some(index), &["unet"]);
        assert!(Checkpoint::open(dir.path()).unwrap().has(Role::UNet));
        fs::write(dir.path().join("model_index.json"), "[]").unwrap();
        assert!(Checkpoint::open(dir.path()).unwrap_err().to_string().contains("model_index.json"));
    }
}
