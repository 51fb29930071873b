//! LoRAs for a checkpoint of real shape: all attention and feed-forward layers of its UNet and text encoders, under
//! sd-scripts' names.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{
    presets::{Preset, PresetName},
    stream::{Dtype, write_safetensors},
    tensors::TensorSpec,
};

/// Networks that are trained, and how names of their modules begin.
const TRAINED: [(&str, &[&str], &str); 3] = [
    ("unet", &[".attn1.", ".attn2.", ".ff.", ".proj_in.", ".proj_out."], "lora_unet_"),
    ("text_encoder", &[".self_attn.", ".mlp."], "lora_te1_"),
    ("text_encoder_2", &[".self_attn.", ".mlp."], "lora_te2_"),
];

/// Writes a LoRA of this rank for a preset's networks unless it is there already.
pub(crate) fn ensure_lora(preset: PresetName, path: &Path, rank: usize, seed: u64) -> Result<()> {
    if path.is_file() {
        return Ok(());
    }
    let preset = Preset::new(preset);
    let modules = TRAINED.iter().flat_map(|&(folder, _, prefix)| {
        trained(&preset, folder).into_iter().flat_map(move |weight| module(&weight, prefix, rank))
    });
    let partial = path.with_extension("partial");
    write_safetensors(&partial, modules.collect(), "lora", seed, Dtype::F16)?;
    fs::rename(&partial, path).with_context(|| format!("cannot rename to {}", path.display()))
}

/// How many weights of a preset's network a LoRA changes.
pub(crate) fn n_trained(preset: PresetName, folder: &str) -> usize {
    trained(&Preset::new(preset), folder).iter().map(TensorSpec::n_elements).sum()
}

/// The matrices of a network that are trained.
fn trained(preset: &Preset, folder: &str) -> Vec<TensorSpec> {
    let parts = TRAINED.iter().filter(|(own, ..)| *own == folder).flat_map(|(_, parts, _)| *parts);
    let is_trained = |tensor: &TensorSpec| {
        let is_matrix = tensor.name.ends_with(".weight") && tensor.shape.len() > 1;
        is_matrix && parts.clone().any(|part| tensor.name.contains(part))
    };
    let networks = preset.networks.iter().filter(|(own, _)| *own == folder);
    networks.flat_map(|(_, network)| network.tensors()).filter(is_trained).collect()
}

/// Both factors of a layer and its alpha, half the rank; products have a fiftieth of a layer's scale.
fn module(weight: &TensorSpec, prefix: &str, rank: usize) -> [TensorSpec; 3] {
    let layer = weight.name.trim_end_matches(".weight").replace('.', "_");
    let (n_out, n_in) = (weight.shape[0], weight.shape[1]);
    let tensor = |part: &str, shape: Vec<usize>, mean: f32, std: f32| TensorSpec {
        name: format!("{prefix}{layer}.{part}"),
        shape,
        mean,
        std,
    };
    [
        tensor("lora_down.weight", vec![rank, n_in], 0.0, 1.0 / (n_in as f32).sqrt()),
        tensor("lora_up.weight", vec![n_out, rank], 0.0, 0.02 / (rank as f32).sqrt()),
        tensor("alpha", Vec::new(), rank as f32 / 2.0, 0.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_has_both_factors_and_an_alpha() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("lora.safetensors");
        ensure_lora(PresetName::Tiny, &path, 4, 1).expect("a LoRA");
        let tensors = testkit::load_safetensors(&path);
        let to_q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
        let shape = |part: &str| tensors[&format!("{to_q}.{part}")].shape().to_vec();
        assert_eq!((shape("lora_down.weight"), shape("lora_up.weight")), (vec![4, 64], vec![64, 4]));
        assert_eq!(tensors[&format!("{to_q}.alpha")].to_f32_vec(), [2.0]);
        assert!(tensors.contains_key("lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha"));
        assert_eq!(tensors.len() % 3, 0);
    }
}
