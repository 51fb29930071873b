//! What of a checkpoint cannot be converted, and what its user should know.

use std::collections::BTreeMap;

use safe_files::NamedFiles;
use sd_spec::Role;

use super::index::Listed;
use super::{Checkpoint, Stored};
use crate::ldm::notes;
use crate::{CheckpointError, foreign};

impl Checkpoint {
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
}
