//! Configuration of an upscaler of the ESRGAN kind (BasicSR `RRDBNet`), as it is read off its tensors.

use sd_spec::keys::{RRDB_NET, Table};

use super::Configuration;
use super::fields::{Fields, MAX_CHANNELS};
use crate::{ModelError, Role};

/// Most blocks; released models have 6 to 32.
const MAX_BLOCKS: usize = 256;
/// Most doublings: pictures of 16 times the size.
const MAX_DOUBLINGS: usize = 4;
/// Largest squares of pixels that become one.
const MAX_UNSHUFFLE: usize = 8;

/// An upscaler of residual-in-residual dense blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RrdbNetConfig {
    /// Channels of the picture, of that which comes out too.
    pub channels: usize,
    /// Channels within.
    pub features: usize,
    /// Channels that each layer of a dense block adds.
    pub growth: usize,
    /// Residual-in-residual dense blocks.
    pub n_blocks: usize,
    /// How often height and width are doubled behind them.
    pub n_doublings: usize,
    /// Side of the squares of pixels that become the channels of one before anything else; 1 leaves the picture as it is.
    pub unshuffle: usize,
}

impl Configuration for RrdbNetConfig {
    const ROLE: Role = Role::Upscaler;
    const KEYS: Table = RRDB_NET;

    fn read(fields: &Fields) -> Result<Self, ModelError> {
        let config = Self {
            channels: fields.size_or("num_ch", MAX_CHANNELS, 3)?,
            features: fields.size_or("num_feat", MAX_CHANNELS, 64)?,
            growth: fields.size_or("num_grow_ch", MAX_CHANNELS, 32)?,
            n_blocks: fields.size_or("num_block", MAX_BLOCKS, 23)?,
            n_doublings: fields.count_or("num_upsample", MAX_DOUBLINGS, 2)?,
            unshuffle: fields.size_or("unshuffle", MAX_UNSHUFFLE, 1)?,
        };
        match (1 << config.n_doublings) % config.unshuffle {
            0 => Ok(config),
            _ => {
                let expected = format!("a divisor of {}, to which num_upsample enlarges", 1 << config.n_doublings);
                Err(fields.contradiction("unshuffle", &expected))
            }
        }
    }
}

impl RrdbNetConfig {
    /// Pixels along a side for each pixel of the picture that goes in.
    #[must_use]
    pub const fn factor(&self) -> usize {
        (1 << self.n_doublings) / self.unshuffle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_whole() {
        let factor = |json: &str| RrdbNetConfig::from_json(json.as_bytes()).map(|config| config.factor());
        assert_eq!(factor("{}").unwrap(), 4);
        assert_eq!(factor(r#"{"unshuffle": 2}"#).unwrap(), 2);
        assert_eq!(factor(r#"{"unshuffle": 4}"#).unwrap(), 1);
        assert_eq!(factor(r#"{"num_upsample": 0}"#).unwrap(), 1);
        for json in [r#"{"unshuffle": 3}"#, r#"{"num_upsample": 1, "unshuffle": 4}"#, r#"{"num_upsample": 9}"#] {
            assert!(factor(json).is_err(), "{json}");
        }
    }
}
