//! A picture that another is to be drawn like.

use std::path::PathBuf;

use clap::Args;

/// A picture whose settings are taken over.
#[derive(Debug, Args)]
pub(crate) struct LikeArgs {
    /// Draw as this picture was drawn, by its own settings: a PNG, JPEG or WebP of Smelt, AUTOMATIC1111, Forge, ComfyUI,
    /// stable-diffusion.cpp, Draw Things, Mochi Diffusion, InvokeAI and others. They stand before --settings, and options
    /// before them; what cannot be taken over is said. With --seed random it draws another of the same.
    #[arg(long, value_name = "PICTURE")]
    pub(crate) like: Option<PathBuf>,
}
