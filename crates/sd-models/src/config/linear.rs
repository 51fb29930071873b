//! Configuration of one linear layer, as it is read off its tensors.

use sd_spec::Role;
use sd_spec::keys::{LINEAR, Table};

use super::Configuration;
use super::fields::{Fields, MAX_CHANNELS};
use crate::ModelError;

/// A linear layer (`torch.nn.Linear`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearLayerConfig {
    /// Width of what goes in.
    pub in_features: usize,
    /// Width of what comes out.
    pub out_features: usize,
    /// Whether something is added.
    pub has_bias: bool,
}

impl Configuration for LinearLayerConfig {
    const ROLE: Role = Role::MultilingualProjection;
    const KEYS: Table = LINEAR;

    fn read(fields: &Fields) -> Result<Self, ModelError> {
        Ok(Self {
            in_features: fields.size("in_features", MAX_CHANNELS)?,
            out_features: fields.size("out_features", MAX_CHANNELS)?,
            has_bias: fields.flag_or("bias", true)?,
        })
    }
}
