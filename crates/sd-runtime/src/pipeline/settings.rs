//! How a picture was made, as text for its file.
//!
//! Two texts: `parameters`, laid out as common Stable Diffusion tools read and write it, and `smelt`, the same as JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::{Result, RuntimeError};
use crate::image::PngText;
use crate::json;

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
    /// The negative prompt, empty if none.
    pub negative_prompt: String,
    /// The seed.
    pub seed: u64,
    /// Index of the picture in the seed's random stream.
    pub image_idx: usize,
    /// Denoising steps.
    pub steps: usize,
    /// Guidance scale.
    pub guidance_scale: f32,
    /// The scheduler's short name.
    pub scheduler: String,
    /// The random source's short name.
    pub random: String,
    /// The picture that it began with; absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartingPicture>,
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// What is told of a picture that another began with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StartingPicture {
    /// Its file's name, without the folder.
    pub file: String,
    /// Share of the steps that were taken.
    pub strength: f64,
    /// What became of its proportions, where they were of account: `resize`, `crop` or `fill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<String>,
    /// The mask's file, without the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// Whether what is black in the mask was repainted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mask_inverted: bool,
    /// How soft the mask was made, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_blur: Option<f32>,
    /// Pixels around the masked part, where only that was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_masked: Option<usize>,
    /// What was added around it: left, top, right, bottom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub border: Option<String>,
    /// How strongly it counted for a model that edits pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_guidance: Option<f32>,
}

impl std::fmt::Display for StartingPicture {
    /// A list of names and values, by AUTOMATIC1111's names where it has them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Denoising strength: {}, Init image: {}", self.strength, quoted(&self.file))?;
        if let Some(fit) = self.fit.as_deref().filter(|fit| *fit != "crop") {
            write!(f, ", Resize mode: {fit}")?;
        }
        if let Some(mask) = &self.mask {
            write!(f, ", Mask: {}", quoted(mask))?;
        }
        if self.mask_inverted {
            write!(f, ", Mask mode: Inpaint not masked")?;
        }
        if let Some(blur) = self.mask_blur {
            write!(f, ", Mask blur: {blur}")?;
        }
        if let Some(padding) = self.only_masked {
            write!(f, ", Inpaint area: Only masked, Masked area padding: {padding}")?;
        }
        if let Some(border) = &self.border {
            write!(f, ", Outpaint: {}", quoted(border))?;
        }
        match self.image_guidance {
            Some(scale) => write!(f, ", Image CFG scale: {scale}"),
            None => Ok(()),
        }
    }
}

/// A value that would end a list's entry too early, as JSON.
fn quoted(value: &str) -> Cow<'_, str> {
    match value.contains([',', ':', '\n']) {
        true => Cow::Owned(serde_json::Value::from(value).to_string()),
        false => Cow::Borrowed(value),
    }
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

impl std::fmt::Display for PictureSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.prompt)?;
        if !self.negative_prompt.is_empty() {
            writeln!(f, "Negative prompt: {}", self.negative_prompt)?;
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
        match &self.start {
            Some(start) => write!(f, ", {start}"),
            None => Ok(()),
        }
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
            negative_prompt: "blue".into(),
            seed: 93,
            image_idx: 0,
            steps: 20,
            guidance_scale: 7.5,
            scheduler: "pndm".into(),
            random: "numpy".into(),
            start: None,
            width: 64,
            height: 48,
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
        let settings = PictureSettings { start, ..settings() };
        let texts = settings.to_png_texts();
        assert!(texts[0].text.ends_with(", Denoising strength: 0.6, Init image: sketch.png"), "{}", texts[0].text);
        assert_eq!(PictureSettings::from_png_texts(&texts).unwrap(), settings);
        assert!(PictureSettings::from_png_texts(&[]).is_err());
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
