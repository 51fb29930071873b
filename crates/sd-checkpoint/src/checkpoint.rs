//! A checkpoint: which networks it has, their configurations and weights.
//!
//! Which there are in a folder is what `model_index.json` says, as in diffusers, and where that is missing, what folders
//! there are. What stands beside the weights is read by name ([`Checkpoint::read`]), for a model in one file has no folder.
//! Configurations are read by `sd-models`; here only the class is looked at.

mod index;
mod open;
mod sources;
mod vae;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safe_files::{NamedFiles, ReadError};
use sd_models::NetworkConfig;
use sd_spec::{Family, FamilySpec, Role};
use serde_json::Value;

use crate::beside::{Beside, Made};
use crate::json::MAX_JSON_BYTES;
use crate::ldm::notes;
use crate::ldm::single::SingleFile;
use crate::projection::Projection;
use crate::{Adapter, Applied, CheckpointError, Variant, Weights, Word, foreign};
use index::{Index, Listed};
pub use open::Reading;
pub use sources::{SourcePart, WeightFile};
use vae::Vae;

/// A checkpoint.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The folder, or the file.
    root: PathBuf,
    name: String,
    beside: Beside,
    stored: Stored,
    index: Index,
    /// Its family, as far as its configurations tell.
    family: Family,
    /// The role of the network that all of it is, where that stands alone.
    alone: Option<Role>,
    /// The variant of the weights that was asked for.
    variant: Option<String>,
    /// The autoencoder in the place of its own.
    vae: Option<Arc<Vae>>,
    adapters: Vec<Arc<dyn Adapter>>,
    /// New words that are in its text encoders and tokenizers.
    words: Vec<Word>,
}

/// Where its weights are.
#[derive(Debug, Clone)]
enum Stored {
    /// In a folder for each network.
    Folder,
    /// In one file.
    File(Arc<SingleFile>),
    /// In a file that holds one layer.
    Projection(Arc<Projection>),
}

impl Checkpoint {
    /// The same with the weights of a variant (`fp16`, `non_ema`) where a component has it; `None` asks for none.
    #[must_use]
    pub fn with_variant(self, variant: Option<String>) -> Self {
        Self { variant, ..self }
    }

    /// The same with other small files before its own, which follow from `of`.
    pub(crate) fn with_made(mut self, files: BTreeMap<String, Value>, of: &Path) -> Self {
        let files = files.into_iter().map(|(name, json)| (name, Made::Json(json))).collect();
        self.beside = self.beside.over_made(files, of);
        self
    }

    pub(crate) fn with_words(mut self, words: Vec<Word>) -> Self {
        self.words.extend(words);
        self
    }

    /// New words that it was opened with, which prompts may have.
    #[must_use]
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// The same, with its weights changed by an adapter, after those that change them already.
    #[must_use]
    pub fn with(mut self, adapter: impl Adapter + 'static) -> Self {
        self.adapters.push(Arc::new(adapter));
        self
    }

    /// The adapters that people name which change its weights, in their order.
    #[must_use]
    pub fn applied(&self) -> Vec<Applied> {
        self.adapters.iter().filter_map(|adapter| adapter.applied()).collect()
    }

