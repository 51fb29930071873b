//! One picture that was drawn, with the settings that draw it again.

use std::io::Write;
use std::path::Path;

use host_tensor::HostTensor;
use safe_files::Outputs;
use sd_runtime::image::RgbImage;
use sd_runtime::pipeline::PictureSettings;

use crate::error::Result;

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

    /// The same to a file, which appears whole or not at all; what is there already is replaced.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let file = Outputs::new().file("the picture", path.as_ref())?;
        Ok(file.write(|out| self.write_png(out))?)
    }
}
