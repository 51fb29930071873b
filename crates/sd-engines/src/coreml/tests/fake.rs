//! A stand-in for Core ML: models are compiled by `mlpackage` and computed by the engine for this CPU, and outputs are padded as those of the Neural
//! Engine are. It fails and lies as it is told.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use host_tensor::{HostTensor, Stop};
use mlpackage::{Existing, Package};
use sd_runtime::{Engine, Feature, Tensors};

use crate::coreml::element::code_of;
use crate::coreml::runtime::{Buffer, Described, DescribedArray, DescribedFeature, Runtime, Said};
use crate::coreml::strided::Layout;
use crate::coreml::{ComputeDevice, CoreMlError, CoreMlOptions, PlannedOperation};
use crate::{CpuOptions, MilEngine};

/// How it fails, or lies.
#[derive(Clone, Default)]
pub(super) enum Twist {
    #[default]
    None,
    /// This says no.
    Fail(&'static str),
    /// Another description.
    Described(fn(&mut Described)),
    /// Other strides of `y`.
    Strides(fn(&mut Vec<isize>)),
    /// Another element type of `y`.
    Code(isize),
    /// Without this output.
    Missing(&'static str),
    /// Somebody sets the flag while a model loads.
    StopWhileLoading(Stop),
}

/// What was asked of it.
#[derive(Clone, Default)]
pub(super) struct Counts {
    pub(super) compiled: usize,
    pub(super) loads: usize,
    /// Models that are loaded now.
    pub(super) alive: usize,
    pub(super) predictions: usize,
    /// Those of the last load.
    pub(super) options: Option<CoreMlOptions>,
}

struct State {
    counts: Counts,
    twist: Twist,
    system: String,
    temporary: tempfile::TempDir,
}

#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<State>>);

impl Default for Fake {
    fn default() -> Self {
        let (system, temporary) = ("Version 26.1 (Build 25B78)".to_owned(), tempfile::tempdir().unwrap());
        let state = State { counts: Counts::default(), twist: Twist::None, system, temporary };
        Self(Arc::new(Mutex::new(state)))
    }
}

/// A loaded model; counted while it lives.
pub(super) struct FakeModel {
    engine: MilEngine,
    state: Arc<Mutex<State>>,
}

impl Drop for FakeModel {
    fn drop(&mut self) {
        self.state.lock().unwrap().counts.alive -= 1;
    }
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    pub(super) fn twist(&self, twist: Twist) {
        self.state().twist = twist;
    }

    pub(super) fn update_system(&self, system: &str) {
        self.state().system = system.into();
    }

    /// Where its compiler leaves what it makes.
    pub(super) fn temporary(&self) -> PathBuf {
        self.state().temporary.path().to_owned()
    }

    fn may(&self, action: &str) -> Said<()> {
        match self.state().twist {
            Twist::Fail(what) if what == action => Err("no".into()),
            _ => Ok(()),
        }
    }
}

impl Runtime for Fake {
    type Model = FakeModel;

    fn check(&self) -> Result<(), CoreMlError> {
        Ok(())
    }

    fn system(&self) -> String {
        self.state().system.clone()
    }

    fn compile(&self, model: &Path) -> Said<PathBuf> {
        self.may("compile")?;
        let n = {
            let mut state = self.state();
            state.counts.compiled += 1;
            state.counts.compiled
        };
        let made = self.temporary().join(format!("{n}.mlmodelc"));
        let package = Package::open(model).map_err(|e| e.to_string())?;
        let go_on = &mut |_| ControlFlow::Continue(());
        mlpackage::compile(&package, &made, Existing::Refuse, go_on).map_err(|e| e.to_string())?;
        Ok(made)
    }

    fn load(&self, compiled: &Path, options: &CoreMlOptions) -> Said<FakeModel> {
        self.may("load")?;
        let package = Package::open(compiled).map_err(|e| e.to_string())?;
        let engine = match &options.function {
            Some(function) => MilEngine::from_function(package.model(), function, CpuOptions::default()),
            None => MilEngine::from_model(package.model(), CpuOptions::default()),
        };
        let engine = engine.map_err(|e| e.to_string())?;
        let mut state = self.state();
        state.counts.loads += 1;
        state.counts.alive += 1;
        state.counts.options = Some(options.clone());
        if let Twist::StopWhileLoading(stop) = &state.twist {
            stop.set();
        }
        Ok(FakeModel { engine, state: Arc::clone(&self.0) })
    }

    fn describe(&self, model: &FakeModel) -> Described {
        let feature = |f: &Feature, is_input: bool| {
            let dims = f.shape.dims().filter(|_| is_input).unwrap_or_default();
            let shape = dims.iter().map(|&n| n as isize).collect();
            let array = Some(DescribedArray { code: code_of(f.dtype).unwrap(), shape });
            DescribedFeature { name: f.name.clone(), array }
        };
        let signature = model.engine.signature();
        let mut described = Described {
            inputs: signature.inputs.iter().map(|f| feature(f, true)).collect(),
            outputs: signature.outputs.iter().map(|f| feature(f, false)).collect(),
        };
        if let Twist::Described(change) = self.state().twist {
            change(&mut described);
        }
        described
    }

    fn predict(
        &self,
        model: &mut FakeModel,
        inputs: &[(&str, HostTensor)],
        outputs: &[&str],
        take: &mut dyn FnMut(&str, Buffer<'_>),
    ) -> Said<()> {
        self.may("run")?;
        self.state().counts.predictions += 1;
        let inputs = inputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect::<Tensors>();
        let tensors = model.engine.run_once(&inputs).map_err(|e| e.to_string())?;
        let twist = self.state().twist.clone();
        for name in outputs {
            if !matches!(twist, Twist::Missing(missing) if missing == *name) {
                let twist = if *name == "y" { &twist } else { &Twist::None };
                show(&tensors[*name], twist, |buffer| take(name, buffer));
            }
        }
        Ok(())
    }

    fn plan(&self, _: &Path, _: &CoreMlOptions) -> Said<Vec<PlannedOperation>> {
        self.may("plan")?;
        let operation = |kind: &str, device| {
            let (function, name) = ("main".to_owned(), kind.to_owned());
            PlannedOperation { function, kind: kind.into(), name, device, supported: Vec::new(), share: Some(0.5) }
        };
        let cpu = Some(ComputeDevice::Cpu);
        Ok(vec![operation("const", None), operation("ios18.mul", cpu), operation("ios18.reduce_sum", cpu)])
    }
}

/// Hands a tensor out with its rows 32 elements apart, and a scalar as one element.
fn show(tensor: &HostTensor, twist: &Twist, take: impl FnOnce(Buffer<'_>)) {
    let shape: Vec<isize> = match tensor.shape() {
        [] => vec![1],
        dims => dims.iter().map(|&n| n as isize).collect(),
    };
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len() - 1).rev() {
        let below = strides[axis + 1] * shape[axis + 1];
        strides[axis] = if axis + 2 == shape.len() { (below + 31) / 32 * 32 } else { below };
    }
    let n_bytes = (strides[0] * shape[0]) as usize * tensor.dtype().bits() / 8;
    let layout = Layout::new(tensor.dtype(), &shape, &strides, n_bytes).unwrap();
    let mut bytes = vec![0; n_bytes];
    layout.scatter(tensor.bytes(), &mut bytes).unwrap();
    let mut code = code_of(tensor.dtype()).unwrap();
    match twist {
        Twist::Strides(change) => change(&mut strides),
        Twist::Code(other) => code = *other,
        _ => {}
    }
    take(Buffer { code, shape: &shape, strides: &strides, bytes: &bytes });
}
