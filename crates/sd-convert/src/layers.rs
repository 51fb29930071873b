//! Names of layers, told from names of constants, which have underscores where those have dots.
//!
//! `down_blocks_0_attentions_0_proj_in_weight_to_fp16` is a weight of `down_blocks.0.attentions.0.proj_in`: the words of which
//! names of layers are made are those of the networks' own modules, and a name that they make in no way, or in several, is not
//! told.

use std::collections::BTreeSet;

use burn::tensor::Device;
use sd_models::NetworkConfig;
use sd_spec::Role;

/// The words of which a network's names of layers are made.
#[derive(Debug, Clone)]
pub struct LayerNames {
    words: BTreeSet<String>,
}

/// A small UNet that has every kind of layer: those of Stable Diffusion 1.x and 2.x, and what XL adds.
const UNET: &str = r#"{
    "block_out_channels": [32, 64], "cross_attention_dim": 8,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 56
}"#;

impl LayerNames {
    /// Those of UNets.
    #[must_use]
    pub fn of_unets() -> Self {
        let network = NetworkConfig::read(Role::UNet, UNET.as_bytes());
        let network = network.expect("invariant: a test reads this configuration");
        let keys = network.parameters(&Device::capture()).into_iter().map(|parameter| parameter.key);
        let is_word = |part: &&str| !is_number(part);
        let words =
            keys.flat_map(|key| key.split('.').filter(is_word).map(str::to_owned).collect::<Vec<_>>()).collect();
        Self { words }
    }

    /// The layer whose weight a constant of this name is, which may stand after one of the roots; `None` where that cannot be
    /// told.
    #[must_use]
    pub fn layer(&self, constant: &str, roots: &[String]) -> Option<String> {
        let (name, rest) = constant.rsplit_once("_weight")?;
        if !(rest.is_empty() || rest.starts_with('_')) {
            return None;
        }
        let below = roots.iter().filter_map(|root| name.strip_prefix(root.as_str())?.strip_prefix('_'));
        let mut told: Vec<String> = std::iter::once(name).chain(below).flat_map(|name| self.readings(name)).collect();
        told.dedup();
        if told.len() == 1 { told.pop() } else { None }
    }

