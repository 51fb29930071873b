//! Models of other sources that draw together with a pipeline's own: ControlNets, and a TAESD.

use sd_checkpoint::Checkpoint;
use sd_convert::LatentSize;
use sd_runtime::pipeline::PipelineConfig;
use sd_runtime::{Engine, Form, Part};
use sd_spec::Role;

use super::PipelineOptions;
use super::control::ControlNets;
use super::memory::InMemory;
use super::taesd::{Latents, Taesd};
use crate::error::Result;
use crate::open::Opened;

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Others {
    pub(super) nets: ControlNets,
    taesd: Option<Taesd>,
}

impl Others {
    /// Finds those that the options name, for a size where one was asked for.
    pub(super) fn find(options: &PipelineOptions, opened: &Opened, size: Option<LatentSize>) -> Result<Self> {
        let nets = ControlNets::find(&options.controlnets, opened, size)?;
        Ok(Self { nets, taesd: Taesd::find(("--taesd", options.taesd.as_ref()), opened, size)? })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.nets.is_empty() && self.taesd.is_none()
    }

    /// The name of what decodes in the place of the model's own decoder.
    pub(super) fn taesd(&self) -> Option<String> {
        self.taesd.as_ref().map(|taesd| taesd.name.clone())
    }

    /// Tells a pipeline what latents its decoder takes, where that is not the model's own; refuses one that does not fit, and
    /// returns what the user should know.
    pub(super) fn settle_decoder(
        &self,
        config: &mut PipelineConfig,
        latents: impl FnOnce() -> Result<Latents>,
    ) -> Result<Option<String>> {
        let Some(taesd) = &self.taesd else { return Ok(None) };
        config.decoder = Some(taesd.scaled);
        taesd.check_fits(&latents()?)
    }

    /// Whether a part of a pipeline is theirs.
    pub(super) fn play(&self, part: Part) -> bool {
        match part.role {
            Role::VaeDecoder => self.taesd.is_some(),
            role => role == Role::ControlNet,
        }
    }

    /// Those that are converted in memory.
    pub(super) fn checkpoints(&self) -> impl Iterator<Item = (&Checkpoint, Role)> {
        let taesd = self.taesd.as_ref().and_then(Taesd::checkpoint).map(|checkpoint| (checkpoint, Role::VaeDecoder));
        self.nets.checkpoints().map(|net| (net, Role::ControlNet)).chain(taesd)
    }

    /// Loads a part that is theirs, for latents of a size; none for others.
    pub(super) fn load(
        &self,
        part: Part,
        memory: &InMemory,
        options: &sd_convert::Options,
    ) -> Option<Result<Box<dyn Engine>>> {
        match (part.form, &self.taesd) {
            (Form::Numbered(idx) | Form::SingleNumbered(idx), _) => Some(self.nets.load(idx, part, memory, options)),
            (_, Some(taesd)) if part.role == Role::VaeDecoder => Some(taesd.load(memory, options)),
            _ => None,
        }
    }
}
