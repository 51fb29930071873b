//! Decodes with a TAESD, a small autoencoder, in the place of the model's own:
//! `cargo run --release -p smelt-diffusion --example small_decoder -- "a red heart" heart.png TAESD [MODEL]`.
//!
//! TAESD is a folder in diffusers layout, one file, or its author's `taesd_decoder.safetensors`, of the model's family.

use std::path::Path;

use smelt::{Error, PipelineOptions, Request, Unwatched, demo};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [prompt, out, taesd] => Ok(draw(&demo::directory(None)?, taesd.as_ref(), prompt, out.as_ref())?),
        [prompt, out, taesd, model] => Ok(draw(model.as_ref(), taesd.as_ref(), prompt, out.as_ref())?),
        _ => Err("give PROMPT, PICTURE.png and TAESD, and perhaps a MODEL".into()),
    }
}

/// Says what is not known of the TAESD, for those of Stable Diffusion 1.x and XL have the same shape.
#[allow(clippy::print_stderr, reason = "an example says on the terminal what the library found")]
pub(crate) fn draw(model: &Path, taesd: &Path, prompt: &str, out: &Path) -> Result<(), Error> {
    let options = PipelineOptions { taesd: Some(taesd.into()), ..PipelineOptions::default() };
    let mut pipeline = smelt::open(model)?.pipeline(&options)?;
    pipeline.warnings().iter().for_each(|warning| eprintln!("{warning}"));
    let request = Request { guidance: demo::GUIDANCE, ..Request::new(prompt) };
    pipeline.draw(&request, &mut Unwatched)?.pictures[0].save(out)
}
