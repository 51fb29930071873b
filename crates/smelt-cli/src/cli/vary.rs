//! Several pictures of what differs, as it is typed.

use std::path::PathBuf;

use clap::Args;
use smelt::Axis;

/// What differs between pictures.
#[derive(Debug, Args)]
pub(crate) struct VaryArgs {
    /// Draw a prompt for each line of a file, without those that are empty or begin with #; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub(crate) prompts: Option<PathBuf>,
    /// Prompts have choices, of which the seed draws some: {red|blue}, {3::often|seldom}, {2$$one|two|three}, and __name__
    /// for a line of name.txt in this folder. With --count each picture has a seed of its own.
    #[arg(long, value_name = "DIR")]
    pub(crate) wildcards: Option<PathBuf>,
    /// Draw a picture for each value of a setting, side by side in one grid: steps=10,20,30, guidance=2,4, seed=1..5,
    /// prompt=red,blue (blue in the place of red) and others.
    #[arg(long, value_name = "NAME=VALUE,…", value_parser = axis)]
    pub(crate) x: Option<Axis>,
    /// The same for the rows of the grid.
    #[arg(long, value_name = "NAME=VALUE,…", value_parser = axis)]
    pub(crate) y: Option<Axis>,
}

fn axis(text: &str) -> Result<Axis, String> {
    text.parse().map_err(|error: smelt::Error| error.chain())
}
