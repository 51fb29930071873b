//! Draws in a few steps without guidance, as latent consistency models do (LCM; of Stable Diffusion 1.x, XL, or by a LoRA):
//! `cargo run --release -p smelt-diffusion --example few_steps -- "a lighthouse" lighthouse.png LCM [LORA]`.
//!
//! Steps without guidance compute one sample, so that each takes half the time too.

use std::path::Path;

use smelt::{Error, LoraAsked, LoraStrength, Loras, Opening, PipelineOptions, Request, Unwatched};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [prompt, out, model] => Ok(draw(model.as_ref(), None, prompt, out.as_ref())?),
        [prompt, out, model, lora] => Ok(draw(model.as_ref(), Some(lora), prompt, out.as_ref())?),
        _ => Err("give PROMPT, PICTURE.png and MODEL, and perhaps a LORA".into()),
    }
}

/// Four steps of the scheduler that such models were distilled for; a LoRA makes one of an ordinary checkpoint.
pub(crate) fn draw(model: &Path, lora: Option<&str>, prompt: &str, out: &Path) -> Result<(), Error> {
    let asked = |file: &str| LoraAsked { file: file.into(), strength: LoraStrength { denoiser: 1.0, text: 1.0 } };
    let loras = Loras { asked: lora.into_iter().map(asked).collect(), ..Loras::default() };
    let opened = Opening { loras, ..Opening::default() }.open(model)?;
    let options = PipelineOptions { scheduler: Some("lcm".parse()?), steps: 4, ..PipelineOptions::default() };
    let request = Request { steps: 4, guidance: 1.0, ..Request::new(prompt) };
    opened.pipeline(&options)?.draw(&request, &mut Unwatched)?.pictures[0].save(out)
}
