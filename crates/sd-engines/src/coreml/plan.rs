//! What Core ML means to run where, before it runs anything.

use std::fmt;

/// Where an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComputeDevice {
    /// The CPU.
    Cpu,
    /// A GPU.
    Gpu,
    /// The Neural Engine.
    NeuralEngine,
    /// What this program does not know.
    Other,
}

impl ComputeDevice {
    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Gpu => "GPU",
            Self::NeuralEngine => "Neural Engine",
            Self::Other => "another device",
        }
    }
}

impl fmt::Display for ComputeDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One operation of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedOperation {
    /// The program that it belongs to: a function, with the model's name before it in a pipeline.
    pub function: String,
    /// What it is, as Core ML calls it: `ios16.conv`.
    pub kind: String,
    /// Name of its first output.
    pub name: String,
    /// Where it is to run; none where Core ML does not say.
    pub device: Option<ComputeDevice>,
    /// Where it could.
    pub supported: Vec<ComputeDevice>,
    /// Estimated share of the whole's cost, from 0 to 1; none where Core ML does not say.
    pub share: Option<f64>,
}

/// What runs where.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ComputePlan {
    /// In the order of the program; constants, which nothing executes, are left out.
    pub operations: Vec<PlannedOperation>,
}

/// What one device has to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeviceSum {
    /// The device; none for what Core ML says nothing of.
    pub device: Option<ComputeDevice>,
    /// Operations.
    pub n_operations: usize,
    /// Their share of the whole's cost.
    pub share: f64,
}

impl ComputePlan {
    /// The plan of these operations, without constants.
    pub(super) fn new(operations: Vec<PlannedOperation>) -> Self {
        let is_constant = |o: &PlannedOperation| o.device.is_none() && o.kind.rsplit('.').next() == Some("const");
        Self { operations: operations.into_iter().filter(|operation| !is_constant(operation)).collect() }
    }

    /// What each device has to do, the largest share first.
    #[must_use]
    pub fn sums(&self) -> Vec<DeviceSum> {
        let mut sums: Vec<DeviceSum> = Vec::new();
        for operation in &self.operations {
            let share = operation.share.filter(|share| share.is_finite()).unwrap_or(0.0);
            match sums.iter_mut().find(|sum| sum.device == operation.device) {
                Some(sum) => {
                    sum.n_operations += 1;
                    sum.share += share;
                }
                None => sums.push(DeviceSum { device: operation.device, n_operations: 1, share }),
            }
        }
        sums.sort_by(|a, b| b.share.total_cmp(&a.share).then(b.n_operations.cmp(&a.n_operations)));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(kind: &str, device: Option<ComputeDevice>, share: Option<f64>) -> PlannedOperation {
        let (function, name) = ("main".to_owned(), "y".to_owned());
        PlannedOperation { function, kind: kind.into(), name, device, supported: Vec::new(), share }
    }

    #[test]
    fn sums_are_by_device_with_the_largest_share_first_and_constants_nowhere() {
        use ComputeDevice::{Cpu, NeuralEngine};
        let plan = ComputePlan::new(vec![
            operation("const", None, None),
            operation("ios16.const", None, None),
            operation("ios17.cast", Some(Cpu), Some(0.125)),
            operation("ios17.conv", Some(NeuralEngine), Some(0.5)),
            operation("ios17.conv", Some(NeuralEngine), Some(0.25)),
            operation("ios17.add", Some(Cpu), Some(f64::NAN)),
            operation("ios17.while_loop", None, None),
        ]);
        assert_eq!(plan.operations.len(), 5);
        let sums: Vec<_> = plan.sums().iter().map(|sum| (sum.device, sum.n_operations, sum.share)).collect();
        assert_eq!(sums, [(Some(NeuralEngine), 2, 0.75), (Some(Cpu), 2, 0.125), (None, 1, 0.0)]);
        assert_eq!(ComputePlan::default().sums(), []);
    }
}
