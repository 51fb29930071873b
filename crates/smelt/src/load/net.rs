//! A model beside a pipeline's own: a package, or a checkpoint that is converted in memory.

use std::path::PathBuf;

use sd_checkpoint::Checkpoint;
use sd_convert::Batch;
use sd_runtime::{Engine, Form, Part};

use super::memory::InMemory;
use super::{longer, open};
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

    /// Loads it as a part, for latents of a size.
    pub(super) fn load(&self, part: Part, memory: &InMemory, options: &sd_convert::Options) -> Result<Box<dyn Engine>> {
        match self {
            Self::Checkpoint(checkpoint) => {
                let mut options = longer(options, checkpoint, part.n_windows)?;
                if matches!(part.form, Form::Single | Form::SingleNumbered(_)) {
                    options.unet_batch = Batch::One;
                }
                memory.load(checkpoint, part.role, &options)
            }
            Self::Package(path) if memory.with_burn => refuse!(
                "{} is a MIL program, and the burn engine executes the networks of a checkpoint: give the checkpoint of \
                 the {}, or leave --engine burn out",
                path.display(),
                part.role
            ),
            Self::Package(path) => open(path, &memory.engine, options.latent_size, part),
        }
    }
}
