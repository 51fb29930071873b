//! Draws more on the right of a picture:
//! `cargo run --release -p smelt-diffusion --example outpaint -- photo.png "a long wall" wall.png [MODEL]`.
//!
//! A checkpoint draws at the size of picture and border; without MODEL, the model in the box draws.

use std::path::Path;

use smelt::image::Border;
use smelt::{Error, PipelineOptions, Request, Sizes, Start, Unwatched, demo};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [picture, prompt, out] => Ok(draw(&demo::directory(None)?, picture.as_ref(), prompt, out.as_ref())?),
        [picture, prompt, out, model] => Ok(draw(model.as_ref(), picture.as_ref(), prompt, out.as_ref())?),
        _ => Err("give PICTURE, PROMPT and OUTPUT.png, and perhaps a MODEL".into()),
    }
}

/// Adds half the picture's width.
pub(crate) fn draw(model: &Path, picture: &Path, prompt: &str, out: &Path) -> Result<(), Error> {
    let opened = smelt::open(model)?;
    let mut start = Start::read(picture)?;
    start.border = Some(Border { right: start.image.width() / 2, ..Border::default() });
    let sizes = start.sizes(&opened, Sizes::default())?;
    let options = PipelineOptions { sizes, with_picture: true, ..PipelineOptions::default() };
    let request = Request { start: Some(start), guidance: demo::GUIDANCE, ..Request::new(prompt) };
    opened.pipeline(&options)?.draw(&request, &mut Unwatched)?.pictures[0].save(out)
}
