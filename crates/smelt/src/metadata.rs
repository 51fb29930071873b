//! What made a picture, read from its file, whatever tool wrote it.

use std::path::Path;

pub use sd_metadata::{
    Carrier, Control, Found, Hires, Inpaint, KEYWORDS, Lora, Made, PictureFormat, Refiner, Size, Text, Tool, Unknown,
    Variation, parameters_apart, parse_parameters,
};

use sd_runtime::image::PngText;

use crate::error::{Context, Result};
use crate::file::picture_bytes;

/// Reads what a picture (PNG, JPEG or WebP) says of how it was made; [`Found::made`] is absent if it does not say.
///
/// No pixel is decoded: a picture that is cut off is read as far as it goes, with a word in [`Found::faults`].
///
/// # Errors
/// When the file cannot be read, and when it is something else, by its name.
pub fn read(path: &Path) -> Result<Found> {
    let bytes = picture_bytes(path)?.into_inner();
    sd_metadata::read(&bytes).with_context(|| format!("cannot read {}", path.display()))
}

/// The same from the bytes of its file.
///
/// # Errors
/// When they are something else.
pub fn read_bytes(bytes: &[u8]) -> Result<Found> {
    sd_metadata::read(bytes).context("cannot read the picture")
}

/// What a picture that was made larger says of itself: what the smaller one says, in AUTOMATIC1111's grammar and in our own
/// words where it has these, and by what it was made so many times as large.
#[must_use]
pub fn of_larger(smaller: &Found, factor: f64, upscaler: &str) -> Vec<PngText> {
    let mut texts = vec![PngText::new("Software", crate::SOFTWARE)];
    let Some(mut made) = smaller.made.clone() else { return texts };
    let said = |key: &str, value: String| Unknown { key: key.to_owned(), value, why: None };
    made.unknown.push(said("Postprocess upscale by", factor.to_string()));
    made.unknown.push(said("Postprocess upscaler", upscaler.to_owned()));
    texts.push(PngText::new("parameters", made.to_parameters()));
    let own = smaller.texts.iter().find(|text| text.keyword == "smelt");
    texts.extend(own.map(|own| PngText::new("smelt", &own.text)));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_picture_says_what_the_smaller_one_said() {
        let mut file = Vec::new();
        let texts = [PngText::new("parameters", "a fox\nSteps: 20, Sampler: Euler, Seed: 5, Version: v1.10.1")];
        let picture = sd_runtime::image::RgbImage::new(1, 1, vec![0; 3]).unwrap();
        picture.write_png(&mut file, &texts).unwrap();
        let larger = of_larger(&sd_metadata::read(&file).unwrap(), 4.0, "x4plus");
        assert_eq!(
            larger[1].text,
            "a fox\nSteps: 20, Sampler: Euler, Seed: 5, Postprocess upscale by: 4, Postprocess upscaler: x4plus, Version: \
             v1.10.1"
        );
        file.clear();
        picture.write_png(&mut file, &[]).unwrap();
        assert_eq!(of_larger(&sd_metadata::read(&file).unwrap(), 4.0, "x4plus").len(), 1);
    }
}
