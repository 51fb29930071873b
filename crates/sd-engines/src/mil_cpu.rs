//! MIL programs on the CPU, by one of `mil-engine`'s two engines: the fast one, or the one that is plain and exact.
//!
//! A model may be one program or several that run one after another, as Core ML pipelines and chunked models do.

mod specialised;

use std::path::Path;

use mil::{Program, TensorType, Valid};
use mil_engine::{
    cpu::{Bands, Cpu},
    reference::Reference,
};
use mlpackage::{Body, Description, FeatureType, Interface, Model, Package};
use sd_runtime::{Engine, Feature, Signature, Stop, Tensors};

use crate::chain::{self, Flow};
use crate::error::EngineError;

pub use specialised::Specialise;

pub use mil_engine::{
    Isa, UnknownIsa,
    cpu::{Options as CpuOptions, PlanSummary, Precision, Profile, StepSummary, WeightForm},
    reference::{Cause, NonFinite, Options, Rounding, Weights},
};

/// Which of the two engines executes a program, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executor {
    /// The fast one.
    Cpu(CpuOptions),
    /// The fast one, a band of rows at a time where everything at once would take more memory than that.
    Bands {
        /// How it plans.
        options: CpuOptions,
        /// Bytes.
        limit: usize,
    },
    /// The plain one.
    Reference(Options),
}

impl Default for Executor {
    fn default() -> Self {
        Self::Cpu(CpuOptions::default())
    }
}

impl From<CpuOptions> for Executor {
    fn from(options: CpuOptions) -> Self {
        Self::Cpu(options)
    }
}

impl From<Options> for Executor {
    fn from(options: Options) -> Self {
        Self::Reference(options)
    }
}

/// A model on the CPU.
#[derive(Debug)]
pub struct MilEngine {
    stages: Vec<Stage>,
    signature: Signature,
}

/// A program, prepared by one of the engines.
#[derive(Debug)]
enum Runner {
    Cpu(Box<Cpu>),
    Bands(Box<Bands>),
    Reference(Box<Reference>),
}

impl Runner {
    fn new(valid: Valid<'_>, function: Option<&str>, executor: Executor) -> Result<Self, EngineError> {
        let cpu = |options| match function {
            Some(name) => Cpu::compile_function(valid, name, options),
            None => Cpu::compile(valid, options),
        };
        Ok(match (executor, function) {
            (Executor::Cpu(o), _) => Self::Cpu(Box::new(cpu(o)?)),
            (Executor::Bands { options, limit }, _) => {
                // Memory of a plan is not used before it runs, so asking costs nothing.
                let whole = cpu(options.clone());
                let fits = whole.as_ref().is_ok_and(|whole| whole.bytes() <= limit);
                match if fits { None } else { Bands::compile(valid, function, options, limit)? } {
                    Some(bands) => Self::Bands(Box::new(bands)),
                    None => Self::Cpu(Box::new(whole?)),
                }
            }
            (Executor::Reference(o), Some(f)) => Self::Reference(Box::new(Reference::compile_function(valid, f, o)?)),
            (Executor::Reference(o), None) => Self::Reference(Box::new(Reference::compile(valid, o)?)),
        })
    }

    fn inputs(&self) -> &[mil_engine::reference::Feature] {
        match self {
            Self::Cpu(cpu) => cpu.inputs(),
            Self::Bands(bands) => bands.inputs(),
            Self::Reference(reference) => reference.inputs(),
        }
    }

    fn outputs(&self) -> &[mil_engine::reference::Feature] {
        match self {
            Self::Cpu(cpu) => cpu.outputs(),
            Self::Bands(bands) => bands.outputs(),
            Self::Reference(reference) => reference.outputs(),
        }
    }

    fn run(&self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, mil_engine::EngineError> {
        match self {
            Self::Cpu(cpu) => cpu.run(inputs, stop),
            Self::Bands(bands) => bands.run(inputs, stop),
            Self::Reference(reference) => reference.run(inputs, stop),
        }
    }
}

/// One program of a model.
#[derive(Debug)]
struct Stage {
    name: String,
    program: Runner,
    signature: Signature,
}

impl MilEngine {
    /// Opens a package, a pipeline's too, and prepares its default function.
    ///
    /// # Errors
    /// When the package cannot be read, breaks a rule of MIL, or holds what the engine cannot run.
    pub fn open(path: impl AsRef<Path>, options: impl Into<Executor>) -> Result<Self, EngineError> {
        Self::from_model(Package::open(path)?.model(), options)
    }

