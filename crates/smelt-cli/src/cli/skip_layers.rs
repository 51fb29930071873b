//! Skip-layer guidance of Stable Diffusion 3 as it is typed.

use clap::Args;
use smelt::{Blocks, SkipLayers};

/// What of a transformer is left out, and how pictures are guided away from that.
#[derive(Debug, Args)]
pub(crate) struct SkipLayerArgs {
    /// Guide the first steps away from what the transformer predicts without these blocks, counted from 0: skip-layer
    /// guidance of Stable Diffusion 3, for 3.5 medium 7,8,9. Needs a checkpoint.
    #[arg(long, value_name = "N,…")]
    skip_layers: Option<Blocks>,
    /// How strongly that counts; default: 2.8.
    #[arg(long, value_name = "X", requires = "skip_layers", allow_hyphen_values = true)]
    skip_layer_scale: Option<f32>,
    /// The share of the steps after which it begins; default: 0.01.
    #[arg(long, value_name = "X", requires = "skip_layers")]
    skip_layer_start: Option<f64>,
    /// The share of the steps before which it ends; default: 0.2.
    #[arg(long, value_name = "X", requires = "skip_layers")]
    skip_layer_stop: Option<f64>,
}

impl SkipLayerArgs {
    /// All of it, where blocks are left out.
    pub(crate) fn asked(&self) -> Option<SkipLayers> {
        let usual = SkipLayers::new(self.skip_layers?);
        Some(SkipLayers {
            scale: self.skip_layer_scale.unwrap_or(usual.scale),
            start: self.skip_layer_start.unwrap_or(usual.start),
            stop: self.skip_layer_stop.unwrap_or(usual.stop),
            ..usual
        })
    }
}
