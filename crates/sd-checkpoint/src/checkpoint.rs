//! A checkpoint: which networks it has, their configurations and weights.
//!
//! Which there are in a folder is what `model_index.json` says, as in diffusers, and where that is missing, what folders
//! there are. Configurations are read by `sd-models`; here only the class is looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sd_models::NetworkConfig;
use sd_spec::{Family, FamilySpec, Role};
use serde_json::{Map, Value};

use crate::json::{MAX_JSON_BYTES, read_json};
use crate::place::{Place, Wanted};
use crate::projection::Projection;
use crate::{Adapter, CheckpointError, Source, Variant, Weights, family, foreign, hub};

/// A checkpoint.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    root: PathBuf,
    name: String,
    /// `model_index.json`, if there is one.
    index: Option<Map<String, Value>>,
    /// Its family, as far as its configurations tell.
    family: Family,
    /// The role of the network that all of it is, where that stands alone.
    alone: Option<Role>,
    /// The network, where it is one file without a configuration.
    projection: Option<Arc<Projection>>,
    /// The variant of the weights that was asked for.
    variant: Option<String>,
    adapters: Vec<Arc<dyn Adapter>>,
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

/// Whether an entry of the index holds no network: families that are not known here have several of them, with numbers.
fn is_companion(entry: &str) -> bool {
    let of_family = |family: Family| {
        let spec = family.spec();
        let companions = spec.tokenizers.iter().chain([&spec.scheduler, &spec.feature_extractor]);
        companions.copied().any(|companion| entry.starts_with(companion))
    };
    Family::ALL.into_iter().any(of_family)
}

impl Checkpoint {
    /// Opens a folder that holds `model_index.json` or at least one network's folder, or the Hub's cache of one.
    ///
    /// # Errors
    /// [`CheckpointError::Place`], which says what is there instead; [`CheckpointError::Read`] and [`CheckpointError::Json`]
    /// for an index that cannot be read.
    pub fn open(source: impl Into<Source>) -> Result<Self, CheckpointError> {
        Self::open_for(source, Wanted::Checkpoint)
    }

