//! ControlNets and the pictures that guide by them, as they are typed.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use smelt::{Control, Like, Preprocess, Source};

use super::source;

/// ControlNets, each with its picture.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ControlArgs {
    /// Let a ControlNet guide: one of the packages in the model's directory by its name (canny for
    /// ControlNet_canny.mlpackage), a package elsewhere, or a checkpoint, which is then converted in memory; repeatable.
    #[arg(long = "controlnet", value_name = "SOURCE", value_parser = source(), requires = "control_images")]
    pub(crate) controlnets: Vec<Source>,
    /// The picture that guides (PNG, JPEG or WebP), stretched to the size that is drawn; wholly transparent pixels are holes.
    /// For several ControlNets repeat it, and what follows, in their order, or give it once for all.
    #[arg(long = "control-image", value_name = "FILE", requires = "controlnets")]
    pub(crate) control_images: Vec<PathBuf>,
    /// How strongly it guides, 1 by default; 0 is not at all.
    #[arg(long = "control-weight", value_name = "X", requires = "controlnets", allow_hyphen_values = true)]
    control_weights: Vec<f32>,
    /// Share of the steps after which it begins, 0 by default.
    #[arg(long = "control-start", value_name = "X", requires = "controlnets", allow_hyphen_values = true)]
    control_starts: Vec<f64>,
    /// Share of the steps after which it ends, 1 by default.
    #[arg(long = "control-end", value_name = "X", requires = "controlnets", allow_hyphen_values = true)]
    control_ends: Vec<f64>,
    /// What becomes of the picture first: none, as by default, or canny[:LOW,HIGH] for its edges (100,200 by default).
    #[arg(long = "control-preprocess", value_name = "WHAT", requires = "controlnets")]
    control_preprocess: Vec<Preprocess>,
}

impl ControlArgs {
    /// The pictures, read, one for each ControlNet; what was typed stands before what a picture to be like says.
    pub(crate) fn read(&self, like: Option<&Like>) -> Result<Vec<Control>> {
        let n = self.controlnets.len();
        let (weights, starts) =
            (each(n, "--control-weight", &self.control_weights)?, each(n, "--control-start", &self.control_starts)?);
        let (ends, images) =
            (each(n, "--control-end", &self.control_ends)?, each(n, "--control-image", &self.control_images)?);
        let preprocess = each(n, "--control-preprocess", &self.control_preprocess)?;
        let read = |idx: usize| {
            let Some(image) = images[idx] else {
                bail!("--controlnet takes a picture: give it with --control-image FILE")
            };
            Ok(Control::read(image)?)
        };
        let mut controls = (0..n).map(read).collect::<Result<Vec<_>>>()?;
        if let Some(like) = like {
            like.guide(&mut controls);
        }
        for (idx, Control { picture, .. }) in controls.iter_mut().enumerate() {
            picture.weight = weights[idx].copied().unwrap_or(picture.weight);
            picture.start = starts[idx].copied().unwrap_or(picture.start);
            picture.end = ends[idx].copied().unwrap_or(picture.end);
            picture.preprocess = preprocess[idx].copied().unwrap_or(picture.preprocess);
        }
        Ok(controls)
    }
}

/// The value of each of `n` ControlNets, where there are any: one is for all.
fn each<'a, T>(n: usize, option: &str, values: &'a [T]) -> Result<Vec<Option<&'a T>>> {
    match values {
        [] => Ok(vec![None; n]),
        [one] => Ok(vec![Some(one); n]),
        several if several.len() == n => Ok(several.iter().map(Some).collect()),
        several => bail!(
            "{option} is given {} times, and --controlnet {n} times; give it once for all, or once for each in the same order",
            several.len()
        ),
    }
}
