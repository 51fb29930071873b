//! The networks with their weights, and how features become arguments and results.
//!
//! Names and layouts are those of the converted models: the recipes of `sd-convert` say the same of MIL programs, and a
//! test holds the two together.

use std::collections::BTreeMap;

use burn_core::tensor::{Device, Int, Tensor, TensorData};
use host_tensor::{DType, HostTensor};
use sd_models::{ClipTextEncoder, NetworkConfig, SafetyChecker, UNet, VaeDecoder, VaeEncoder};
use sd_runtime::{Feature, Tensors};

use super::error::BurnError;
use super::load::load;

/// A network on its device.
#[derive(Debug)]
pub(super) struct Network {
    module: Module,
    device: Device,
}

#[derive(Debug)]
enum Module {
    TextEncoder { encoder: Box<ClipTextEncoder>, vocab_size: usize },
    UNet(Box<UNet>),
    VaeDecoder(Box<VaeDecoder>),
    VaeEncoder(Box<VaeEncoder>),
    SafetyChecker(Box<SafetyChecker>),
}

impl Network {
    /// Builds the network with the checkpoint's tensors.
    pub(super) fn new(
        config: &NetworkConfig,
        tensors: &BTreeMap<&str, &HostTensor>,
        device: &Device,
    ) -> Result<Self, BurnError> {
        let role = config.role();
        let module = match config {
            NetworkConfig::TextEncoder(c) => Module::TextEncoder {
                encoder: Box::new(load(c.init(device), role, tensors, device)?),
                vocab_size: c.vocab_size,
            },
            NetworkConfig::UNet(c) => Module::UNet(Box::new(load(c.init(device), role, tensors, device)?)),
            NetworkConfig::VaeDecoder(c) => {
                Module::VaeDecoder(Box::new(load(c.init_decoder(device), role, tensors, device)?))
            }
            NetworkConfig::VaeEncoder(c) => {
                Module::VaeEncoder(Box::new(load(c.init_encoder(device), role, tensors, device)?))
            }
            NetworkConfig::SafetyChecker(c) => {
                Module::SafetyChecker(Box::new(load(c.init(device), role, tensors, device)?))
            }
        };
        Ok(Self { module, device: device.clone() })
    }

    /// Runs the network on inputs whose names and shapes were checked.
    pub(super) fn forward(&self, inputs: &Tensors) -> Result<Tensors, BurnError> {
        let inputs = Inputs { tensors: inputs, device: &self.device };
        let outputs = match &self.module {
            Module::TextEncoder { encoder, vocab_size } => {
                let out = encoder.forward(inputs.ids("input_ids", *vocab_size)?);
                vec![read("last_hidden_state", out.last_hidden_state)?, read("pooled_outputs", out.pooled_outputs)?]
            }
            Module::UNet(unet) => {
                let (sample, timestep) = (inputs.real::<4>("sample")?, inputs.real::<1>("timestep")?);
                // [B, C, 1, S] to the network's [B, S, C].
                let text = inputs.real::<4>("encoder_hidden_states")?;
                let [batch, channels, _, length] = text.dims();
                let text = text.reshape([batch, channels, length]).swap_dims(1, 2);
                vec![read("noise_pred", unet.forward(sample, timestep, text, None))?]
            }
            Module::VaeDecoder(decoder) => vec![read("image", decoder.forward(inputs.real("z")?))?],
            Module::VaeEncoder(encoder) => vec![read("latent", encoder.forward(inputs.real("x")?))?],
            Module::SafetyChecker(checker) => {
                let (clip, images) = (inputs.real("clip_input")?, inputs.real("images")?);
                let verdict = checker.forward(clip, images, inputs.real("adjustment")?);
                vec![
                    read("filtered_images", verdict.filtered_images)?,
                    read("has_nsfw_concepts", verdict.has_nsfw_concepts)?,
                    read("concept_scores", verdict.concept_scores)?,
                ]
            }
        };
        Ok(outputs.into_iter().collect())
    }
}

/// Features on their way to a device.
struct Inputs<'a> {
    tensors: &'a Tensors,
    device: &'a Device,
}

