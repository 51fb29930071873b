//! CLIP's image preprocessing: what `preprocessor_config.json` says, and the picture as the safety checker sees it.

use sd_spec::keys::{self, Refusal};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::{ConfigWarning, unknown_keys};
use crate::error::{Result, RuntimeError};
use crate::image::{Filter, RgbImage, Size};
use crate::json;

/// Name of the file.
const DOCUMENT: &str = "preprocessor_config.json";

/// CLIP's image preprocessing (`preprocessor_config.json`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct PreprocessorConfig {
    /// What pictures are resized to.
    pub size: EdgeSize,
    /// Size of the centre crop.
    pub crop_size: CropSize,
    /// Whether means are taken off and deviations divided by.
    pub do_normalize: bool,
    /// Mean of each channel.
    pub image_mean: [f32; 3],
    /// Standard deviation of each channel.
    pub image_std: [f32; 3],
    /// Whether bytes are scaled.
    pub do_rescale: bool,
    /// What turns a byte into a value: 1/255.
    pub rescale_factor: f32,
    /// What the user should know of the file.
    #[serde(skip)]
    pub warnings: Vec<ConfigWarning>,
    /// What is not implemented; it only matters where there is a safety checker.
    #[serde(skip)]
    refused: Option<Refusal>,
}

impl Default for PreprocessorConfig {
    /// The values of openai/clip-vit-large-patch14.
    fn default() -> Self {
        Self {
            size: EdgeSize::Edge(224),
            crop_size: CropSize::Square(224),
            do_normalize: true,
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            warnings: Vec::new(),
            refused: None,
        }
    }
}

