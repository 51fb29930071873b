//! What is drawn, and what came of it.

use std::path::Path;

use host_tensor::HostTensor;
use sd_runtime::pipeline::{
    Conditions, ControlPicture, Forecasting, GenerateOptions, GuidanceInterval, Seeds, SkipLayers, Takes, Variation,
};
use sd_runtime::prompt::Emphasis;
use sd_runtime::rng::RandomKind;
use sd_runtime::scheduler::Sampler;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result, refuse};
use crate::file::{name_of, read_picture_with_alpha};
use crate::hires::Hires;
use crate::networks::without_networks;
use crate::open::Opened;
use crate::picture::Picture;
use crate::start::Start;

/// The share of the noise schedule at which a refiner takes over, unless another is asked for.
pub const REFINER_START: f64 = 0.8;

/// What to draw, and how. As JSON every field may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// What the pictures show.
    pub prompt: String,
    /// What the pictures show in the words of the second text encoder, of Stable Diffusion XL; default: the prompt.
    pub prompt_2: Option<String>,
    /// What they do not show; needs guidance. Null is not the same as an empty text: Stable Diffusion XL has zeros in the
    /// place of a negative prompt that is not given.
    pub negative_prompt: Option<String>,
    /// The negative prompt of the second text encoder; default: the negative prompt.
    pub negative_prompt_2: Option<String>,
    /// The language of the prompts, and what weights in them do.
    #[serde(with = "by_name")]
    pub emphasis: Emphasis,
    /// What Stable Diffusion XL is told of the pictures: sizes, crop, and the refiner an aesthetic score.
    pub conditions: Conditions,
    /// What it is told of what the pictures are guided away from; default: the same, but for the score.
    pub negative_conditions: Conditions,
    /// Seed of the random source, at most [`RandomKind::max_seed`].
    pub seed: u64,
    /// Denoising steps.
    pub steps: usize,
    /// Classifier-free guidance: how strongly the prompt counts; off at 1 and below.
    pub guidance: f32,
    /// How much of the guided prediction is brought to the spread of the prompt's own, 0 to 1.
    pub guidance_rescale: f32,
    /// Layers of CLIP's that the prompt does without, from the last; the pipeline must be loaded with that
    /// ([`PipelineOptions::clip_skips`](crate::PipelineOptions::clip_skips)).
    pub clip_skip: usize,
    /// The same for the negative prompt; as the prompt where it is left out.
    pub negative_clip_skip: Option<usize>,
    /// Where guidance is on, outside of which the prompt alone counts; throughout where it is left out.
    #[serde(with = "by_name_if_any")]
    pub guidance_interval: Option<GuidanceInterval>,
    /// Guidance away from the transformer without some of its blocks, of Stable Diffusion 3; the pipeline must be loaded with
    /// that ([`PipelineOptions::skip_layers`](crate::PipelineOptions::skip_layers)).
    pub skip_layers: Option<SkipLayers>,
    /// The rule by which some steps are foretold instead of computed, if any.
    #[serde(with = "by_name_if_any")]
    pub forecast: Option<Forecasting>,
    /// Number of pictures.
    pub count: usize,
    /// Draw this one of the pictures alone, counted from 0; all of them where it is left out.
    pub only: Option<usize>,
    /// Where several pictures have their random numbers from: one stream for all, or the seeds from `seed` on.
    #[serde(with = "by_name")]
    pub seeds: Seeds,
    /// The scheduler, if not the pipeline's own.
    #[serde(with = "by_name_if_any")]
    pub scheduler: Option<Sampler>,
    /// The time steps to take, falling, in the place of a number of steps.
    pub timesteps: Option<Vec<f64>>,
    /// The noise levels to take, falling, in the place of a number of steps.
    pub sigmas: Option<Vec<f64>>,
    /// How much noise the scheduler adds on the way, 0 to 1, where it has that choice.
    pub eta: Option<f64>,
    /// Steps that a latent consistency model was distilled from.
    pub original_steps: Option<usize>,
    /// Noise to begin with, f32 [1, C, h, w] for each picture, in the place of the random source's; it is no part of the
    /// JSON.
    #[serde(skip)]
    pub noise: Vec<HostTensor>,
    /// Noise of another seed that is mixed in.
    pub variation: Option<Variation>,
    /// The random source whose noise is drawn.
    #[serde(with = "by_name")]
    pub random: RandomKind,
    /// The picture to begin with; it is no part of the JSON.
    #[serde(skip)]
    pub start: Option<Start>,
    /// Latents to go on from, one for each picture, f32 [1, C, h, w], as they are at `denoising_start`; they are no part of
    /// the JSON.
    #[serde(skip)]
    pub latents: Vec<HostTensor>,
    /// Take only the steps after this share of the noise schedule, between 0 and 1, from `latents` on.
    pub denoising_start: Option<f64>,
    /// Take only the steps before this share of the noise schedule, between 0 and 1: another model can take the rest.
    pub denoising_end: Option<f64>,
    /// A second, larger pass over what is drawn.
    pub hires: Option<Hires>,
    /// The share of the noise schedule at which the pipeline's refiner takes over; default: [`REFINER_START`] where it has
    /// one.
    pub refiner_start: Option<f64>,
    /// The pictures that guide, one for each of the pipeline's ControlNets in their order, or none; they are no part of the
    /// JSON.
    #[serde(skip)]
    pub controls: Vec<Control>,
    /// Leave the safety checker out, even if there is one.
    pub no_safety_check: bool,
}

