//! What a caller asks for and gets: options, progress, pictures, warnings.

mod own_seed;
mod start;

use host_tensor::HostTensor;
use sd_spec::Family;

use crate::clean::Predicted;
use crate::conditions::Conditions;
use crate::control::ControlPicture;
use crate::error::{Result, RuntimeError};
use crate::forecasting::Forecasting;
use crate::image::{Fit, RgbImage, Size};
use crate::interval::GuidanceInterval;
use crate::prompt::{Emphasis, TruncatedText};
use crate::rng::RandomKind;
use crate::scheduler::{Sampler, WalkOptions};
use crate::seeds::Seeds;
use crate::skip_layers::SkipLayers;
use crate::variation::Variation;
pub use own_seed::OwnSeed;
use start::skipped_steps;
pub use start::{DEFAULT_IMAGE_GUIDANCE, Repaint, StartingImage, StartingLatents};

/// What to draw, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// What the picture shows.
    pub prompt: String,
    /// What it shows in the words of the second text encoder, where there are two; default: the prompt.
    pub prompt_2: Option<String>,
    /// What it should not show; only used with guidance. None is not the same as an empty one: some checkpoints of Stable
    /// Diffusion XL have zeros in its place.
    pub negative_prompt: Option<String>,
    /// The negative prompt of the second text encoder; default: the negative prompt.
    pub negative_prompt_2: Option<String>,
    /// What Stable Diffusion XL is told beside the prompt.
    pub conditions: Conditions,
    /// What it is told beside the negative prompt; default: the same, but for the aesthetic score.
    pub negative_conditions: Conditions,
    /// Seed of the random source, at most [`RandomKind::max_seed`].
    pub seed: u64,
    /// Denoising steps; default 50.
    pub steps: usize,
    /// The language of the prompts, and what weights in them do; default: AUTOMATIC1111's.
    pub emphasis: Emphasis,
    /// Evaluations of a pass before this one, which prompts that change on the way count from; default: there was none.
    pub evaluations_before: Option<usize>,
    /// Classifier-free guidance, active above 1; default 7.5.
    pub guidance_scale: f32,
    /// Where guidance is on; default: throughout. Needs guidance.
    pub guidance_interval: Option<GuidanceInterval>,
    /// Guidance away from the transformer without some of its blocks, of Stable Diffusion 3 alone; default: none. Needs
    /// guidance.
    pub skip_layers: Option<SkipLayers>,
    /// By which rule steps are foretold instead of computed; default: none is.
    pub forecasting: Option<Forecasting>,
    /// Pictures to draw; default 1.
    pub image_count: usize,
    /// Draw this one of the pictures alone, counted from 0; default: all of them.
    pub only: Option<usize>,
    /// Where they have their random numbers from; default: from one stream.
    pub seeds: Seeds,
    /// How much of the guided prediction is brought to the spread of the prompt's own (arXiv 2305.08891, section 3.4), 0 to
    /// 1; default 0.
    pub guidance_rescale: f32,
    /// Layers of CLIP's that the prompt does without, from the last; default 0.
    pub clip_skip: usize,
    /// The same for the negative prompt; default: as the prompt. diffusers leaves it at 0.
    pub negative_clip_skip: Option<usize>,
    /// The scheduler, if not the checkpoint's own.
    pub scheduler: Option<Sampler>,
    /// The time steps to take, falling, in the place of a number of steps.
    pub timesteps: Option<Vec<f64>>,
    /// The noise levels to take, falling, in the place of a number of steps.
    pub sigmas: Option<Vec<f64>>,
    /// How much noise DDIM and its like add on the way, 0 to 1; default: what the scheduler does.
    pub eta: Option<f64>,
    /// Steps that a latent consistency model was distilled from; default: the scheduler's 50.
    pub original_steps: Option<usize>,
    /// Standard normal noise to begin with, f32 [1, C, h, w] for each picture, in the place of the random source's.
    pub noise: Vec<HostTensor>,
    /// Noise of another seed that is mixed in.
    pub variation: Option<Variation>,
    /// The random source; default NumPy's.
    pub random: RandomKind,
    /// The picture to begin with; default: none, only noise.
    pub start: Option<StartingImage>,
    /// Latents of whole pictures to begin with; default: none, only noise.
    pub clean: Option<StartingLatents>,
    /// Latents to go on from, one for each picture, each of the pipeline's shape; needs [`denoising_start`]. They are taken
    /// as they are: no noise is drawn or added.
    ///
    /// [`denoising_start`]: Self::denoising_start
    pub latents: Vec<HostTensor>,
    /// Take only the steps after this share of the noise schedule, between 0 and 1, from [`latents`](Self::latents) on.
    pub denoising_start: Option<f64>,
    /// Take only the steps before this share of the noise schedule, between 0 and 1; the latents keep some noise.
    pub denoising_end: Option<f64>,
    /// Pictures that guide, one for each ControlNet of the pipeline in their order; default: none, and the ControlNets
    /// do nothing.
    pub controls: Vec<ControlPicture>,
    /// Leave out the safety checker even if there is one.
    pub disable_safety: bool,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            prompt_2: None,
            negative_prompt: None,
            negative_prompt_2: None,
            conditions: Conditions::default(),
            negative_conditions: Conditions::default(),
            seed: 0,
            steps: 50,
            emphasis: Emphasis::default(),
            evaluations_before: None,
            guidance_scale: 7.5,
            guidance_rescale: 0.0,
            clip_skip: 0,
            negative_clip_skip: None,
            guidance_interval: None,
            skip_layers: None,
            forecasting: None,
            image_count: 1,
            only: None,
            seeds: Seeds::default(),
            scheduler: None,
            timesteps: None,
            sigmas: None,
            eta: None,
            original_steps: None,
            noise: Vec::new(),
            variation: None,
            random: RandomKind::default(),
            start: None,
            clean: None,
            latents: Vec::new(),
            denoising_start: None,
            denoising_end: None,
            controls: Vec::new(),
            disable_safety: false,
        }
    }
}

