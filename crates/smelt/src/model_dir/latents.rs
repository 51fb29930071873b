//! What packages say of a pipeline's latents: their channels, their size, and the picture's beside it.

use std::path::PathBuf;

use mlpackage::{FeatureType, Package};
use sd_convert::LatentSize;
use sd_spec::{Axis, Role, bundle};

use super::ModelDir;
use crate::error::Result;
use crate::package::open_package;

/// Channels and sides of the latents that an autoencoder's decoder takes, and pixels of its picture for each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) channels: usize,
    pub(crate) size: LatentSize,
    pub(crate) scale: usize,
}

impl Decoded {
    /// As a package says; none where its description leaves it open.
    pub(crate) fn of(package: &Package) -> Option<Self> {
        let [_, channels, height, width] = shape(package, "z")?;
        // The description of an output may leave its shape open; every Stable Diffusion has 8.
        let scale = shape(package, "image").map_or(8, |image| image[2] / height.max(1)).max(1);
        Some(Self { channels, size: LatentSize { height, width }, scale })
    }
}

impl ModelDir {
    /// Picture pixels per latent pixel, and the latents' size that the packages draw by default.
    pub(crate) fn native_size(&self) -> Result<(usize, Option<LatentSize>)> {
        let scale = self.decoded()?.map_or(8, |decoded| decoded.scale);
        let denoiser = self.by_role.keys().copied().find(|role| role.is_denoiser()).unwrap_or(Role::UNet);
        // It has another name in the transformer of Stable Diffusion 3.
        let inputs = denoiser.spec().inputs.iter();
        let mut latents = inputs.filter(|input| input.axes.contains(&Axis::LatentHeight));
        let name = latents.next().map_or("sample", |input| input.name);
        let sample = self.first(denoiser)?.and_then(|unet| shape(&unet, name));
        Ok((scale, sample.map(|[_, _, height, width]| LatentSize { height, width })))
    }

    /// What the packages' own decoder takes and gives.
    pub(crate) fn decoded(&self) -> Result<Option<Decoded>> {
        Ok(self.first(Role::VaeDecoder)?.and_then(|decoder| Decoded::of(&decoder)))
    }

    fn first(&self, role: Role) -> Result<Option<Package>> {
        self.packages(role).first().map(|path| open_package(path)).transpose()
    }
}

/// Whether the package that a bundle calls a UNet is a refiner: it takes fewer numbers of sizes and crop.
pub(super) fn is_refiner(packages: &[PathBuf]) -> Result<bool> {
    let name = Role::UNet.spec().package.swift;
    let names = [name.to_owned(), bundle::chunk(name, 1)];
    let is_unet = |path: &&PathBuf| names.iter().any(|name| path.file_stem() == Some(name.as_ref()));
    let Some(unet) = packages.iter().find(is_unet) else { return Ok(false) };
    let unet = open_package(unet)?;
    let n_numbers = shape_of(&unet, "time_ids").and_then(|shape| shape.last()).copied().unwrap_or_default();
    let n_of = |role: Role| role.spec().n_size_numbers;
    // Those of two samples may stand one behind the other.
    Ok(n_numbers != 0 && n_numbers % n_of(Role::UNet) != 0 && n_numbers % n_of(Role::Refiner) == 0)
}

/// The shape of a feature with four dimensions.
fn shape(package: &Package, name: &str) -> Option<[usize; 4]> {
    shape_of(package, name)?.try_into().ok()
}

/// The shape of a feature.
fn shape_of<'p>(package: &'p Package, name: &str) -> Option<&'p [usize]> {
    let interface = package.model().description.main()?;
    let feature = interface.inputs.iter().chain(&interface.outputs).find(|f| f.name == name)?;
    match &feature.ty {
        FeatureType::MultiArray(array) => Some(array.shape.as_slice()),
        _ => None,
    }
}
