//! Formats of pictures: what they are called, and pictures as bytes of files.

use smelt::image::{PictureFormat, PngText, RgbImage};
use utoipa::ToSchema;

use crate::fault::Fault;

/// What a format is called.
pub(crate) struct About {
    pub(crate) name: &'static str,
    /// Of files.
    pub(crate) ending: &'static str,
    pub(crate) content_type: &'static str,
}

/// What a format is called.
pub(crate) const fn about(format: PictureFormat) -> About {
    match format {
        PictureFormat::Jpeg => About { name: "jpeg", ending: "jpg", content_type: "image/jpeg" },
        PictureFormat::WebP => About { name: "webp", ending: "webp", content_type: "image/webp" },
        _ => About { name: "png", ending: "png", content_type: "image/png" },
    }
}

/// A picture as the bytes of a file, with texts.
pub(crate) fn written(image: &RgbImage, format: PictureFormat, texts: &[PngText]) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    image.write(&mut bytes, format, texts).map_err(|error| Fault::internal(error.to_string()))?;
    Ok(bytes)
}

/// The same as PNG, without any.
pub(crate) fn png(image: &RgbImage) -> Result<Vec<u8>, Fault> {
    written(image, PictureFormat::Png, &[])
}

/// A format of pictures by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FormatName {
    #[default]
    Png,
    #[serde(alias = "jpg")]
    Jpeg,
    Webp,
}

impl From<FormatName> for PictureFormat {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Png => Self::Png,
            FormatName::Jpeg => Self::Jpeg,
            FormatName::Webp => Self::WebP,
        }
    }
}
