//! Draws with Stable Diffusion 3 or 3.5:
//! `cargo run --release -p smelt-diffusion --example sd3 -- "a sign that says hello" sign.png MODEL`.
//!
//! MODEL may be without T5, whose place zeros then take, as in diffusers.

use std::path::Path;

use smelt::{Error, PipelineOptions, Request, Unwatched};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [prompt, out, model] = &args[..] else { return Err("give PROMPT, PICTURE.png and MODEL".into()) };
    Ok(draw(model.as_ref(), prompt, out.as_ref())?)
}

/// Reads the prompt with all text encoders before the transformer is loaded.
pub(crate) fn draw(model: &Path, prompt: &str, out: &Path) -> Result<(), Error> {
    let options = PipelineOptions { low_memory: true, ..PipelineOptions::default() };
    let mut pipeline = smelt::open(model)?.pipeline(&options)?;
    let request = Request { steps: 28, guidance: 4.5, ..Request::new(prompt) };
    pipeline.draw(&request, &mut Unwatched)?.pictures[0].save(out)
}
