//! ControlNets: what pictures that guide add to the states of the denoiser.
//!
//! At a step every net that is on looks at the sample; what it gives, times its weight, is added to what the others give.
//! A net that is off is not run, and a denoiser without a net that is on is given zeros.
// Source of the rules: diffusers 0.42, StableDiffusionControlNetPipeline, MultiControlNetModel.

use sd_spec::{Axis, Dims, Role};

use super::denoiser::{Denoiser, disagreement};
use crate::control::ControlPicture;
use crate::engine::{Signature, Tensors};
use crate::error::{Result, RuntimeError};
use crate::features::Features;
use crate::foreign::latent_size;
use crate::image::Size;
use crate::models::Shelf;
use crate::part::Part;
use crate::port::{Port, size};
use crate::watch::Watch;

/// Colours of a picture that guides.
const COLOURS: usize = 3;
/// The net's inputs that the denoiser is not given by the text.
const SAMPLE: &str = "sample";
const TIMESTEP: &str = "timestep";
const PICTURE: &str = "controlnet_cond";
/// The net's inputs that only some families give.
const GIVEN: [&str; 2] = ["time_ids", "text_embeds"];

/// One net: latents, time step, text and picture → residuals.
pub(crate) struct ControlNet {
    port: Port,
    dims: Dims,
}

/// The nets of a pipeline for texts of so many windows, in their order; none where there are no models of them.
///
/// # Errors
/// [`RuntimeError::Signature`] for one that does not fit the denoiser.
pub(crate) fn control_nets(models: &mut Shelf, denoiser: &Denoiser, n_windows: usize) -> Result<Vec<ControlNet>> {
    let signatures = models.numbered(Role::ControlNet, n_windows)?;
    let n_nets = signatures.len();
    let net = |(idx, signature)| {
        let part = Part::numbered(Role::ControlNet, idx).for_windows(n_windows);
        ControlNet::new(part, signature, denoiser).map_err(|error| match error {
            RuntimeError::Signature { model, reason } if n_nets > 1 => {
                RuntimeError::Signature { model, reason: format!("{} of {n_nets} {reason}", idx + 1) }
            }
            other => other,
        })
    };
    signatures.into_iter().enumerate().map(net).collect()
}

/// The same nets for one sample at a time, beside a denoiser that takes one; none where one of them has no such form.
///
/// # Errors
/// As [`control_nets`], and [`RuntimeError::Engine`] for one that cannot be loaded so.
pub(crate) fn single_control_nets(
    models: &mut Shelf,
    nets: &[ControlNet],
    denoiser: &Denoiser,
    n_windows: usize,
) -> Result<Option<Vec<ControlNet>>> {
    let mut single = Vec::with_capacity(nets.len());
    for (idx, net) in nets.iter().enumerate() {
        let part = match net.batch() {
            1 => Part::numbered(Role::ControlNet, idx),
            _ => Part::single_numbered(Role::ControlNet, idx),
        }
        .for_windows(n_windows);
        let Some(signature) = models.signature(part)? else { return Ok(None) };
        single.push(ControlNet::new(part, signature, denoiser)?);
    }
    Ok(Some(single))
}

impl ControlNet {
    fn new(part: Part, signature: Signature, denoiser: &Denoiser) -> Result<Self> {
        let port = Port::new(part, signature, &GIVEN)?;
        let mut dims = Dims::new();
        let disagree = disagreement(&port, Role::ControlNet, SAMPLE, TIMESTEP)?;
        port.learn(&mut dims, |_, _, _| disagree.clone())?;
        let net = Self { port, dims };
        if !matches!(net.batch(), 1 | 2) {
            return Err(net.port.fault(disagree));
        }
        net.check_fits(denoiser)?;
        Ok(net)
    }

    /// Samples of one call.
    fn batch(&self) -> usize {
        size(&self.dims, Axis::Batch)
    }

    /// The size of the picture that it takes.
    fn picture_size(&self) -> Size {
        Size { width: size(&self.dims, Axis::PictureWidth), height: size(&self.dims, Axis::PictureHeight) }
    }