/// What pictures are resized to, as old and new files write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum EdgeSize {
    /// Old files: the length of the shorter edge alone.
    Edge(usize),
    /// New files: under its name.
    Named {
        /// Length in pixels.
        shortest_edge: usize,
    },
    /// Both edges, whatever the picture's own shape.
    Sides {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

/// The crop, as old and new files write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum CropSize {
    /// Old files: one side of a square.
    Square(usize),
    /// New files: both sides.
    Sides {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

impl CropSize {
    /// Height and width.
    const fn sides(self) -> (usize, usize) {
        match self {
            Self::Square(side) => (side, side),
            Self::Sides { height, width } => (height, width),
        }
    }
}

impl PreprocessorConfig {
    /// Reads what the file's object says.
    ///
    /// Values that are not implemented are refused by [`check_supported`](Self::check_supported), when pictures are to be
    /// prepared so: many checkpoints have the file and no safety checker.
    ///
    /// # Errors
    /// [`RuntimeError::Json`] for a value of another type, [`RuntimeError::Options`] for one out of range.
    pub fn from_object(object: &Map<String, Value>) -> Result<Self> {
        let table = &keys::CLIP_IMAGE_PROCESSOR;
        let mut config: Self = json::from_object(DOCUMENT, object)?;
        config.check()?;
        config.warnings.extend(unknown_keys(table.name, DOCUMENT, &table.unknown(object)));
        config.refused = table.refused(object);
        Ok(config)
    }

    /// Checks that pictures can be prepared as the file says.
    ///
    /// # Errors
    /// [`RuntimeError::Refused`] for the first value that is not implemented.
    pub fn check_supported(&self) -> Result<()> {
        match self.refused.clone().map(Box::new) {
            None => Ok(()),
            Some(refusal) => Err(RuntimeError::Refused { document: DOCUMENT.to_owned(), refusal }),
        }
    }

    fn check(&self) -> Result<()> {
        let edges = match self.size {
            EdgeSize::Edge(edge) | EdgeSize::Named { shortest_edge: edge } => [edge, edge],
            EdgeSize::Sides { height, width } => [height, width],
        };
        let finite = self.image_mean.iter().chain(&self.image_std).all(|x| x.is_finite());
        if edges.iter().any(|edge| !(1..=4096).contains(edge)) || !finite || self.image_std.contains(&0.0) {
            return Err(RuntimeError::Options(format!(
                "{DOCUMENT}: size {edges:?}, mean {:?}, std {:?} are out of range",
                self.image_mean, self.image_std
            )));
        }
        Ok(())
    }

    /// The picture as CLIP sees it: resized, centre cropped to (height, width), scaled, normalised; planes.
    pub(crate) fn clip_input(&self, image: &RgbImage, (height, width): (usize, usize)) -> Vec<f32> {
        let (rows, columns) = self.resized(image, (height, width));
        let cropped = image.resize(Size { width: columns, height: rows }, Filter::Bicubic).center_crop(width, height);
        let scale = if self.do_rescale { self.rescale_factor } else { 1.0 };
        let normalized = |channel: usize, byte: u8| {
            let value = f32::from(byte) * scale;
            if self.do_normalize { (value - self.image_mean[channel]) / self.image_std[channel] } else { value }
        };
        (0..3)
            .flat_map(|channel| cropped.pixels().chunks_exact(3).map(move |pixel| (channel, pixel[channel])))
            .map(|(channel, byte)| normalized(channel, byte))
            .collect()
    }

    /// Height and width of a picture before the crop, for a model input of that size: the file's own if it was written
    /// for that size, else so that the shorter edge is the input's longer side.
    fn resized(&self, image: &RgbImage, (height, width): (usize, usize)) -> (usize, usize) {
        let is_own = self.crop_size.sides() == (height, width);
        let edge = match self.size {
            EdgeSize::Sides { height: rows, width: columns } if is_own => return (rows, columns),
            EdgeSize::Sides { .. } => return (height, width),
            EdgeSize::Edge(edge) | EdgeSize::Named { shortest_edge: edge } if is_own => edge,
            EdgeSize::Edge(_) | EdgeSize::Named { .. } => height.max(width),
        };
        let short = image.width().min(image.height()).max(1);
        let scaled = |side: usize| (edge * side / short).max(1);
        (scaled(image.height()), scaled(image.width()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> PreprocessorConfig {
        PreprocessorConfig::from_object(&serde_json::from_str(json).unwrap()).unwrap()
    }

    /// Four columns of grey on two rows.
    fn stripes() -> RgbImage {
        let row = [0u8, 100, 200, 255].map(|v| [v; 3]).concat();
        RgbImage::new(4, 2, [row.clone(), row].concat()).unwrap()
    }

    #[test]
    fn clip_sees_the_centre_at_its_own_scale() {
        let config = PreprocessorConfig::default();
        // Resized to 2 rows, the middle two columns remain.
        let input = config.clip_input(&stripes(), (2, 2));
        let value = |byte: f32, c: usize| (byte / 255.0 - config.image_mean[c]) / config.image_std[c];
        for (i, (byte, c)) in [(100.0, 0), (200.0, 0), (100.0, 0), (200.0, 0), (100.0, 1)].into_iter().enumerate() {
            assert!((input[i] - value(byte, c)).abs() < 1e-5, "{i}");
        }
        assert_eq!(input.len(), 12);
    }

    #[test]
    fn scaling_and_normalisation_can_be_switched_off() {
        let both = config(r#"{"do_rescale": false, "do_normalize": false}"#);
        assert_eq!(both.clip_input(&stripes(), (2, 2))[..2], [100.0, 200.0]);
        let scaled = config(r#"{"do_normalize": false, "rescale_factor": 0.5}"#);
        assert_eq!(scaled.clip_input(&stripes(), (2, 2))[..2], [50.0, 100.0]);
    }

    #[test]
    fn pictures_of_any_kind_are_prepared_as_transformers_prepares_them() {
        let Some(golden) = testkit::golden() else { return };
        let expected = testkit::load_safetensors(golden.join("images/expected.safetensors"));
        // JPEG decoders differ by up to 3 of 255.
        for (name, tolerance) in
            [("rgb.png", 1e-5), ("grey.png", 1e-5), ("big.png", 1e-5), ("rgb.jpg", 0.05), ("exif6.jpg", 0.05)]
        {
            let file = std::fs::read(golden.join("images").join(name)).unwrap();
            let picture = RgbImage::read(std::io::Cursor::new(file)).unwrap();
            let input = PreprocessorConfig::default().clip_input(&picture, (224, 224));
            let every_ninth = |plane: &[f32]| {
                let rows = plane.chunks_exact(224).skip(3).step_by(9);
                rows.flat_map(|row| row.iter().copied().skip(3).step_by(9)).collect::<Vec<_>>()
            };
            let got: Vec<f32> = input.chunks_exact(224 * 224).flat_map(every_ninth).collect();
            let want = expected[&format!("clip.{name}")].to_f32_vec();
            testkit::assert_all_close(name, &want, &got, 0.0, tolerance);
        }
    }

    #[test]
    fn two_edges_are_taken_whatever_the_pictures_shape() {
        let plain = r#""do_rescale": false, "do_normalize": false"#;
        let own = config(&format!(r#"{{"size": {{"height": 2, "width": 4}}, "crop_size": 2, {plain}}}"#));
        assert_eq!(own.clip_input(&stripes(), (2, 2))[..2], [100.0, 200.0]);
        // For a checker of another size all of the picture is pressed into the input.
        assert_eq!(own.clip_input(&stripes(), (2, 4))[..4], [0.0, 100.0, 200.0, 255.0]);
    }

    #[test]
    fn files_of_old_and_new_classes_say_the_same() {
        let old = config(
            r#"{"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true, "resample": 3,
                "feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "image_mean": null}"#,
        );
        let new = config(
            r#"{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true,
                "do_rescale": true, "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 224}}"#,
        );
        assert_eq!((old.resized(&stripes(), (224, 224)), old.warnings.len()), ((224, 448), 0));
        assert_eq!((new.resized(&stripes(), (224, 224)), new.warnings.len()), ((224, 448), 0));
        old.check_supported().unwrap();
        new.check_supported().unwrap();
    }

    #[test]
    fn what_is_not_implemented_is_refused_and_what_is_unknown_named() {
        for (json, fact) in [
            (r#"{"resample": 2}"#, "resample 2 is not implemented, only 3"),
            (r#"{"do_resize": false}"#, "do_resize false"),
            (r#"{"do_center_crop": false}"#, "do_center_crop false"),
            (r#"{"do_pad": true}"#, "do_pad true"),
        ] {
            let error = config(json).check_supported().unwrap_err().to_string();
            assert!(error.contains(fact), "{error}");
        }
        let warnings = config(r#"{"do_normalise": false}"#).warnings;
        assert!(warnings[0].to_string().contains("preprocessor_config.json: nothing is known of key \"do_normalise\""));
        let wrong = PreprocessorConfig::from_object(&serde_json::from_str(r#"{"image_mean": 0.5}"#).unwrap());
        assert!(wrong.unwrap_err().to_string().contains("preprocessor_config.json: image_mean"));
    }
}
