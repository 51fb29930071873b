//! Which packages a conversion writes, and where.
//!
//! Several sizes are one package with a function for each where the system has functions; elsewhere they are a package
//! each, the first under the plain name and the others, which share its weight file, with their size behind it.

use std::path::{Path, PathBuf};

use sd_checkpoint::Checkpoint;
use sd_convert::{LatentSize, Options, Role, check_sizes, has_functions, has_sizes, package_name};

use super::options::Conversion;
use super::parts::Part;
use crate::chunk;
use crate::error::Result;

/// A package to be written.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) role: Role,
    /// The checkpoint that the network is in.
    pub(super) checkpoint: Checkpoint,
    /// The checkpoint's name in metadata.
    pub(super) version: String,
    /// Sizes of the latents; none stands for the checkpoint's own.
    pub(super) sizes: Vec<LatentSize>,
    pub(super) path: PathBuf,
    /// A package with the same weights, which is written before.
    pub(super) first: Option<PathBuf>,
    /// Where the chunks go; none for components that are not cut.
    pub(super) chunks: Vec<PathBuf>,
    /// Where the chunks of the package with the same weights are.
    pub(super) first_chunks: Vec<PathBuf>,
}

/// Every package, in the order in which they are written.
pub(super) fn of(conversion: &Conversion, to: &Path, parts: &[Part]) -> Result<Vec<Item>> {
    parts.iter().try_for_each(|part| check_sizes(&part.sizes))?;
    let chunks = |role: Role, path: Option<&PathBuf>| {
        let stem = path.and_then(|path| path.file_stem()).and_then(|s| s.to_str());
        match (conversion.chunk_unet, stem) {
            (Some(n), Some(stem)) if role.is_denoiser() => chunk::targets(to, stem, usize::from(n)),
            _ => Vec::new(),
        }
    };
    let mut items = Vec::new();
    for (part, role) in parts.iter().flat_map(|part| part.roles.iter().map(move |&role| (part, role))) {
        let item = |sizes: Vec<LatentSize>, path: PathBuf, first: Option<PathBuf>| Item {
            role,
            checkpoint: part.checkpoint.clone(),
            version: part.version.clone(),
            sizes,
            chunks: chunks(role, Some(&path)),
            first_chunks: chunks(role, first.as_ref()),
            path,
            first,
        };
        let (path, sizes) = (to.join(package_name(&part.file_version, role)), &part.sizes);
        let is_apart = sizes.len() > 1 && has_sizes(role) && !has_functions(conversion.target);
        if !is_apart {
            let sizes = if has_sizes(role) { sizes.to_vec() } else { Vec::new() };
            items.push(item(sizes, path, None));
            continue;
        }
        for (i, &size) in sizes.iter().enumerate() {
            let sized = if i == 0 { path.clone() } else { with_size(&path, size) };
            let first = (i > 0).then(|| path.clone());
            items.push(item(vec![size], sized, first));
        }
    }
    Ok(items)
}

/// `…_unet.mlpackage` as `…_unet_64x96.mlpackage`.
fn with_size(path: &Path, size: LatentSize) -> PathBuf {
    let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    path.with_file_name(format!("{stem}_{size}.mlpackage"))
}

impl Item {
    /// How it is converted, where the conversion as a whole is asked for this.
    pub(super) fn options(&self, all: &Options) -> Options {
        Options { model_version: Some(self.version.clone()), ..all.clone() }
    }

    /// What it is called where it is told of.
    pub(super) fn label(&self) -> String {
        let name = match self.role.spec().stands_alone {
            true => format!("{} {}", self.role, self.version),
            false => self.role.to_string(),
        };
        match (&self.first, &self.sizes[..]) {
            (Some(_), [size]) => format!("{name} {size}"),
            _ => name,
        }
    }
}
