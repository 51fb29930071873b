//! The denoiser of any family, as its role and its signature declare it.

use sd_spec::{Axis, Dims, Draw, FeatureSpec, Presence, Role};

use crate::engine::{Signature, Tensors};
use crate::error::Result;
use crate::foreign::other_unet;
use crate::models::Shelf;
use crate::part::Part;
use crate::port::{Port, size};
use crate::takes::Takes;
use crate::watch::Watch;

/// The input of models that guidance was distilled into.
pub(super) const GUIDANCE_INPUT: &str = "timestep_cond";

/// Latents [B, C, h, w], the time step [B] and what the text says → the prediction [B, C, h, w], with B 1 or 2.
pub(crate) struct Denoiser {
    port: Port,
    dims: Dims,
    /// The role's names of latents, time step and prediction.
    sample: &'static str,
    timestep: &'static str,
    output: &'static str,
    takes: Takes,
    /// Channels of the latents, which are fewer than the sample's where something stands behind them.
    latent_channels: usize,
}

impl Denoiser {
    /// A denoiser that is given these inputs beside those that every model of its role takes.
    pub(crate) fn new(part: impl Into<Part>, signature: Signature, given: &[&'static str]) -> Result<Self> {
        let part: Part = part.into();
        let role = part.role;
        let own = residual_inputs(role).chain([GUIDANCE_INPUT]);
        let given: Vec<&str> = given.iter().copied().chain(own).collect();
        let port = Port::new(part, signature, &given)?;
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
            1 | 2 => {
                let latent_channels = size(&dims, Axis::SampleChannels);
                Ok(Self { port, dims, sample, timestep, output, takes: Takes::Latents, latent_channels })
            }
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

    /// Width of the embedding of the guidance scale, where guidance was distilled into the model: it is not guided by a
    /// negative prompt then.
    pub(crate) fn guidance_width(&self) -> Option<usize> {
        self.port.takes(GUIDANCE_INPUT).then(|| size(&self.dims, Axis::GuidanceWidth))
    }

    /// The role that it plays.
    pub(crate) const fn role(&self) -> Role {
        self.port.role()
    }

    /// Samples of one call.
    pub(crate) fn batch(&self) -> usize {
        size(&self.dims, Axis::Batch)
    }

    /// Whether ControlNets can guide it.
    pub(crate) fn is_controlled(&self) -> bool {
        !self.port.numbered_inputs().is_empty()
    }

    /// Channels of the latents, which may be fewer than the sample's.
    pub(crate) const fn latent_channels(&self) -> usize {
        self.latent_channels
    }

    /// Checks that it is what another is, for so many windows of text.
    pub(crate) fn check_longer_of(&self, other: &Self, n_windows: usize) -> Result<()> {
        let same = |axis: Axis| self.dims.get(axis) == other.dims.get(axis);
        let axes = [Axis::Batch, Axis::SampleChannels, Axis::LatentHeight, Axis::LatentWidth, Axis::TextWidth];
        let is_longer = size(&self.dims, Axis::Tokens) == n_windows * size(&other.dims, Axis::Tokens);
        match is_longer && axes.into_iter().all(same) {
            true => Ok(()),
            false => Err(self.port.fault(format!(
                "is there for {n_windows} windows of text and takes {:?}, where the one for one takes {:?}",
                self.dims, other.dims
            ))),
        }
    }

    /// Checks that it is what another is, for one sample at a time.
    pub(crate) fn check_single_of(&self, other: &Self) -> Result<()> {
        let same = |axis: Axis| self.dims.get(axis) == other.dims.get(axis);
        let axes = [Axis::SampleChannels, Axis::LatentHeight, Axis::LatentWidth, Axis::Tokens, Axis::TextWidth];
        match self.batch() == 1 && axes.into_iter().all(same) {
            true => Ok(()),
            false => Err(self.port.fault(format!(
                "is there for one sample at a time and takes {:?}, where the one for two takes {:?}",
                self.dims, other.dims
            ))),
        }
    }

    /// The same for latents of so many channels, by which it is known what the others are.
    ///
    /// A UNet with fewer channels than the latents is no other kind of model: the VAE is another's.
    pub(crate) fn for_latents(self, latent_channels: usize) -> Result<Self> {
        let channels = size(&self.dims, Axis::SampleChannels);
        if channels < latent_channels {
            return Ok(self);
        }
        match (Takes::of(channels, latent_channels), other_unet(channels, latent_channels)) {
            (None, Some(what)) => Err(self.port.fault(what)),
            (takes, _) => Ok(Self { takes: takes.unwrap_or(Takes::Latents), latent_channels, ..self }),
        }
    }

    /// What it takes beside latents.
    pub(crate) const fn takes(&self) -> Takes {
        self.takes
    }

    /// As [`dims`](Self::dims), with the channels of the latents for those of the sample.
    pub(crate) fn latent_dims(&self) -> Dims {
        self.dims.clone().with(Axis::SampleChannels, self.latent_channels)
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

    /// Channels of the prediction, where the model file says them; else those of the latents.
    fn noise_channels(&self) -> usize {
        match self.port.output_dims(self.output) {
            Some(&[_, channels, _, _]) => channels,
            _ => self.latent_channels,
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

/// The denoiser's inputs that ControlNets give, by the role's name.
fn residual_inputs(role: Role) -> impl Iterator<Item = &'static str> {
    let is_numbered = |feature: &&FeatureSpec| feature.presence == Presence::Numbered;
    role.spec().inputs.iter().filter(is_numbered).map(|feature| feature.name)
}
