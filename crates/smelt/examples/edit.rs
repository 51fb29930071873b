//! Changes a picture as an instruction says, with a model for that (InstructPix2Pix):
//! `cargo run --release -p smelt-diffusion --example edit -- photo.png "make it winter" winter.png MODEL`.

use std::path::Path;

use smelt::{Error, PipelineOptions, Request, Start, Unwatched};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [picture, instruction, out, model] = &args[..] else {
        return Err("give PICTURE, INSTRUCTION, OUTPUT.png and MODEL".into());
    };
    Ok(draw(model.as_ref(), picture.as_ref(), instruction, out.as_ref())?)
}

/// `guidance` is how strongly the instruction counts, `image_guidance` how strongly the picture does.
pub(crate) fn draw(model: &Path, picture: &Path, instruction: &str, out: &Path) -> Result<(), Error> {
    let options = PipelineOptions { with_picture: true, ..PipelineOptions::default() };
    let mut pipeline = smelt::open(model)?.pipeline(&options)?;
    let start = Start { image_guidance: Some(1.5), ..Start::read(picture)? };
    let request = Request { start: Some(start), guidance: 7.0, ..Request::new(instruction) };
    pipeline.draw(&request, &mut Unwatched)?.pictures[0].save(out)
}
