//! Classifier-free guidance: the denoiser with the prompt and without it, in one call or in several.

use sd_spec::Family;

use super::control::{ControlNet, Controls};
use super::denoiser::{Denoiser, GUIDANCE_INPUT};
use super::embedding::guidance_embedding;
use super::rescale::rescale;
use super::skipping::Skipping;
use crate::control::ControlPicture;
use crate::engine::Tensors;
use crate::error::Result;
use crate::features::{Conditioning, Features};
use crate::models::Shelf;
use crate::request::GenerateOptions;
use crate::watch::Watch;

/// What the denoiser's sample has behind the latents: further channels, [C, h, w].
pub(crate) enum Beside {
    Nothing,
    /// The same for every row.
    Same(Vec<f32>),
    /// Latents of a picture that the denoiser edits, and how strongly the picture counts.
    Picture {
        latents: Vec<f32>,
        guidance: f32,
    },
}

/// One batch element: what conditions it, and what stands behind its latents.
#[derive(Clone)]
struct Row<'a> {
    features: &'a Features,
    beside: Vec<f32>,
}

/// The inputs of one call, and what its rows have behind the latents.
struct Call<'a> {
    inputs: Tensors,
    rows: Vec<&'a Features>,
    beside: Vec<Vec<f32>>,
}

/// What becomes of the rows' predictions.
#[derive(Clone, Copy)]
enum Mix {
    /// The first is all there is.
    Alone,
    /// Negative prompt, prompt: how strongly the prompt counts.
    Text(f32),
    /// Neither, the picture, the picture and the prompt: how strongly prompt and picture count.
    // diffusers 0.42, StableDiffusionInstructPix2PixPipeline.
    TextAndPicture(f32, f32),
}

/// The calls of one evaluation, and what becomes of their rows.
pub(crate) struct Guidance<'a> {
    denoiser: &'a Denoiser,
    /// The conditioning is put in once, for all steps of all pictures, the rest at each step.
    calls: Vec<Call<'a>>,
    /// What ControlNets add to each call; none where the denoiser takes nothing of them.
    controls: Vec<Controls<'a>>,
    mix: Mix,
    /// How much of the guided prediction is brought to the spread of the prompt's own.
    rescale: f32,
    /// What it is guided away from beside the negative prompt.
    skipping: Option<Skipping<'a>>,
}

impl<'a> Guidance<'a> {
    /// Guidance of that scale, or none where there is nothing to be guided away from.
    ///
    /// The negative prompt's row comes first, as in diffusers; a batch that is not filled has its last row several times.
    pub(crate) fn new(
        denoiser: &'a Denoiser,
        conditioning: &'a Conditioning,
        options: &GenerateOptions,
        beside: &Beside,
    ) -> Result<Self> {
        let scale = options.guidance_scale;
        let batch = denoiser.batch();
        let Conditioning { prompt, negative } = conditioning;
        let row = |features, beside: &[f32]| Row { features, beside: beside.to_vec() };
        let own = beside.values();
        let (mut rows, mix) = match (negative, beside) {
            (None, _) => (vec![row(prompt, own)], Mix::Alone),
            (Some(negative), Beside::Picture { latents, guidance }) => {
                let none = vec![0.0; latents.len()];
                let rows = vec![row(negative, &none), row(negative, own), row(prompt, own)];
                (rows, Mix::TextAndPicture(scale, *guidance))
            }
            (Some(negative), _) => (vec![row(negative, own), row(prompt, own)], Mix::Text(scale)),
        };
        let last = rows.last().cloned();
        let missing = rows.len().next_multiple_of(batch) - rows.len();
        rows.extend(last.into_iter().cycle().take(missing));
        let call = |rows: &[Row<'a>]| {
            let beside = rows.iter().map(|row| row.beside.clone()).collect();
            Ok(Call { inputs: join(denoiser, rows)?, rows: rows.iter().map(|row| row.features).collect(), beside })
        };
        let mut calls = rows.chunks(batch).map(call).collect::<Result<Vec<_>>>()?;
        if let Some(width) = denoiser.guidance_width() {
            let embedding = guidance_embedding(scale, width).repeat(batch);
            let embedding = denoiser.port().tensor(GUIDANCE_INPUT, embedding)?;
            calls.iter_mut().for_each(|call| drop(call.inputs.insert(GUIDANCE_INPUT.to_owned(), embedding.clone())));
        }
        Ok(Self { denoiser, calls, controls: Vec::new(), mix, rescale: options.guidance_rescale, skipping: None })
    }

