//! The safety checker, with CLIP's image preprocessing.
//!
//! The checker sees the 8-bit picture, resized and normalised as `CLIPImageProcessor` does it.
//! It blacks out by itself too (`filtered_images`); the pipeline does that from its verdict, whatever picture size the checker was converted for.

use super::config::PreprocessorConfig;
use super::model::Model;
use super::options::SafetyVerdict;
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
        model.expect_output("has_nsfw_concepts")?;
        model.expect_output("concept_scores")?;
        let clip = &model.input("clip_input")?.shape;
        if clip[..2] != [1, 3] {
            return Err(model.fault(format!("clip_input has shape {clip:?}, expected [1, 3, height, width]")));
        }
        let input_size = (clip[2], clip[3]);
        let shape = &model.input("images")?.shape;
        let images = [shape[0], shape[1], shape[2], shape[3]];
        Ok(Self { model, preprocessor, input_size, images })
    }

    /// Asks about a picture.
    pub(super) fn check(&mut self, image: &RgbImage) -> Result<SafetyVerdict> {
        let adjustments = self.model.input("adjustment")?.shape[0];
        let inputs = [
            ("clip_input", self.preprocessor.clip_input(image, self.input_size)),
            ("images", self.images_input(image)),
            ("adjustment", vec![0.0; adjustments]),
        ];
        let mut outputs = self.model.run(&inputs)?;
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

impl PreprocessorConfig {
    /// The picture as CLIP sees it: shortest edge resized, centre cropped to (height, width), scaled, normalised; planes.
    fn clip_input(&self, image: &RgbImage, (height, width): (usize, usize)) -> Vec<f32> {
        let edge = self.shortest_edge_for(height, width);
        let short = image.width().min(image.height()).max(1);
        let scaled = |side: usize| (edge * side / short).max(1);
        let cropped = image.resize(scaled(image.width()), scaled(image.height())).center_crop(width, height);
        let normalized = |channel: usize, byte: u8| {
            (f32::from(byte) * self.rescale_factor - self.image_mean[channel]) / self.image_std[channel]
        };
        (0..3)
            .flat_map(|channel| cropped.pixels().chunks_exact(3).map(move |pixel| (channel, pixel[channel])))
            .map(|(channel, byte)| normalized(channel, byte))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_sees_the_centre_at_its_own_scale() {
        let config = PreprocessorConfig::default();
        // 4 columns of grey on 2 rows; resized to 2 rows, the middle two columns remain.
        let grey = |v: u8| [v, v, v];
        let row = [grey(0), grey(100), grey(200), grey(255)].concat();
        let image = RgbImage::new(4, 2, [row.clone(), row].concat()).unwrap();
        let input = config.clip_input(&image, (2, 2));
        let value = |byte: f32, c: usize| (byte / 255.0 - config.image_mean[c]) / config.image_std[c];
        for (i, (byte, c)) in [(100.0, 0), (200.0, 0), (100.0, 0), (200.0, 0), (100.0, 1)].into_iter().enumerate() {
            assert!((input[i] - value(byte, c)).abs() < 1e-5, "{i}");
        }
        assert_eq!(input.len(), 12);
    }
}