/// A picture that guides by a ControlNet.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// The picture, what becomes of it first, how strongly and how long it guides.
    pub picture: ControlPicture,
    /// Name of its file, for the settings of what is drawn.
    pub file: String,
}

impl Control {
    /// Reads the picture: PNG, JPEG or WebP; it guides all steps with weight 1.
    ///
    /// # Errors
    /// When the file cannot be read, or is no picture.
    pub fn read(path: &Path) -> Result<Self> {
        let (image, alpha) = read_picture_with_alpha(path).context("--control-image")?;
        Ok(Self { picture: ControlPicture { alpha, ..ControlPicture::new(image) }, file: name_of(path) })
    }
}
/// Where guidance is on in a fast run: not at the highest noise levels, where it does harm (arXiv 2404.07724).
const FAST_INTERVAL: GuidanceInterval = GuidanceInterval::Steps { start: 0.2, end: 1.0 };

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            prompt_2: None,
            negative_prompt: None,
            negative_prompt_2: None,
            emphasis: Emphasis::default(),
            conditions: Conditions::default(),
            negative_conditions: Conditions::default(),
            seed: 0,
            steps: 20,
            guidance: 7.5,
            guidance_rescale: 0.0,
            clip_skip: 0,
            negative_clip_skip: None,
            guidance_interval: None,
            skip_layers: None,
            forecast: None,
            count: 1,
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
            latents: Vec::new(),
            denoising_start: None,
            denoising_end: None,
            hires: None,
            refiner_start: None,
            controls: Vec::new(),
            no_safety_check: false,
        }
    }
}

impl Request {
    /// A request for one picture, everything else as by default.
    #[must_use]
    pub fn new(prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), ..Self::default() }
    }

    /// Pictures that are drawn.
    #[must_use]
    pub fn drawn_count(&self) -> usize {
        self.only.map_or(self.count, |_| 1)
    }

    /// Refuses what would change nothing.
    ///
    /// # Errors
    /// [`Refused`](crate::Error::Refused) for a negative prompt without guidance, and for a second one without a first; also
    /// for numbers that mean nothing.
    pub fn check(&self) -> Result<()> {
        let is_text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        for (option, what, is_given) in [
            ("--negative-prompt", "the negative prompt", is_text(&self.negative_prompt)),
            ("--negative-prompt-2", "the second negative prompt", is_text(&self.negative_prompt_2)),
            ("what is told of the negative prompt", "it", !self.negative_conditions.is_empty()),
        ] {
            if is_given && self.guidance <= 1.0 {
                refuse!(
                    "{option} has no effect at guidance {}, which leaves it out; give more than 1, or leave {what} out",
                    self.guidance
                );
            }
        }
        if let Some(start) = self.refiner_start.filter(|start| !(*start > 0.0 && *start < 1.0)) {
            refuse!(
                "--refiner-start {start} is not between 0 and 1: it is the share of the noise schedule that the model itself \
                 takes, {REFINER_START} for example"
            );
        }
        if self.negative_prompt.is_none() && self.negative_prompt_2.is_some() {
            refuse!(
                "--negative-prompt-2 is for the second of two text encoders; give --negative-prompt for the first too"
            );
        }
        if self.guidance_rescale > 0.0 && self.guidance <= 1.0 {
            refuse!("--guidance-rescale has no effect at guidance {}, which is off; give more than 1", self.guidance);
        }
        if let Some(variation) = self.variation {
            self.random.check_seed(variation.seed)?;
        }
        if let Some(interval) = self.guidance_interval.filter(|_| self.guidance <= 1.0) {
            refuse!(
                "--guidance-interval {interval} has no effect at guidance {}, which is off; give more than 1, or leave the \
                 interval out",
                self.guidance
            );
        }
        if self.skip_layers.is_some() && self.guidance <= 1.0 {
            refuse!(
                "--skip-layers counts together with guidance only, which is {}; give more than 1, or leave the layers in",
                self.guidance
            );
        }
        self.start.as_ref().map_or(Ok(()), Start::check)?;
        self.controls.iter().try_for_each(|control| control.picture.check())?;
        Ok(self.random.check_seed(self.seed)?)
    }

    /// Chooses what takes less time for nearly the same pictures, of what is not chosen: forecasts, and where guidance is on
    /// (`docs/speed.md` has what they cost).
    pub fn make_fast(&mut self) {
        self.forecast.get_or_insert(Forecasting::Line);
        if self.guidance > 1.0 {
            self.guidance_interval.get_or_insert(FAST_INTERVAL);
        }
    }

    /// Refuses pictures and masks that a model has no use for, or lacks, as far as that is known before it is loaded.
    ///
    /// # Errors
    /// [`Refused`](crate::Error::Refused) or [`Runtime`](crate::Error::Runtime), with what would work.
    pub fn check_for(&self, opened: &Opened) -> Result<()> {
        match opened.takes()? {
            Some(takes) => Ok(self.options(takes).check_for(takes)?),
            None => Ok(()),
        }
    }

    /// The same for the pipeline of a denoiser that takes that.
    pub(crate) fn options(&self, takes: Takes) -> GenerateOptions {
        GenerateOptions {
            prompt: without_networks(&self.prompt, self.emphasis),
            prompt_2: self.prompt_2.as_deref().map(|text| without_networks(text, self.emphasis)),
            negative_prompt: self.negative_prompt.clone(),
            negative_prompt_2: self.negative_prompt_2.clone(),
            emphasis: self.emphasis,
            evaluations_before: None,
            conditions: self.conditions,
            negative_conditions: self.negative_conditions,
            seed: self.seed,
            steps: self.steps,
            guidance_scale: self.guidance,
            guidance_rescale: self.guidance_rescale,
            clip_skip: self.clip_skip,
            negative_clip_skip: self.negative_clip_skip,
            guidance_interval: self.guidance_interval,
            skip_layers: self.skip_layers,
            forecasting: self.forecast,
            image_count: self.count,
            only: self.only,
            seeds: self.seeds,
            scheduler: self.scheduler,
            timesteps: self.timesteps.clone(),
            sigmas: self.sigmas.clone(),
            eta: self.eta,
            original_steps: self.original_steps,
            noise: self.noise.clone(),
            variation: self.variation,
            random: self.random,
            start: self.start.as_ref().map(|start| start.starting(takes)),
            clean: None,
            latents: self.latents.clone(),
            denoising_start: self.denoising_start,
            denoising_end: self.denoising_end,
            controls: self.controls.iter().map(|control| control.picture.clone()).collect(),
            disable_safety: self.no_safety_check,
        }
    }
}