impl GenerateOptions {
    /// Options for a prompt, everything else as by default.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), ..Self::default() }
    }

    /// Whether guidance is active: above 1, as in diffusers.
    #[must_use]
    pub fn is_guided(&self) -> bool {
        self.guidance_scale > 1.0
    }

    /// Pictures that are drawn.
    #[must_use]
    pub fn drawn_count(&self) -> usize {
        self.only.map_or(self.image_count, |_| 1)
    }

    /// Whether this picture is drawn.
    pub(crate) fn draws(&self, image_idx: usize) -> bool {
        self.only.is_none_or(|only| only == image_idx)
    }

    /// The prompt as each of two text encoders reads it.
    pub(crate) fn prompts(&self) -> [&str; 2] {
        [&self.prompt, self.prompt_2.as_deref().unwrap_or(&self.prompt)]
    }

    /// The negative prompt as each of two text encoders reads it; one that is missing is empty.
    pub(crate) fn negative_prompts(&self) -> [&str; 2] {
        let first = self.negative_prompt.as_deref().unwrap_or_default();
        [first, self.negative_prompt_2.as_deref().unwrap_or(first)]
    }

    /// Layers of CLIP's that the negative prompt does without.
    pub(crate) fn skip_of_negative(&self) -> usize {
        self.negative_clip_skip.unwrap_or(self.clip_skip)
    }

    /// Denoising steps: as many as there are time steps or noise levels, where these are given.
    pub(crate) fn n_steps(&self) -> usize {
        self.timesteps.as_ref().or(self.sigmas.as_ref()).map_or(self.steps, Vec::len)
    }

    /// Number of steps that a starting picture, or its latents, spares.
    pub(crate) fn skipped_steps(&self, family: Family) -> Result<usize> {
        let strength = self.start.as_ref().map(|start| start.strength);
        let strength = strength.or(self.clean.as_ref().map(|clean| clean.strength));
        strength.map_or(Ok(0), |strength| skipped_steps(strength, self.n_steps(), family))
    }

    /// How the walk is laid out from its first step.
    pub(crate) fn walk(&self) -> WalkOptions {
        WalkOptions {
            steps: self.n_steps(),
            timesteps: self.timesteps.clone(),
            sigmas: self.sigmas.clone(),
            eta: self.eta,
            original_steps: self.original_steps,
            ..WalkOptions::default()
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let fail = |reason: String| Err(RuntimeError::Options(reason));
        if !self.guidance_scale.is_finite() {
            return fail(format!("guidance scale {} is not a number", self.guidance_scale));
        }
        if !(0.0..=1.0).contains(&self.guidance_rescale) {
            return fail(format!("guidance rescale {} is not between 0 and 1", self.guidance_rescale));
        }
        if let Some(variation) = &self.variation {
            variation.check()?;
        }
        self.check_seeds()?;
        if !self.noise.is_empty() && self.noise.len() != self.image_count {
            return fail(format!("noise is given for {} of {} pictures", self.noise.len(), self.image_count));
        }
        if let Some(interval) = self.guidance_interval.filter(|_| !self.is_guided()) {
            let scale = self.guidance_scale;
            return fail(format!("guidance interval {interval} has no effect at guidance {scale}, which is off"));
        }
        self.check_skip_layers()?;
        if self.image_count == 0 {
            return fail("0 images asked for; at least 1 is needed".into());
        }
        if let Some(only) = self.only.filter(|only| *only >= self.image_count) {
            return fail(format!(
                "picture {only} alone is asked for, and there are {}, counted from 0",
                self.image_count
            ));
        }
        self.start.as_ref().map_or(Ok(()), StartingImage::check)?;
        self.check_clean()?;
        self.controls.iter().try_for_each(ControlPicture::check)?;
        self.check_range()
    }

    /// Checks guidance by a transformer without blocks, which counts beside guidance by the prompt, as in diffusers.
    fn check_skip_layers(&self) -> Result<()> {
        let Some(skip) = &self.skip_layers else { return Ok(()) };
        if !self.is_guided() {
            return Err(RuntimeError::Options(format!(
                "skip-layer guidance counts together with guidance only, which is {}; give more than 1, or leave the layers \
                 in",
                self.guidance_scale
            )));
        }
        if let Some(share) = self.denoising_start {
            return Err(RuntimeError::Options(format!(
                "skip-layer guidance is of the first steps, and denoising begins at {share} of the noise schedule; leave it out"
            )));
        }
        skip.check(self.steps_of(Family::Sd3)?)
    }

    /// Steps that each picture takes: those behind the ones that a starting picture spares.
    pub(crate) fn steps_of(&self, family: Family) -> Result<usize> {
        Ok(self.n_steps() - self.skipped_steps(family)?)
    }

    /// Checks what part of the noise schedule is asked for, and what it begins with.
    fn check_range(&self) -> Result<()> {
        let fail = |reason: String| Err(RuntimeError::Options(reason));
        for (name, share) in [("begins", self.denoising_start), ("ends", self.denoising_end)] {
            if let Some(share) = share.filter(|share| !(*share > 0.0 && *share < 1.0)) {
                return fail(format!("denoising {name} at {share}, which is not between 0 and 1"));
            }
        }
        if let (Some(start), Some(end)) = (self.denoising_start, self.denoising_end)
            && start >= end
        {
            return fail(format!("denoising begins at {start} and ends at {end}; nothing lies between"));
        }
        match (self.latents.len(), self.denoising_start) {
            (0, Some(_)) => fail("denoising that begins late goes on from latents, and none are given".into()),
            (1.., None) => fail("latents to go on from need the place in the noise schedule where they stand".into()),
            (1.., _) if self.start.is_some() => fail("it begins with latents, or with a picture, not with both".into()),
            (n @ 1.., _) if n != self.image_count => {
                fail(format!("{n} latents to go on from for {} pictures", self.image_count))
            }
            _ => Ok(()),
        }
    }
}