    /// The same, with an error that says what else would have done.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_for(source: impl Into<Source>, wanted: Wanted) -> Result<Self, CheckpointError> {
        let source = source.into();
        let path = match &source {
            Source::Folder(path) | Source::File(path) => path.as_path(),
            Source::Hub { id, .. } => {
                let next = format!("nothing is downloaded: fetch it first (hf download {id}), and give its folder");
                let what = "a model of the Hub".to_owned();
                return Err(CheckpointError::Place { path: source.to_string().into(), what, next });
            }
        };
        let root = hub::resolve(path)?;
        let refuse = || {
            let Place { what, next } = Place::of(&root, wanted);
            CheckpointError::Place { path: root.clone(), what, next }
        };
        if !root.is_dir() {
            let is_looked_at = wanted == Wanted::Checkpoint && root.is_file();
            let projection = if is_looked_at { Projection::read(&root)? } else { None };
            return projection.map(|projection| Self::of_projection(root.clone(), projection)).ok_or_else(refuse);
        }
        let index_file = root.join("model_index.json");
        let index = match safe_files::read_if_present(&index_file, MAX_JSON_BYTES)? {
            Some(json) => Some(
                serde_json::from_slice(&json).map_err(|source| CheckpointError::Json { path: index_file, source })?,
            ),
            None => None,
        };
        let alone = if index.is_none() { alone(&root) } else { None };
        let mut checkpoint = Self {
            name: name(path, &root),
            root: root.clone(),
            family: Family::Sd,
            alone,
            projection: None,
            index,
            variant: None,
            adapters: Vec::new(),
        };
        checkpoint.family = family::of(|role| checkpoint.known_config(role), checkpoint.asks_for_scores());
        if checkpoint.index.is_none() && !Role::ALL.iter().any(|&c| checkpoint.has_folder(c)) {
            return Err(refuse());
        }
        Ok(checkpoint)
    }

    /// One file that is the projection of a multilingual text path.
    fn of_projection(root: PathBuf, projection: Projection) -> Self {
        let name = root.file_stem().map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned());
        Self {
            name,
            root,
            index: None,
            family: Family::Sd,
            alone: Some(Role::MultilingualProjection),
            projection: Some(Arc::new(projection)),
            variant: None,
            adapters: Vec::new(),
        }
    }

    /// The same with the weights of a variant (`fp16`, `non_ema`) where a component has it; `None` asks for none.
    #[must_use]
    pub fn with_variant(self, variant: Option<String>) -> Self {
        Self { variant, ..self }
    }

    /// The same, with its weights changed by an adapter, after those that change them already.
    #[must_use]
    pub fn with(mut self, adapter: impl Adapter + 'static) -> Self {
        self.adapters.push(Arc::new(adapter));
        self
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
        match self.alone {
            Some(_) => self.root.clone(),
            None => self.root.join(role.spec().folder),
        }
    }

    /// True when the checkpoint has the component: the index lists it, or there is no index, and its configuration is there.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.is_possible(role) && !matches!(self.listed(role.spec().folder), Listed::LeftOut) && self.has_folder(role)
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
        matches!(self.listed(role.spec().folder), Listed::Class(_))
    }

    fn has_folder(&self, role: Role) -> bool {
        match self.projection {
            Some(_) => self.alone == Some(role),
            None => self.folder(role).join("config.json").is_file(),
        }
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
        let FamilySpec { required, optional, on_request, .. } = self.family.spec();
        let is_model = |name: &str| {
            let is_ours = [*required, *optional, *on_request].concat().iter().any(|role| role.spec().folder == name);
            !is_ours && !is_companion(name)
        };
        let is_loaded = |pair: &Value| pair.get(1).is_some_and(Value::is_string);
        entries.filter(move |(name, pair)| is_loaded(pair) && is_model(name)).map(|(name, _)| name.as_str())
    }

    /// Models of the index that are none of ours, and that its pipeline cannot draw without.
    fn needed_others(&self) -> Vec<&str> {
        /// Networks beside the pipeline, which draws without them.
        const BESIDE: [&str; 2] = ["image_encoder", "controlnet"];
        self.other_models().filter(|name| !BESIDE.contains(name)).collect()
    }

    /// Refuses a checkpoint of which a part that cannot be converted is needed to draw.
    ///
    /// # Errors
    /// [`CheckpointError::Unsupported`] with the class of the pipeline.
    pub fn check_family(&self) -> Result<(), CheckpointError> {
        let unsupported = |what| Err(CheckpointError::Unsupported { path: self.root.join("model_index.json"), what });
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
        let unsupported =
            |what: String| CheckpointError::Unsupported { path: self.root.join("model_index.json"), what };
        let class = match self.listed(entry) {
            Listed::Unknown => String::new(),
            Listed::LeftOut => {
                return Err(CheckpointError::LeftOut { role, path: self.root.join("model_index.json") });
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
            return Err(CheckpointError::MissingRole { role, path: self.folder(role).join("config.json") });
        }
        Ok(())
    }

    /// A configuration as it stands in its file, if it can be read.
    fn raw_config(&self, role: Role) -> Option<Value> {
        serde_json::from_slice(&read_json(&self.folder(role).join("config.json")).ok()?).ok()
    }

    /// As much as is known of a configuration: where its file is not there, the class that the index names.
    fn known_config(&self, role: Role) -> Option<Value> {
        let class = || match self.listed(role.spec().folder) {
            Listed::Class(class) => Some(serde_json::json!({ "_class_name": class })),
            _ => None,
        };
        self.raw_config(role).or_else(|| class().filter(|_| role == Role::Mmdit))
    }

    /// Whether the index says that the denoiser is told an aesthetic score, as that of XL's refiner is.
    fn asks_for_scores(&self) -> bool {
        let value = self.index.as_ref().and_then(|index| index.get("requires_aesthetics_score"));
        value == Some(&Value::Bool(true))
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
    pub fn config(&self, role: Role) -> Result<Vec<u8>, CheckpointError> {
        self.check(role)?;
        if let Some(projection) = &self.projection {
            return Ok(projection.config());
        }
        read_json(&self.folder(role).join("config.json"))
    }

    /// The configuration of a role's network.
    ///
    /// # Errors
    /// As [`Checkpoint::config`], and [`CheckpointError::Model`] when it is none that is known here.
    pub fn network(&self, role: Role) -> Result<NetworkConfig, CheckpointError> {
        let json = self.config(role)?;
        let path = || self.folder(role).join("config.json");
        NetworkConfig::read(role, &json).map_err(|source| CheckpointError::Model { path: path(), source })
    }

    /// The weights of a role's network, as its adapters leave them.
    ///
    /// # Errors
    /// When no weights are there, a file is damaged, or an adapter does not fit.
    pub fn weights(&self, role: Role) -> Result<Weights, CheckpointError> {
        let mut weights = match &self.projection {
            Some(projection) => projection.weights(),
            None => Weights::open(&self.folder(role), self.variant.as_deref())?,
        };
        self.adapters.iter().try_for_each(|adapter| adapter.adapt(role, &mut weights))?;
        Ok(weights)
    }

    /// Which variant of the weights [`Checkpoint::weights`] takes for a component.
    ///
    /// # Errors
    /// As [`Checkpoint::weights`].
    pub fn variant(&self, role: Role) -> Result<Variant, CheckpointError> {
        if self.projection.is_some() {
            return Ok(Variant::Plain);
        }
        Variant::choose(&self.folder(role), self.variant.as_deref()).map(|(variant, _)| variant)
    }
}

/// The role of the network that stands alone in a folder, if there is one.
fn alone(root: &Path) -> Option<Role> {
    let config: Value =
        serde_json::from_slice(&safe_files::read(&root.join("config.json"), MAX_JSON_BYTES).ok()?).ok()?;
    let class = config.get("_class_name")?.as_str()?.to_owned();
    Role::ALL.into_iter().find(|role| role.spec().stands_alone && role.spec().classes.contains(&class.as_str()))
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