    /// Its family, as far as its configurations tell; [`Checkpoint::check_family`] says whether all of it is known here.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The roles that it has a network for, those on request aside.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let mut roles = self.usual_roles();
        roles.retain(|&role| self.has(role));
        roles
    }

    /// The roles that a checkpoint of its kind has, in their order; those on request aside.
    #[must_use]
    pub fn usual_roles(&self) -> Vec<Role> {
        let FamilySpec { required, optional, .. } = self.family.spec();
        let is_usual = |role: &Role| match self.alone {
            Some(own) => *role == own,
            None => required.contains(role) || optional.contains(role),
        };
        Role::ALL.into_iter().filter(is_usual).collect()
    }

    /// Whether it is one network alone, of a class that repositories hold without a pipeline.
    #[must_use]
    pub const fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// Its denoiser's role.
    #[must_use]
    pub fn denoiser(&self) -> Role {
        let mut denoisers = self.usual_roles().into_iter().filter(|role| role.is_denoiser());
        denoisers.next().unwrap_or(Role::UNet)
    }

    /// The folder, or the file.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The model in one file, where it is that.
    #[must_use]
    pub fn single_file(&self) -> Option<&SingleFile> {
        match &self.stored {
            Stored::File(file) => Some(file),
            Stored::Folder | Stored::Projection(_) => None,
        }
    }

    /// What stands for the model version where none is given: `owner/name` in the Hub's cache, else the name of the
    /// directory, or that of the file without its ending.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// A small file beside the weights by its name in a folder of diffusers (`scheduler/scheduler_config.json`), if it is
    /// there; for a model in one file it is made. [`NamedFiles`] is the same with another cap.
    ///
    /// # Errors
    /// [`CheckpointError::Read`] for one that cannot be read or is absurdly large.
    pub fn file(&self, name: &str) -> Result<Option<Vec<u8>>, CheckpointError> {
        Ok(self.beside.read(name, MAX_JSON_BYTES)?)
    }

    /// Where the weights of a component are, for messages: its folder, or the file.
    #[must_use]
    pub fn folder(&self, role: Role) -> PathBuf {
        if let Some(vae) = self.given_vae(role) {
            return vae.place().to_owned();
        }
        match (&self.stored, self.alone) {
            (Stored::File(_) | Stored::Projection(_), _) | (_, Some(_)) => self.root.clone(),
            (Stored::Folder, None) => self.root.join(role.spec().folder),
        }
    }

    /// Where a component's configuration is, for messages.
    #[must_use]
    pub fn config_place(&self, role: Role) -> PathBuf {
        self.beside.place(&self.config_name(role))
    }

    fn config_name(&self, role: Role) -> String {
        match self.alone {
            Some(_) => "config.json".to_owned(),
            None => format!("{}/config.json", role.spec().folder),
        }
    }

    /// True when the checkpoint has the component: the index lists it, or there is no index, and its configuration is there.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.is_possible(role) && !matches!(self.listed(role), Listed::LeftOut) && self.has_folder(role)
    }

    /// What the index says of a role's network, unless it is not the checkpoint's own.
    fn listed(&self, role: Role) -> Listed {
        match self.given_vae(role) {
            Some(_) => Listed::Unknown,
            None => self.index.listed(role.spec().folder),
        }
    }

    /// Roles that share a folder are told by the family; a network that stands alone has its own only.
    fn is_possible(&self, role: Role) -> bool {
        let family = self.family.spec();
        let shares = role.is_denoiser();
        let is_of_family = || [family.required, family.on_request].concat().contains(&role);
        match self.alone {
            Some(own) => role == own,
            None => !shares || is_of_family(),
        }
    }

    /// True when the index lists the component, whether it is there or not.
    #[must_use]
    pub fn lists(&self, role: Role) -> bool {
        matches!(self.index.listed(role.spec().folder), Listed::Class(_))
    }

    /// Whether the network is there, whatever the index says.
    fn has_folder(&self, role: Role) -> bool {
        if self.given_vae(role).is_some() {
            return true;
        }
        match &self.stored {
            Stored::Projection(_) => self.alone == Some(role),
            Stored::File(file) => file.has(role),
            Stored::Folder => self.beside.own().is_file(&self.config_name(role)),
        }
    }

    /// What the user should know about the checkpoint as a whole.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let folders: BTreeMap<&str, Role> = Role::ALL.iter().rev().map(|role| (role.spec().folder, *role)).collect();
        for (entry, role) in folders {
            if matches!(self.listed(role), Listed::LeftOut) && self.has_folder(role) {
                warnings.push(format!("model_index.json leaves out {entry}, so its folder is not used"));
            }
        }
        if self.lists(Role::SafetyChecker) && !self.has_folder(Role::SafetyChecker) {
            warnings.push(
                "model_index.json lists a safety_checker, which is not there; pictures are not checked".to_owned(),
            );
        }
        let others: Vec<&str> = self.index.other_models(self.family).collect();
        if !others.is_empty() {
            warnings.push(format!("model_index.json lists {}, which cannot be converted yet", others.join(", ")));
        }
        if let Stored::File(file) = &self.stored {
            // What a folder says that stands before the file's own is not assumed.
            let is_open = |note: &notes::Note| {
                let settled = note.settled_by.as_deref();
                settled.is_none_or(|name| self.beside.is_own(name))
            };
            warnings.extend(notes::notes(file).into_iter().filter(is_open).map(|note| note.words));
        }
        warnings.extend(self.adapters.iter().flat_map(|adapter| adapter.warnings()));
        warnings
    }

    /// Models of the index that are none of ours, and that its pipeline cannot draw without.
    fn needed_others(&self) -> Vec<&str> {
        /// Networks beside the pipeline, which draws without them.
        const BESIDE: [&str; 2] = ["image_encoder", "controlnet"];
        self.index.other_models(self.family).filter(|name| !BESIDE.contains(name)).collect()
    }

    /// Refuses a checkpoint of which a part that cannot be converted is needed to draw.
    ///
    /// # Errors
    /// [`CheckpointError::Unsupported`] with the class of the pipeline.
    pub fn check_family(&self) -> Result<(), CheckpointError> {
        let unsupported = |what| Err(CheckpointError::Unsupported { path: self.place("model_index.json"), what });
        let class = self.pipeline().unwrap_or_else(|| "pipeline of another kind".to_owned());
        if let Some(words) = foreign::pipeline(&class) {
            return unsupported(format!("this is {words} ({class}), which is not converted"));
        }
        let needed = self.needed_others();
        if needed.is_empty() {
            return Ok(());
        }
        let is_of_another_family = needed.iter().all(|name| Role::ALL.iter().any(|role| role.spec().folder == *name));
        let (names, family) = (needed.join(", "), self.family.spec().name);
        let what = match is_of_another_family {
            true => {
                format!("this is a {class} with {names}, but its other models are those of {family}, which has none")
            }
            false => {
                format!(
                    "this is a {class}, whose {names} cannot be converted yet; --component NAME converts one of the others"
                )
            }
        };
        unsupported(what)
    }

    /// Refuses a pipeline, or a component of it, that is known to be another thing; before anything is read of it.
    ///
    /// # Errors
    /// [`CheckpointError::Unsupported`] with what it is; [`CheckpointError::MissingRole`] where the index lists a component
    /// that is not there.
    pub fn check(&self, role: Role) -> Result<(), CheckpointError> {
        let entry = role.spec().folder;
        let unsupported = |what: String| CheckpointError::Unsupported { path: self.place("model_index.json"), what };
        let class = match self.listed(role) {
            Listed::Unknown => String::new(),
            Listed::LeftOut => {
                return Err(CheckpointError::LeftOut { role, path: self.place("model_index.json") });
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
            return Err(CheckpointError::MissingRole { role, path: self.config_place(role) });
        }
        Ok(())
    }

    /// As much as is known of a configuration: where its file is not there, the class that the index names.
    fn known_config(&self, role: Role) -> Option<Value> {
        let json = self.file(&self.config_name(role)).ok().flatten();
        let class = || match self.index.listed(role.spec().folder) {
            Listed::Class(class) => Some(serde_json::json!({ "_class_name": class })),
            _ => None,
        };
        json.and_then(|json| serde_json::from_slice(&json).ok()).or_else(|| class().filter(|_| role == Role::Mmdit))
    }

    /// The class of the pipeline, if the index says it.
    #[must_use]
    pub fn pipeline(&self) -> Option<String> {
        self.index.pipeline()
    }

    /// The bytes of a component's `config.json`.
    ///
    /// # Errors
    /// As [`Checkpoint::check`]; when the file is unreadable or absurdly large.
    pub fn config(&self, role: Role) -> Result<Vec<u8>, CheckpointError> {
        self.check(role)?;
        let name = self.config_name(role);
        let json = self.file(&name)?;
        let missing = || {
            let fault = self.single_file().and_then(|file| file.fault(role));
            fault.unwrap_or_else(|| CheckpointError::MissingRole { role, path: self.beside.place(&name) })
        };
        let json = json.ok_or_else(missing)?;
        Ok(self.with_class(role, &json).unwrap_or(json))
    }

    /// transformers 5 writes configurations without their class, which the index has too.
    fn with_class(&self, role: Role, json: &[u8]) -> Option<Vec<u8>> {
        let class = self.index.class_of("transformers", role.spec().folder)?;
        let mut config: serde_json::Map<String, Value> = serde_json::from_slice(json).ok()?;
        if config.contains_key("architectures") || config.contains_key("_class_name") {
            return None;
        }
        config.insert("architectures".to_owned(), vec![class].into());
        serde_json::to_vec(&config).ok()
    }

    /// The configuration of a role's network.
    ///
    /// # Errors
    /// As [`Checkpoint::config`], and [`CheckpointError::Model`] when it is none that is known here.
    pub fn network(&self, role: Role) -> Result<NetworkConfig, CheckpointError> {
        let json = self.config(role)?;
        let path = || self.config_place(role);
        NetworkConfig::read(role, &json).map_err(|source| CheckpointError::Model { path: path(), source })
    }

    /// The weights of a role's network, as its adapters leave them.
    ///
    /// # Errors
    /// When no weights are there, a file is damaged, or an adapter does not fit.
    pub fn weights(&self, role: Role) -> Result<Weights, CheckpointError> {
        let mut weights = match &self.stored {
            _ if self.given_vae(role).is_some() => self.vae_weights(role)?,
            Stored::Projection(projection) => projection.weights(),
            Stored::File(file) => file.network(role, &self.network(role)?)?,
            Stored::Folder => Weights::open(&self.folder(role), self.variant.as_deref())?,
        };
        self.adapters.iter().try_for_each(|adapter| adapter.adapt(role, &mut weights))?;
        Ok(weights)
    }

    /// What the checkpoint calls a tensor of a role's network that diffusers calls so.
    ///
    /// # Errors
    /// As [`Checkpoint::network`].
    pub fn stored_key(&self, role: Role, key: &str) -> Result<String, CheckpointError> {
        let own = match &self.stored {
            _ if self.given_vae(role).is_some() => self.vae_key(role, key)?,
            Stored::File(file) => file.key_of(role, &self.network(role)?, key),
            Stored::Folder | Stored::Projection(_) => None,
        };
        Ok(own.unwrap_or_else(|| key.to_owned()))
    }

    /// Which variant of the weights [`Checkpoint::weights`] takes for a component.
    ///
    /// # Errors
    /// As [`Checkpoint::weights`].
    pub fn variant(&self, role: Role) -> Result<Variant, CheckpointError> {
        if let Some(vae) = self.given_vae(role) {
            return vae.variant();
        }
        match &self.stored {
            Stored::Folder => Variant::choose(&self.folder(role), self.variant.as_deref()).map(|(variant, _)| variant),
            Stored::File(_) if self.variant.is_some() => Ok(Variant::PlainInstead),
            Stored::File(_) | Stored::Projection(_) => Ok(Variant::Plain),
        }
    }
}

