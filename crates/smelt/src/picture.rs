//! One picture that was drawn, with the settings that draw it again.

use std::io::Write;
use std::path::Path;

use host_tensor::HostTensor;
use safe_files::Outputs;
use sd_runtime::image::{PictureFormat, RgbImage};
use sd_runtime::pipeline::PictureSettings;

use crate::error::{Result, refuse};

/// One picture.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Picture {
    /// The pixels; black if the safety checker objected.
    pub image: RgbImage,
    /// The settings that draw it again.
    pub settings: PictureSettings,
    /// Whether the safety checker objected; `None` when it did not run.
    pub flagged: Option<bool>,
    /// The noise that it began with, f32 [1, C, h, w].
    pub noise: HostTensor,
    /// What it was decoded from, f32 [1, C, h, w].
    pub latents: HostTensor,
    /// What the decoder gave, f32 [1, 3, H, W], about −1 to 1, before any check.
    pub decoded: HostTensor,
}

impl Picture {
    /// Writes it as PNG, with its settings as text.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write_png(&self, out: impl Write) -> Result<()> {
        Ok(self.image.write_png(out, &self.settings.to_png_texts())?)
    }

    /// Writes it in a format, with its settings; those of its texts that are too long for it are left out, and their names
    /// returned.
    ///
    /// # Errors
    /// When the writer fails, and for pictures that are larger than the format allows.
    pub fn write(&self, out: impl Write, format: PictureFormat) -> Result<Vec<String>> {
        Ok(self.image.write(out, format, &self.settings.to_png_texts())?)
    }

    /// Writes it to a file in the format that its name says (PNG, JPEG or WebP), which appears whole or not at all; what is
    /// there already is replaced.
    ///
    /// # Errors
    /// When the file cannot be written, or its name says another format.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let Some(format) = PictureFormat::of(path) else {
            refuse!("{} names a format that is not written; PNG, JPEG and WebP are", path.display())
        };
        let file = Outputs::new().file("the picture", path)?;
        Ok(file.write(|out| self.write(out, format).map(drop))?)
    }
}
