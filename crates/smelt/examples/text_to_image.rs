//! Draws a picture from words:
//! `cargo run --release -p smelt-diffusion --example text_to_image -- "a red heart" heart.png [MODEL]`.
//!
//! MODEL is a checkpoint (a folder in diffusers layout, or one file) or a folder of packages; without it, the model in the
//! box draws emoji from their names.

use std::path::Path;

use smelt::{Error, PipelineOptions, Request, Unwatched, demo};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [prompt, out] => Ok(draw(&demo::directory(None)?, prompt, out.as_ref())?),
        [prompt, out, model] => Ok(draw(model.as_ref(), prompt, out.as_ref())?),
        _ => Err("give PROMPT and PICTURE.png, and perhaps a MODEL".into()),
    }
}

/// Draws one picture; the PNG carries its settings.
pub(crate) fn draw(model: &Path, prompt: &str, out: &Path) -> Result<(), Error> {
    let mut pipeline = smelt::open(model)?.pipeline(&PipelineOptions::default())?;
    let request = Request {
        negative_prompt: Some("blurred".to_owned()),
        guidance: demo::GUIDANCE,
        steps: 20,
        seed: 7,
        ..Request::new(prompt)
    };
    pipeline.draw(&request, &mut Unwatched)?.pictures[0].save(out)
}
