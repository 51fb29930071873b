//! CLIP's two towers as transformers stores them: the text encoder, and the vision tower of the safety checker.

use serde_json::{Value, json};

use super::{
    presets::{Library, Network},
    tensors::{Bias, TensorList, TensorSpec},
};

/// What both towers' layers depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transformer {
    pub(super) hidden_size: usize,
    pub(super) n_layers: usize,
    pub(super) n_heads: usize,
}

impl Transformer {
    /// The feed-forward width of every CLIP in use.
    fn intermediate_size(self) -> usize {
        4 * self.hidden_size
    }

    fn layers(self, list: &mut TensorList, prefix: &str) {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size());
        for layer in 0..self.n_layers {
            let at = |name: &str| format!("{prefix}.layers.{layer}.{name}");
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                list.linear(&at(&format!("self_attn.{projection}")), hidden, hidden, Bias::With);
            }
            list.linear(&at("mlp.fc1"), inner, hidden, Bias::With);
            list.linear(&at("mlp.fc2"), hidden, inner, Bias::With);
            list.norm(&at("layer_norm1"), hidden);
            list.norm(&at("layer_norm2"), hidden);
        }
    }
}

/// The activation of the feed-forward layers, as `config.json` spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    QuickGelu,
    Gelu,
}

/// `CLIPTextModel`, or `CLIPTextModelWithProjection`.
#[derive(Debug, Clone)]
pub(super) struct ClipText {
    pub(super) transformer: Transformer,
    pub(super) activation: Activation,
    pub(super) projection_dim: usize,
    /// Whether the projection of the pooled output is part of the model.
    pub(super) has_projection: bool,
}

/// Entries of CLIP's vocabulary.
const VOCAB_SIZE: usize = 49408;
/// Longest token sequence.
const MAX_POSITIONS: usize = 77;

impl Network for ClipText {
    fn class(&self) -> (Library, &'static str) {
        (Library::Transformers, if self.has_projection { "CLIPTextModelWithProjection" } else { "CLIPTextModel" })
    }

    fn config(&self, torch_dtype: &str) -> Value {
        json!({
            "architectures": [self.class().1],
            "attention_dropout": 0.0,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "hidden_act": match self.activation {
                Activation::QuickGelu => "quick_gelu",
                Activation::Gelu => "gelu",
            },
            "hidden_size": self.transformer.hidden_size,
            "initializer_factor": 1.0,
            "initializer_range": 0.02,
            "intermediate_size": self.transformer.intermediate_size(),
            "layer_norm_eps": 1e-05,
            "max_position_embeddings": MAX_POSITIONS,
            "model_type": "clip_text_model",
            "num_attention_heads": self.transformer.n_heads,
            "num_hidden_layers": self.transformer.n_layers,
            "pad_token_id": 1,
            "projection_dim": self.projection_dim,
            "torch_dtype": torch_dtype,
            "transformers_version": "4.44.2",
            "vocab_size": VOCAB_SIZE,
        })
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let hidden = self.transformer.hidden_size;
        let mut list = TensorList::default();
        list.tensor("text_model.embeddings.token_embedding.weight", &[VOCAB_SIZE, hidden], 0.0, 0.5);
        list.tensor("text_model.embeddings.position_embedding.weight", &[MAX_POSITIONS, hidden], 0.0, 0.5);
        self.transformer.layers(&mut list, "text_model.encoder");
        list.norm("text_model.final_layer_norm", hidden);
        if self.has_projection {
            list.linear("text_projection", self.projection_dim, hidden, Bias::Without);
        }
        list.0
    }
}

/// `StableDiffusionSafetyChecker`: CLIP's vision tower and the concepts that it looks for.
#[derive(Debug, Clone)]
pub(super) struct SafetyChecker {
    pub(super) vision: Transformer,
    /// Side of a square patch of the 224-pixel image.
    pub(super) patch_size: usize,
    pub(super) projection_dim: usize,
    /// The text tower that the configuration names and the checkpoint does not hold.
    pub(super) text: Transformer,
    /// Feed-forward width of that text tower.
    pub(super) text_intermediate_size: usize,
}

const IMAGE_SIZE: usize = 224;
/// The patch size that transformers assumes and therefore does not write.
const DEFAULT_PATCH_SIZE: usize = 32;
const N_CONCEPTS: usize = 17;
const N_SPECIAL_CONCEPTS: usize = 3;

impl Network for SafetyChecker {
    fn class(&self) -> (Library, &'static str) {
        (Library::StableDiffusion, "StableDiffusionSafetyChecker")
    }

    fn config(&self, torch_dtype: &str) -> Value {
        let mut config = json!({
            "architectures": [self.class().1],
            "initializer_factor": 1.0,
            "logit_scale_init_value": 2.6592,
            "model_type": "clip",
            "projection_dim": self.projection_dim,
            "text_config": {
                "hidden_size": self.text.hidden_size,
                "intermediate_size": self.text_intermediate_size,
                "model_type": "clip_text_model",
                "num_attention_heads": self.text.n_heads,
                "num_hidden_layers": self.text.n_layers,
            },
            "torch_dtype": torch_dtype,
            "transformers_version": "4.44.2",
            "vision_config": {
                "hidden_size": self.vision.hidden_size,
                "intermediate_size": self.vision.intermediate_size(),
                "model_type": "clip_vision_model",
                "num_attention_heads": self.vision.n_heads,
                "num_hidden_layers": self.vision.n_layers,
                "projection_dim": self.projection_dim,
            },
        });
        if self.patch_size != DEFAULT_PATCH_SIZE {
            config["vision_config"]["patch_size"] = self.patch_size.into();
        }
        config
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let (hidden, patch) = (self.vision.hidden_size, self.patch_size);
        let n_positions = (IMAGE_SIZE / patch).pow(2) + 1;
        let fan_in = (3 * patch * patch) as f32;
        // `pre_layrnorm` is how transformers spells it.
        let at = |name: &str| format!("vision_model.vision_model.{name}");
        let mut list = TensorList::default();
        list.tensor(at("embeddings.class_embedding"), &[hidden], 0.0, 0.5);
        list.tensor(at("embeddings.patch_embedding.weight"), &[hidden, 3, patch, patch], 0.0, fan_in.sqrt().recip());
        list.tensor(at("embeddings.position_embedding.weight"), &[n_positions, hidden], 0.0, 0.5);
        list.norm(&at("pre_layrnorm"), hidden);
        self.vision.layers(&mut list, &at("encoder"));
        list.norm(&at("post_layernorm"), hidden);
        list.linear("visual_projection", self.projection_dim, hidden, Bias::Without);
        // The thresholds of the published checker lie near 0.2.
        list.tensor("concept_embeds", &[N_CONCEPTS, self.projection_dim], 0.0, 1.0);
        list.tensor("concept_embeds_weights", &[N_CONCEPTS], 0.2, 0.01);
        list.tensor("special_care_embeds", &[N_SPECIAL_CONCEPTS, self.projection_dim], 0.0, 1.0);
        list.tensor("special_care_embeds_weights", &[N_SPECIAL_CONCEPTS], 0.2, 0.01);
        list.0
    }
}
