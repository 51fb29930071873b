//! Forms of the denoiser that only some requests need, found once one does: for one sample at a time, for
//! longer texts, and without some blocks.

use sd_spec::Family;

use super::DiffusionPipeline;
use super::draw::Prompted;
use super::reach::chain;
use crate::denoise::Denoiser;
use crate::error::{Result, RuntimeError};
use crate::models::not_loaded;
use crate::part::Part;
use crate::request::{GenerateOptions, Warning};

impl DiffusionPipeline {
    /// Refuses to leave blocks out of denoisers that have none.
    pub(super) fn check_skip_layers(&self, options: &GenerateOptions) -> Result<()> {
        if options.skip_layers.is_some() && self.config.family != Family::Sd3 {
            return Err(RuntimeError::Options(format!(
                "skip-layer guidance is for the transformers of Stable Diffusion 3 and 3.5, and the model is {}; leave it out",
                self.config.family.spec().name
            )));
        }
        Ok(())
    }

    /// Finds the denoiser without the blocks that the options leave out.
    pub(super) fn find_without_blocks(&mut self, options: &GenerateOptions) -> Result<()> {
        let Some(blocks) = options.skip_layers.map(|skip| skip.layers) else { return Ok(()) };
        if self.without_blocks.as_ref().is_some_and(|(found, _)| *found == blocks) {
            return Ok(());
        }
        let part = Part::without_blocks(self.own.denoiser.role(), blocks);
        let signature = self.models.signature(part)?.ok_or_else(|| not_loaded(part))?;
        let found = Denoiser::new(part, signature, self.conditioner.given())?;
        found.check_single_of(&self.own.denoiser)?;
        self.without_blocks = Some((blocks, found));
        Ok(())
    }

    /// Finds a denoiser for one sample at a time, where steps without guidance need one beside one for two.
    pub(super) fn find_single(&mut self, options: &GenerateOptions, prompted: &Prompted) -> Result<Option<Warning>> {
        if prompted.is_guided && options.guidance_interval.is_none() {
            return Ok(None);
        }
        let reach = match &mut self.longer {
            Some(longer) if longer.n_windows == prompted.n_windows => longer,
            _ => &mut self.own,
        };
        // Without pictures that guide, ControlNets are not run.
        let n_nets = if options.controls.is_empty() { 0 } else { reach.nets.len() };
        reach.find_single(&mut self.models, n_nets, self.conditioner.given())
    }

    /// Finds a denoiser for texts of so many windows; where there is none, says why, and that prompts are cut.
    pub(super) fn find_longer(&mut self, n_windows: usize) -> Result<Option<Warning>> {
        if n_windows == 1 || self.longer.as_ref().is_some_and(|longer| longer.n_windows == n_windows) {
            return Ok(None);
        }
        // One at a time, so that memory is not that of all lengths.
        self.longer = None;
        self.models.forget_longer();
        let cut = |because: String| Ok(Some(Warning::OneWindow { because }));
        match self.own.longer(&mut self.models, n_windows, self.conditioner.given()) {
            Ok(Some(longer)) => {
                self.longer = Some(longer);
                Ok(None)
            }
            Ok(None) => cut("there is none for more".to_owned()),
            Err(RuntimeError::Engine { source, .. }) => cut(chain(source.as_ref())),
            Err(error) => Err(error),
        }
    }
}
