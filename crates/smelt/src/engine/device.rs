//! What an engine runs on, where there is a choice: a device of Burn's, or the parts of the machine that Core ML may use.

use sd_engines::{BurnDevice, ComputeUnits};

use super::{EngineKind, Names};

/// A device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Of Burn's.
    Burn(BurnDevice),
    /// What Core ML may use.
    CoreMl(ComputeUnits),
}

/// Devices, each of one engine: those of Burn's, of which all but the first stand behind features, and those of Core ML.
pub const DEVICES: Names<Device> = &[
    (Device::Burn(BurnDevice::Flex), BurnDevice::Flex.name(), "The CPU, by Burn"),
    (Device::Burn(BurnDevice::Cuda), BurnDevice::Cuda.name(), "NVIDIA's GPUs, by Burn"),
    (Device::Burn(BurnDevice::Metal), BurnDevice::Metal.name(), "Apple's GPUs, by Burn"),
    (Device::Burn(BurnDevice::Rocm), BurnDevice::Rocm.name(), "AMD's GPUs, by Burn"),
    (Device::Burn(BurnDevice::Vulkan), BurnDevice::Vulkan.name(), "GPUs by Vulkan, by Burn"),
    (Device::Burn(BurnDevice::WebGpu), BurnDevice::WebGpu.name(), "GPUs by WebGPU's shaders, by Burn"),
    (Device::Burn(BurnDevice::Wgpu), BurnDevice::Wgpu.name(), "GPUs by whatever the system offers, by Burn"),
    (Device::CoreMl(ComputeUnits::All), ComputeUnits::All.name(), "Whatever the machine has, by Core ML"),
    (Device::CoreMl(ComputeUnits::CpuOnly), ComputeUnits::CpuOnly.name(), "The CPU alone, by Core ML"),
    (Device::CoreMl(ComputeUnits::CpuAndGpu), ComputeUnits::CpuAndGpu.name(), "CPU and GPU, by Core ML"),
    (
        Device::CoreMl(ComputeUnits::CpuAndNeuralEngine),
        ComputeUnits::CpuAndNeuralEngine.name(),
        "CPU and Neural Engine, by Core ML",
    ),
];

impl Device {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Burn(device) => device.name(),
            Self::CoreMl(units) => units.name(),
        }
    }

    /// The engine whose device it is.
    #[must_use]
    pub const fn engine(self) -> EngineKind {
        match self {
            Self::Burn(_) => EngineKind::Burn,
            Self::CoreMl(_) => EngineKind::CoreMl,
        }
    }
}

/// The names of an engine's devices, for messages.
pub(super) fn names(engine: EngineKind) -> String {
    let own = DEVICES.iter().filter(|(device, ..)| device.engine() == engine);
    own.map(|(_, name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_one_name_and_no_name_has_two() {
        for (i, (device, name, _)) in DEVICES.iter().enumerate() {
            assert_eq!(device.name(), *name);
            assert!(DEVICES[..i].iter().all(|(_, other, _)| other != name), "{name}");
        }
        assert_eq!(names(EngineKind::CoreMl), "all, cpu, gpu, ne");
    }
}
