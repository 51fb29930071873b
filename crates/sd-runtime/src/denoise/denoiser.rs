//! The denoiser of Stable Diffusion 1.x and 2.x, as its signature declares it.

use sd_spec::{Axis, Dims, Role};

use crate::engine::Signature;
use crate::error::Result;
use crate::foreign::other_unet;
use crate::port::{Port, size};

/// `sample` [B, C, h, w], `timestep` [B], `encoder_hidden_states` [B, D, 1, S] → `noise_pred` [B, C, h, w], with B 1 or 2.
pub(crate) struct Denoiser {
    pub(super) port: Port,
    dims: Dims,
}

impl Denoiser {
    pub(crate) fn new(signature: Signature) -> Result<Self> {
        let port = Port::new(Role::UNet, signature)?;
        port.expect_output("noise_pred")?;
        let mut dims = Dims::new();
        let (sample, timestep) = (port.dims("sample")?, port.dims("timestep")?);
        let hidden = port.dims("encoder_hidden_states")?;
        let disagree = format!(
            "sample {sample:?}, timestep {timestep:?} and encoder_hidden_states {hidden:?} do not agree; expected [B, C, h, w], [B] and [B, D, 1, S] with B 1 or 2"
        );
        port.learn(&mut dims, |_, _, _| disagree.clone())?;
        match size(&dims, Axis::Batch) {
            1 | 2 => Ok(Self { port, dims }),
            _ => Err(port.fault(disagree)),
        }
    }

    /// What its inputs say of batch, text and latents.
    pub(crate) const fn dims(&self) -> &Dims {
        &self.dims
    }

    /// Checks that it takes latents alone, which have so many channels.
    ///
    /// A UNet with fewer channels than the latents is no other kind of model: the VAE is another's.
    pub(crate) fn check_channels(&self, latent_channels: usize) -> Result<()> {
        let channels = size(&self.dims, Axis::SampleChannels);
        match other_unet(channels, latent_channels).filter(|_| channels > latent_channels) {
            Some(what) => Err(self.port.fault(what)),
            None => Ok(()),
        }
    }
}
