//! Repaints what is white in a mask:
//! `cargo run --release -p smelt-diffusion --example inpaint -- photo.png mask.png "a red door" door.png [MODEL]`.
//!
//! MODEL may be one for inpainting (9 channels) or any other; without it, the model in the box draws.

use std::path::Path;

use smelt::{Error, PipelineOptions, Request, Start, StartMask, Unwatched, demo};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [picture, mask, prompt, out] => {
            Ok(draw(&demo::directory(None)?, [picture.as_ref(), mask.as_ref()], prompt, out.as_ref())?)
        }
        [picture, mask, prompt, out, model] => {
            Ok(draw(model.as_ref(), [picture.as_ref(), mask.as_ref()], prompt, out.as_ref())?)
        }
        _ => Err("give PICTURE, MASK, PROMPT and OUTPUT.png, and perhaps a MODEL".into()),
    }
}

/// Pixels where the mask is black stay those of the picture.
pub(crate) fn draw(model: &Path, [picture, mask]: [&Path; 2], prompt: &str, out: &Path) -> Result<(), Error> {
    let options = PipelineOptions { with_picture: true, ..PipelineOptions::default() };
    let mut pipeline = smelt::open(model)?.pipeline(&options)?;
    let start = Start { mask: Some(StartMask::read(mask)?), mask_blur: 2.0, ..Start::read(picture)? };
    let request = Request { start: Some(start), guidance: demo::GUIDANCE, ..Request::new(prompt) };
    pipeline.draw(&request, &mut Unwatched)?.pictures[0].save(out)
}
