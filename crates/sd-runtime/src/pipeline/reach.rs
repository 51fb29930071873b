//! A denoiser and what guides it by pictures, for texts of so many windows, and both for one sample at a time.

use crate::denoise::{ControlNet, Denoiser, control_nets, single_control_nets};
use crate::error::{Result, RuntimeError};
use crate::models::Shelf;
use crate::part::Part;
use crate::request::Warning;

/// They belong together: all take the same text.
pub(super) struct Reach {
    /// Windows of text.
    pub(super) n_windows: usize,
    pub(super) denoiser: Denoiser,
    pub(super) nets: Vec<ControlNet>,
    /// The one for one sample at a time, once a request needed it.
    pub(super) single: Option<Denoiser>,
    /// ControlNets for one sample at a time, beside it.
    pub(super) single_nets: Vec<ControlNet>,
}

impl Reach {
    /// The denoiser of a pipeline, for one window.
    pub(super) fn own(models: &mut Shelf, denoiser: Denoiser) -> Result<Self> {
        let nets = control_nets(models, &denoiser, 1)?;
        Ok(Self { n_windows: 1, denoiser, nets, single: None, single_nets: Vec::new() })
    }

    /// The one of two for texts of so many windows.
    pub(super) fn of<'r>(own: &'r Self, longer: Option<&'r Self>, n_windows: usize) -> &'r Self {
        longer.filter(|longer| longer.n_windows == n_windows).unwrap_or(own)
    }

    /// The same for texts of so many windows; none where nobody makes it so.
    ///
    /// # Errors
    /// [`RuntimeError::Engine`] where it cannot be made, and [`RuntimeError::Signature`] where it is something else.
    pub(super) fn longer(&self, models: &mut Shelf, n_windows: usize, given: &[&'static str]) -> Result<Option<Self>> {
        let part = Part::from(self.denoiser.role()).for_windows(n_windows);
        let Some(signature) = models.signature(part)? else { return Ok(None) };
        let denoiser = Denoiser::new(part, signature, given)?.for_latents(self.denoiser.latent_channels())?;
        denoiser.check_longer_of(&self.denoiser, n_windows)?;
        let nets = control_nets(models, &denoiser, n_windows)?;
        match nets.len() == self.nets.len() {
            true => Ok(Some(Self { n_windows, denoiser, nets, single: None, single_nets: Vec::new() })),
            false => Ok(None),
        }
    }

    /// Finds a denoiser for one sample at a time, and so many ControlNets for that, where there are some for two.
    ///
    /// Without one nothing fails: what comes of two is the same, takes twice the time, and is said.
    pub(super) fn find_single(
        &mut self,
        models: &mut Shelf,
        n_nets: usize,
        given: &[&'static str],
    ) -> Result<Option<Warning>> {
        if self.denoiser.batch() == 1 || (self.single.is_some() && self.single_nets.len() >= n_nets) {
            return Ok(None);
        }
        let two_at_a_time = |because: String| Ok(Some(Warning::TwoAtATime { because }));
        match self.single(models, n_nets, given) {
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
    fn single(
        &self,
        models: &mut Shelf,
        n_nets: usize,
        given: &[&'static str],
    ) -> Result<Option<(Denoiser, Vec<ControlNet>)>> {
        let part = Part::single(self.denoiser.role()).for_windows(self.n_windows);
        let Some(signature) = models.signature(part)? else { return Ok(None) };
        let single = Denoiser::new(part, signature, given)?;
        single.check_single_of(&self.denoiser)?;
        let nets = single_control_nets(models, &self.nets[..n_nets], &single, self.n_windows)?;
        Ok(nets.map(|nets| (single, nets)))
    }
}

/// An error and what it came from, in a line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
