//! What is told of the pictures that another was made with: the one that it began with, and those that guided it.

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
