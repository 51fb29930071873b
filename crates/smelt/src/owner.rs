//! Whose model a folder holds: what its packages are called, and what `smelt.json` says.
//!
//! A folder of packages belongs to one model. What stands beside the packages is read for all of them, and two packages
//! of one role are one too many, so that a second model would change or break the first without a word.

use std::collections::BTreeSet;
use std::path::Path;

use sd_convert::{Role, package_name};

use crate::bundle_form::BundleForm;
use crate::error::{Context, Result, refuse};
use crate::model_dir::{model_of, packages};
use crate::settings::{SETTINGS_FILE, Settings};

/// Whose model it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// As `smelt.json` has it.
    model_version: Option<String>,
    /// What stands before the role in the packages' names, with one of these names each.
    prefixes: BTreeSet<(String, String)>,
}

impl Owner {
    /// The one of a folder; of a folder that is not there, nobody.
    pub(crate) fn of_folder(dir: &Path) -> Result<Self> {
        if !dir.is_dir() {
            return Ok(Self::default());
        }
        // Of a pipe nobody knows what comes out of it.
        let settings = if dir.join(SETTINGS_FILE).is_file() { Settings::read(dir) } else { Ok(None) };
        let unknown = "smelt.json does not say whose model the folder holds; remove the file, or give another folder";
        let settings = settings.context(unknown)?;
        let names = packages(dir)?.into_iter().filter_map(|p| p.file_name()?.to_str().map(str::to_owned));
        let prefixes = names.filter_map(|name| Some((model_of(&name)?.to_owned(), name)));
        Ok(Self { model_version: settings.map(|s| s.model_version), prefixes: prefixes.collect() })
    }

    /// The one of packages that a conversion names.
    pub(crate) fn of_model(model_version: &str) -> Self {
        let name = package_name(model_version, Role::UNet);
        let prefix = model_of(&name).map(str::to_owned);
        Self {
            model_version: Some(model_version.to_owned()),
            prefixes: prefix.into_iter().map(|p| (p, name.clone())).collect(),
        }
    }

    /// The one of models that a conversion names, in a bundle or under the names of Apple's converter.
    pub(crate) fn of_conversion(model_version: &str, bundle: Option<BundleForm>) -> Self {
        match bundle {
            // Names of models say nothing there, and smelt.json does.
            Some(_) => Self {
                model_version: Some(model_version.to_owned()),
                prefixes: BTreeSet::from([(String::new(), String::new())]),
            },
            None => Self::of_model(model_version),
        }
    }

    fn has(&self, prefix: &str) -> bool {
        self.prefixes.iter().any(|(own, _)| own == prefix)
    }

    /// Refuses to put this model into a folder of another one's.
    pub(crate) fn check_may_enter(&self, dir: &Path) -> Result<()> {
        let there = Self::of_folder(dir)?;
        let is_own = |version: &str| match &self.model_version {
            Some(own) => own == version,
            None => Self::of_model(version).prefixes.iter().all(|(prefix, _)| self.has(prefix)),
        };
        let what = match there.model_version.as_deref().filter(|version| !is_own(version)) {
            Some(version) => format!("the model {version}, as its smelt.json says"),
            None => match there.prefixes.iter().find(|(prefix, _)| !self.has(prefix)) {
                Some((_, name)) => format!("{name}, of another model"),
                None => return Ok(()),
            },
        };
        let this =
            self.model_version.as_ref().map_or_else(String::new, |version| format!(", and this one is {version}"));
        refuse!(
            "{} holds {what}{this}; a folder of packages is for one model, with --force too: \
             give another folder, or remove that one first",
            dir.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(version: Option<&str>, names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        if let Some(version) = version {
            let json = format!(r#"{{"format": 1, "model_version": "{version}", "prediction_type": null}}"#);
            std::fs::write(dir.path().join("smelt.json"), json).unwrap();
        }
        dir
    }

    const A_UNET: &str = "Stable_Diffusion_version_a_unet.mlpackage";
    const AB_CHUNK: &str = "Stable_Diffusion_version_a_b_unet_64x96_chunk2.mlpackage";

    #[test]
    fn a_model_enters_its_own_folders_and_empty_ones_only() {
        let a = Owner::of_model("a");
        for (version, names, holds) in [
            (None, &[][..], None),
            (Some("a"), &[A_UNET][..], None),
            (None, &[A_UNET, "ControlNet_x.mlpackage", "notes.mlpackage"][..], None),
            (Some("b"), &[][..], Some("the model b")),
            (None, &[AB_CHUNK][..], Some(AB_CHUNK)),
            (Some("a"), &[A_UNET, AB_CHUNK][..], Some(AB_CHUNK)),
            (None, &["Unet.mlpackage"][..], Some("Unet.mlpackage")),
        ] {
            let dir = folder(version, names);
            let result = a.check_may_enter(dir.path());
            match holds {
                None => result.unwrap(),
                Some(what) => {
                    let message = result.unwrap_err().to_string();
                    assert!(
                        message.contains(&format!("holds {what}")) && message.contains("this one is a"),
                        "{message}"
                    );
                }
            }
        }
        a.check_may_enter(Path::new("not-there")).unwrap();
    }

    #[test]
    fn packages_without_settings_are_known_by_their_names() {
        let apples = folder(None, &[A_UNET]);
        let apples = Owner::of_folder(apples.path()).unwrap();
        apples.check_may_enter(folder(Some("a"), &[]).path()).unwrap();
        apples.check_may_enter(folder(None, &[A_UNET]).path()).unwrap();
        assert!(apples.check_may_enter(folder(Some("b"), &[]).path()).is_err());
        assert!(apples.check_may_enter(folder(None, &[AB_CHUNK]).path()).is_err());
    }
}
