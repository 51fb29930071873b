//! How a picture was made, as text for its file.
//!
//! Two texts: `parameters`, laid out as common Stable Diffusion tools read and write it, and `smelt`, the same as JSON.

mod pictures;

use serde::{Deserialize, Serialize};

use crate::conditions::Conditions;
use crate::error::{Result, RuntimeError};
use crate::image::PngText;
use crate::json;
use crate::prompt::Emphasis;
use crate::skip_layers::SkipLayers;
use crate::variation::Variation;
use pictures::quoted;
pub use pictures::{GuidingPicture, StartingPicture};

/// Keyword of the human-readable text.
const PARAMETERS: &str = "parameters";
/// Keyword of the JSON text.
const SMELT: &str = "smelt";

/// The settings that reproduce a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureSettings {
    /// The program and its version.
    pub software: String,
    /// The checkpoint or package directory's name.
    pub model: String,
    /// The prompt.
    pub prompt: String,
    /// The prompt of the second text encoder; absent if it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_2: Option<String>,
    /// The negative prompt; null if none was given.
    pub negative_prompt: Option<String>,
    /// That of the second text encoder; absent if it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_prompt_2: Option<String>,
    /// The language of the prompts, and what weights in them did; absent if none.
    #[serde(default = "plain", skip_serializing_if = "is_plain")]
    pub emphasis: String,
    /// What Stable Diffusion XL was told beside the prompt.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// What it was told beside the negative prompt.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub negative_conditions: Conditions,
    /// The model that took the last steps; absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refiner: Option<RefinedBy>,
    /// The seed.
    pub seed: u64,
    /// Index of the picture in the seed's random stream.
    pub image_idx: usize,
    /// Denoising steps.
    pub steps: usize,
    /// Guidance scale.
    pub guidance_scale: f32,
    /// How much of the guided prediction was brought to the spread of the prompt's own; absent if none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub guidance_rescale: f32,
    /// Layers of CLIP's that the prompt did without; absent if none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub clip_skip: usize,
    /// The same for the negative prompt, where it was another number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_clip_skip: Option<usize>,
    /// The time steps that were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timesteps: Option<Vec<f64>>,
    /// The noise levels that were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigmas: Option<Vec<f64>>,
    /// How much noise the scheduler added, where that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<f64>,
    /// Steps that the model was distilled from, where they were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_steps: Option<usize>,
    /// Noise of another seed that was mixed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variation: Option<Variation>,
    /// Where guidance was on; absent if throughout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance_interval: Option<String>,
    /// What it was guided away from beside the negative prompt; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_layers: Option<SkipLayers>,
    /// By which rule steps were foretold; absent if none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<String>,
    /// The scheduler's short name.
    pub scheduler: String,
    /// The random source's short name.
    pub random: String,
    /// The picture that it began with; absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartingPicture>,
    /// The pictures that guided it; absent if none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<GuidingPicture>,
    /// The TAESD that decoded it; absent if the model's own decoder did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taesd: Option<String>,
    /// Pixels per row, of the first pass where there are two.
    pub width: usize,
    /// Rows, of the first pass.
    pub height: usize,
    /// The second, larger pass; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hires: Option<SecondPass>,
}

/// What is told of a second, larger pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecondPass {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// How what was drawn was enlarged.
    pub by: String,
    /// What AUTOMATIC1111's web UI calls that.
    pub upscaler: String,
    /// Share of the steps that were taken.
    pub strength: f64,
    /// Steps of which that is a share.
    pub steps: usize,
}

/// What is told of a refiner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefinedBy {
    /// Its name.
    pub model: String,
    /// The share of the noise schedule at which it began.
    pub start: f64,
}

/// What pictures without an emphasis were drawn with.
fn plain() -> String {
    Emphasis::Plain.name().to_owned()
}

