//! Forms of the denoiser that only some requests need, found once one does: for one sample at a time, and without some blocks.

use sd_spec::Family;

use super::DiffusionPipeline;
use crate::denoise::{ControlNet, Denoiser, single_control_nets};
use crate::error::{Result, RuntimeError};
use crate::features::Conditioning;
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
        let part = Part::without_blocks(self.denoiser.role(), blocks);
        let signature = self.models.signature(part)?.ok_or_else(|| not_loaded(part))?;
        let found = Denoiser::new(part, signature, self.conditioner.given())?;
        found.check_single_of(&self.denoiser)?;
        self.without_blocks = Some((blocks, found));
        Ok(())
    }

    /// Finds a denoiser for one sample at a time, where steps without guidance need one beside one for two.
    ///
    /// Without one nothing fails: what comes of two is the same, takes twice the time, and is said.
    pub(super) fn find_single(
        &mut self,
        options: &GenerateOptions,
        conditioning: &Conditioning,
    ) -> Result<Option<Warning>> {
        let is_needed = conditioning.negative.is_none() || options.guidance_interval.is_some();
        // Without pictures that guide, ControlNets are not run.
        let n_nets = if options.controls.is_empty() { 0 } else { self.control_nets.len() };
        if !is_needed || self.denoiser.batch() == 1 || (self.single.is_some() && self.single_nets.len() >= n_nets) {
            return Ok(None);
        }
        let two_at_a_time = |because: String| Ok(Some(Warning::TwoAtATime { because }));
        match self.single(n_nets) {
            Ok(Some((single, nets))) => {
                (self.single, self.single_nets) = (Some(single), nets);
                Ok(None)
            }
            Ok(None) => two_at_a_time("there is none for one".to_owned()),
            Err(RuntimeError::Engine { source, .. }) => two_at_a_time(chain(source.as_ref())),
            Err(error) => Err(error),
        }
    }

    /// The denoiser for one sample at a time, and the first ControlNets for that; none unless all of them are there.
    fn single(&mut self, n_nets: usize) -> Result<Option<(Denoiser, Vec<ControlNet>)>> {
        let part = Part::single(self.denoiser.role());
        let Some(signature) = self.models.signature(part)? else { return Ok(None) };
        let single = Denoiser::new(part, signature, self.conditioner.given())?;
        single.check_single_of(&self.denoiser)?;
        let nets = single_control_nets(&mut self.models, &self.control_nets[..n_nets], &single)?;
        Ok(nets.map(|nets| (single, nets)))
    }
}

/// An error and what it came from, in a line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