    /// Prepares a model's default function.
    ///
    /// # Errors
    /// As [`MilEngine::open`].
    pub fn from_model(model: &Model, options: impl Into<Executor>) -> Result<Self, EngineError> {
        let mut stages = Vec::new();
        gather_stages("model", model, &options.into(), &mut stages)?;
        Self::from_stages(stages)
    }

    /// Prepares one function of a model by name.
    ///
    /// # Errors
    /// As [`MilEngine::open`], and when the model is a pipeline or has no such function.
    pub fn from_function(model: &Model, function: &str, options: impl Into<Executor>) -> Result<Self, EngineError> {
        let Body::Program(program) = &model.body else {
            return Err(EngineError::PipelineFunction(function.to_owned()));
        };
        let stage = Stage::new("model", program, Some(function), Some(&model.description), options.into())?;
        Self::from_stages(vec![stage])
    }

    /// Prepares a model's default function, or another, with changes.
    ///
    /// # Errors
    /// As [`MilEngine::open`], and [`EngineError::OneSample`] and [`EngineError::Longer`] for programs that cannot be changed so.
    pub fn specialised(
        model: &Model,
        function: Option<&str>,
        changes: &[Specialise],
        options: impl Into<Executor>,
    ) -> Result<Self, EngineError> {
        let mut stages = Vec::new();
        specialised::gather("model", model, (function, changes), &options.into(), &mut stages)?;
        Self::from_stages(stages)
    }

    /// Prepares the function `main` of a program, or its only one, with changes.
    ///
    /// # Errors
    /// As [`MilEngine::from_program`] and [`MilEngine::specialised`].
    pub fn specialised_program(
        program: &Program,
        changes: &[Specialise],
        options: impl Into<Executor>,
    ) -> Result<Self, EngineError> {
        match changes {
            [] => Self::from_program(program, options),
            changes => Self::from_program(&specialised::specialised(program, None, changes)?, options),
        }
    }

    /// Prepares the function `main` of a program, or its only one.
    ///
    /// # Errors
    /// When the program breaks a rule of MIL, or holds what the engine cannot run.
    pub fn from_program(program: &Program, options: impl Into<Executor>) -> Result<Self, EngineError> {
        Self::from_stages(vec![Stage::new("model", program, None, None, options.into())?])
    }

    /// Several models as one, in the order in which they run: the chunks of a model that was cut.
    ///
    /// # Errors
    /// When there is none, or a later one reads a feature otherwise than an earlier one gives it.
    pub fn chain(models: impl IntoIterator<Item = (String, Self)>) -> Result<Self, EngineError> {
        let name = |model: String, stage: Stage| Stage { name: model, ..stage };
        let stages = models
            .into_iter()
            .flat_map(|(model, engine)| engine.stages.into_iter().map(move |stage| name(model.clone(), stage)));
        Self::from_stages(stages.collect())
    }

    fn from_stages(stages: Vec<Stage>) -> Result<Self, EngineError> {
        let signature = chain::join(stages.iter().map(|stage| (&*stage.name, &stage.signature)))?;
        Ok(Self { stages, signature })
    }

    /// The type that the program declares for an input; unlike the signature's, its dimensions may be unknown.
    #[must_use]
    pub fn input_type(&self, name: &str) -> Option<&TensorType> {
        let inputs = self.stages.iter().flat_map(|stage| stage.program.inputs());
        inputs.into_iter().find(|feature| feature.name == name).map(|feature| &feature.ty)
    }

    /// The plans of its programs with their names, in the order in which they run; none of the plain engine's, nor of what
    /// is computed in bands.
    #[must_use]
    pub fn plans(&self) -> Vec<(String, PlanSummary)> {
        let plan = |stage: &Stage| match &stage.program {
            Runner::Cpu(cpu) => Some((stage.name.clone(), cpu.summary())),
            Runner::Bands(_) | Runner::Reference(_) => None,
        };
        self.stages.iter().filter_map(plan).collect()
    }

    /// Runs the model once, and tells how long each step of its plans took.
    ///
    /// # Errors
    /// As [`MilEngine::run_once`].
    pub fn profile(&self, inputs: &Tensors) -> Result<(Tensors, Vec<Profile>), EngineError> {
        let mut profiles = Vec::new();
        let outputs = self.run_stages(inputs, |stage, inputs| match &stage.program {
            Runner::Cpu(cpu) => {
                let (outputs, profile) = cpu.profile(inputs, &Stop::never())?;
                profiles.push(profile);
                Ok(outputs)
            }
            Runner::Bands(_) | Runner::Reference(_) => stage.program.run(inputs, &Stop::never()),
        })?;
        Ok((outputs, profiles))
    }

