//! What is drawn, and what came of it.

use std::io::Write;
use std::path::Path;

use host_tensor::HostTensor;
use safe_files::Outputs;
use sd_runtime::image::RgbImage;
use sd_runtime::pipeline::{ControlPicture, GenerateOptions, PictureSettings, StartingImage};
use sd_runtime::rng::RandomKind;
use sd_runtime::scheduler::Sampler;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result, refuse};
use crate::file::{read_picture, read_picture_with_alpha};

/// What to draw, and how. As JSON every field may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// What the pictures show.
    pub prompt: String,
    /// What they do not show; needs guidance.
    pub negative_prompt: String,
    /// Seed of the random source, at most [`RandomKind::max_seed`].
    pub seed: u64,
    /// Denoising steps.
    pub steps: usize,
    /// Classifier-free guidance: how strongly the prompt counts; off at 1 and below.
    pub guidance: f32,
    /// Number of pictures, from one random stream.
    pub count: usize,
    /// The scheduler, if not the pipeline's own.
    #[serde(with = "by_name_if_any")]
    pub scheduler: Option<Sampler>,
    /// The random source whose noise is drawn.
    #[serde(with = "by_name")]
    pub random: RandomKind,
    /// The picture to begin with; it is no part of the JSON.
    #[serde(skip)]
    pub start: Option<Start>,
    /// The pictures that guide, one for each of the pipeline's ControlNets in their order, or none; they are no part of the
    /// JSON.
    #[serde(skip)]
    pub controls: Vec<Control>,
    /// Leave the safety checker out, even if there is one.
    pub no_safety_check: bool,
}

/// A picture to begin with.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The picture; it is scaled to the pipeline's size and cut to its proportions.
    pub image: RgbImage,
    /// Name of its file, for the settings of what is drawn.
    pub file: String,
    /// How much of it may change: the share of the steps that are taken, above 0 to 1.
    pub strength: f64,
}

impl Start {
    /// Reads the picture: PNG, JPEG or WebP.
    ///
    /// # Errors
    /// When the file cannot be read, or is no picture.
    pub fn read(path: &Path, strength: f64) -> Result<Self> {
        let image = read_picture(path).context("--image")?;
        let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Self { image, file, strength })
    }
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
        let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Self { picture: ControlPicture { alpha, ..ControlPicture::new(image) }, file })
    }
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: String::new(),
            seed: 0,
            steps: 20,
            guidance: 7.5,
            count: 1,
            scheduler: None,
            random: RandomKind::default(),
            start: None,
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

    /// Refuses what would change nothing.
    ///
    /// # Errors
    /// [`Refused`](crate::Error::Refused) for a negative prompt without guidance; also for numbers that mean nothing.
    pub fn check(&self) -> Result<()> {
        if !self.negative_prompt.is_empty() && self.guidance <= 1.0 {
            refuse!(
                "--negative-prompt has no effect at guidance {}, which leaves it out; give more than 1, or leave the \
                 negative prompt out",
                self.guidance
            );
        }
        self.controls.iter().try_for_each(|control| control.picture.check())?;
        Ok(self.random.check_seed(self.seed)?)
    }

    /// The same for the pipeline.
    pub(crate) fn options(&self) -> GenerateOptions {
        GenerateOptions {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative_prompt.clone(),
            seed: self.seed,
            steps: self.steps,
            guidance_scale: self.guidance,
            image_count: self.count,
            scheduler: self.scheduler,
            random: self.random,
            start: self.start.as_ref().map(|s| StartingImage { image: s.image.clone(), strength: s.strength }),
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

/// One picture.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Picture {
    /// The pixels; black if the safety checker objected.
    pub image: RgbImage,
    /// The settings that draw it again.
    pub settings: PictureSettings,
    /// Whether the safety checker objected; `None` when it did not run.
    pub flagged: Option<bool>,
    /// The noise that it began with, f32 [1, C, h, w].
    pub noise: HostTensor,
    /// What it was decoded from, f32 [1, C, h, w].
    pub latents: HostTensor,
    /// What the decoder gave, f32 [1, 3, H, W], about −1 to 1, before any check.
    pub decoded: HostTensor,
}

impl Picture {
    /// Writes it as PNG, with its settings as text.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write_png(&self, out: impl Write) -> Result<()> {
        Ok(self.image.write_png(out, &self.settings.to_png_texts())?)
    }

    /// The same to a file, which appears whole or not at all; what is there already is replaced.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let file = Outputs::new().file("the picture", path.as_ref())?;
        Ok(file.write(|out| self.write_png(out))?)
    }
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
mod by_name_if_any {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error>
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
    fn a_negative_prompt_needs_guidance() {
        let request = Request { negative_prompt: "x".into(), guidance: 1.0, ..Request::default() };
        assert!(request.check().unwrap_err().to_string().contains("no effect at guidance 1"));
        Request { guidance: 1.1, ..request }.check().unwrap();
    }
}