fn is_plain(name: &String) -> bool {
    name == Emphasis::Plain.name()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(x: &f32) -> bool {
    *x == 0.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_none(n: &usize) -> bool {
    *n == 0
}

impl PictureSettings {
    /// Both texts, in the order that they are written.
    #[must_use]
    pub fn to_png_texts(&self) -> Vec<PngText> {
        let json = serde_json::to_string(self).expect("invariant: strings and finite numbers serialise");
        vec![PngText::new(PARAMETERS, self.to_string()), PngText::new(SMELT, json)]
    }

    /// Finds the settings among a picture's texts.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] if the picture carries none, [`RuntimeError::Json`] if they do not parse.
    pub fn from_png_texts(texts: &[PngText]) -> Result<Self> {
        let found = texts.iter().find(|text| text.keyword == SMELT);
        let text = found.ok_or_else(|| RuntimeError::Options("the picture carries no settings of smelt".into()))?;
        json::parse("the picture's settings", &text.text)
    }
}

impl PictureSettings {
    /// What only models with two text encoders, and refiners, are told.
    fn write_second(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(RefinedBy { model, start }) = &self.refiner {
            write!(f, ", Refiner: {model}, Refiner switch at: {start}")?;
        }
        for (name, text) in [("Prompt 2", &self.prompt_2), ("Negative prompt 2", &self.negative_prompt_2)] {
            if let Some(text) = text {
                // Quoted, as texts with commas are among these settings.
                write!(f, ", {name}: {text:?}")?;
            }
        }
        self.conditions.texts().try_for_each(|(name, text)| write!(f, ", XL {name}: {}", quoted(&text)))?;
        self.negative_conditions
            .texts()
            .try_for_each(|(name, text)| write!(f, ", XL negative {name}: {}", quoted(&text)))
    }
}

impl std::fmt::Display for PictureSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.prompt)?;
        if let Some(negative) = self.negative_prompt.as_ref().filter(|negative| !negative.is_empty()) {
            writeln!(f, "Negative prompt: {negative}")?;
        }
        write!(
            f,
            "Steps: {}, Sampler: {}, CFG scale: {}, Seed: {}, Size: {}x{}, Model: {}, RNG: {}, Image: {}, Version: {}",
            self.steps,
            self.scheduler,
            self.guidance_scale,
            self.seed,
            self.width,
            self.height,
            self.model,
            self.random,
            self.image_idx,
            self.software
        )?;
        if self.clip_skip > 0 {
            // AUTOMATIC1111 counts the last layer itself.
            write!(f, ", Clip skip: {}", self.clip_skip + 1)?;
        }
        if let Some(emphasis) = self.emphasis.parse::<Emphasis>().ok().and_then(Emphasis::other_name) {
            write!(f, ", Emphasis: {emphasis}")?;
        }
        if let Some(Variation { seed, strength }) = self.variation {
            write!(f, ", Variation seed: {seed}, Variation seed strength: {strength}")?;
        }
        if let Some(interval) = &self.guidance_interval {
            write!(f, ", Guidance interval: {interval}")?;
        }
        if let Some(SkipLayers { layers, scale, start, stop }) = self.skip_layers {
            let layers = quoted(&layers.to_string()).into_owned();
            write!(f, ", Skip layers: {layers}, Skip layer scale: {scale}, Skip layer steps: \"{start}:{stop}\"")?;
        }
        if let Some(rule) = &self.forecast {
            write!(f, ", Forecast: {rule}")?;
        }
        if let Some(SecondPass { width, height, upscaler, strength, steps, .. }) = &self.hires {
            write!(
                f,
                ", Denoising strength: {strength}, Hires resize: {width}x{height}, Hires steps: {steps}, Hires upscaler: \
                 {upscaler}"
            )?;
        }
        if let Some(start) = &self.start {
            write!(f, ", {start}")?;
        }
        self.controls
            .iter()
            .enumerate()
            .try_for_each(|(idx, control)| write!(f, ", ControlNet {idx}: \"{control}\""))?;
        if let Some(name) = &self.taesd {
            // AUTOMATIC1111 has one TAESD for each family, and does not say which.
            write!(f, ", VAE Decoder: TAESD, TAESD: {}", quoted(name))?;
        }
        self.write_second(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> PictureSettings {
        PictureSettings {
            software: "smelt 0.1.0".into(),
            model: "sd-emoji".into(),
            prompt: "a red heart".into(),
            prompt_2: None,
            negative_prompt: Some("blue".into()),
            negative_prompt_2: None,
            emphasis: "original".into(),
            conditions: Conditions::default(),
            negative_conditions: Conditions::default(),
            refiner: None,
            seed: 93,
            image_idx: 0,
            steps: 20,
            guidance_scale: 7.5,
            guidance_rescale: 0.0,
            clip_skip: 0,
            negative_clip_skip: None,
            timesteps: None,
            sigmas: None,
            eta: None,
            original_steps: None,
            variation: None,
            guidance_interval: None,
            skip_layers: None,
            forecast: None,
            scheduler: "pndm".into(),
            random: "numpy".into(),
            start: None,
            controls: Vec::new(),
            taesd: None,
            width: 64,
            height: 48,
            hires: None,
        }
    }

    #[test]
    fn parameters_read_as_other_tools_write_them() {
        let texts = settings().to_png_texts();
        assert_eq!(texts[0].keyword, "parameters");
        assert_eq!(
            texts[0].text,
            "a red heart\nNegative prompt: blue\nSteps: 20, Sampler: pndm, CFG scale: 7.5, Seed: 93, Size: 64x48, Model: sd-emoji, RNG: numpy, Image: 0, Version: smelt 0.1.0"
        );
    }

    #[test]
    fn settings_survive_the_picture() {
        assert_eq!(PictureSettings::from_png_texts(&settings().to_png_texts()).unwrap(), settings());
        let start = Some(StartingPicture { file: "sketch.png".into(), strength: 0.6, ..StartingPicture::default() });
        let (interval, rule) = (Some("0.2:1".to_owned()), Some("line".to_owned()));
        let settings = PictureSettings { start, guidance_interval: interval, forecast: rule, ..settings() };
        let texts = settings.to_png_texts();
        let end = ", Guidance interval: 0.2:1, Forecast: line, Denoising strength: 0.6, Init image: sketch.png";
        assert!(texts[0].text.ends_with(end), "{}", texts[0].text);
        assert_eq!(PictureSettings::from_png_texts(&texts).unwrap(), settings);
        let canny = GuidingPicture {
            controlnet: "canny".into(),
            file: "house.png".into(),
            preprocess: Some("canny:100,200".into()),
            weight: 0.75,
            start: 0.0,
            end: 0.5,
        };
        let settings = PictureSettings { controls: vec![canny], taesd: Some("owner/taesd".into()), ..settings };
        let texts = settings.to_png_texts();
        let said = "ControlNet 0: \"Module: canny:100,200, Model: canny, Weight: 0.75, Guidance Start: 0, Guidance End: 0.5, \
                    Image: house.png\", VAE Decoder: TAESD, TAESD: owner/taesd";
        assert!(texts[0].text.ends_with(said), "{}", texts[0].text);
        assert_eq!(PictureSettings::from_png_texts(&texts).unwrap(), settings);
        assert!(PictureSettings::from_png_texts(&[]).is_err());
    }

    #[test]
    fn what_only_xl_is_told_is_among_the_settings() {
        let settings = PictureSettings {
            prompt_2: Some("a heart, red".into()),
            negative_prompt: None,
            conditions: Conditions { crop: Some("8,16".parse().unwrap()), ..Conditions::default() },
            negative_conditions: Conditions { aesthetic_score: Some(1.5), ..Conditions::default() },
            refiner: Some(RefinedBy { model: "refiner".into(), start: 0.8 }),
            ..settings()
        };
        let texts = settings.to_png_texts();
        assert!(
            texts[0].text.ends_with(
                ", Refiner: refiner, Refiner switch at: 0.8, Prompt 2: \"a heart, red\", XL crop: \"8,16\", \
                 XL negative aesthetic score: 1.5"
            ),
            "{}",
            texts[0].text
        );
        assert!(!texts[0].text.contains("Negative prompt:"));
        assert_eq!(PictureSettings::from_png_texts(&texts).unwrap(), settings);
    }

    #[test]
    fn masks_and_borders_are_told_by_the_names_of_others() {
        let start = StartingPicture {
            file: "a, b.png".into(),
            strength: 1.0,
            fit: Some("fill".into()),
            mask: Some("m.png".into()),
            mask_inverted: true,
            mask_blur: Some(4.0),
            only_masked: Some(32),
            border: Some("0,0,64,0".into()),
            image_guidance: Some(1.5),
        };
        let settings = PictureSettings { start: Some(start.clone()), ..settings() };
        let texts = settings.to_png_texts();
        assert!(
            texts[0].text.ends_with(
                ", Denoising strength: 1, Init image: \"a, b.png\", Resize mode: fill, Mask: m.png, Mask mode: Inpaint not \
                 masked, Mask blur: 4, Inpaint area: Only masked, Masked area padding: 32, Outpaint: \"0,0,64,0\", Image \
                 CFG scale: 1.5"
            ),
            "{}",
            texts[0].text
        );
        assert_eq!(PictureSettings::from_png_texts(&texts).unwrap().start, Some(start));
    }
}
