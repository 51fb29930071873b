//! The engines of a pipeline by part, as long as the residency lets them live.

mod remembered;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sd_spec::{Role, Stage};

use crate::engine::{Engine, EngineError, Loader, Residency, Signature, Tensors};
use crate::error::{Result, RuntimeError};
use crate::part::Part;
use crate::watch::Watch;
use remembered::Remembered;

/// Engines by part.
pub type Models = BTreeMap<Part, Box<dyn Engine>>;

/// The engines that are loaded, and where the others come from.
pub(crate) struct Shelf {
    engines: Models,
    /// Where engines come from that are not loaded.
    loader: Option<Box<dyn Loader>>,
    residency: Residency,
    /// What text encoders gave.
    remembered: Remembered,
}

impl Shelf {
    /// Engines that stay.
    pub(crate) fn kept(engines: Models) -> Self {
        Self { engines, loader: None, residency: Residency::Kept, remembered: Remembered::default() }
    }

    /// Engines that stay, and a loader of others, which stay too once somebody needed them.
    pub(crate) fn growing(engines: Models, loader: Box<dyn Loader>) -> Self {
        Self { loader: Some(loader), ..Self::kept(engines) }
    }

    /// The engines of a loader.
    ///
    /// # Errors
    /// [`RuntimeError::Engine`] if one that is to stay cannot be loaded.
    pub(crate) fn new(mut loader: Box<dyn Loader>, residency: Residency) -> Result<Self> {
        match residency {
            Residency::PerStage => Ok(Self { residency, ..Self::growing(Models::new(), loader) }),
            Residency::Kept => {
                // What some requests need alone waits for the first of them.
                let parts: Vec<Part> = loader.parts().iter().filter(|part| !part.is_late()).copied().collect();
                let load = |part| Ok((part, loader.load(part).map_err(|source| failed(part, source))?));
                let engines = parts.into_iter().map(load).collect::<Result<_>>()?;
                Ok(Self::growing(engines, loader))
            }
        }
    }

    /// The signature of a part's model, if there is one.
    ///
    /// # Errors
    /// [`RuntimeError::Engine`] if the loader fails.
    pub(crate) fn signature(&mut self, part: Part) -> Result<Option<Signature>> {
        if let Some(engine) = self.engines.get(&part) {
            return Ok(Some(engine.signature().clone()));
        }
        let mut loader = self.loader.as_mut().filter(|loader| loader.has(part));
        if loader.is_some() && self.residency == Residency::Kept {
            return Ok(Some(self.engine(part)?.signature().clone()));
        }
        loader.take().map(|loader| loader.signature(part).map_err(|source| failed(part, source))).transpose()
    }

    /// Signatures of all models of a role that stand side by side, for texts of so many windows, in order.
    ///
    /// # Errors
    /// As [`signature`](Self::signature).
    pub(crate) fn numbered(&mut self, role: Role, n_windows: usize) -> Result<Vec<Signature>> {
        let nth = |idx: usize| self.signature(Part::numbered(role, idx).for_windows(n_windows)).transpose();
        (0..).map_while(nth).collect()
    }

    /// Runs the model of a part; engines of other stages make room for one that must be loaded first. A text encoder that
    /// was given the same before is not run again.
    ///
    /// # Errors
    /// [`RuntimeError::Engine`] for what the engine or the loader fails with, [`RuntimeError::Stopped`] once the run's flag
    /// is set.
    pub(crate) fn run(&mut self, part: Part, inputs: &Tensors, watch: &Watch<'_>) -> Result<Tensors> {
        if watch.stop().is_set() {
            return Err(watch.stopped());
        }
        let is_text = part.role.spec().stage == Stage::Text;
        if let Some(outputs) = self.remembered.find(part, inputs).filter(|_| is_text) {
            return Ok(outputs);
        }
        let engine = self.engine(part)?;
        let outputs = engine.run(inputs, watch.stop()).map_err(|source| match watch.stop().is_set() {
            true => watch.stopped(),
            false => failed(part, source),
        })?;
        if is_text {
            self.remembered.keep(part, inputs.clone(), outputs.clone());
        }
        Ok(outputs)
    }

    fn engine(&mut self, part: Part) -> Result<&mut Box<dyn Engine>> {
        if self.residency == Residency::PerStage {
            let stage = part.role.spec().stage;
            self.engines.retain(|loaded, _| loaded.role.spec().stage == stage);
        }
        match (self.engines.entry(part), &mut self.loader) {
            (Entry::Occupied(engine), _) => Ok(engine.into_mut()),
            (Entry::Vacant(place), Some(loader)) => {
                Ok(place.insert(loader.load(part).map_err(|source| failed(part, source))?))
            }
            (Entry::Vacant(_), None) => Err(missing(part)),
        }
    }

    /// Knows what the text encoders of another shelf gave, in the place of what its own did.
    pub(crate) fn remember_of(&mut self, other: &Self) {
        self.remembered = other.remembered.clone();
    }

    /// Whether models live for one stage of a run, so that each stage is to be whole before the next.
    pub(crate) fn is_staged(&self) -> bool {
        self.residency == Residency::PerStage
    }

    /// Lets go of the engines for texts of several windows that could be loaded again.
    pub(crate) fn forget_longer(&mut self) {
        let Some(loader) = &self.loader else { return };
        self.engines.retain(|part, _| part.n_windows == 1 || !loader.has(*part));
    }

    /// Ends the last stage of a run.
    pub(crate) fn release(&mut self) {
        if self.residency == Residency::PerStage {
            self.engines.clear();
        }
    }
}

/// A model that a pipeline cannot do without.
pub(crate) fn missing(part: impl Into<Part>) -> RuntimeError {
    RuntimeError::Signature { model: part.into().name(), reason: "is missing from the pipeline".into() }
}

/// A model that was to be loaded with the pipeline.
pub(crate) fn not_loaded(part: Part) -> RuntimeError {
    RuntimeError::Options(format!("the {part} was not loaded with the pipeline, and the options ask for it"))
}

fn failed(part: Part, source: EngineError) -> RuntimeError {
    RuntimeError::Engine { model: part.name(), source }
}
