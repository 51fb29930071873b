//! The safety checker.
//!
//! It sees the 8-bit picture, resized and normalised as `CLIPImageProcessor` does it.
//! It blacks out by itself too (`filtered_images`); the pipeline does that from its verdict, whatever picture size the checker was converted for.

mod preprocessor;

pub use preprocessor::{CropSize, EdgeSize, PreprocessorConfig};

use sd_spec::Role;

use crate::engine::Signature;
use crate::error::Result;
use crate::image::RgbImage;
use crate::models::Shelf;
use crate::port::Port;
use crate::request::SafetyVerdict;
use crate::watch::Watch;

/// `clip_input` [1, 3, S, S], `images` [1, H, W, 3], `adjustment` [1] → `has_nsfw_concepts`, `concept_scores`.
pub(crate) struct SafetyChecker {
    port: Port,
    preprocessor: PreprocessorConfig,
    /// Height and width of `clip_input`.
    input_size: (usize, usize),
}

impl SafetyChecker {
    pub(crate) fn new(signature: Signature, preprocessor: PreprocessorConfig) -> Result<Self> {
        let port = Port::new(Role::SafetyChecker, signature, &[])?;
        preprocessor.check_supported()?;
        port.expect_output("has_nsfw_concepts")?;
        port.expect_output("concept_scores")?;
        let input_size = match *port.dims("clip_input")? {
            [1, 3, height, width] => (height, width),
            ref clip => {
                return Err(port.fault(format!("clip_input has shape {clip:?}, expected [1, 3, height, width]")));
            }
        };
        Ok(Self { port, preprocessor, input_size })
    }

    /// Asks about a picture.
    pub(crate) fn check(&self, models: &mut Shelf, image: &RgbImage, watch: &Watch<'_>) -> Result<SafetyVerdict> {
        let inputs = [
            ("clip_input", self.preprocessor.clip_input(image, self.input_size)),
            ("images", self.images_input(image)?),
            ("adjustment", vec![0.0; self.port.dims("adjustment")?.iter().product()]),
        ];
        let mut outputs = self.port.run(models, inputs, watch)?;
        let flags = self.port.take(&mut outputs, "has_nsfw_concepts")?.to_f32_vec();
        let concept_scores = self.port.take(&mut outputs, "concept_scores")?.to_f32_vec();
        Ok(SafetyVerdict { flagged: flags.iter().any(|&flag| flag > 0.5), concept_scores })
    }

    /// The picture in [0, 1], or black where the checker was converted for another size: the verdict does not depend on it.
    fn images_input(&self, image: &RgbImage) -> Result<Vec<f32>> {
        let dims = self.port.dims("images")?;
        if dims == [1, image.height(), image.width(), 3] {
            return Ok(image.pixels().iter().map(|&byte| f32::from(byte) / 255.0).collect());
        }
        Ok(vec![0.0; dims.iter().product()])
    }
}
