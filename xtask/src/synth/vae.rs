//! `AutoencoderKL` as diffusers stores it.

use serde_json::{Value, json};

use super::{
    presets::{Library, Network},
    tensors::{Bias, TensorList, TensorSpec},
    unet::resnet,
};

/// The hyper-parameters in which the presets differ.
#[derive(Debug, Clone)]
pub(super) struct Vae {
    /// Side of the square image that the model was made for.
    pub(super) sample_size: usize,
    /// Channels of each level, from the finest.
    pub(super) channels: Vec<usize>,
    pub(super) latents: Latents,
}

/// What the autoencoder makes of a picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latents {
    pub(super) n_channels: usize,
    /// Subtracted before diffusion.
    pub(super) shift: Option<f64>,
    /// What they are then multiplied by.
    pub(super) scale: f64,
    pub(super) ends: Ends,
}

/// What stands between the latents and the encoder and the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// 1×1 convolutions.
    QuantConvs,
    Nothing,
}

const LAYERS_PER_BLOCK: usize = 2;

/// Latents of an untrained UNet are an order too large (see `unet.rs`) and are divided by 0.18 before decoding.
const POST_QUANT_GAIN: f32 = 0.1;

impl Network for Vae {
    fn class(&self) -> (Library, &'static str) {
        (Library::Diffusers, "AutoencoderKL")
    }

    fn config(&self, _torch_dtype: &str) -> Value {
        let has_convs = self.latents.ends == Ends::QuantConvs;
        json!({
            "_class_name": self.class().1,
            "_diffusers_version": "0.30.2",
            "act_fn": "silu",
            "block_out_channels": self.channels,
            "down_block_types": vec!["DownEncoderBlock2D"; self.channels.len()],
            "force_upcast": true,
            "in_channels": 3,
            "latent_channels": self.latents.n_channels,
            "latents_mean": null,
            "latents_std": null,
            "layers_per_block": LAYERS_PER_BLOCK,
            "mid_block_add_attention": true,
            "norm_num_groups": 32,
            "out_channels": 3,
            "sample_size": self.sample_size,
            "scaling_factor": self.latents.scale,
            "shift_factor": self.latents.shift,
            "up_block_types": vec!["UpDecoderBlock2D"; self.channels.len()],
            "use_post_quant_conv": has_convs,
            "use_quant_conv": has_convs,
        })
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let mut list = TensorList::default();
        self.encoder(&mut list);
        self.decoder(&mut list);
        if self.latents.ends == Ends::QuantConvs {
            let n = self.latents.n_channels;
            list.conv("quant_conv", 2 * n, 2 * n, 1);
            list.conv_with_gain("post_quant_conv", n, n, 1, POST_QUANT_GAIN);
        }
        list.0
    }
}

impl Vae {
    fn encoder(&self, list: &mut TensorList) {
        let (first, last) = (self.channels[0], self.channels[self.channels.len() - 1]);
        list.conv("encoder.conv_in", first, 3, 3);
        let mut n_in = first;
        for (level, &n_out) in self.channels.iter().enumerate() {
            let block = format!("encoder.down_blocks.{level}");
            resnets(list, &block, LAYERS_PER_BLOCK, n_in, n_out);
            if level + 1 < self.channels.len() {
                list.conv(&format!("{block}.downsamplers.0.conv"), n_out, n_out, 3);
            }
            n_in = n_out;
        }
        mid_block(list, "encoder.mid_block", last);
        list.norm("encoder.conv_norm_out", last);
        list.conv("encoder.conv_out", 2 * self.latents.n_channels, last, 3);
    }

    fn decoder(&self, list: &mut TensorList) {
        let (first, last) = (self.channels[0], self.channels[self.channels.len() - 1]);
        list.conv("decoder.conv_in", last, self.latents.n_channels, 3);
        mid_block(list, "decoder.mid_block", last);
        let mut n_in = last;
        for (index, &n_out) in self.channels.iter().rev().enumerate() {
            let block = format!("decoder.up_blocks.{index}");
            resnets(list, &block, LAYERS_PER_BLOCK + 1, n_in, n_out);
            if index + 1 < self.channels.len() {
                list.conv(&format!("{block}.upsamplers.0.conv"), n_out, n_out, 3);
            }
            n_in = n_out;
        }
        list.norm("decoder.conv_norm_out", first);
        list.conv("decoder.conv_out", 3, first, 3);
    }
}

fn resnets(list: &mut TensorList, block: &str, n_layers: usize, n_in: usize, n_out: usize) {
    for layer in 0..n_layers {
        resnet(list, &format!("{block}.resnets.{layer}"), if layer == 0 { n_in } else { n_out }, n_out, None);
    }
}

/// Two residual blocks and an attention of one head between them.
fn mid_block(list: &mut TensorList, name: &str, n_channels: usize) {
    resnets(list, name, 2, n_channels, n_channels);
    let at = |part: &str| format!("{name}.attentions.0.{part}");
    list.norm(&at("group_norm"), n_channels);
    for projection in ["to_q", "to_k", "to_v", "to_out.0"] {
        list.linear(&at(projection), n_channels, n_channels, Bias::With);
    }
}
