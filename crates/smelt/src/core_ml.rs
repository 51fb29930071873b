//! Core ML as an engine: what it draws with, the models that it opens, and what it runs where.
//!
//! Type-checked against Apple's headers, never run (docs/mac.md).

use std::path::Path;

use mlpackage::Package;
use sd_engines::{ComputeDevice, ComputePlan, ComputeUnits, CoreMlEngine, CoreMlOptions};
use serde::Serialize;

use crate::engine::{Device, EngineKind, EngineSpec};
use crate::error::{Context, Result, refuse};
use crate::open::{Model, Opened};

/// Refuses what Core ML cannot draw with, where it was asked for.
pub(crate) fn check_draws(engine: &EngineSpec, opened: &Opened) -> Result<()> {
    engine.check_system()?;
    match opened.model() {
        Model::Checkpoint(_) if engine.kind == EngineKind::CoreMl => refuse!(
            "Core ML runs packages, and {0} is a checkpoint; convert it first: smelt convert {0} -o DIR",
            opened.source()
        ),
        _ => Ok(()),
    }
}

/// A function of a package by Core ML, by default the package's own choice.
pub(crate) fn open(package: &Package, function: Option<&str>, engine: &EngineSpec) -> Result<CoreMlEngine> {
    engine.check_system()?;
    let options = CoreMlOptions {
        units: units(engine),
        function: function.map(str::to_owned),
        fast_prediction: engine.fast_prediction,
        cache: engine.cache.clone(),
    };
    let opened = CoreMlEngine::of_model(package.path(), package.model(), options);
    opened.with_context(|| cannot(package.path()))
}

/// Whether this system has Core ML's compiler.
pub(crate) fn has_compiler() -> bool {
    CoreMlEngine::check_system().is_ok()
}

/// Compiles a package by Core ML's own compiler.
pub(crate) fn compile(package: &Path, to: &Path) -> Result<()> {
    CoreMlEngine::compile(package, to).with_context(|| format!("cannot compile {}", package.display()))
}

/// What Core ML may use.
pub(crate) fn units(engine: &EngineSpec) -> ComputeUnits {
    match engine.device {
        Some(Device::CoreMl(units)) => units,
        _ => ComputeUnits::default(),
    }
}

fn cannot(path: &Path) -> String {
    format!("cannot run {}", path.display())
}

/// What Core ML means to run where.
#[derive(Debug, Clone, Serialize)]
pub struct PlanFacts {
    /// The package.
    pub package: String,
    /// What Core ML may use: `all`, `cpu`, `gpu` or `ne`.
    pub device: &'static str,
    /// What each device has to do, the largest share first.
    pub devices: Vec<DeviceFacts>,
    /// In the order of the program, without constants.
    pub operations: Vec<OperationFacts>,
}

/// What a device has to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceFacts {
    /// The device; none for what Core ML says nothing of.
    pub device: Option<&'static str>,
    /// How many operations.
    pub operations: usize,
    /// Estimated share of the whole's cost, from 0 to 1.
    pub share: f64,
}

/// One operation of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperationFacts {
    /// The function that it belongs to.
    pub function: String,
    /// What it is: `ios16.conv`.
    pub operation: String,
    /// Name of its first output.
    pub name: String,
    /// Where it is to run; none where Core ML does not say.
    pub device: Option<&'static str>,
    /// Where it could.
    pub supported: Vec<&'static str>,
    /// Estimated share of the whole's cost, from 0 to 1.
    pub share: Option<f64>,
}

impl PlanFacts {
    /// The plan for a package, or for one of its functions.
    ///
    /// # Errors
    /// On systems without Core ML, and when Core ML cannot open the package or has no plan for it.
    pub fn of(package: &Package, function: Option<&str>, engine: &EngineSpec) -> Result<Self> {
        let opened = open(package, function, engine)?;
        Self::of_engine(package.path(), &opened, engine)
    }

    /// The plan of a model that is open.
    pub(crate) fn of_engine(path: &Path, opened: &CoreMlEngine, engine: &EngineSpec) -> Result<Self> {
        let plan = opened.plan().with_context(|| cannot(path))?;
        Ok(Self::new(path.display().to_string(), units(engine), plan))
    }

    fn new(package: String, units: ComputeUnits, plan: ComputePlan) -> Self {
        let devices = plan.sums().into_iter().map(|sum| DeviceFacts {
            device: sum.device.map(ComputeDevice::name),
            operations: sum.n_operations,
            share: sum.share,
        });
        let devices = devices.collect();
        let operations = plan.operations.into_iter().map(|operation| OperationFacts {
            function: operation.function,
            operation: operation.kind,
            name: operation.name,
            device: operation.device.map(ComputeDevice::name),
            supported: operation.supported.into_iter().map(ComputeDevice::name).collect(),
            share: operation.share,
        });
        Self { package, device: units.name(), devices, operations: operations.collect() }
    }
}

#[cfg(test)]
mod tests {
    use sd_engines::PlannedOperation;

    use super::*;

    #[test]
    fn a_plan_is_told_with_sums_for_each_device() {
        let operation = |kind: &str, device, share| PlannedOperation {
            function: "main".into(),
            kind: kind.into(),
            name: "y".into(),
            device: Some(device),
            supported: vec![ComputeDevice::Cpu, device],
            share: Some(share),
        };
        let operations = vec![
            operation("ios16.cast", ComputeDevice::Cpu, 0.25),
            operation("ios16.conv", ComputeDevice::NeuralEngine, 0.75),
        ];
        let facts = PlanFacts::new("a.mlpackage".into(), ComputeUnits::All, ComputePlan { operations });
        let json = serde_json::to_value(&facts).unwrap();
        assert_eq!(json["device"], "all");
        assert_eq!(json["devices"][0], serde_json::json!({"device": "Neural Engine", "operations": 1, "share": 0.75}));
        assert_eq!(json["operations"][0]["supported"], serde_json::json!(["CPU", "CPU"]));
        assert_eq!(json["operations"][1]["operation"], "ios16.conv");
    }

    #[cfg(not(target_vendor = "apple"))]
    #[test]
    fn elsewhere_core_ml_is_refused_with_what_to_use() {
        let engine: EngineSpec = "coreml:ne".parse().unwrap();
        assert_eq!(units(&engine), ComputeUnits::CpuAndNeuralEngine);
        let error = engine.check_here().unwrap_err().chain();
        assert_eq!(
            error,
            "--engine coreml: Core ML is part of macOS and iOS; on this system use the cpu engine, which runs the same \
             packages"
        );
        assert!(EngineSpec::default().check_here().is_ok());
    }
}
