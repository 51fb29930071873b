//! The devices that this build can run networks on, opened.

use burn_core::tensor::Device;
#[cfg(any(
    feature = "burn-cuda",
    feature = "burn-metal",
    feature = "burn-rocm",
    feature = "burn-vulkan",
    feature = "burn-webgpu",
    feature = "burn-wgpu"
))]
use burn_core::tensor::DeviceType;

use super::error::BurnError;
use crate::BurnDevice;

impl BurnDevice {
    /// The first device of this kind.
    ///
    /// Asking for it by number would panic where there is none, so the devices are listed first.
    pub(super) fn open(self) -> Result<Device, BurnError> {
        match self {
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "burn-cuda")]
            Self::Cuda => self.first(DeviceType::Cuda),
            #[cfg(feature = "burn-metal")]
            Self::Metal => self.first(DeviceType::Metal),
            #[cfg(feature = "burn-rocm")]
            Self::Rocm => self.first(DeviceType::Rocm),
            #[cfg(feature = "burn-vulkan")]
            Self::Vulkan => self.first(DeviceType::Vulkan),
            #[cfg(feature = "burn-webgpu")]
            Self::WebGpu => self.first(DeviceType::WebGpu),
            #[cfg(feature = "burn-wgpu")]
            Self::Wgpu => self.first(DeviceType::Wgpu),
            #[allow(unreachable_patterns, reason = "with every feature there is no other")]
            _ => Err(BurnError::DeviceNotBuilt { device: self.name() }),
        }
    }

    #[cfg(any(
        feature = "burn-cuda",
        feature = "burn-metal",
        feature = "burn-rocm",
        feature = "burn-vulkan",
        feature = "burn-webgpu",
        feature = "burn-wgpu"
    ))]
    fn first(self, kind: DeviceType) -> Result<Device, BurnError> {
        let found = Device::enumerate(kind).into_vec().into_iter().next();
        found.ok_or(BurnError::NoDevice { device: self.name() })
    }
}
