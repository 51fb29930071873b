//! The picture to begin with, as the library takes it.

use anyhow::Result;
use smelt::{Like, Start, StartMask};

use crate::cli::StartArgs;

/// Reads the picture and its mask, if there are any; what was typed stands before what a picture to be like says.
pub(super) fn read(args: &StartArgs, like: Option<&Like>) -> Result<Option<Start>> {
    let Some(image) = &args.image else { return Ok(None) };
    let mask = args.mask.as_deref().map(StartMask::read).transpose()?;
    let mut start = Start { mask, border: args.outpaint, ..Start::read(image)? };
    if let Some(like) = like {
        like.begin(&mut start);
    }
    start.strength = args.strength.or(start.strength);
    start.fit = args.fit.unwrap_or(start.fit);
    start.border = args.outpaint.or(start.border);
    start.mask_blur = args.mask_blur.unwrap_or(start.mask_blur);
    start.only_masked = args.only_masked.or(start.only_masked);
    start.image_guidance = args.image_guidance.or(start.image_guidance);
    if let Some(mask) = start.mask.as_mut().filter(|_| args.mask_invert) {
        mask.is_inverted = true;
    }
    Ok(Some(start))
}