/// Pictures, and what the user should know of how they came about.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Drawing {
    /// The pictures, in the order of their noise.
    pub pictures: Vec<Picture>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// A value as the text that it is parsed from.
mod by_name {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
    {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The same, or null.
pub(crate) mod by_name_if_any {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
    {
        let name = Option::<String>::deserialize(deserializer)?;
        name.map(|name| name.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_json_in_which_every_field_may_be_left_out() {
        let request: Request = serde_json::from_str(r#"{"prompt": "a red heart", "scheduler": "euler"}"#).unwrap();
        assert_eq!(request, Request { scheduler: Some("euler".parse().unwrap()), ..Request::new("a red heart") });
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
        let error = serde_json::from_str::<Request>(r#"{"promt": ""}"#).unwrap_err().to_string();
        assert!(error.contains("promt"), "{error}");
    }

    #[test]
    fn what_makes_a_run_fast_leaves_what_was_chosen() {
        let mut request: Request = serde_json::from_str(r#"{"guidance_interval": "sigma=1:5"}"#).unwrap();
        request.make_fast();
        assert_eq!(request.forecast, Some(Forecasting::Line));
        assert_eq!(request.guidance_interval.unwrap().to_string(), "sigma=1:5");
        let mut request = Request { guidance: 1.0, ..Request::default() };
        request.make_fast();
        assert_eq!((request.forecast, request.guidance_interval), (Some(Forecasting::Line), None));
        request.check().unwrap();
        let error = Request { guidance_interval: Some(FAST_INTERVAL), ..request }.check().unwrap_err().to_string();
        assert!(error.contains("--guidance-interval 0.2:1 has no effect"), "{error}");
    }

    #[test]
    fn a_negative_prompt_needs_guidance() {
        let request = Request { negative_prompt: Some("x".into()), guidance: 1.0, ..Request::default() };
        assert!(request.check().unwrap_err().to_string().contains("no effect at guidance 1"));
        Request { guidance: 1.1, ..request }.check().unwrap();
        let told = Conditions { aesthetic_score: Some(2.0), ..Conditions::default() };
        let request = Request { negative_conditions: told, guidance: 1.0, ..Request::default() };
        assert!(request.check().unwrap_err().to_string().contains("no effect at guidance 1"));
        let request = Request { negative_prompt_2: Some("x".into()), ..Request::default() };
        assert!(request.check().unwrap_err().to_string().contains("give --negative-prompt for the first"));
    }

    #[test]
    fn a_negative_prompt_that_is_missing_is_not_an_empty_one() {
        let read = |json: &str| serde_json::from_str::<Request>(json).unwrap().negative_prompt;
        assert_eq!(read(r#"{"negative_prompt": null}"#), None);
        assert_eq!(read(r#"{"negative_prompt": ""}"#), Some(String::new()));
        assert_eq!(read("{}"), None);
    }
}
