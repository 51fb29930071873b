//! The picture to begin with, as the library takes it.

use anyhow::Result;
use smelt::{Start, StartMask};

use crate::cli::StartArgs;

/// Reads the picture and its mask, if there are any.
pub(super) fn read(args: &StartArgs) -> Result<Option<Start>> {
    let Some(image) = &args.image else { return Ok(None) };
    let mask = args.mask.as_deref().map(StartMask::read).transpose()?;
    Ok(Some(Start {
        strength: args.strength,
        fit: args.fit,
        mask: mask.map(|mask| StartMask { is_inverted: args.mask_invert, ..mask }),
        border: args.outpaint,
        mask_blur: args.mask_blur,
        only_masked: args.only_masked,
        image_guidance: args.image_guidance,
        ..Start::read(image)?
    }))
}