/// Where a run stands, after a step.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Index of the picture.
    pub image_idx: usize,
    /// Number of pictures.
    pub n_images: usize,
    /// Model evaluations done for this picture, from 1.
    pub step: usize,
    /// Model evaluations planned for this picture; PNDM needs one more than `steps`.
    pub n_steps: usize,
    /// The latents after the step, still noisy.
    pub latents: &'a [f32],
    pub(crate) predicted: Predicted<'a>,
}

impl Progress<'_> {
    /// The latents without noise as the step's output foretells them, computed now; `None` for models that are
    /// preconditioned (EDM), whose outputs do not say it.
    #[must_use]
    pub fn clean(&self) -> Option<Vec<f32>> {
        self.predicted.clean()
    }
}

/// What denoising gave, before anything is decoded.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Undecoded {
    /// Of each picture, in the order of their noise.
    pub pictures: Vec<Denoised>,
    /// What the caller should tell its user.
    pub warnings: Vec<Warning>,
}

/// A picture's latents.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Denoised {
    /// What it began with, f32 [1, C, h, w]: standard normal noise, or latents that were given.
    pub noise: HostTensor,
    /// What became of it, f32 [1, C, h, w].
    pub latents: HostTensor,
}

/// What a run gave.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Generation {
    /// The pictures, in the order of their noise.
    pub images: Vec<GeneratedImage>,
    /// What the caller should tell its user.
    pub warnings: Vec<Warning>,
}

