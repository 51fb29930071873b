//! The denoiser of any family, as its role and its signature declare it.

use sd_spec::{Axis, Dims, Draw, FeatureSpec, Role};

use super::control::residual_inputs;
use crate::engine::{Signature, Tensors};
use crate::error::Result;
use crate::foreign::other_unet;
use crate::models::Shelf;
use crate::port::{Port, size};
use crate::watch::Watch;

/// Latents [B, C, h, w], the time step [B] and what the text says → the prediction [B, C, h, w], with B 1 or 2.
pub(crate) struct Denoiser {
    port: Port,
    dims: Dims,
    /// The role's names of latents, time step and prediction.
    sample: &'static str,
    timestep: &'static str,
    output: &'static str,
}

impl Denoiser {
    /// A denoiser that is given these inputs beside those that every model of its role takes.
    pub(crate) fn new(role: Role, signature: Signature, given: &[&str]) -> Result<Self> {
        let given: Vec<&str> = given.iter().copied().chain(residual_inputs(role)).collect();
        let port = Port::new(role, signature, &given)?;
        let spec = role.spec();
        let name = |features: &'static [FeatureSpec], is: fn(&FeatureSpec) -> bool| {
            features.iter().find(|feature| is(feature)).map_or("", |feature| feature.name)
        };
        let sample = name(spec.inputs, |feature| feature.axes.contains(&Axis::SampleChannels));
        let timestep = name(spec.inputs, |feature| feature.draw == Draw::Step);
        let output = name(spec.outputs, |feature| feature.axes.contains(&Axis::NoiseChannels));
        port.expect_output(output)?;
        let mut dims = Dims::new();
        let disagree = disagreement(&port, role, sample, timestep)?;
        port.learn(&mut dims, |_, _, _| disagree.clone())?;
        match size(&dims, Axis::Batch) {
            1 | 2 => Ok(Self { port, dims, sample, timestep, output }),
            _ => Err(port.fault(disagree)),
        }
    }

    /// What its inputs say of batch, text and latents.
    pub(crate) const fn dims(&self) -> &Dims {
        &self.dims
    }

    /// The model's features.
    pub(crate) const fn port(&self) -> &Port {
        &self.port
    }

    /// Samples of one call.
    pub(crate) fn batch(&self) -> usize {
        size(&self.dims, Axis::Batch)
    }

    /// Whether ControlNets can guide it.
    pub(crate) fn is_controlled(&self) -> bool {
        !self.port.numbered_inputs().is_empty()
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

    /// Predicts for a whole batch: latents of all rows, one time step, and the other inputs as tensors.
    ///
    /// What is put in stays in `inputs` for the next step.
    pub(crate) fn predict(
        &self,
        models: &mut Shelf,
        inputs: &mut Tensors,
        sample: Vec<f32>,
        timestep: f32,
        watch: &Watch<'_>,
    ) -> Result<Vec<f32>> {
        let n = sample.len() / size(&self.dims, Axis::SampleChannels).max(1) * self.noise_channels();
        let timestep = vec![timestep; self.batch()];
        inputs.insert(self.sample.to_owned(), self.port.tensor(self.sample, sample)?);
        inputs.insert(self.timestep.to_owned(), self.port.tensor(self.timestep, timestep)?);
        let mut outputs = self.port.call(models, inputs, watch)?;
        self.port.take_values(&mut outputs, self.output, n)
    }

    /// Channels of the prediction, where the model file says them; else those of the sample.
    fn noise_channels(&self) -> usize {
        match self.port.output_dims(self.output) {
            Some(&[_, channels, _, _]) => channels,
            _ => size(&self.dims, Axis::SampleChannels),
        }
    }
}

/// What is said of inputs that contradict one another.
pub(super) fn disagreement(port: &Port, role: Role, sample: &str, timestep: &str) -> Result<String> {
    let text = role.spec().inputs.iter().find(|feature| feature.is_steady).map_or("", |feature| feature.name);
    let (x, t, hidden) = (port.dims(sample)?, port.dims(timestep)?, port.dims(text)?);
    Ok(format!(
        "{sample} {x:?}, {timestep} {t:?} and {text} {hidden:?} do not agree; expected [B, C, h, w], [B] and \
         [B, D, 1, S] with B 1 or 2"
    ))
}