/// What stands beside the weights.
impl NamedFiles for Checkpoint {
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        self.beside.read(name, limit)
    }

    fn has(&self, name: &str) -> bool {
        self.beside.has(name)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.beside.place(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn checkpoint_of(index: Option<&str>, folders: &[&str]) -> tempfile::TempDir {
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
        let dir = checkpoint_of(Some(index), &["unet", "safety_checker", "vae"]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.roles(), [Role::UNet]);
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
        let dir = checkpoint_of(None, &["unet", "vae"]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.roles(), [Role::UNet, Role::VaeDecoder, Role::VaeEncoder]);
        assert!(checkpoint.has(Role::ControlledUNet) && !checkpoint.has(Role::Refiner));
        assert!(checkpoint.warnings().is_empty());
    }

    #[test]
    fn listed_components_that_are_absent_or_of_another_class_are_named() {
        let index = r#"{"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "ConsistencyDecoderVAE"],
            "text_encoder": ["diffusers", "OnnxRuntimeModel"], "image_encoder": ["x", "Y"], "tokenizer": ["a", "B"]}"#;
        let dir = checkpoint_of(Some(index), &["vae"]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let error = |c| checkpoint.config(c).unwrap_err().to_string();
        assert!(error(Role::UNet).contains("unet/config.json"), "{}", error(Role::UNet));
        assert!(error(Role::VaeDecoder).contains("vae is of the class ConsistencyDecoderVAE"));
        assert!(error(Role::TextEncoder).contains("ONNX"));
        assert_eq!(checkpoint.warnings(), ["model_index.json lists image_encoder, which cannot be converted yet"]);
        assert_eq!((checkpoint.family(), checkpoint.roles().len()), (Family::Sd, 2));
        let other = r#"{"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"],
            "scheduler_2": ["diffusers", "X"], "vae": ["diffusers", "AutoencoderKL"]}"#;
        let dir = checkpoint_of(Some(other), &["vae"]);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert!(checkpoint.check_family().is_err());
        let error = checkpoint.check_family().unwrap_err().to_string();
        assert!(error.contains("this is FLUX (FluxPipeline), which is not converted"), "{error}");
    }

    #[test]
    fn the_class_of_the_transformer_says_the_family() {
        let dir = checkpoint_of(None, &["transformer", "text_encoder", "text_encoder_2", "vae"]);
        let class = |class: &str| {
            let json = format!(r#"{{"_class_name": "{class}"}}"#);
            fs::write(dir.path().join("transformer/config.json"), json).unwrap();
            Checkpoint::open(dir.path()).unwrap()
        };
        let sd3 = class("SD3Transformer2DModel");
        assert_eq!((sd3.family(), sd3.denoiser()), (Family::Sd3, Role::Mmdit));
        assert!(sd3.has(Role::Mmdit) && !sd3.has(Role::UNet));
        let other = class("FluxTransformer2DModel");
        assert!(other.family() != Family::Sd3 && !other.has(Role::Mmdit));
        let index = r#"{"transformer": ["diffusers", "SD3Transformer2DModel"]}"#;
        let listed = Checkpoint::open(checkpoint_of(Some(index), &["vae"]).path()).unwrap();
        assert_eq!(listed.family(), Family::Sd3);
        assert!(listed.config(Role::Mmdit).unwrap_err().to_string().contains("transformer/config.json"));
    }

    #[test]
    fn a_byte_order_mark_before_the_index_is_no_fault_and_other_text_is() {
        let index = "\u{feff}{\"unet\": [\"diffusers\", \"UNet2DConditionModel\"]}";
        let dir = checkpoint_of(Some(index), &["unet"]);
        assert!(Checkpoint::open(dir.path()).unwrap().has(Role::UNet));
        fs::write(dir.path().join("model_index.json"), "[]").unwrap();
        assert!(Checkpoint::open(dir.path()).unwrap_err().to_string().contains("model_index.json"));
    }
}
