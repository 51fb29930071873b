//! One package on tensors that somebody has.

mod shapes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use host_tensor::HostTensor;
use mil::TensorType;
use mlpackage::{Interface, Package};
use sd_engines::{CoreMlEngine, MilEngine, NonFinite, Rounding};
use sd_runtime::{Engine, Signature, Tensors};
use serde::Serialize;

use crate::core_ml;
use crate::engine::{EngineKind, EngineSpec};
use crate::error::{Context, Result, refuse};
use crate::package::open_package;

/// How a package is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// The function; default: the package's own choice.
    pub function: Option<String>,
    /// Whether results between operations are rounded to the type that the program declares.
    pub rounding: Rounding,
    /// What executes it.
    pub engine: EngineSpec,
}

impl Default for Execution {
    fn default() -> Self {
        Self { function: None, rounding: Rounding::Boundary, engine: EngineSpec::default() }
    }
}

/// A package that is ready to run.
#[derive(Debug)]
pub struct Prepared {
    path: PathBuf,
    function: Option<String>,
    package: Package,
    engine: Runner,
}

/// What runs it.
#[derive(Debug)]
enum Runner {
    Mil(Box<MilEngine>),
    CoreMl(Box<CoreMlEngine>),
}

impl Runner {
    fn signature(&self) -> &Signature {
        match self {
            Self::Mil(engine) => engine.signature(),
            Self::CoreMl(engine) => engine.signature(),
        }
    }

    /// The type of an input; dimensions that are open are unknown.
    fn input_type(&self, name: &str, interface: Option<&Interface>) -> Option<TensorType> {
        match self {
            Self::Mil(engine) => engine.input_type(name).cloned(),
            Self::CoreMl(engine) => {
                let feature = engine.signature().input(name)?;
                Some(shapes::type_of(interface, name, feature.dtype, feature.shape.dims()?))
            }
        }
    }
}

/// What a tensor is, without its values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorSummary {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The least value.
    pub min: f32,
    /// The largest value.
    pub max: f32,
    /// The mean of all values.
    pub mean: f64,
}

impl Execution {
    /// Opens a package, and makes it ready to run.
    ///
    /// # Errors
    /// For options that the engine would not heed, and for packages that cannot be opened or run.
    pub fn prepare(&self, path: &Path) -> Result<Prepared> {
        if self.engine.kind == EngineKind::CoreMl {
            return self.prepare_by_core_ml(path);
        }
        let executor = self.engine.executor(self.rounding)?;
        let package = open_package(path)?;
        let engine = match &self.function {
            Some(function) => MilEngine::from_function(package.model(), function, executor),
            None => MilEngine::from_model(package.model(), executor),
        };
        let engine = engine.with_context(|| format!("cannot run {}", path.display()))?;
        let engine = Runner::Mil(Box::new(engine));
        Ok(Prepared { path: path.to_owned(), function: self.function.clone(), package, engine })
    }

    fn prepare_by_core_ml(&self, path: &Path) -> Result<Prepared> {
        self.engine.check_system()?;
        self.engine.check()?;
        if self.rounding != Rounding::Boundary {
            refuse!("--rounding is for --engine reference, and Core ML rounds as it does; leave it out");
        }
        let package = open_package(path)?;
        let engine = core_ml::open(&package, self.function.as_deref(), &self.engine)?;
        let (path, function, engine) = (path.to_owned(), self.function.clone(), Runner::CoreMl(Box::new(engine)));
        Ok(Prepared { path, function, package, engine })
    }
}

impl Prepared {
    /// The tensors as the model takes them: under its names, in its types.
    ///
    /// # Errors
    /// With every tensor that is missing, unknown, given twice or of another shape; `from` is where they come from.
    pub fn fit(&self, tensors: BTreeMap<String, HostTensor>, from: &str) -> Result<Tensors> {
        let description = &self.package.model().description;
        let interface = match &self.function {
            Some(function) => description.function(function),
            None => description.main(),
        };
        fit_inputs(&self.engine, interface, tensors)
            .with_context(|| format!("{from} does not fit {}", self.path.display()))
    }

    /// Runs it; the first operation whose results are not finite is told of, if there is one and the engine watches.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn run(&mut self, inputs: &Tensors) -> Result<(Tensors, Option<NonFinite>)> {
        let cannot = || format!("cannot run {}", self.path.display());
        match &mut self.engine {
            Runner::Mil(engine) => engine.run_watched(inputs).with_context(cannot),
            Runner::CoreMl(engine) => Ok((engine.run_once(inputs).with_context(cannot)?, None)),
        }
    }
}

/// Names tensors as the model does and checks them; every fault is in the error.
fn fit_inputs(engine: &Runner, interface: Option<&Interface>, file: BTreeMap<String, HostTensor>) -> Result<Tensors> {
    let (mut inputs, mut faults) = (Tensors::new(), Vec::new());
    let mut given = BTreeSet::new();
    for (name, tensor) in file {
        let known = |name: &str| engine.signature().input(name).is_some();
        let feature = name.strip_prefix("in.").filter(|_| !known(&name)).unwrap_or(&name);
        let Some(ty) = engine.input_type(feature, interface).filter(|_| known(feature)) else {
            // Files of expected results hold inputs and outputs side by side.
            if !name.starts_with("out.") {
                faults.push(format!("there is no input {feature}"));
            }
            continue;
        };
        if !given.insert(feature.to_owned()) {
            faults.push(format!("{feature} is given twice, with and without \"in.\""));
        }
        match fit(&tensor, &ty) {
            Some(fitting) => {
                faults.extend(shapes::fault(interface, feature, fitting.shape()));
                inputs.insert(feature.to_owned(), fitting);
            }
            None => faults.push(format!("{feature} has shape {:?}, the model takes {ty}", tensor.shape())),
        }
    }
    let missing = engine.signature().inputs.iter().filter(|f| !given.contains(&f.name));
    faults.extend(missing.map(|f| format!("{} is missing", f.name)));
    if faults.is_empty() {
        return Ok(inputs);
    }
    let takes: Vec<String> =
        engine.signature().inputs.iter().map(|f| format!("{} {} {}", f.name, f.dtype, f.shape)).collect();
    refuse!("{}\nthe model takes {}", faults.join("\n"), takes.join(", "))
}

/// The tensor in the model's type, if its shape agrees; a scalar may be given as one element.
fn fit(tensor: &HostTensor, ty: &TensorType) -> Option<HostTensor> {
    if ty.rank() == 0 && tensor.len() == 1 {
        return tensor.reshape([]).ok().map(|t| t.cast(ty.dtype));
    }
    let agrees = tensor.shape().len() == ty.rank()
        && ty.shape.iter().zip(tensor.shape()).all(|(dim, &n)| dim.size().is_none_or(|size| size == n));
    agrees.then(|| tensor.cast(ty.dtype))
}

impl TensorSummary {
    /// Looks at a tensor.
    #[must_use]
    pub fn of(name: &str, tensor: &HostTensor) -> Self {
        let values = tensor.to_f32_vec();
        let sum: f64 = values.iter().map(|&x| f64::from(x)).sum();
        Self {
            name: name.to_owned(),
            dtype: tensor.dtype().name(),
            shape: tensor.shape().to_vec(),
            min: values.iter().copied().reduce(f32::min).unwrap_or(0.0),
            max: values.iter().copied().reduce(f32::max).unwrap_or(0.0),
            mean: if values.is_empty() { 0.0 } else { sum / values.len() as f64 },
        }
    }
}