    /// Checks that it is of the denoiser's family, size and text.
    fn check_fits(&self, denoiser: &Denoiser) -> Result<()> {
        let both = |axis: Axis| (size(&self.dims, axis), size(denoiser.dims(), axis));
        let (width, unet) = both(Axis::TextWidth);
        if width != unet {
            return Err(self.port.fault(format!(
                "takes text of {width}, the UNet of {unet} (768 is Stable Diffusion 1.x, 1024 is 2.x, 2048 is XL): it was \
                 made for another model; give a ControlNet of the UNet's family"
            )));
        }
        if let Some(name) = GIVEN.into_iter().find(|name| self.port.takes(name) != denoiser.port().takes(name)) {
            let (one, other) = if self.port.takes(name) { ("ControlNet", "UNet") } else { ("UNet", "ControlNet") };
            return Err(self.port.fault(format!(
                "is not of the UNet's family: the {one} takes {name}, as models of Stable Diffusion XL do, and the {other} \
                 does not"
            )));
        }
        let (tokens, unet) = both(Axis::Tokens);
        if tokens != unet {
            return Err(self
                .port
                .fault(format!("takes texts of {tokens} tokens, the UNet of {unet}; convert both for one length")));
        }
        let ((height, unet_height), (width, unet_width)) = (both(Axis::LatentHeight), both(Axis::LatentWidth));
        if (height, width) != (unet_height, unet_width) {
            return Err(self.port.fault(format!(
                "takes latents of {}, the UNet of {}; convert both for one size",
                latent_size(height, width),
                latent_size(unet_height, unet_width)
            )));
        }
        let colours = size(&self.dims, Axis::HintChannels);
        if colours != COLOURS {
            return Err(self
                .port
                .fault(format!("takes pictures of {colours} channels, and pictures that guide have {COLOURS}")));
        }
        self.check_residuals(denoiser)
    }

    /// Checks that it gives what the denoiser takes, as far as the shapes of its outputs are known.
    fn check_residuals(&self, denoiser: &Denoiser) -> Result<()> {
        let (given, taken) = (self.port.numbered_outputs(), denoiser.port().numbered_inputs());
        let names = |names: &[&str]| names.join(", ");
        if given != taken {
            return Err(self.port.fault(format!(
                "gives {}, and the UNet takes {}: it was made for another model",
                names(&given),
                names(&taken)
            )));
        }
        for name in given {
            let (Some(own), unet) = (self.port.output_dims(name), denoiser.port().dims(name)?) else { continue };
            if own.get(1..) != unet.get(1..) {
                return Err(self.port.fault(format!(
                    "gives {name} of {own:?}, where the UNet takes {unet:?}: it was made for another model"
                )));
            }
        }
        Ok(())
    }

    /// The picture as it takes it, for one sample.
    fn planes(&self, picture: &ControlPicture) -> Result<Vec<f32>> {
        picture.planes(self.picture_size())
    }

    /// Inputs that stay from step to step, of the calls for some rows; the last call's last row fills it up.
    fn calls(&self, rows: &[&Features], planes: &[f32]) -> Result<Vec<Tensors>> {
        let chunk = |rows: &[&Features]| {
            let rows: Vec<&&Features> = (0..self.batch()).map(|i| &rows[i.min(rows.len() - 1)]).collect();
            let mut inputs = Tensors::new();
            let names = rows[0].keys().filter(|name| self.port.takes(name));
            for &name in names {
                let values = rows.iter().filter_map(|row| row.get(name)).flatten().copied().collect();
                inputs.insert(name.to_owned(), self.port.tensor(name, values)?);
            }
            inputs.insert(PICTURE.to_owned(), self.port.tensor(PICTURE, planes.repeat(self.batch()))?);
            Ok(inputs)
        };
        rows.chunks(self.batch()).map(chunk).collect()
    }

    /// The values of the sample that it takes: an inpainting denoiser's mask and masked picture stand behind the latents.
    fn latents(&self, sample: &[f32]) -> Vec<f32> {
        let axes = [Axis::SampleChannels, Axis::LatentHeight, Axis::LatentWidth];
        let n: usize = axes.into_iter().map(|axis| size(&self.dims, axis)).product();
        sample[..n.min(sample.len())].repeat(self.batch())
    }
}

/// A net that guides a run.
struct Guide<'a> {
    net: &'a ControlNet,
    weight: f32,
    /// Shares of the steps: from and to.
    window: [f64; 2],
    /// Inputs of each of its calls.
    calls: Vec<Tensors>,
    is_on: bool,
}

/// What nets add to one call of the denoiser.
pub(super) struct Controls<'a> {
    guides: Vec<Guide<'a>>,
    /// Names and numbers of values of what the denoiser is given.
    residuals: Vec<(String, usize)>,
    /// Rows of the denoiser's call.
    n_rows: usize,
    /// The call has zeros already.
    is_clear: bool,
}

