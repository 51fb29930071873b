//! A model beside a pipeline's own: a package, or a checkpoint that is converted in memory.

use std::path::PathBuf;

use sd_checkpoint::Checkpoint;
use sd_convert::Batch;
use sd_runtime::{Engine, Form};
use sd_spec::Role;

use super::memory::InMemory;
use super::{executor, open};
use crate::error::{Result, refuse};

/// Where it is.
#[derive(Debug, Clone)]
pub(super) enum Net {
    Package(PathBuf),
    Checkpoint(Box<Checkpoint>),
}

impl Net {
    /// The checkpoint, if it is one.
    pub(super) fn checkpoint(&self) -> Option<&Checkpoint> {
        match self {
            Self::Checkpoint(checkpoint) => Some(checkpoint),
            Self::Package(_) => None,
        }
    }

    /// Loads it for a role, for latents of a size, as it is or for one sample at a time ([`Form::Single`]).
    pub(super) fn load(
        &self,
        role: Role,
        form: Form,
        memory: &InMemory,
        options: &sd_convert::Options,
    ) -> Result<Box<dyn Engine>> {
        match self {
            Self::Checkpoint(checkpoint) if form == Form::Single => {
                let options = sd_convert::Options { unet_batch: Batch::One, ..options.clone() };
                memory.load(checkpoint, role, &options)
            }
            Self::Checkpoint(checkpoint) => memory.load(checkpoint, role, options),
            Self::Package(path) if memory.with_burn => refuse!(
                "{} is a MIL program, and the burn engine executes the networks of a checkpoint: give the checkpoint of \
                 the {role}, or leave --engine burn out",
                path.display()
            ),
            Self::Package(path) => Ok(Box::new(open(path, executor(&memory.engine, role), options.latent_size, form)?)),
        }
    }
}
