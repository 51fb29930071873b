//! How a picture was made, as text for its file.
//!
//! Two texts: `parameters`, in AUTOMATIC1111's grammar, which common Stable Diffusion tools read, and `smelt`, as JSON, which
//! says all that it takes to draw the picture again.

mod parameters;
mod pictures;

use serde::{Deserialize, Serialize};

use crate::conditions::Conditions;
use crate::error::{Result, RuntimeError};
use crate::image::PngText;
use crate::json;
use crate::prompt::Emphasis;
use crate::skip_layers::SkipLayers;
use crate::variation::Variation;
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
    /// AUTOMATIC1111's hash of it, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_hash: Option<String>,
    /// Whose autoencoder it had, where that was not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<String>,
    /// New words that it was opened with; absent if none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
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
    /// Pictures that were drawn from that stream; absent if it was the only one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub image_count: usize,
    /// `given`, where it began with noise that was given, which these settings do not hold; absent if the seed's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<String>,
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

const fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_one(n: &usize) -> bool {
    *n == 1
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> PictureSettings {
        PictureSettings {
            software: "smelt 0.1.0".into(),
            model: "sd-emoji".into(),
            model_hash: None,
            vae: None,
            words: Vec::new(),
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
            image_count: 1,
            noise: None,
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

    #[track_caller]
    fn check(settings: &PictureSettings, parameters: &str) {
        let texts = settings.to_png_texts();
        assert_eq!((texts[0].keyword.as_str(), texts[0].text.as_str()), ("parameters", parameters));
        assert_eq!(&PictureSettings::from_png_texts(&texts).unwrap(), settings);
    }

    #[test]
    fn parameters_read_as_other_tools_write_them() {
        check(
            &settings(),
            "a red heart\nNegative prompt: blue\nSteps: 20, Sampler: PLMS, CFG scale: 7.5, Seed: 93, Size: 64x48, Model: \
             sd-emoji, RNG: numpy, Version: smelt 0.1.0",
        );
        assert!(PictureSettings::from_png_texts(&[]).is_err());
        let settings = PictureSettings {
            negative_prompt: None,
            model: "v1-5 + fur:0.8".into(),
            model_hash: Some("6ce0161689".into()),
            vae: Some("ft-mse".into()),
            clip_skip: 1,
            scheduler: "dpmpp-2m-karras".into(),
            random: "nvidia".into(),
            eta: Some(0.5),
            guidance_rescale: 0.7,
            variation: Some(Variation { seed: 5, strength: 0.25 }),
            hires: Some(SecondPass {
                width: 96,
                height: 72,
                by: "latent".into(),
                upscaler: "Latent".into(),
                strength: 0.7,
                steps: 20,
            }),
            ..settings()
        };
        check(
            &settings,
            "a red heart\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, CFG rescale: 0.7, Seed: 93, \
             Size: 64x48, Model hash: 6ce0161689, Model: \"v1-5 + fur:0.8\", VAE: ft-mse, Variation seed: 5, Variation seed \
             strength: 0.25, Denoising strength: 0.7, Clip skip: 2, RNG: NV, Eta: 0.5, Hires resize: 96x72, Hires steps: 14, \
             Hires upscaler: Latent, Version: smelt 0.1.0",
        );
        let other = PictureSettings { scheduler: "DPMSolverMultistepScheduler".into(), ..settings };
        assert!(other.to_string().contains("Sampler: DPM++ 2M, Schedule type: Uniform, "), "{other}");
    }

    #[test]
    fn what_only_we_have_stands_behind_what_others_read() {
        let canny = GuidingPicture {
            controlnet: "canny".into(),
            file: "house.png".into(),
            preprocess: Some("canny:100,200".into()),
            weight: 0.75,
            start: 0.0,
            end: 0.5,
        };
        let settings = PictureSettings {
            image_idx: 2,
            image_count: 3,
            noise: Some("given".into()),
            guidance_interval: Some("0.2:1".into()),
            forecast: Some("line".into()),
            sigmas: Some(vec![14.5, 0.25]),
            controls: vec![canny],
            taesd: Some("owner/taesd".into()),
            words: vec!["<cat>".into(), "blur".into()],
            ..settings()
        };
        check(
            &settings,
            "a red heart\nNegative prompt: blue\nSteps: 20, Sampler: PLMS, CFG scale: 7.5, Seed: 93, Size: 64x48, Model: \
             sd-emoji, RNG: numpy, ControlNet 0: \"Module: canny, Model: canny, Weight: 0.75, Guidance Start: 0, Guidance End: \
             0.5, Image: house.png, Threshold A: 100, Threshold B: 200\", Batch size: 3, Batch pos: 2, Noise: given, Noise \
             levels: \"14.5, 0.25\", Guidance interval: \"0.2:1\", Forecast: line, VAE Decoder: TAESD, TAESD: owner/taesd, \
             Embeddings: \"<cat>, blur\", Version: smelt 0.1.0",
        );
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
        check(
            &settings,
            "a red heart\nSteps: 20, Sampler: PLMS, CFG scale: 7.5, Seed: 93, Size: 64x48, Model: sd-emoji, RNG: numpy, \
             Refiner: refiner, Refiner switch at: 0.8, Prompt 2: \"a heart, red\", XL crop: \"8,16\", XL negative aesthetic \
             score: 1.5, Version: smelt 0.1.0",
        );
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
        check(
            &PictureSettings { start: Some(start), ..settings() },
            "a red heart\nNegative prompt: blue\nSteps: 20, Sampler: PLMS, CFG scale: 7.5, Image CFG scale: 1.5, Seed: 93, \
             Size: 64x48, Model: sd-emoji, Denoising strength: 1, Init image: \"a, b.png\", Resize mode: Resize and fill, RNG: \
             numpy, Mask: m.png, Mask blur: 4, Mask mode: Inpaint not masked, Inpaint area: Only masked, Masked area padding: \
             32, Outpaint: \"0,0,64,0\", Version: smelt 0.1.0",
        );
    }
}
