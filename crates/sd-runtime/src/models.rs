//! The engines of a pipeline by role, as long as the residency lets them live.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sd_spec::Role;

use crate::engine::{Engine, EngineError, Loader, Residency, Signature, Tensors};
use crate::error::{Result, RuntimeError};
use crate::watch::Watch;

/// Engines by role.
pub type Models = BTreeMap<Role, Box<dyn Engine>>;

/// What a role's model is called in messages.
pub(crate) const fn name_of(role: Role) -> &'static str {
    role.spec().package.apple
}

/// The engines that are loaded, and where the others come from.
pub(crate) struct Shelf {
    engines: Models,
    /// Present if engines live no longer than their stage.
    loader: Option<Box<dyn Loader>>,
}

impl Shelf {
    /// Engines that stay.
    pub(crate) const fn kept(engines: Models) -> Self {
        Self { engines, loader: None }
    }

    /// The engines of a loader.
    ///
    /// # Errors
    /// [`RuntimeError::Engine`] if one that is to stay cannot be loaded.
    pub(crate) fn new(mut loader: Box<dyn Loader>, residency: Residency) -> Result<Self> {
        match residency {
            Residency::PerStage => Ok(Self { engines: Models::new(), loader: Some(loader) }),
            Residency::Kept => {
                let roles = loader.roles().to_vec();
                let load = |role| Ok((role, loader.load(role).map_err(|source| failed(role, source))?));
                Ok(Self::kept(roles.into_iter().map(load).collect::<Result<_>>()?))
            }
        }
    }

    /// The signature of a role's model, if there is one.
    ///
    /// # Errors
    /// [`RuntimeError::Engine`] if the loader fails.
    pub(crate) fn signature(&mut self, role: Role) -> Result<Option<Signature>> {
        if let Some(engine) = self.engines.get(&role) {
            return Ok(Some(engine.signature().clone()));
        }
        let loader = self.loader.as_mut().filter(|loader| loader.roles().contains(&role));
        loader.map(|loader| loader.signature(role).map_err(|source| failed(role, source))).transpose()
    }

    /// Runs the model of a role; engines of other stages make room for one that must be loaded first.
    ///
    /// # Errors
    /// [`RuntimeError::Engine`] for what the engine or the loader fails with, [`RuntimeError::Stopped`] once the run's flag
    /// is set.
    pub(crate) fn run(&mut self, role: Role, inputs: &Tensors, watch: &Watch<'_>) -> Result<Tensors> {
        if watch.stop().is_set() {
            return Err(watch.stopped());
        }
        let engine = self.engine(role)?;
        engine.run(inputs, watch.stop()).map_err(|source| match watch.stop().is_set() {
            true => watch.stopped(),
            false => failed(role, source),
        })
    }

    fn engine(&mut self, role: Role) -> Result<&mut Box<dyn Engine>> {
        if self.loader.is_some() {
            let stage = role.spec().stage;
            self.engines.retain(|loaded, _| loaded.spec().stage == stage);
        }
        match (self.engines.entry(role), &mut self.loader) {
            (Entry::Occupied(engine), _) => Ok(engine.into_mut()),
            (Entry::Vacant(place), Some(loader)) => {
                Ok(place.insert(loader.load(role).map_err(|source| failed(role, source))?))
            }
            (Entry::Vacant(_), None) => Err(missing(role)),
        }
    }

    /// Ends the last stage of a run.
    pub(crate) fn release(&mut self) {
        if self.loader.is_some() {
            self.engines.clear();
        }
    }
}

/// A model that a pipeline cannot do without.
pub(crate) fn missing(role: Role) -> RuntimeError {
    RuntimeError::Signature { model: name_of(role), reason: "is missing from the pipeline".into() }
}

fn failed(role: Role, source: EngineError) -> RuntimeError {
    RuntimeError::Engine { model: name_of(role), source }
}
