//! ControlNets that guide a pipeline: packages beside the other models or elsewhere, and checkpoints, which are converted in
//! memory.

use std::path::{Path, PathBuf};

use sd_checkpoint::place::Wanted;
use sd_checkpoint::{Checkpoint, Source};
use sd_convert::LatentSize;
use sd_runtime::{Engine, Part};
use sd_spec::{Bundled, Family, Role, bundle};

use super::memory::InMemory;
use super::net::Net;
use crate::error::{Context, Result, refuse};
use crate::model_dir;
use crate::open::Opened;
use crate::package::is_named_as_package;

/// All of them, in the order in which pictures guide.
#[derive(Debug, Clone, Default)]
pub(super) struct ControlNets {
    nets: Vec<(String, Net)>,
}

impl ControlNets {
    /// Finds them: by path or reference to the Hub, or by name among the packages of a pipeline, those for a size first.
    pub(super) fn find(sources: &[Source], opened: &Opened, size: Option<LatentSize>) -> Result<Self> {
        let packages = opened.is_packages().then(|| opened.root());
        let find = |source: &Source| {
            let found = find(source, opened, packages, size);
            found.with_context(|| format!("--controlnet {source}"))
        };
        Ok(Self { nets: sources.iter().map(find).collect::<Result<_>>()? })
    }

    /// Refuses them beside models that nothing guides.
    pub(super) fn check_family(&self, family: Family) -> Result<()> {
        if !self.is_empty() && !family.spec().on_request.contains(&Role::ControlledUNet) {
            refuse!(
                "--controlnet has no effect here: ControlNets guide Stable Diffusion 1.x, 2.x and XL, and this is {}",
                family.spec().name
            );
        }
        Ok(())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.nets.is_empty()
    }

    /// Their names, for the settings of pictures.
    pub(super) fn names(&self) -> Vec<String> {
        self.nets.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Their parts in a pipeline: as they are, and for one sample at a time.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        let of = |idx| [Part::numbered(Role::ControlNet, idx), Part::single_numbered(Role::ControlNet, idx)];
        (0..self.nets.len()).flat_map(of)
    }

    /// Those that are converted in memory.
    pub(super) fn checkpoints(&self) -> impl Iterator<Item = &Checkpoint> {
        self.nets.iter().filter_map(|(_, net)| net.checkpoint())
    }

    /// Loads one as a part, for latents of a size.
    pub(super) fn load(
        &self,
        idx: usize,
        part: Part,
        memory: &InMemory,
        options: &sd_convert::Options,
    ) -> Result<Box<dyn Engine>> {
        self.nets[idx].1.load(part, memory, options)
    }
}

fn find(source: &Source, opened: &Opened, packages: Option<&Path>, size: Option<LatentSize>) -> Result<(String, Net)> {
    let name = source.to_string();
    let is_there = source.path().is_none_or(|path| path.symlink_metadata().is_ok());
    if let Some(dir) = packages.filter(|_| !is_there) {
        let found = control_nets(dir)?;
        return match control_net(&found, &name, size) {
            Some(path) => Ok((name, Net::Package(path.clone()))),
            None if found.is_empty() => refuse!(
                "there is no such file or folder, and {0} holds no package of a ControlNet; convert one into it: smelt \
                 convert CONTROLNET -o {0} --size WIDTHxHEIGHT",
                dir.display()
            ),
            None => {
                let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
                refuse!(
                    "there is no such file or folder, and no package ControlNet_{name}.mlpackage in {}, whose ControlNets \
                     are {}",
                    dir.display(),
                    names.join(", ")
                )
            }
        };
    }
    let path = opened.opening().locate(source)?;
    if is_named_as_package(&path) && path.is_dir() {
        return match control_net_name(&path) {
            Some(name) => Ok((name, Net::Package(path))),
            None => refuse!("{} is no package of a ControlNet, whose name begins with ControlNet_", path.display()),
        };
    }
    let checkpoint = opened.opening().beside().checkpoint(source, Wanted::Checkpoint)?;
    if !checkpoint.has(Role::ControlNet) {
        refuse!("it is no ControlNet; give its file, the folder with its config.json, or its package");
    }
    Ok((checkpoint.name(), Net::Checkpoint(Box::new(checkpoint))))
}

/// The packages of ControlNets in a directory, by their names without what says so; a bundle has a folder of them.
fn control_nets(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let named = |path: PathBuf| Some((control_net_name(&path)?, path));
    let mut found: Vec<(String, PathBuf)> = model_dir::packages(dir)?.into_iter().filter_map(named).collect();
    if let Some(folder) = bundled(dir).filter(|folder| folder.is_dir()) {
        let stem = |path: PathBuf| Some((path.file_stem()?.to_str()?.to_owned(), path));
        found.extend(model_dir::packages(&folder)?.into_iter().filter_map(stem));
    }
    Ok(found)
}

/// The folder of a bundle's ControlNets.
fn bundled(dir: &Path) -> Option<PathBuf> {
    match Role::ControlNet.spec().package.bundled {
        Bundled::Below(folder) => Some(dir.join(folder)),
        _ => None,
    }
}

/// `canny` of `ControlNet_canny.mlpackage`.
fn control_net_name(package: &Path) -> Option<String> {
    let rest = package.file_stem()?.to_str()?.strip_prefix(Role::ControlNet.spec().package.apple)?;
    rest.strip_prefix('_').map(str::to_owned)
}

/// The one of them that is called so, as converting writes the name: that for a size, or else that without one in its name.
fn control_net<'a>(found: &'a [(String, PathBuf)], name: &str, size: Option<LatentSize>) -> Option<&'a PathBuf> {
    let name = name.replace('/', "_");
    let of = |wanted: &str| found.iter().find(|(name, _)| name == wanted).map(|(_, path)| path);
    let sized = size.and_then(|size| of(&format!("{name}_{size}")));
    sized.or_else(|| of(&name)).or_else(|| of(&bundle::title_case(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_known_by_what_follows_the_role() {
        let of = |name: &str| control_net_name(Path::new(name));
        assert_eq!(of("a/ControlNet_canny.mlpackage").as_deref(), Some("canny"));
        assert_eq!(of("a/ControlNet_x_depth_8x12.mlpackage").as_deref(), Some("x_depth_8x12"));
        assert_eq!([of("a/x_control-unet.mlpackage"), of("a/ControlNets.mlpackage")], [None, None]);
        let names = ["canny", "canny_8x12", "owner_depth", "LllyasvielSdControlnetMlsd"];
        let found: Vec<_> = names.iter().map(|name| ((*name).to_owned(), PathBuf::from(name))).collect();
        let size = |text: &str| Some(text.parse().unwrap());
        for (name, size, path) in [
            ("canny", None, Some("canny")),
            ("canny", size("8x12"), Some("canny_8x12")),
            ("canny", size("12x8"), Some("canny")),
            ("owner/depth", None, Some("owner_depth")),
            ("can", None, None),
            ("lllyasviel/sd-controlnet-mlsd", None, Some("LllyasvielSdControlnetMlsd")),
            ("LllyasvielSdControlnetMlsd", None, Some("LllyasvielSdControlnetMlsd")),
        ] {
            assert_eq!(control_net(&found, name, size), path.map(PathBuf::from).as_ref(), "{name} {size:?}");
        }
    }
}