impl Inputs<'_> {
    fn get(&self, name: &str, rank: usize) -> Result<&HostTensor, BurnError> {
        let tensor = self.tensors.get(name).ok_or_else(|| BurnError::MissingFeature { name: name.to_owned() })?;
        let found = tensor.shape();
        match found.len() == rank {
            true => Ok(tensor),
            false => Err(BurnError::FeatureRank { name: name.to_owned(), rank, found: found.to_vec() }),
        }
    }

    fn real<const D: usize>(&self, name: &str) -> Result<Tensor<D>, BurnError> {
        let tensor = self.get(name, D)?;
        Ok(Tensor::from_data(TensorData::new(tensor.to_f32_vec(), tensor.shape()), self.device))
    }

    /// Ids below `limit`; Burn would panic at others.
    fn ids(&self, name: &str, limit: usize) -> Result<Tensor<2, Int>, BurnError> {
        let tensor = self.get(name, 2)?;
        let ids = tensor.to_i64_vec();
        let is_known = |id: &i64| usize::try_from(*id).is_ok_and(|id| id < limit);
        match ids.iter().find(|id| !is_known(id)) {
            None => Ok(Tensor::from_data(TensorData::new(ids, tensor.shape()), self.device)),
            Some(&id) => Err(BurnError::TokenId { name: name.to_owned(), id, limit }),
        }
    }
}

/// A result, back on the host as f32.
fn read<const D: usize>(name: &str, tensor: Tensor<D>) -> Result<(String, HostTensor), BurnError> {
    let fail = |reason: String| BurnError::Device { name: name.to_owned(), reason };
    let shape = tensor.dims();
    let data = tensor.try_into_data().map_err(|e| fail(e.to_string()))?;
    let values = data.try_into_vec::<f32>().map_err(|e| fail(e.to_string()))?;
    Ok((name.to_owned(), HostTensor::from_f32(shape, values)))
}

/// What the converted model would declare of its results; they follow from the inputs and the configuration.
pub(super) fn outputs(config: &NetworkConfig, inputs: &[Feature]) -> Result<Vec<Feature>, BurnError> {
    let real = |name: &str, shape: &[usize]| Feature::new(name, DType::F32, shape);
    Ok(match config {
        NetworkConfig::TextEncoder(c) => {
            let [batch, length] = shape(inputs, "input_ids")?;
            let width = c.tower.hidden_size;
            vec![real("last_hidden_state", &[batch, length, width]), real("pooled_outputs", &[batch, width])]
        }
        NetworkConfig::UNet(c) => {
            let [batch, _, height, width] = shape(inputs, "sample")?;
            vec![real("noise_pred", &[batch, c.out_channels, height, width])]
        }
        NetworkConfig::VaeDecoder(c) => {
            let [batch, _, height, width] = shape(inputs, "z")?;
            vec![real("image", &[batch, c.out_channels, height * c.scale(), width * c.scale()])]
        }
        NetworkConfig::VaeEncoder(c) => {
            let [batch, _, height, width] = shape(inputs, "x")?;
            vec![real("latent", &[batch, 2 * c.latent_channels, height / c.scale(), width / c.scale()])]
        }
        NetworkConfig::SafetyChecker(_) => {
            let images = shape::<4>(inputs, "images")?;
            let batch = images[0];
            vec![
                real("filtered_images", &images),
                real("has_nsfw_concepts", &[batch, 1, 1, 1]),
                real("concept_scores", &[batch, sd_models::safety_checker::N_CONCEPTS]),
            ]
        }
    })
}

/// The shape of an input that must be there with this rank.
fn shape<const D: usize>(inputs: &[Feature], name: &str) -> Result<[usize; D], BurnError> {
    let found = inputs.iter().find(|f| f.name == name);
    let found = &found.ok_or_else(|| BurnError::MissingFeature { name: name.to_owned() })?.shape;
    let found = found.dims().ok_or_else(|| BurnError::UnknownShape { name: name.to_owned() })?;
    let rank = || BurnError::FeatureRank { name: name.to_owned(), rank: D, found: found.to_vec() };
    found.try_into().map_err(|_| rank())
}
