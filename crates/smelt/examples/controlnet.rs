//! Draws what the edges of a picture guide:
//! `cargo run --release -p smelt-diffusion --example controlnet -- photo.png "a house" house.png MODEL CONTROLNET`.
//!
//! Checkpoints are converted in memory; in a folder of packages the UNet must be one for ControlNets
//! (`smelt convert --unet-support-controlnet`), and CONTROLNET may be the name of one that lies there.

use std::path::Path;

use smelt::{Control, PipelineOptions, Request, Unwatched};

/// What the library says, and what it says of texts.
type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [picture, prompt, out, model, net] = &args[..] else {
        return Err("give PICTURE, PROMPT, OUTPUT.png, MODEL and CONTROLNET".into());
    };
    draw([model.as_ref(), net.as_ref()], picture.as_ref(), prompt, out.as_ref())
}

/// The edges guide in the first 80 % of the steps, a little less than the ControlNet was trained for.
pub(crate) fn draw([model, net]: [&Path; 2], picture: &Path, prompt: &str, out: &Path) -> Result<(), Error> {
    let options = PipelineOptions { controlnets: vec![net.into()], ..PipelineOptions::default() };
    let mut pipeline = smelt::open(model)?.pipeline(&options)?;
    let mut control = Control::read(picture)?;
    control.picture.preprocess = "canny:100,200".parse()?;
    (control.picture.weight, control.picture.end) = (0.9, 0.8);
    let request = Request { controls: vec![control], ..Request::new(prompt) };
    Ok(pipeline.draw(&request, &mut Unwatched)?.pictures[0].save(out)?)
}
