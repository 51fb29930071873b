//! The safety checker.
//!
//! It sees the 8-bit picture, resized and normalised as `CLIPImageProcessor` does it.
//! It blacks out by itself too (`filtered_images`); the pipeline does that from its verdict, whatever picture size the checker was converted for.

use host_tensor::Stop;

use super::model::Model;
use super::options::SafetyVerdict;
use super::preprocessor::PreprocessorConfig;
use crate::engine::Engine;
use crate::error::Result;
use crate::image::RgbImage;

/// `clip_input` [1, 3, S, S], `images` [1, H, W, 3], `adjustment` [1] → `has_nsfw_concepts`, `concept_scores`.
pub(super) struct SafetyChecker {
    model: Model,
    preprocessor: PreprocessorConfig,
    /// Height and width of `clip_input`.
    input_size: (usize, usize),
    /// Shape of `images`.
    images: [usize; 4],
}

impl SafetyChecker {
    pub(super) fn new(engine: Box<dyn Engine>, preprocessor: PreprocessorConfig) -> Result<Self> {
        let model = Model::new("safety_checker", engine, &[("clip_input", 4), ("images", 4), ("adjustment", 1)])?;
        preprocessor.check_supported()?;
        model.expect_output("has_nsfw_concepts")?;
        model.expect_output("concept_scores")?;
        let clip = model.input_dims("clip_input")?;
        if clip[..2] != [1, 3] {
            return Err(model.fault(format!("clip_input has shape {clip:?}, expected [1, 3, height, width]")));
        }
        let input_size = (clip[2], clip[3]);
        let shape = model.input_dims("images")?;
        let images = [shape[0], shape[1], shape[2], shape[3]];
        Ok(Self { model, preprocessor, input_size, images })
    }

    /// Asks about a picture.
    pub(super) fn check(&mut self, image: &RgbImage, stop: &Stop) -> Result<SafetyVerdict> {
        let adjustments = self.model.input_dims("adjustment")?[0];
        let inputs = vec![
            ("clip_input", self.preprocessor.clip_input(image, self.input_size)),
            ("images", self.images_input(image)),
            ("adjustment", vec![0.0; adjustments]),
        ];
        let mut outputs = self.model.run(inputs, stop)?;
        let flags = self.model.take(&mut outputs, "has_nsfw_concepts")?.to_f32_vec();
        let concept_scores = self.model.take(&mut outputs, "concept_scores")?.to_f32_vec();
        Ok(SafetyVerdict { flagged: flags.iter().any(|&flag| flag > 0.5), concept_scores })
    }

    /// The picture in [0, 1], or black where the checker was converted for another size: the verdict does not depend on it.
    fn images_input(&self, image: &RgbImage) -> Vec<f32> {
        if self.images == [1, image.height(), image.width(), 3] {
            return image.pixels().iter().map(|&byte| f32::from(byte) / 255.0).collect();
        }
        vec![0.0; self.images.iter().product()]
    }
}
