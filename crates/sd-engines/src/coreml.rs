//! Core ML itself, on macOS and iOS: packages, compiled once and kept, and models that are compiled already.
//!
//! Type-checked against Apple's headers, never run: `docs/mac.md` says what the first person with a Mac should do.
//!
//! ```text
//! .mlpackage ──compiled, if the cache has it not──▶ cache/….mlmodelc ─┐
//! .mlmodelc ──────────────────────────────────────────────────────────┴─loaded─▶ predictions, unloaded, loaded again
//! ```
//!
//! What a model takes and gives is read from its own files, and Core ML must say the same.
//! The few calls of Apple's frameworks stand behind one trait (`coreml/runtime.rs`), of which every system but Apple's has
//! one that refuses by name; all else is the same everywhere, and is tested everywhere.

mod cache;
mod element;
mod error;
mod interface;
mod options;
mod plan;
mod runtime;
mod strided;

#[cfg(not(target_vendor = "apple"))]
mod absent;
#[cfg(target_vendor = "apple")]
mod apple;

#[cfg(not(target_vendor = "apple"))]
use absent::System;
#[cfg(target_vendor = "apple")]
use apple::System;

use std::path::{Path, PathBuf};

use host_tensor::{Bytes, HostTensor};
use mlpackage::{Model, Package};
use safe_files::{Tree, move_folder};
use sd_runtime::{Engine, Signature, Stop, Tensors};

pub use error::CoreMlError;
use interface::Interface;
pub use options::{ComputeUnits, CoreMlOptions};
pub use plan::{ComputeDevice, ComputePlan, DeviceSum, PlannedOperation};
use runtime::{Buffer, Runtime};
use strided::Layout;

/// A model that Core ML executes.
#[derive(Debug)]
pub struct CoreMlEngine(Driven<System>);

impl CoreMlEngine {
    /// Opens and loads a package, which is compiled where the cache does not have it, or a compiled model.
    ///
    /// # Errors
    /// [`CoreMlError::Absent`] on systems without Core ML; when the model cannot be read, compiled, kept or loaded; and
    /// [`CoreMlError::Mismatch`] when Core ML takes it for something else.
    pub fn open(path: impl AsRef<Path>, options: CoreMlOptions) -> Result<Self, CoreMlError> {
        Self::check_system()?;
        let package = Package::open(&path)?;
        Self::of_model(path, package.model(), options)
    }

    /// Opens and loads a model that has been read from that path.
    ///
    /// # Errors
    /// As [`CoreMlEngine::open`].
    pub fn of_model(path: impl AsRef<Path>, model: &Model, options: CoreMlOptions) -> Result<Self, CoreMlError> {
        Driven::open(System, path.as_ref(), model, options).map(Self)
    }

    /// Refuses systems without Core ML, before anything is read.
    ///
    /// # Errors
    /// [`CoreMlError::Absent`].
    pub fn check_system() -> Result<(), CoreMlError> {
        System.check()
    }

    /// Compiles a package by Core ML's own compiler, to a place of the caller's, where it appears whole.
    ///
    /// # Errors
    /// [`CoreMlError::Absent`]; when Core ML does not compile it, and when it cannot be put there.
    pub fn compile(package: &Path, to: &Path) -> Result<(), CoreMlError> {
        compile_to(&System, package, to)
    }

    /// Where the compiled model lies.
    #[must_use]
    pub fn compiled(&self) -> &Path {
        &self.0.compiled
    }

    /// Whether it is loaded.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.0.model.is_some()
    }

    /// Gives memory back; the next run loads the model again.
    pub fn unload(&mut self) {
        self.0.unload();
    }

    /// Runs the model once, loading it where it is not.
    ///
    /// # Errors
    /// When inputs are missing, superfluous or of another shape, or Core ML fails.
    pub fn run_once(&mut self, inputs: &Tensors) -> Result<Tensors, CoreMlError> {
        self.0.run_until(inputs, &Stop::never())
    }

    /// What Core ML means to run where.
    ///
    /// # Errors
    /// When Core ML has no plan for the model, as before macOS 14.4 and iOS 17.4.
    pub fn plan(&self) -> Result<ComputePlan, CoreMlError> {
        self.0.plan()
    }
}

impl Engine for CoreMlEngine {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    /// Core ML computes a model in one piece, so the flag is asked before it only.
    fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, sd_runtime::EngineError> {
        self.0.run(inputs, stop)
    }
}

impl<R: Runtime> Engine for Driven<R> {
    fn signature(&self) -> &Signature {
        &self.interface.signature
    }

    fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, sd_runtime::EngineError> {
        Ok(self.run_until(inputs, stop)?)
    }
}

/// A model, and what executes it.
struct Driven<R: Runtime> {
    runtime: R,
    compiled: PathBuf,
    options: CoreMlOptions,
    interface: Interface,
    /// While it is loaded.
    model: Option<R::Model>,
}

impl<R: Runtime> std::fmt::Debug for Driven<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { compiled, options, interface, model, .. } = self;
        let mut debug = f.debug_struct("CoreMlEngine");
        debug.field("compiled", compiled).field("options", options).field("interface", interface);
        debug.field("is_loaded", &model.is_some()).finish()
    }
}

