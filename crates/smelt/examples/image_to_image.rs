//! Draws on from a picture:
//! `cargo run --release -p smelt-diffusion --example image_to_image -- sketch.png "a red heart" heart.png [MODEL]`.
//!
//! Packages must hold the VAE's encoder (`smelt convert` writes it); without MODEL, the model in the box draws.

use std::path::Path;

use smelt::{Error, PipelineOptions, Request, Start, Unwatched, demo};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [picture, prompt, out] => Ok(draw(&demo::directory(None)?, picture.as_ref(), prompt, out.as_ref())?),
        [picture, prompt, out, model] => Ok(draw(model.as_ref(), picture.as_ref(), prompt, out.as_ref())?),
        _ => Err("give PICTURE, PROMPT and OUTPUT.png, and perhaps a MODEL".into()),
    }
}

/// Takes the last 60 % of the steps, so that what is large in the picture stays.
pub(crate) fn draw(model: &Path, picture: &Path, prompt: &str, out: &Path) -> Result<(), Error> {
    let options = PipelineOptions { with_picture: true, ..PipelineOptions::default() };
    let mut pipeline = smelt::open(model)?.pipeline(&options)?;
    let start = Start { strength: Some(0.6), ..Start::read(picture)? };
    let request = Request { start: Some(start), guidance: demo::GUIDANCE, ..Request::new(prompt) };
    pipeline.draw(&request, &mut Unwatched)?.pictures[0].save(out)
}
