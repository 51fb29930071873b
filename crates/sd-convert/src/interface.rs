//! What a component's model takes and which network it is, without a program.
//!
//! For engines that execute the network itself, in the place of the converted model.

use crate::{Checkpoint, ConvertError, Options, recipe::Recipe, verify::Input};
use sd_models::{NetworkConfig, Role};

/// A component's network, and the inputs that its model declares.
#[derive(Debug, Clone)]
pub struct Interface {
    /// The network's configuration.
    pub network: NetworkConfig,
    /// What the model takes, in order, in the element types that it declares; the network computes in f32, and takes
    /// token ids as integers.
    pub inputs: Vec<Input>,
}

impl Interface {
    /// Reads the component's configuration; [`convert`](crate::convert) with the same options makes a model with these inputs.
    ///
    /// # Errors
    /// When the checkpoint lacks the component, its configuration is not what the network needs, or an option does
    /// not fit.
    pub fn new(ckpt: &Checkpoint, role: Role, options: &Options) -> Result<Self, ConvertError> {
        let Recipe { network, inputs, .. } = Recipe::new(ckpt, role, options)?;
        let input = |f: crate::recipe::Feature| Input {
            name: f.name.to_owned(),
            dtype: f.declared_dtype(options.precision),
            shape: f.shape,
        };
        Ok(Self { network, inputs: inputs.into_iter().map(input).collect() })
    }
}
