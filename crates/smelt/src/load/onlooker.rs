//! Denoisers with somebody before them who sees what they are given.

use std::sync::Arc;

use sd_runtime::{Engine, EngineError, Loader, Part};

use super::{Loaded, Source};

/// Sees what denoisers are given.
pub(crate) trait Onlooker: Send + Sync {
    /// Says why it cannot look on at a denoiser of some form, before that is loaded.
    fn accepts(&self, part: Part) -> Result<(), EngineError>;

    /// A denoiser that does what this one does, and tells of it.
    fn put_before(&self, engine: Box<dyn Engine>) -> Box<dyn Engine>;
}

impl Loaded {
    /// The same, whose denoisers are looked on at in whatever form they are loaded.
    pub(crate) fn watched_by(self, onlooker: Arc<dyn Onlooker>) -> Self {
        let source = match self.source {
            Source::Kept(models, others) => {
                let put = |(part, engine): (Part, Box<dyn Engine>)| match part.role.is_denoiser() {
                    true => (part, onlooker.put_before(engine)),
                    false => (part, engine),
                };
                let models = models.into_iter().map(put).collect();
                Source::Kept(models, Box::new(Watched { inner: others, onlooker }))
            }
            Source::PerStage(inner) => Source::PerStage(Box::new(Watched { inner, onlooker })),
        };
        Self { source, ..self }
    }
}

/// A loader whose denoisers are looked on at.
struct Watched {
    inner: Box<dyn Loader>,
    onlooker: Arc<dyn Onlooker>,
}

impl Loader for Watched {
    fn parts(&self) -> &[Part] {
        self.inner.parts()
    }

    fn has(&self, part: Part) -> bool {
        self.inner.has(part)
    }

    fn load(&mut self, part: Part) -> Result<Box<dyn Engine>, EngineError> {
        if !part.role.is_denoiser() {
            return self.inner.load(part);
        }
        self.onlooker.accepts(part)?;
        Ok(self.onlooker.put_before(self.inner.load(part)?))
    }
}
