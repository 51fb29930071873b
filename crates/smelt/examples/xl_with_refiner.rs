//! Draws with Stable Diffusion XL and lets its refiner take the last steps:
//! `cargo run --release -p smelt-diffusion --example xl_with_refiner -- "a house of glass" house.png XL REFINER`.
//!
//! Each model lives only while it is needed, so that memory is that of the largest.

use std::path::Path;

use smelt::{Conditions, Error, PipelineOptions, Request, Unwatched};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [prompt, out, model, refiner] = &args[..] else {
        return Err("give PROMPT, PICTURE.png, and XL and its REFINER".into());
    };
    Ok(draw([model.as_ref(), refiner.as_ref()], prompt, out.as_ref())?)
}

/// The refiner begins at 80 % of the noise schedule, and aims at pictures that people like.
pub(crate) fn draw([model, refiner]: [&Path; 2], prompt: &str, out: &Path) -> Result<(), Error> {
    let options = PipelineOptions { refiner: Some(refiner.into()), low_memory: true, ..PipelineOptions::default() };
    let mut pipeline = smelt::open(model)?.pipeline(&options)?;
    let conditions = Conditions { aesthetic_score: Some(6.5), ..Conditions::default() };
    let request = Request { conditions, refiner_start: Some(0.8), guidance: 5.0, ..Request::new(prompt) };
    pipeline.draw(&request, &mut Unwatched)?.pictures[0].save(out)
}
