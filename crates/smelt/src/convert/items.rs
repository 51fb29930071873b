//! Which packages a conversion writes, and where.
//!
//! Several shapes, which are sizes and batches, are one package with a function for each where the system has functions;
//! elsewhere they are a package each, the first under the plain name and the others, which share its weight file, with
//! what is another size or batch behind it.

use std::path::{Path, PathBuf};

use sd_checkpoint::Checkpoint;
use sd_convert::{Options, Role, Shape, Shapes, has_functions, package_name};
use sd_spec::Family;

use super::options::Conversion;
use super::parts::Part;
use super::resources;
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
    /// What it is for.
    pub(super) shapes: Shapes,
    /// What tells it from the first one.
    other: Shape,
    pub(super) path: PathBuf,
    /// A package with the same weights, which is written before.
    pub(super) first: Option<PathBuf>,
    /// Where the chunks go; none for components that are not cut.
    pub(super) chunks: Vec<PathBuf>,
    /// Whether it is there in chunks only, and a whole one is but made to be cut.
    pub(super) is_only_in_chunks: bool,
    /// Where the chunks of the package with the same weights are.
    pub(super) first_chunks: Vec<PathBuf>,
    /// What a bundle has of the same model in another form, which makes way.
    pub(super) others: Vec<PathBuf>,
}

/// Every package of a model of a family, in the order in which they are written.
pub(super) fn of(conversion: &Conversion, to: &Path, family: Family, parts: &[Part]) -> Result<Vec<Item>> {
    let chunks = |role: Role, path: Option<&PathBuf>| {
        let stem = path.and_then(|path| path.file_stem()).and_then(|s| s.to_str());
        match (conversion.chunk_unet.map(usize::from), stem, conversion.bundle) {
            (Some(n), Some(stem), Some(form)) if role.is_denoiser() => resources::chunks(form, to, stem, n),
            (Some(n), Some(stem), None) if role.is_denoiser() => chunk::targets(to, stem, n),
            _ => Vec::new(),
        }
    };
    let mut items = Vec::new();
    for (part, role) in parts.iter().flat_map(|part| part.roles.iter().map(move |&role| (part, role))) {
        let item = |shapes: Shapes, other: Shape, path: PathBuf, first: Option<PathBuf>| Item {
            role,
            checkpoint: part.checkpoint.clone(),
            version: part.version.clone(),
            shapes,
            other,
            is_only_in_chunks: conversion.bundle.is_some() && conversion.chunk_unet.is_some() && role.is_denoiser(),
            chunks: chunks(role, Some(&path)),
            first_chunks: chunks(role, first.as_ref()),
            others: Vec::new(),
            path,
            first,
        };
        let path = match conversion.bundle {
            Some(form) => resources::place(form, to, (family, role), &part.file_version)?,
            None => to.join(package_name(&part.file_version, role)),
        };
        let shapes = part.shapes.of(role);
        let all = shapes.all();
        if all.len() == 1 || has_functions(conversion.target) {
            items.push(item(shapes, Shape::default(), path, None));
            if let (true, Some(item)) = (conversion.bundle.is_some(), items.last_mut()) {
                item.others = resources::others(item.role, &item.path, &item.outputs().collect::<Vec<_>>());
            }
            continue;
        }
        for &shape in &all {
            let other = shape.but(all[0]);
            let first = (shape != all[0]).then(|| path.clone());
            items.push(item(Shapes::only(shape), other, with_suffix(&path, &other.suffix()), first));
        }
    }
    Ok(items)
}

/// `…_unet.mlpackage` as `…_unet_64x96.mlpackage`.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    path.with_file_name(format!("{stem}{suffix}.mlpackage"))
}

impl Item {
    /// What is there when it is finished: the package, its chunks, or both.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.path).filter(|_| !self.is_only_in_chunks).chain(&self.chunks)
    }

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
        let size = self.other.size.map_or_else(String::new, |size| format!(" {size}"));
        let batch = self.other.batch.map_or_else(String::new, |batch| format!(" batch {batch}"));
        format!("{name}{size}{batch}")
    }
}