/// One picture and what it came from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GeneratedImage {
    /// The picture; black if the safety checker objected.
    pub image: RgbImage,
    /// The standard normal noise that it began with, f32 [1, C, h, w].
    pub noise: HostTensor,
    /// The final latents, f32 [1, C, h, w].
    pub latents: HostTensor,
    /// The decoder's output, f32 [1, 3, H, W], about −1 to 1, before any check.
    pub decoded: HostTensor,
    /// What the safety checker said, if it ran.
    pub safety: Option<SafetyVerdict>,
}

/// What a safety checker said about a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct SafetyVerdict {
    /// Whether the picture was rejected.
    pub flagged: bool,
    /// Score of every concept; above 0 counts.
    pub concept_scores: Vec<f32>,
}

/// Which of the two texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptPart {
    /// The prompt.
    Prompt,
    /// The negative prompt.
    Negative,
}

/// Something that did not stop the run but changed its result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A text was too long, and its end was ignored.
    PromptTruncated {
        /// Which text.
        part: PromptPart,
        /// What was ignored.
        cut: TruncatedText,
    },
    /// A prompt has the word AND, which joins texts in AUTOMATIC1111's language; here it is a word.
    AndIsText,
    /// Prompts are longer than a window, and the denoiser takes one.
    OneWindow {
        /// Why there is no denoiser for more.
        because: String,
    },
    /// The denoiser takes two samples at a time, and steps without guidance gave it the same one twice.
    TwoAtATime {
        /// Why there is no denoiser for one.
        because: String,
    },
    /// The decoder gave values that are not numbers; half precision overflowed.
    NotFinite {
        /// Index of the picture.
        image_idx: usize,
    },
    /// The picture to begin with had another size than is drawn.
    Fitted {
        /// Its size.
        from: Size,
        /// What is drawn.
        to: Size,
        /// What became of its proportions.
        fit: Fit,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PromptTruncated { part, cut } => {
                let part = match part {
                    PromptPart::Prompt => "prompt",
                    PromptPart::Negative => "negative prompt",
                };
                write!(f, "the {part} is too long; its last {} tokens were ignored: {:?}", cut.n_tokens, cut.text)
            }
            Self::AndIsText => f.write_str(
                "AND between texts is not implemented: it is read as a word; BREAK begins a new window of text",
            ),
            Self::OneWindow { because } => write!(
                f,
                "the prompt fills more than one window of text, and the denoiser takes one, so the rest is cut off ({because})"
            ),
            Self::TwoAtATime { because } => write!(
                f,
                "the denoiser takes two samples at a time, so steps without guidance took twice the time that they need \
                 ({because}); convert it for one: --unet-batches 1"
            ),
            Self::NotFinite { image_idx } => {
                write!(f, "picture {image_idx} has values that are not finite; try a model in float32")
            }
            Self::Fitted { from, to, fit } => {
                write!(f, "the picture to begin with is {from} (width x height) and {to} is drawn: ")?;
                let is_scaled = from.width * to.height == from.height * to.width;
                f.write_str(match fit {
                    _ if is_scaled => "it was scaled",
                    Fit::Stretch => "it was stretched",
                    Fit::Fill => "it was scaled to lie in the middle, and its edges were continued",
                    Fit::Crop => "it was scaled, and what stood out was cut off",
                })
            }
        }
    }
}
