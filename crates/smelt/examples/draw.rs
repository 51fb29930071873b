//! Opens a checkpoint, converts it, compresses the packages, and draws with them:
//! `cargo run --release -p smelt-diffusion --example draw -- CHECKPOINT FOLDER "a red heart"`.

use std::path::Path;

use smelt::{Compression, Conversion, Error, PipelineOptions, Request, Unwatched};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, folder, prompt] = &args[..] else { return Err("give CHECKPOINT, FOLDER and PROMPT".into()) };
    Ok(draw(checkpoint.as_ref(), folder.as_ref(), prompt)?)
}

/// Leaves the packages in `packages`, the compressed ones in `small`, and the picture in `picture.png`.
pub(crate) fn draw(checkpoint: &Path, folder: &Path, prompt: &str) -> Result<(), Error> {
    let (packages, small, watch) = (folder.join("packages"), folder.join("small"), &mut Unwatched);
    smelt::open(checkpoint)?.convert(&packages, &Conversion::default(), watch)?;
    smelt::open(&packages)?.compress(&small, &Compression::palettes(6), watch)?;
    let mut pipeline = smelt::open(&small)?.pipeline(&PipelineOptions::default())?;
    let drawing = pipeline.draw(&Request::new(prompt), watch)?;
    drawing.pictures[0].save(folder.join("picture.png"))
}
