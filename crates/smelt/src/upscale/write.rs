//! Pictures that are upscaled straight into their files.

use safe_files::OutputFile;
use sd_runtime::Stop;
use sd_runtime::image::{Filter, GreyImage, PngText, RgbImage, Size, write_png_rows};

use super::{Enlargement, Upscaler};
use crate::error::{Error, Result};
use crate::watch::{Event, Watch, Writing, write_file};

/// A picture that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upscaled {
    /// Its size.
    pub size: Size,
    /// Whether it has transparent pixels, whose opacity Lanczos enlarged and not the network.
    pub has_alpha: bool,
}

impl Upscaler {
    /// Makes a picture larger, and writes it as PNG, whole or not at all. Where the network's own size is asked for, rows are
    /// written as they are made, and the picture is never in memory as a whole.
    ///
    /// # Errors
    /// As [`Upscaler::upscale`], and for a disk that is full.
    pub fn upscale_into(
        &mut self,
        (picture, alpha): (&RgbImage, Option<&GreyImage>),
        enlargement: Enlargement,
        output: &OutputFile,
        stop: &Stop,
        watch: &mut dyn Watch,
    ) -> Result<Upscaled> {
        let size = self.size_of(picture.size(), enlargement)?;
        let alpha = alpha.map(|alpha| alpha.resize(size, Filter::Lanczos));
        let texts = [PngText::new("Software", crate::SOFTWARE)];
        let is_own = size == self.size_of(picture.size(), Enlargement::Own)?;
        if is_own && output.is_regular() {
            let (mut writing, mut failure) = (Writing::begin(watch), None);
            let written = output.write(|out| {
                let rows = write_png_rows(out, size, alpha.as_ref(), &texts, |rows| {
                    self.upscale_rows(picture, &mut |some| rows.rows(some), stop, writing.watch())
                });
                rows.map_err(|error: Error| {
                    let words = error.chain();
                    failure = Some(error);
                    words
                })
            });
            match failure {
                // What went wrong is no matter of the file.
                Some(error) => return Err(error),
                None => written?,
            }
        } else {
            let upscaled = self.upscale(picture, enlargement, stop, watch)?;
            write_file(output, watch, |out| {
                write_png_rows(out, size, alpha.as_ref(), &texts, |rows| Ok(rows.rows(upscaled.pixels())?))
            })?;
        }
        let _ = watch.event(Event::End);
        Ok(Upscaled { size, has_alpha: alpha.is_some() })
    }
}
