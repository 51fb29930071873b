//! `AutoencoderTiny` (TAESD) as diffusers stores it.

use serde_json::{Value, json};

use super::{
    presets::{Library, Network},
    tensors::{TensorList, TensorSpec},
};

/// The hyper-parameters in which the presets differ.
#[derive(Debug, Clone)]
pub(super) struct TinyVae {
    pub(super) latent_channels: usize,
    /// Channels of every level.
    pub(super) width: usize,
    /// Residual blocks of each level of the decoder, the latents' first; the encoder is its mirror.
    pub(super) decoder_blocks: Vec<usize>,
}

/// What a residual block adds is small beside what passes it, and so is what the last layer gives beside its bias: 0 to 1.
const GAIN: f32 = 0.3;

impl Network for TinyVae {
    fn class(&self) -> (Library, &'static str) {
        (Library::Diffusers, "AutoencoderTiny")
    }

    fn config(&self, _torch_dtype: &str) -> Value {
        let widths = vec![self.width; self.decoder_blocks.len()];
        json!({
            "_class_name": self.class().1,
            "_diffusers_version": "0.30.2",
            "act_fn": "relu",
            "block_out_channels": widths,
            "decoder_block_out_channels": widths,
            "encoder_block_out_channels": widths,
            "force_upcast": false,
            "in_channels": 3,
            "latent_channels": self.latent_channels,
            "latent_magnitude": 3,
            "latent_shift": 0.5,
            "num_decoder_blocks": self.decoder_blocks,
            "num_encoder_blocks": self.encoder_blocks(),
            "out_channels": 3,
            "scaling_factor": 1.0,
            "shift_factor": 0.0,
            "upsample_fn": "nearest",
            "upsampling_scaling_factor": 2,
        })
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let mut list = TensorList::default();
        self.encoder(&mut list);
        self.decoder(&mut list);
        list.0
    }
}

impl TinyVae {
    fn encoder_blocks(&self) -> Vec<usize> {
        self.decoder_blocks.iter().rev().copied().collect()
    }

    fn encoder(&self, list: &mut TensorList) {
        let mut at = 0;
        for (level, n_blocks) in self.encoder_blocks().into_iter().enumerate() {
            match level {
                0 => list.conv("encoder.layers.0", self.width, 3, 3),
                _ => self.to_next_level(list, &format!("encoder.layers.{at}")),
            }
            at = self.blocks(list, "encoder.layers", at + 1, n_blocks);
        }
        list.conv(&format!("encoder.layers.{at}"), self.latent_channels, self.width, 3);
    }

    fn decoder(&self, list: &mut TensorList) {
        list.conv("decoder.layers.0", self.width, self.latent_channels, 3);
        // The activation behind it, and what makes pictures larger, have a place and no tensors.
        let mut at = 2;
        let last = self.decoder_blocks.len() - 1;
        for (level, &n_blocks) in self.decoder_blocks.iter().enumerate() {
            at = self.blocks(list, "decoder.layers", at, n_blocks);
            if level < last {
                self.to_next_level(list, &format!("decoder.layers.{}", at + 1));
                at += 2;
            }
        }
        list.conv_with_gain(&format!("decoder.layers.{at}"), 3, self.width, 3, GAIN);
    }

    /// Blocks from a place on; returns the place behind them.
    fn blocks(&self, list: &mut TensorList, layers: &str, at: usize, n_blocks: usize) -> usize {
        for block in at..at + n_blocks {
            for (conv, gain) in [(0, 1.0), (2, 1.0), (4, GAIN)] {
                list.conv_with_gain(&format!("{layers}.{block}.conv.{conv}"), self.width, self.width, 3, gain);
            }
        }
        at + n_blocks
    }

    fn to_next_level(&self, list: &mut TensorList, name: &str) {
        let fan_in = (self.width * 9) as f32;
        list.tensor(format!("{name}.weight"), &[self.width, self.width, 3, 3], 0.0, fan_in.powf(-0.5));
    }
}
