//! The networks themselves, executed by Burn: on its CPU backend Flex, or on one of its GPU backends.
//!
//! The same modules that conversion records are given their weights here, so that a picture can be drawn without MIL
//! between, and the two ways compared.
//! Arithmetic is in f32, whatever the checkpoint stores; features have the names, shapes and element types of the converted model.
//!
//! Deliberately not here: reading files (the caller brings configuration and weights), and packages, which hold MIL and no modules.

mod device;
mod error;
mod load;
mod network;

pub use error::BurnError;

use std::num::NonZeroUsize;

use burn_core::tensor::Device;
use sd_checkpoint::Weights;
use sd_models::NetworkConfig;
use sd_runtime::{Engine, Signature, Stop, Tensors};

use crate::BurnDevice;
use network::Loaded;

/// Where a network runs, and on how many threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BurnOptions {
    /// The device.
    pub device: BurnDevice,
    /// Threads of the CPU backend; `None` takes Rayon's default, one for each core.
    pub threads: Option<NonZeroUsize>,
}

/// A network on a device of Burn's.
#[derive(Debug)]
pub struct BurnEngine {
    network: Box<dyn Loaded>,
    device: Device,
    signature: Signature,
    /// Present when the number of threads was chosen.
    pool: Option<rayon::ThreadPool>,
}

impl BurnEngine {
    /// Builds a network and moves its weights to the device, as f32.
    ///
    /// `signature` is that of the converted model, and `weights` are the checkpoint's.
    ///
    /// # Errors
    /// When the tensors are not the network's, the inputs are not what it takes, or the device is not there.
    pub fn new(
        config: &NetworkConfig,
        signature: Signature,
        weights: &Weights,
        options: BurnOptions,
    ) -> Result<Self, BurnError> {
        let device = options.device.open()?;
        let network = network::build(config, weights, &device)?;
        let pool = options.threads.map(|n| rayon::ThreadPoolBuilder::new().num_threads(n.get()).build());
        let pool = pool.transpose().map_err(|e| BurnError::Threads { reason: e.to_string() })?;
        Ok(Self { network, device, signature, pool })
    }

    /// Runs the network once; inputs are converted to what it computes with.
    ///
    /// # Errors
    /// When inputs are missing, superfluous, of the wrong shape or out of range, or the device fails.
    pub fn run_once(&self, inputs: &Tensors) -> Result<Tensors, BurnError> {
        check_inputs(&self.signature, inputs)?;
        match &self.pool {
            Some(pool) => pool.install(|| self.network.forward(inputs, &self.signature, &self.device)),
            None => self.network.forward(inputs, &self.signature, &self.device),
        }
    }
}

impl Engine for BurnEngine {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Burn computes a network in one piece, so the flag is asked before it only.
    fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, sd_runtime::EngineError> {
        match stop.is_set() {
            false => Ok(self.run_once(inputs)?),
            true => Err(BurnError::Stopped.into()),
        }
    }
}

/// Exactly the declared inputs, each in its declared shape.
fn check_inputs(signature: &Signature, inputs: &Tensors) -> Result<(), BurnError> {
    if let Some(name) = inputs.keys().find(|name| signature.input(name).is_none()) {
        let expected = signature.inputs.iter().map(|f| f.name.clone()).collect();
        return Err(BurnError::UnexpectedFeature { name: name.clone(), expected });
    }
    for feature in &signature.inputs {
        let given = inputs.get(&feature.name);
        let given = given.ok_or_else(|| BurnError::MissingFeature { name: feature.name.clone() })?;
        if let Some(expected) = feature.shape.dims().filter(|dims| *dims != given.shape()) {
            return Err(BurnError::FeatureShape {
                name: feature.name.clone(),
                expected: expected.to_vec(),
                found: given.shape().to_vec(),
            });
        }
    }
    Ok(())
}
