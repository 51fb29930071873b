//! A picture to be made larger, by a network or a filter that a request names.

use smelt::Enlargement;
use smelt::image::{Filter, Size};

use crate::app::App;
use crate::catalogue::named;
use crate::fault::Fault;
use crate::input::Given;
use crate::job::{Upscale, UpscaleBy};
use crate::order::unknown;

/// Finds an upscaler, and refuses sizes that are too large.
pub(crate) fn upscaling(app: &App, given: Given, name: &str, enlargement: Enlargement) -> Result<Upscale, Fault> {
    let own = given.image.size();
    let factor = |scale: f64| Size { width: scaled(own.width, scale), height: scaled(own.height, scale) };
    let size = match enlargement {
        Enlargement::To(size) => size,
        Enlargement::By(scale) if !(scale.is_finite() && scale > 0.0) => {
            return Err(Fault::field(
                "scale",
                format!("{scale} is no number of times that a picture could become as large"),
            ));
        }
        Enlargement::By(scale) => factor(scale),
        Enlargement::Own => factor(2.0),
    };
    let most = app.options.limits.pixels.saturating_mul(16);
    if size.width.saturating_mul(size.height) > most {
        return Err(Fault::field("scale", format!("{size} has more than the {most} pixels that are made here")));
    }
    let by = match name.to_lowercase().as_str() {
        "lanczos" => UpscaleBy::Filter(Filter::Lanczos, size),
        "nearest" => UpscaleBy::Filter(Filter::Nearest, size),
        _ => {
            let all = app.catalogue.upscalers();
            let found = named(&all, name)
                .ok_or_else(|| Fault::field("upscaler", unknown("upscaler", name, "--upscaler-dir", &all)))?;
            UpscaleBy::Network(found.path.as_path().into())
        }
    };
    // What cannot be read is not carried over; the picture itself is.
    let found = smelt::metadata::read_bytes(&given.bytes).ok();
    Ok(Upscale { picture: given.image, found, name: name.to_owned(), by, enlargement })
}

fn scaled(side: usize, scale: f64) -> usize {
    ((side as f64 * scale).round() as usize).max(1)
}
