//! How Core ML is asked to execute a model.

use std::path::PathBuf;

/// Which parts of the machine Core ML may use; it decides for each operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ComputeUnits {
    /// Whatever the machine has.
    #[default]
    All,
    /// The CPU alone.
    CpuOnly,
    /// CPU and GPU, which suits models with the attention layout `original`.
    CpuAndGpu,
    /// CPU and Neural Engine, which suits models with the attention layout `split-einsum`.
    CpuAndNeuralEngine,
}

impl ComputeUnits {
    /// All of them, in the order in which they are offered.
    pub const EACH: [Self; 4] = [Self::All, Self::CpuOnly, Self::CpuAndGpu, Self::CpuAndNeuralEngine];

    /// Its name on the command line and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::CpuOnly => "cpu",
            Self::CpuAndGpu => "gpu",
            Self::CpuAndNeuralEngine => "ne",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::EACH.into_iter().find(|units| units.name() == name)
    }

    /// `MLComputeUnits` of Core ML's headers (macOS 13 SDK).
    #[cfg_attr(not(any(target_vendor = "apple", test)), expect(dead_code, reason = "only Core ML is told"))]
    pub(super) const fn code(self) -> isize {
        match self {
            Self::CpuOnly => 0,
            Self::CpuAndGpu => 1,
            Self::All => 2,
            Self::CpuAndNeuralEngine => 3,
        }
    }
}

/// How a model is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoreMlOptions {
    /// What may execute it.
    pub units: ComputeUnits,
    /// The function; default: the model's own choice. Needs macOS 15 or iOS 18.
    pub function: Option<String>,
    /// Take longer to load, so that predictions are quick; a hint, which systems before macOS 15 and iOS 18 do not take.
    pub fast_prediction: bool,
    /// The folder below which compiled models are kept; default: the system's for what can be made again.
    pub cache: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::ComputeUnits;

    #[test]
    fn units_have_the_numbers_of_the_header_and_names_that_read_back() {
        let codes: Vec<(&str, isize)> = ComputeUnits::EACH.iter().map(|units| (units.name(), units.code())).collect();
        assert_eq!(codes, [("all", 2), ("cpu", 0), ("gpu", 1), ("ne", 3)]);
        for units in ComputeUnits::EACH {
            assert_eq!(ComputeUnits::from_name(units.name()), Some(units));
        }
        assert_eq!(ComputeUnits::from_name("NE"), None);
    }
}
