//! Networks of a checkpoint that are converted in memory, and what is found meanwhile.

use std::sync::PoisonError;

use sd_convert::{Checkpoint, Options, Precision, Role, convert};
use sd_engines::{MilEngine, Specialise};
use sd_runtime::Engine;

use super::{Found, burn, executor};
use crate::convert::tensor_warnings;
use crate::engine::{EngineKind, EngineSpec};
use crate::error::{Context, Result, refuse};

/// How they are executed, and who hears of what is found.
pub(super) struct InMemory {
    pub(super) engine: EngineSpec,
    /// The precision that was asked for.
    pub(super) precision: Option<Precision>,
    pub(super) with_burn: bool,
    pub(super) found: Found,
}

impl InMemory {
    /// A network, converted, or executed as it is by Burn.
    pub(super) fn load(&self, checkpoint: &Checkpoint, role: Role, options: &Options) -> Result<Box<dyn Engine>> {
        self.load_changed(checkpoint, role, options, &[])
    }

    /// The same with changes, which Burn does not make.
    pub(super) fn load_changed(
        &self,
        checkpoint: &Checkpoint,
        role: Role,
        options: &Options,
        changes: &[Specialise],
    ) -> Result<Box<dyn Engine>> {
        if self.with_burn && !changes.is_empty() {
            refuse!(
                "the burn engine executes the {role} as it is, and words of less weight in compel's language need one that \
                 takes a mask; leave --engine burn out, or give no weights below 1"
            );
        }
        if self.with_burn {
            return burn::engine(&self.engine, checkpoint, role, options);
        }
        if self.engine.kind == EngineKind::CoreMl {
            refuse!(
                "Core ML runs packages, and {} is a checkpoint; convert it first: smelt convert {0} -o DIR",
                checkpoint.root().display()
            );
        }
        let converted = convert(checkpoint, role, options)?;
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in tensor_warnings(role, &converted.exceptional, self.precision) {
            // A model may be loaded more than once.
            if !found.contains(&warning) {
                found.push(warning);
            }
        }
        let cannot = || format!("cannot run the {role}");
        let executor = executor(&self.engine, role).with_context(cannot)?;
        Ok(Box::new(MilEngine::specialised_program(&converted.program, changes, executor).with_context(cannot)?))
    }
}
