//! Names of the devices that a build with Burn can run networks on; every build knows them.

/// A kind of device; every one but [`Flex`](Self::Flex) stands behind a feature of its own, `burn-` and its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BurnDevice {
    /// The CPU, by Burn's own backend for it.
    #[default]
    Flex,
    /// NVIDIA's GPUs.
    Cuda,
    /// Apple's GPUs, by shaders in Metal's language.
    Metal,
    /// AMD's GPUs.
    Rocm,
    /// Any GPU with Vulkan, by shaders in SPIR-V.
    Vulkan,
    /// Any GPU, by shaders in WebGPU's language.
    WebGpu,
    /// Any GPU, by what the system offers.
    Wgpu,
}

impl BurnDevice {
    /// Its name on the command line, in features and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
            Self::Rocm => "rocm",
            Self::Vulkan => "vulkan",
            Self::WebGpu => "webgpu",
            Self::Wgpu => "wgpu",
        }
    }
}