    /// The same, where ControlNets add what they see in pictures; nothing without pictures.
    pub(crate) fn with_controls(mut self, nets: &'a [ControlNet], pictures: &[ControlPicture]) -> Result<Self> {
        if self.denoiser.is_controlled() {
            let controls = |call: &Call<'a>| Controls::new(nets, self.denoiser, &call.rows, pictures);
            self.controls = self.calls.iter().map(controls).collect::<Result<_>>()?;
        }
        Ok(self)
    }

    /// The same, away from what a denoiser predicts without some of its blocks too, where that is asked for.
    pub(crate) fn with_skipping(
        mut self,
        denoiser: Option<&'a Denoiser>,
        prompt: &Features,
        options: &GenerateOptions,
    ) -> Result<Self> {
        if let (Some(denoiser), Some(asked)) = (denoiser, options.skip_layers) {
            let n_steps = options.steps_of(Family::Sd3)?;
            self.skipping = Some(Skipping::new(denoiser, prompt, asked, n_steps)?);
        }
        Ok(self)
    }

    /// Begins step `idx` of `n`.
    pub(crate) fn begin(&mut self, idx: usize, n: usize) {
        self.skipping.iter_mut().for_each(|skipping| skipping.begin(idx));
        self.controls.iter_mut().for_each(|controls| controls.begin(idx, n));
    }

    /// The noise predicted for one image's latents, guided as far as it is; with guidance by the prompt alone,
    /// `uncond + scale · (cond − uncond)`.
    pub(crate) fn predict(
        &mut self,
        models: &mut Shelf,
        latents: &[f32],
        timestep: f32,
        watch: &Watch<'_>,
    ) -> Result<Vec<f32>> {
        let mut predicted = Vec::new();
        for (call_idx, Call { inputs, beside, .. }) in self.calls.iter_mut().enumerate() {
            if let Some(controls) = self.controls.get_mut(call_idx) {
                controls.put(self.denoiser, models, inputs, latents, timestep, watch)?;
            }
            let sample = beside.iter().flat_map(|beside| [latents, beside.as_slice()]).flatten().copied().collect();
            predicted.extend(self.denoiser.predict(models, inputs, sample, timestep, watch)?);
        }
        let n_rows = self.calls.len() * self.denoiser.batch();
        let n = predicted.len() / n_rows;
        let Some(skipping) = self.skipping.as_mut().filter(|skipping| skipping.is_on()) else {
            return Ok(self.mix.of(predicted, n, self.rescale));
        };
        // The prompt's row comes after the negative prompt's.
        let prompt = predicted[n..2 * n].to_vec();
        let mut guided = self.mix.of(predicted, n, self.rescale);
        skipping.add(&mut guided, &prompt, models, (latents, timestep), watch)?;
        Ok(guided)
    }
}

impl Beside {
    fn values(&self) -> &[f32] {
        match self {
            Self::Nothing => &[],
            Self::Same(values) | Self::Picture { latents: values, .. } => values,
        }
    }
}

impl Mix {
    /// One prediction of the rows', of `n` values each.
    fn of(self, mut rows: Vec<f32>, n: usize, share: f32) -> Vec<f32> {
        let further = rows.split_off(n.min(rows.len()));
        match self {
            Self::Alone => rows,
            Self::Text(scale) => {
                let mut guided: Vec<f32> = rows.into_iter().zip(&further).map(|(u, c)| u + scale * (c - u)).collect();
                if share > 0.0 {
                    rescale(&mut guided, &further, share);
                }
                guided
            }
            Self::TextAndPicture(text, picture) => {
                let (images, conds) = further.split_at(n.min(further.len()));
                let mixed = rows.into_iter().zip(images).zip(conds);
                mixed.map(|((u, i), c)| u + text * (c - i) + picture * (i - u)).collect()
            }
        }
    }
}

/// The features of several batch elements, one after the other.
fn join(denoiser: &Denoiser, rows: &[Row<'_>]) -> Result<Tensors> {
    let names = rows.first().into_iter().flat_map(|row| row.features.keys());
    let values = |name: &str| rows.iter().filter_map(|row| row.features.get(name)).flatten().copied().collect();
    names.map(|name| Ok(((*name).to_owned(), denoiser.port().tensor(name, values(name))?))).collect()
}