/// Checks that there is a picture for each net, or none at all.
pub(crate) fn check_pictures(nets: &[ControlNet], pictures: &[ControlPicture]) -> Result<()> {
    match (nets.len(), pictures.len()) {
        (_, 0) => Ok(()),
        (0, _) => Err(RuntimeError::Options(
            "a picture guides by a ControlNet, and the pipeline has none; load one beside the other models".into(),
        )),
        (n, given) if n != given => {
            Err(RuntimeError::Options(format!("{n} ControlNets take a picture each, and {given} were given")))
        }
        _ => Ok(()),
    }
}

impl<'a> Controls<'a> {
    /// What is added to a call of these rows.
    pub(super) fn new(
        nets: &'a [ControlNet],
        denoiser: &Denoiser,
        rows: &[&Features],
        pictures: &[ControlPicture],
    ) -> Result<Self> {
        let guide = |(net, picture): (&'a ControlNet, &ControlPicture)| {
            let ControlPicture { weight, start, end, .. } = *picture;
            let calls = net.calls(rows, &net.planes(picture)?)?;
            Ok(Guide { net, weight, window: [start, end], calls, is_on: false })
        };
        let port = denoiser.port();
        let residual = |name: &str| Ok((name.to_owned(), port.dims(name)?.iter().product()));
        Ok(Self {
            guides: nets.iter().zip(pictures).map(guide).collect::<Result<_>>()?,
            residuals: port.numbered_inputs().into_iter().map(residual).collect::<Result<_>>()?,
            n_rows: rows.len(),
            is_clear: false,
        })
    }

    /// Turns nets on and off for step `idx` of `n`.
    pub(super) fn begin(&mut self, idx: usize, n: usize) {
        for guide in &mut self.guides {
            let [start, end] = guide.window;
            let share = |steps: usize| steps as f64 / n as f64;
            guide.is_on = guide.weight != 0.0 && share(idx) >= start && share(idx + 1) <= end;
        }
    }

    /// Puts what the nets that are on give for a sample into the inputs of the denoiser's call.
    pub(super) fn put(
        &mut self,
        denoiser: &Denoiser,
        models: &mut Shelf,
        inputs: &mut Tensors,
        sample: &[f32],
        timestep: f32,
        watch: &Watch<'_>,
    ) -> Result<()> {
        let is_off = self.guides.iter().all(|guide| !guide.is_on);
        if is_off && self.is_clear {
            return Ok(());
        }
        let mut sums: Vec<Vec<f32>> = self.residuals.iter().map(|(_, n)| vec![0.0; *n]).collect();
        for guide in self.guides.iter_mut().filter(|guide| guide.is_on) {
            guide.add(&mut sums, &self.residuals, self.n_rows, models, sample, timestep, watch)?;
        }
        for ((name, _), values) in self.residuals.iter().zip(sums) {
            inputs.insert(name.clone(), denoiser.port().tensor(name, values)?);
        }
        self.is_clear = is_off;
        Ok(())
    }
}

impl Guide<'_> {
    /// Adds what the net gives to the sums of all rows.
    #[allow(clippy::too_many_arguments, reason = "what every call of a model takes, and what it is added to")]
    fn add(
        &mut self,
        sums: &mut [Vec<f32>],
        residuals: &[(String, usize)],
        n_rows: usize,
        models: &mut Shelf,
        sample: &[f32],
        timestep: f32,
        watch: &Watch<'_>,
    ) -> Result<()> {
        let Self { net, weight, calls, .. } = self;
        let batch = net.batch();
        for (call_idx, inputs) in calls.iter_mut().enumerate() {
            inputs.insert(SAMPLE.to_owned(), net.port.tensor(SAMPLE, net.latents(sample))?);
            inputs.insert(TIMESTEP.to_owned(), net.port.tensor(TIMESTEP, vec![timestep; batch])?);
            let mut outputs = net.port.call(models, inputs, watch)?;
            for (sum, (name, n_values)) in sums.iter_mut().zip(residuals) {
                let row = n_values / n_rows.max(1);
                let values = net.port.take_values(&mut outputs, name, row * batch)?;
                let own = sum.iter_mut().skip(call_idx * batch * row);
                own.zip(values).for_each(|(sum, value)| *sum += *weight * value);
            }
        }
        Ok(())
    }
}
