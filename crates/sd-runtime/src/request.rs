//! What a caller asks for and gets: options, progress, pictures, warnings.

use host_tensor::HostTensor;

use crate::control::ControlPicture;
use crate::error::{Result, RuntimeError};
use crate::image::RgbImage;
use crate::prompt::TruncatedText;
use crate::rng::RandomKind;
use crate::scheduler::Sampler;

/// What to draw, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// What the picture shows.
    pub prompt: String,
    /// What it should not show; only used with guidance.
    pub negative_prompt: String,
    /// Seed of the random source, at most [`RandomKind::max_seed`].
    pub seed: u64,
    /// Denoising steps; default 50.
    pub steps: usize,
    /// Classifier-free guidance, active above 1; default 7.5.
    pub guidance_scale: f32,
    /// Pictures to draw from one random stream; default 1.
    pub image_count: usize,
    /// The scheduler, if not the checkpoint's own.
    pub scheduler: Option<Sampler>,
    /// The random source; default NumPy's.
    pub random: RandomKind,
    /// The picture to begin with; default: none, only noise.
    pub start: Option<StartingImage>,
    /// Pictures that guide, one for each ControlNet of the pipeline in their order; default: none, and the ControlNets
    /// do nothing.
    pub controls: Vec<ControlPicture>,
    /// Leave out the safety checker even if there is one.
    pub disable_safety: bool,
}

/// A picture to begin with, and how much of it may change.
#[derive(Debug, Clone, PartialEq)]
pub struct StartingImage {
    /// The picture; it is cropped around its centre and scaled to the pipeline's size.
    pub image: RgbImage,
    /// Share of the steps that are taken, above 0 to 1: the more, the more noise is added and the more changes.
    ///
    /// As in diffusers and in Apple's pipelines the first `steps - floor(steps · strength)` steps are left out.
    pub strength: f64,
}

impl StartingImage {
    /// Number of steps to leave out.
    fn skipped_steps(&self, steps: usize) -> Result<usize> {
        let strength = self.strength;
        if !(strength > 0.0 && strength <= 1.0) {
            return Err(RuntimeError::Options(format!("strength {strength} is not above 0 and at most 1")));
        }
        match (steps as f64 * strength) as usize {
            0 => Err(RuntimeError::Options(format!(
                "strength {strength} leaves none of {steps} steps; the least is {:.3}, or take more steps",
                1.0 / steps as f64
            ))),
            n => Ok(steps.saturating_sub(n)),
        }
    }
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: String::new(),
            seed: 0,
            steps: 50,
            guidance_scale: 7.5,
            image_count: 1,
            scheduler: None,
            random: RandomKind::default(),
            start: None,
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

    /// Number of steps that a starting picture spares.
    pub(crate) fn skipped_steps(&self) -> Result<usize> {
        self.start.as_ref().map_or(Ok(0), |start| start.skipped_steps(self.steps))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let fail = |reason: String| Err(RuntimeError::Options(reason));
        if !self.guidance_scale.is_finite() {
            return fail(format!("guidance scale {} is not a number", self.guidance_scale));
        }
        if self.image_count == 0 {
            return fail("0 images asked for; at least 1 is needed".into());
        }
        self.controls.iter().try_for_each(ControlPicture::check)
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
    /// The decoder gave values that are not numbers; half precision overflowed.
    NotFinite {
        /// Index of the picture.
        image_idx: usize,
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
            Self::NotFinite { image_idx } => {
                write!(f, "picture {image_idx} has values that are not finite; try a model in float32")
            }
        }
    }
}
