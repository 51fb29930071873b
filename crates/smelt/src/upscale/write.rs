//! Pictures that are upscaled straight into their files.

use safe_files::OutputFile;
use sd_runtime::Stop;
use sd_runtime::image::{Filter, GreyImage, PictureFormat, PngText, RgbImage, Size, write_png_rows};

use super::{Enlargement, Upscaler};
use crate::error::{Error, Result, refuse};
use crate::watch::{Event, Watch, Writing, warn, write_file};

/// A picture to make larger, as its file has it.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// Its pixels.
    pub picture: &'a RgbImage,
    /// How opaque they are, where that is said of some that are not.
    pub alpha: Option<&'a GreyImage>,
    /// What is told of the larger picture.
    pub texts: &'a [PngText],
}

/// A picture that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upscaled {
    /// Its size.
    pub size: Size,
    /// Whether it has transparent pixels, whose opacity Lanczos enlarged and not the network.
    pub has_alpha: bool,
}

impl Upscaler {
    /// Makes a picture larger, and writes it in the format that the file's name says, whole or not at all. A PNG of the
    /// network's own size is written row by row as it is made, and never in memory as a whole.
    ///
    /// # Errors
    /// As [`Upscaler::upscale`]; for transparent pixels that the format does not keep; and for a disk that is full.
    pub fn upscale_into(
        &mut self,
        Original { picture, alpha, texts }: Original<'_>,
        enlargement: Enlargement,
        output: &OutputFile,
        stop: &Stop,
        watch: &mut dyn Watch,
    ) -> Result<Upscaled> {
        let size = self.size_of(picture.size(), enlargement)?;
        let format = PictureFormat::of(output.path()).unwrap_or_default();
        if format != PictureFormat::Png {
            if alpha.is_some() {
                refuse!("{output}: the picture has transparent pixels, which only PNG keeps here; give -o such a name")
            }
            let upscaled = self.upscale(picture, enlargement, stop, watch)?;
            let mut left = Vec::new();
            write_file(output, watch, |out| {
                left = upscaled.write(out, format, texts)?;
                Ok(())
            })?;
            if !left.is_empty() {
                let left = left.join(", ");
                warn(
                    watch,
                    &format!("{output} does not say all of how it was made, which is too long for it: {left}"),
                )?;
            }
            return Ok(Upscaled { size, has_alpha: false });
        }
        let alpha = alpha.map(|alpha| alpha.resize(size, Filter::Lanczos));
        let is_own = size == self.size_of(picture.size(), Enlargement::Own)?;
        if is_own && output.is_regular() {
            let (mut writing, mut failure) = (Writing::begin(watch), None);
            let written = output.write(|out| {
                let rows = write_png_rows(out, size, alpha.as_ref(), texts, |rows| {
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
                write_png_rows(out, size, alpha.as_ref(), texts, |rows| Ok(rows.rows(upscaled.pixels())?))
            })?;
        }
        let _ = watch.event(Event::End);
        Ok(Upscaled { size, has_alpha: alpha.is_some() })
    }
}