    /// Runs the model once, and tells the first operation that makes values which are not finite; only the plain engine
    /// watches. In a model of several programs the name of its program stands before the operation's.
    ///
    /// # Errors
    /// As [`MilEngine::run_once`].
    pub fn run_watched(&self, inputs: &Tensors) -> Result<(Tensors, Option<NonFinite>), EngineError> {
        let mut first = None;
        let outputs = self.run_stages(inputs, |stage, inputs| match &stage.program {
            Runner::Cpu(_) | Runner::Bands(_) => stage.program.run(inputs, &Stop::never()),
            Runner::Reference(reference) => {
                let (outputs, found) = reference.run_watched(inputs, &Stop::never())?;
                if let Some(mut found) = found.filter(|_| first.is_none()) {
                    if self.stages.len() > 1 {
                        found.site.name = format!("{}: {}", stage.name, found.site.name);
                    }
                    first = Some(found);
                }
                Ok(outputs)
            }
        })?;
        Ok((outputs, first))
    }

    /// Runs the model once; inputs are converted to their declared element types.
    ///
    /// # Errors
    /// When inputs are missing, superfluous or of the wrong shape, or an operation cannot be executed.
    pub fn run_once(&self, inputs: &Tensors) -> Result<Tensors, EngineError> {
        self.run_until(inputs, &Stop::never())
    }

    /// Runs the model as [`MilEngine::run_once`], until `stop` is set.
    ///
    /// # Errors
    /// As [`MilEngine::run_once`], and when it was stopped.
    pub fn run_until(&self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, EngineError> {
        self.run_stages(inputs, |stage, inputs| stage.program.run(inputs, stop))
    }

    fn run_stages(
        &self,
        inputs: &Tensors,
        mut run: impl FnMut(&Stage, &Tensors) -> Result<Tensors, mil_engine::EngineError>,
    ) -> Result<Tensors, EngineError> {
        if let [only] = &self.stages[..] {
            return Ok(run(only, inputs)?);
        }
        let mut flow = Flow::new(&self.signature, inputs)?;
        for stage in &self.stages {
            let own = flow.inputs_of(&stage.signature);
            flow.goes_on(&stage.name, run(stage, &own))?;
        }
        Ok(flow.outputs())
    }
}

impl Engine for MilEngine {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, sd_runtime::EngineError> {
        Ok(self.run_until(inputs, stop)?)
    }
}

impl Stage {
    /// Validates a program and prepares one of its functions: that of the name, else the description's default, else `main`.
    fn new(
        name: &str,
        program: &Program,
        function: Option<&str>,
        description: Option<&Description>,
        executor: Executor,
    ) -> Result<Self, EngineError> {
        let valid = mil::validate(program).map_err(EngineError::Invalid)?;
        let by_description = description.map(|d| d.default_function.as_str()).filter(|f| !f.is_empty());
        let chosen = function.or(by_description);
        let program = Runner::new(valid, chosen, executor)?;
        let interface = chosen.and_then(|f| description?.function(f)).or_else(|| description?.main());
        let signature = signature_of(&program, interface);
        Ok(Self { name: name.to_owned(), program, signature })
    }
}

/// The stages of a model in the order in which they run; pipelines may hold pipelines.
fn gather_stages(name: &str, model: &Model, options: &Executor, stages: &mut Vec<Stage>) -> Result<(), EngineError> {
    match &model.body {
        Body::Program(program) => {
            stages.push(Stage::new(name, program, None, Some(&model.description), options.clone())?)
        }
        Body::Pipeline(models) => {
            for sub in models {
                let fail = |source| EngineError::Stage { stage: sub.name.clone(), source: Box::new(source) };
                gather_stages(&sub.name, &sub.model, options, stages).map_err(fail)?;
            }
        }
    }
    Ok(())
}

/// Features of a program; a shape that the program leaves open is the description's default, or else unknown.
fn signature_of(program: &Runner, interface: Option<&Interface>) -> Signature {
    let described = |name: &str| -> Option<Vec<usize>> {
        let interface = interface?;
        let feature = interface.inputs.iter().chain(&interface.outputs).find(|f| f.name == name)?;
        match &feature.ty {
            FeatureType::MultiArray(array) => Some(array.shape.clone()).filter(|shape| !shape.is_empty()),
            _ => None,
        }
    };
    let feature = |name: &str, ty: &TensorType| {
        let shape = ty.static_shape().or_else(|| described(name));
        Feature::new(name, ty.dtype, shape)
    };
    Signature {
        inputs: program.inputs().iter().map(|f| feature(&f.name, &f.ty)).collect(),
        outputs: program.outputs().iter().map(|f| feature(&f.name, &f.ty)).collect(),
    }
}

#[cfg(test)]
mod tests;
