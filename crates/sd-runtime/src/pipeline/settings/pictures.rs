//! What is told of the pictures that another was made with: the one that it began with, and those that guided it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

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

/// A value that would end a list's entry too early, as JSON.
pub(super) fn quoted(value: &str) -> Cow<'_, str> {
    match value.contains([',', ':', '\n']) {
        true => Cow::Owned(serde_json::Value::from(value).to_string()),
        false => Cow::Borrowed(value),
    }
}
