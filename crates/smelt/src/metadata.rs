//! What made a picture, read from its file, whatever tool wrote it.

use std::path::Path;

pub use sd_metadata::{
    Carrier, Control, Found, Hires, Inpaint, KEYWORDS, Lora, Made, PictureFormat, Refiner, Size, Text, Tool, Unknown,
    Variation, parse_parameters,
};

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
