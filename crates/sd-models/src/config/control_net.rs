//! Configuration of a picture's guidance (diffusers `ControlNetModel`).

use sd_spec::keys::{CONTROL_NET, Table};

use super::Configuration;
use super::fields::{Fields, MAX_BLOCKS, MAX_CHANNELS};
use super::unet::{Levels, WayDownConfig};
use crate::{ModelError, Role};

/// A `ControlNet`.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlNetConfig {
    /// The denoiser's way down, of which it has a copy.
    pub way_down: WayDownConfig,
    /// Channels of the picture that guides.
    pub hint_channels: usize,
    /// Widths of the layers that the picture passes; each after the first halves its sides.
    pub hint_widths: Vec<usize>,
    /// Whether the network was made for pictures whose channels are blue, green, red.
    pub is_bgr: bool,
}

impl Configuration for ControlNetConfig {
    const ROLE: Role = Role::ControlNet;
    const KEYS: Table = CONTROL_NET;

    fn read(fields: &Fields) -> Result<Self, ModelError> {
        let key = "controlnet_conditioning_channel_order";
        let is_bgr = match fields.text_or(key, "rgb")? {
            "rgb" => false,
            "bgr" => true,
            other => return Err(fields.unsupported(key, &other.into(), "rgb, bgr")),
        };
        let key = "conditioning_embedding_out_channels";
        Ok(Self {
            way_down: WayDownConfig::read(fields, &Levels::read(fields)?)?,
            hint_channels: fields.size_or("conditioning_channels", MAX_CHANNELS, 3)?,
            hint_widths: match fields.has(key) {
                true => fields.sizes(key, MAX_CHANNELS, MAX_BLOCKS)?,
                false => vec![16, 32, 96, 256],
            },
            is_bgr,
        })
    }
}
