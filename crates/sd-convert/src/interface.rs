//! What a component's model takes and which network it is, without a program.
//!
//! For engines that execute the network itself, in the place of the converted model.

use crate::recipe::{Recipe, declared_dtype};
use crate::{Checkpoint, ConvertError, Options, verify::Input};
use host_tensor::DType;
use sd_models::NetworkConfig;
use sd_spec::{Feature, Role};

/// A component's network, and the inputs that its model declares.
#[derive(Debug, Clone)]
pub struct Interface {
    /// The network's configuration.
    pub network: NetworkConfig,
    /// What the model takes, in order, in the element types that it declares; the network computes in f32, and takes
    /// token ids as integers.
    pub inputs: Vec<Input>,
    /// What it gives, in order.
    pub outputs: Vec<Input>,
}

impl Interface {
    /// Reads the component's configuration; [`convert`](crate::convert) with the same options makes a model with these inputs.
    ///
    /// # Errors
    /// When the checkpoint lacks the component, its configuration is not what the network needs, or an option does
    /// not fit.
    pub fn new(ckpt: &Checkpoint, role: Role, options: &Options) -> Result<Self, ConvertError> {
        let Recipe { network, inputs, outputs, .. } = Recipe::new(ckpt, role, options)?;
        let named = |f: Feature, dtype| Input { name: f.name, dtype, shape: f.shape };
        let declared = |f: Feature| (declared_dtype(f.spec, options.precision_of(role)), f);
        let inputs = inputs.into_iter().map(declared).map(|(dtype, f)| named(f, dtype)).collect();
        Ok(Self { network, inputs, outputs: outputs.into_iter().map(|f| named(f, DType::F32)).collect() })
    }
}
