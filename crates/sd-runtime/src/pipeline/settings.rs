//! How a picture was made, as text for its file.
//!
//! Two texts: `parameters`, laid out as common Stable Diffusion tools read and write it, and `smelt`, the same as JSON.

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
    /// The pictures that guided it; absent if none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<GuidingPicture>,
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// What is told of a picture that another began with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartingPicture {
    /// Its file's name, without the folder.
    pub file: String,
    /// Share of the steps that were taken.
    pub strength: f64,
}

/// What is told of a picture that guided another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuidingPicture {
    /// The ControlNet's name.
    pub controlnet: String,
    /// The picture's file name, without the folder.
    pub file: String,
    /// What became of it first, with its numbers; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess: Option<String>,
    /// How strongly it guided.
    pub weight: f32,
    /// Share of the steps after which it began.
    pub start: f64,
    /// Share of the steps after which it ended.
    pub end: f64,
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
            Some(StartingPicture { file, strength }) => {
                write!(f, ", Denoising strength: {strength}, Init image: {file}")?;
            }
            None => {}
        }
        self.controls.iter().enumerate().try_for_each(|(idx, control)| write!(f, ", ControlNet {idx}: \"{control}\""))
    }
}

impl std::fmt::Display for GuidingPicture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { controlnet, file, preprocess, weight, start, end } = self;
        let module = preprocess.as_deref().unwrap_or("none");
        write!(
            f,
            "Module: {module}, Model: {controlnet}, Weight: {weight}, Guidance Start: {start}, Guidance End: {end}, \
             Image: {file}"
        )
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
            controls: Vec::new(),
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
        let start = Some(StartingPicture { file: "sketch.png".into(), strength: 0.6 });
        let settings = PictureSettings { start, ..settings() };
        let texts = settings.to_png_texts();
        assert!(texts[0].text.ends_with(", Denoising strength: 0.6, Init image: sketch.png"), "{}", texts[0].text);
        assert_eq!(PictureSettings::from_png_texts(&texts).unwrap(), settings);
        let canny = GuidingPicture {
            controlnet: "canny".into(),
            file: "house.png".into(),
            preprocess: Some("canny:100,200".into()),
            weight: 0.75,
            start: 0.0,
            end: 0.5,
        };
        let settings = PictureSettings { controls: vec![canny], ..settings };
        let texts = settings.to_png_texts();
        let said = "ControlNet 0: \"Module: canny:100,200, Model: canny, Weight: 0.75, Guidance Start: 0, Guidance End: 0.5, \
                    Image: house.png\"";
        assert!(texts[0].text.ends_with(said), "{}", texts[0].text);
        assert_eq!(PictureSettings::from_png_texts(&texts).unwrap(), settings);
        assert!(PictureSettings::from_png_texts(&[]).is_err());
    }
}