impl<R: Runtime> Driven<R> {
    fn open(runtime: R, path: &Path, model: &Model, options: CoreMlOptions) -> Result<Self, CoreMlError> {
        runtime.check()?;
        let interface = Interface::of(model, options.function.as_deref())?;
        let compiled = compiled(&runtime, path, options.cache.as_deref())?;
        let mut engine = Self { runtime, compiled, options, interface, model: None };
        engine.load()?;
        Ok(engine)
    }

    fn failed(&self, action: &'static str, reason: String) -> CoreMlError {
        CoreMlError::Failed { action, path: self.compiled.clone(), reason }
    }

    /// Loads the model, and compares what it is then.
    fn load(&mut self) -> Result<(), CoreMlError> {
        let loaded = self.runtime.load(&self.compiled, &self.options);
        let model = loaded.map_err(|reason| self.failed("load", reason))?;
        let described = self.runtime.describe(&model);
        let mismatch = |what| CoreMlError::Mismatch { path: self.compiled.clone(), what };
        self.interface.compare(&described).map_err(mismatch)?;
        self.model = Some(model);
        Ok(())
    }

    fn unload(&mut self) {
        self.model = None;
    }

    fn run_until(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, CoreMlError> {
        let inputs: Vec<(String, HostTensor)> =
            self.interface.fit(inputs)?.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
        if self.model.is_none() && !stop.is_set() {
            self.load()?;
        }
        // Loading may have taken long.
        if stop.is_set() {
            return Err(CoreMlError::Stopped);
        }
        let Some(model) = &mut self.model else { return Err(CoreMlError::Stopped) };
        let outputs: Vec<&str> = self.interface.signature.outputs.iter().map(|f| &*f.name).collect();
        let inputs: Vec<(&str, HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor.clone())).collect();
        let mut taken: Result<Tensors, CoreMlError> = Ok(Tensors::new());
        let ran = self.runtime.predict(model, &inputs, &outputs, &mut |name, buffer| {
            let copied = copy(&self.interface.signature, name, buffer);
            match (&mut taken, copied) {
                (Ok(tensors), Ok(tensor)) => drop(tensors.insert(name.to_owned(), tensor)),
                (Ok(_), Err(what)) => taken = Err(CoreMlError::Output { name: name.to_owned(), what }),
                (Err(_), _) => {}
            }
        });
        ran.map_err(|reason| self.failed("run", reason))?;
        let tensors = taken?;
        match outputs.iter().find(|name| !tensors.contains_key(**name)) {
            Some(name) => Err(CoreMlError::Output { name: (*name).to_owned(), what: "nothing, or no array".into() }),
            None => Ok(tensors),
        }
    }

    fn plan(&self) -> Result<ComputePlan, CoreMlError> {
        let operations = self.runtime.plan(&self.compiled, &self.options);
        Ok(ComputePlan::new(operations.map_err(|reason| self.failed("plan", reason))?))
    }
}

/// The compiled model that belongs to a path.
fn compiled<R: Runtime>(runtime: &R, path: &Path, cache: Option<&Path>) -> Result<PathBuf, CoreMlError> {
    // Core ML compiles a compiled model to an error.
    if mlpackage::is_compiled(path) || path.extension().is_some_and(|extension| extension == "mlmodelc") {
        return Ok(path.to_owned());
    }
    cache::Place::of(path, cache, &runtime.system())?.fill(|| {
        let failed = |reason| CoreMlError::Failed { action: "compile", path: path.to_owned(), reason };
        runtime.compile(path).map_err(failed)
    })
}

/// Compiles a package to a place, and replaces what is there.
fn compile_to<R: Runtime>(runtime: &R, package: &Path, to: &Path) -> Result<(), CoreMlError> {
    runtime.check()?;
    let failed = |reason| CoreMlError::Failed { action: "compile", path: package.to_owned(), reason };
    let compiled = runtime.compile(package).map_err(failed)?;
    if to.exists() {
        // The system's own copy stays in the folder that it clears.
        return Ok(Tree::read(&compiled)?.copy_to(to)?);
    }
    move_folder(&compiled, to)?;
    Ok(())
}

/// An output as a tensor; a scalar, which Core ML gives as one element, as it is declared.
fn copy(signature: &Signature, name: &str, buffer: Buffer<'_>) -> Result<HostTensor, String> {
    let Buffer { code, shape, strides, bytes } = buffer;
    let dtype = element::dtype_of(code).ok_or_else(|| format!("elements of an unknown type ({code:#x})"))?;
    let layout = Layout::new(dtype, shape, strides, bytes.len()).map_err(|fault| fault.to_string())?;
    let dense = layout.gather(bytes).ok_or("another buffer than it said")?;
    let tensor = HostTensor::new(dtype, layout.shape(), Bytes::from(dense)).map_err(|e| e.to_string())?;
    let declared = signature.output(name).and_then(|f| f.shape.dims());
    match declared {
        Some([]) if tensor.len() == 1 => tensor.reshape([]).map_err(|e| e.to_string()),
        _ => Ok(tensor),
    }
}

#[cfg(test)]
mod tests;
