//! Which packages a conversion writes, and where.
//!
//! Several sizes are one package with a function for each where the system has functions; elsewhere they are a package
//! each, the first under the plain name and the others, which share its weight file, with their size behind it.

use std::path::{Path, PathBuf};

use sd_convert::{LatentSize, Role, check_sizes, has_functions, has_sizes, package_name};

use super::options::Conversion;
use crate::chunk;
use crate::error::Result;

/// A package to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) role: Role,
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
pub(super) fn of(
    conversion: &Conversion,
    to: &Path,
    sizes: &[LatentSize],
    roles: &[Role],
    model_version: &str,
) -> Result<Vec<Item>> {
    check_sizes(sizes)?;
    let chunks = |role: Role, path: Option<&PathBuf>| {
        let stem = path.and_then(|path| path.file_stem()).and_then(|s| s.to_str());
        match (conversion.chunk_unet, stem) {
            (Some(n), Some(stem)) if role.is_denoiser() => chunk::targets(to, stem, usize::from(n)),
            _ => Vec::new(),
        }
    };
    let item = |role: Role, sizes: Vec<LatentSize>, path: PathBuf, first: Option<PathBuf>| {
        let (chunks, first_chunks) = (chunks(role, Some(&path)), chunks(role, first.as_ref()));
        Item { role, sizes, path, first, chunks, first_chunks }
    };
    let mut items = Vec::new();
    for &role in roles {
        let path = to.join(package_name(model_version, role));
        let is_apart = sizes.len() > 1 && has_sizes(role) && !has_functions(conversion.target);
        if !is_apart {
            let sizes = if has_sizes(role) { sizes.to_vec() } else { Vec::new() };
            items.push(item(role, sizes, path, None));
            continue;
        }
        for (i, &size) in sizes.iter().enumerate() {
            let sized = if i == 0 { path.clone() } else { with_size(&path, size) };
            let first = (i > 0).then(|| path.clone());
            items.push(item(role, vec![size], sized, first));
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
    /// What it is called where it is told of.
    pub(super) fn label(&self) -> String {
        match (&self.first, &self.sizes[..]) {
            (Some(_), [size]) => format!("{} {size}", self.role),
            _ => self.role.to_string(),
        }
    }
}
