//! What packages say of a pipeline's latents: their channels, their size, and the picture's beside it.

use mlpackage::{FeatureType, Package};
use sd_convert::LatentSize;
use sd_spec::{Axis, Role};

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

/// The shape of a feature with four dimensions.
fn shape(package: &Package, name: &str) -> Option<[usize; 4]> {
    let interface = package.model().description.main()?;
    let feature = interface.inputs.iter().chain(&interface.outputs).find(|f| f.name == name)?;
    match &feature.ty {
        FeatureType::MultiArray(array) => array.shape.as_slice().try_into().ok(),
        _ => None,
    }
}
