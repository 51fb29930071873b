//! A small denoiser with random weights, and samples for it.

#![allow(dead_code, reason = "each test binary uses its own part")]

use burn_core::tensor::Device;
use host_tensor::HostTensor;
use sd_checkpoint::Weights;
use sd_finetune::{Data, Rates, Recipe, Samples};
use sd_models::{NetworkConfig, Role};
use testkit::Rng;

const CONFIG: &str = r#"{
  "_class_name": "UNet2DConditionModel", "sample_size": 8, "in_channels": 4, "out_channels": 4,
  "block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 4, "cross_attention_dim": 12,
  "attention_head_dim": 2, "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
  "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]
}"#;

pub(crate) fn config() -> NetworkConfig {
    NetworkConfig::read(Role::UNet, CONFIG.as_bytes()).unwrap()
}

/// Weights as a network is initialised with them: of variance one over the inputs.
pub(crate) fn weights(config: &NetworkConfig) -> Weights {
    let (mut weights, mut rng) = (Weights::default(), Rng::new(11));
    for parameter in config.parameters(&Device::flex()) {
        let shape = parameter.stored_shape();
        let n_inputs: usize = shape[1..].iter().product();
        let values = match shape.len() {
            1 if parameter.key.ends_with("weight") => vec![1.0; shape[0]],
            1 => vec![0.0; shape[0]],
            _ => rng.normals(shape.iter().product()).iter().map(|v| v / (n_inputs as f32).sqrt()).collect(),
        };
        weights.insert(parameter.key, HostTensor::from_f32(shape, values));
    }
    weights
}

pub(crate) fn data(n_samples: usize) -> Data {
    Data::new(samples(n_samples)).unwrap()
}

pub(crate) fn samples(n_samples: usize) -> Samples {
    let mut rng = Rng::new(3);
    let mut tensor = |shape: &[usize]| {
        let shape: Vec<usize> = [&[n_samples], shape].concat();
        HostTensor::from_f32(shape.clone(), rng.normals(shape.iter().product()))
    };
    let steps = (0..n_samples).map(|at| (at * 997 / n_samples) as f32).collect();
    Samples::from([
        ("sample".to_owned(), tensor(&[4, 8, 8])),
        ("encoder_hidden_states".to_owned(), tensor(&[12, 1, 5])),
        ("timestep".to_owned(), HostTensor::from_f32([n_samples], steps)),
    ])
}

/// A training of a few steps, in which numbers move far.
pub(crate) fn recipe(group_size: Option<usize>) -> Recipe {
    Recipe {
        group_size,
        min_elements: 64,
        batch: 8,
        soft_steps: 30,
        hard_steps: 10,
        soft_rates: Rates { elements: 8e-3, entries: 8e-3, plain: 1e-3 },
        hard_rates: Rates { elements: 0.0, entries: 4e-3, plain: 5e-4 },
        ..Recipe::default()
    }
}