    /// The first two ways to put dots into a name.
    fn readings(&self, name: &str) -> Vec<String> {
        let parts: Vec<&str> = name.split('_').collect();
        // Readings of what begins at each part, from the last on.
        let mut from: Vec<Vec<String>> = vec![Vec::new(); parts.len() + 1];
        from[parts.len()] = vec![String::new()];
        for i in (0..parts.len()).rev() {
            let mut here = Vec::new();
            for end in i + 1..=parts.len() {
                let word = parts[i..end].join("_");
                if self.words.contains(&word) || (end == i + 1 && is_number(&word)) {
                    let join = |rest: &String| if rest.is_empty() { word.clone() } else { format!("{word}.{rest}") };
                    here.extend(from[end].iter().map(join));
                }
            }
            here.truncate(2);
            from[i] = here;
        }
        from.swap_remove(0)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_told_by_the_words_of_the_network() {
        let names = LayerNames::of_unets();
        let roots = ["unet".to_owned()];
        for (constant, layer) in [
            ("conv_in_weight_to_fp16", "conv_in"),
            ("unet_conv_out_weight", "conv_out"),
            ("time_embedding_linear_1_weight_1_to_fp16", "time_embedding.linear_1"),
            ("add_embedding_linear_2_weight", "add_embedding.linear_2"),
            ("down_blocks_0_resnets_1_time_emb_proj_weight_1_to_fp16", "down_blocks.0.resnets.1.time_emb_proj"),
            ("up_blocks_1_resnets_2_conv_shortcut_weight_to_fp16", "up_blocks.1.resnets.2.conv_shortcut"),
            ("down_blocks_0_downsamplers_0_conv_weight_to_fp16", "down_blocks.0.downsamplers.0.conv"),
            (
                "unet_down_blocks_1_attentions_0_transformer_blocks_11_attn1_to_out_0_weight_to_fp16",
                "down_blocks.1.attentions.0.transformer_blocks.11.attn1.to_out.0",
            ),
            (
                "mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj_weight_palettized",
                "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
            ),
        ] {
            assert_eq!(names.layer(constant, &roots).as_deref(), Some(layer), "{constant}");
        }
    }

    /// Layers with a matrix or a kernel of real UNets.
    fn real_layers(config: &str) -> Vec<String> {
        let network = NetworkConfig::read(Role::UNet, config.as_bytes()).unwrap();
        let parameters = network.parameters(&Device::capture()).into_iter().filter(|p| p.shape.len() > 1);
        parameters.filter_map(|p| p.key.strip_suffix(".weight").map(str::to_owned)).collect()
    }

    const SD15: &str = r#"{
        "block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 768,
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]
    }"#;
    const SDXL: &str = r#"{
        "block_out_channels": [320, 640, 1280], "cross_attention_dim": 2048, "use_linear_projection": true,
        "attention_head_dim": [5, 10, 20], "transformer_layers_per_block": [1, 2, 10],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816
    }"#;

    /// One linear operation for each weight, under the names that conversion gives them.
    fn program(layers: &[String]) -> mil::Program {
        use mil::{Const, DType, FunctionBuilder, HostTensor, Opset, Type};
        let mut builder = FunctionBuilder::new("main", Opset::CoreML6);
        let mut value = builder.input("x", Type::tensor(DType::F16, &[1, 2]));
        let mut e = builder.emitter();
        for (i, layer) in layers.iter().enumerate() {
            let values = Const::new(HostTensor::from_f16([2, 2], &[i as f32, 1.0, 2.0, 3.0]));
            let weight = e.constant(&format!("{}_weight_to_fp16", layer.replace('.', "_")), values.into());
            value = e.op("linear", &format!("y{i}"), [("x", value.into()), ("weight", weight.into())]).unwrap();
        }
        let ops = e.into_ops();
        builder.finish_program(ops, &[value])
    }

    #[test]
    fn recipes_by_the_layers_of_real_unets_reach_every_weight() {
        use mil_compress::{Config, Plan};
        let names = LayerNames::of_unets();
        for config in [SD15, SDXL] {
            let layers = real_layers(config);
            assert!(layers.len() > 250, "{}", layers.len());
            for layer in &layers {
                let constant = format!("{}_weight_to_fp16", layer.replace('.', "_"));
                assert_eq!(names.layer(&constant, &[]).as_ref(), Some(layer));
            }
            let bits = |i: usize| [1, 2, 4, 6, 8][i % 5];
            let mut recipe: serde_json::Map<String, serde_json::Value> =
                layers.iter().enumerate().map(|(i, layer)| (layer.clone(), bits(i).into())).collect();
            let plan = |recipe: &serde_json::Map<_, _>| {
                let text = serde_json::json!({"recipes": {"recipe_4.20_bit_mixedpalette": recipe}}).to_string();
                Plan::new(&program(&layers), &Config::from_json(&text, None).unwrap())
            };
            assert_eq!(plan(&recipe).unwrap().len(), layers.len());
            recipe.insert("down_blocks.9.resnets.0.conv1".into(), 4.into());
            let error = plan(&recipe).unwrap_err().to_string();
            assert!(error.contains("down_blocks.9.resnets.0.conv1") && error.contains("near matches"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_not() {
        let names = LayerNames::of_unets();
        for constant in
            ["op_42_weight", "conv_in_bias", "text_conv_in_weight", "weight", "down_blocks__weight", "conv_in_weights"]
        {
            assert_eq!(names.layer(constant, &[]), None, "{constant}");
        }
        let both = LayerNames { words: ["a", "a_b", "b"].map(str::to_owned).into() };
        assert_eq!(both.layer("a_b_weight", &[]), None);
        assert_eq!(both.layer("a_0_b_weight", &[]).as_deref(), Some("a.0.b"));
    }
}
