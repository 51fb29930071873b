//! `ControlNetModel` as diffusers stores it.

use serde_json::{Value, json};

use super::{
    presets::{Library, Network},
    tensors::{TensorList, TensorSpec},
    unet::{UNet, extend},
};

/// A copy of half a UNet, beside the picture that guides it.
#[derive(Debug, Clone)]
pub(super) struct ControlNet {
    /// The UNet whose way down it has.
    pub(super) unet: UNet,
    /// Channels on the way from the guiding picture's size to that of the latents.
    pub(super) hint_channels: Vec<usize>,
}

/// Channels of the guiding picture.
const HINT: usize = 3;
/// What a trained network adds to the UNet's states is small beside them.
const RESIDUAL_GAIN: f32 = 0.1;

impl Network for ControlNet {
    fn class(&self) -> (Library, &'static str) {
        (Library::Diffusers, "ControlNetModel")
    }

    fn config(&self, _torch_dtype: &str) -> Value {
        let mut config = self.unet.way_down_config();
        let own = json!({
            "conditioning_channels": HINT,
            "conditioning_embedding_out_channels": self.hint_channels,
            "controlnet_conditioning_channel_order": "rgb",
            "global_pool_conditions": false,
        });
        extend(&mut config, self.class().1, own);
        config
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let mut list = TensorList::default();
        self.unet.way_down(&mut list);
        self.hint(&mut list);
        for (i, n_channels) in self.unet.skips().into_iter().enumerate() {
            list.conv_with_gain(&format!("controlnet_down_blocks.{i}"), n_channels, n_channels, 1, RESIDUAL_GAIN);
        }
        let last = self.unet.channels[self.unet.channels.len() - 1];
        list.conv_with_gain("controlnet_mid_block", last, last, 1, RESIDUAL_GAIN);
        list.0
    }
}

impl ControlNet {
    /// `ControlNetConditioningEmbedding`: between each two widths a convolution and one of stride 2.
    fn hint(&self, list: &mut TensorList) {
        let at = |part: &str| format!("controlnet_cond_embedding.{part}");
        list.conv(&at("conv_in"), self.hint_channels[0], HINT, 3);
        for (i, pair) in self.hint_channels.windows(2).enumerate() {
            list.conv(&at(&format!("blocks.{}", 2 * i)), pair[0], pair[0], 3);
            list.conv(&at(&format!("blocks.{}", 2 * i + 1)), pair[1], pair[0], 3);
        }
        let last = self.hint_channels[self.hint_channels.len() - 1];
        list.conv(&at("conv_out"), self.unet.channels[0], last, 3);
    }
}
