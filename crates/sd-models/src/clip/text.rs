//! The text encoder.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, Linear};
use burn::tensor::{Device, Int, Tensor, TensorData};
use sd_spec::{Axis, Dims};

use super::tower::{Encoder, layer_norm};
use crate::layer::{MASKED, linear_without_bias};
use crate::weights::COUNTER;
use crate::{ClipTextConfig, Facts, Features, Naming, Network, Pooling, Role};

/// CLIP text encoder (transformers `CLIPTextModel`, `CLIPTextModelWithProjection`).
#[derive(Module, Debug)]
pub struct ClipTextEncoder {
    text_model: TextTransformer,
    text_projection: Option<Linear>,
    vocab_size: usize,
}

/// What the text encoder says about a text.
#[derive(Debug)]
pub struct ClipTextOutput {
    /// States after the last layer and the final layer norm, `[B, S, D]`.
    pub last_hidden_state: Tensor<3>,
    /// `last_hidden_state` at the end token, `[B, D]`.
    pub pooled_outputs: Tensor<2>,
    /// States before the last layer, without the final layer norm (`hidden_states[-2]`),
    /// `[B, S, D]`; XL conditions on them.
    pub hidden_embeds: Tensor<3>,
    /// `pooled_outputs` projected, `[B, P]`, if the encoder has a projection.
    pub text_embeds: Option<Tensor<2>>,
}

impl ClipTextConfig {
    /// Builds the encoder; its weights are initialised when they are first used.
    #[must_use]
    pub fn init(&self, device: &Device) -> ClipTextEncoder {
        let dim = self.tower.hidden_size;
        ClipTextEncoder {
            text_model: TextTransformer {
                embeddings: TextEmbeddings {
                    token_embedding: EmbeddingConfig::new(self.vocab_size, dim).init(device),
                    position_embedding: EmbeddingConfig::new(self.max_positions, dim).init(device),
                },
                encoder: Encoder::init(&self.tower, device),
                final_layer_norm: layer_norm(&self.tower, device),
                pooling: self.pooling,
            },
            text_projection: self.projection_dim.map(|dim_out| linear_without_bias(dim, dim_out, device)),
            vocab_size: self.vocab_size,
        }
    }
}

impl Network for ClipTextEncoder {
    type Config = ClipTextConfig;
    const ROLES: &'static [Role] = &[Role::TextEncoder, Role::TextEncoder2];
    const CLASSES: &'static [&'static str] = &["CLIPTextModel", "CLIPTextModelWithProjection"];
    const NAMING: Naming = Naming { other_keys, reason_to_ignore };

    fn facts(config: &ClipTextConfig) -> Facts {
        let width = config.tower.hidden_size;
        let dims = Dims::new()
            .with(Axis::Tokens, config.max_positions)
            .with(Axis::TextWidth, width)
            .with(Axis::PooledWidth, width)
            .with(Axis::ProjectedWidth, config.projection_dim.unwrap_or(width));
        Facts { dims, ..Facts::default() }
    }

    fn init(config: &ClipTextConfig, device: &Device) -> Self {
        config.init(device)
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let out = self.forward(features.ids::<2>("input_ids", self.vocab_size)?);
        if features.has("last_hidden_state") {
            features.give("last_hidden_state", out.last_hidden_state)?;
        }
        let is_projected = features.has("hidden_embeds");
        if is_projected {
            features.give("hidden_embeds", out.hidden_embeds)?;
        }
        features.give("pooled_outputs", out.text_embeds.filter(|_| is_projected).unwrap_or(out.pooled_outputs))
    }
}

/// transformers 5 saves the tower without the wrapper's name.
fn other_keys(key: &str) -> Vec<String> {
    key.strip_prefix("text_model.").map(str::to_owned).into_iter().collect()
}

fn reason_to_ignore(key: &str) -> Option<&'static str> {
    if key.ends_with("embeddings.position_ids") {
        return Some(COUNTER);
    }
    if ["vision_model.", "visual_projection.", "logit_scale"].iter().any(|prefix| key.starts_with(prefix)) {
        return Some("belongs to CLIP's picture half, and the text encoder is the other");
    }
    (key == "text_projection.weight")
        .then_some("projects the pooled output, which this encoder's configuration does not ask for")
}

impl ClipTextEncoder {
    /// Encodes token ids.
    ///
    /// # Shapes
    /// - input_ids: `[B, S]`, `S` at most the configuration's `max_positions`
    ///
    /// # Panics
    /// If `S` exceeds `max_positions`.
    #[must_use]
    pub fn forward(&self, input_ids: Tensor<2, Int>) -> ClipTextOutput {
        let mut output = self.text_model.forward(input_ids);
        output.text_embeds =
            self.text_projection.as_ref().map(|projection| projection.forward(output.pooled_outputs.clone()));
        output
    }
}

/// Embeddings, causal transformer, final norm.
#[derive(Module, Debug)]
pub struct TextTransformer {
    embeddings: TextEmbeddings,
    encoder: Encoder,
    final_layer_norm: LayerNorm,
    #[module(skip)]
    pooling: Pooling,
}

impl TextTransformer {
    fn forward(&self, input_ids: Tensor<2, Int>) -> ClipTextOutput {
        let [_, len] = input_ids.dims();
        let bias = causal_bias(len, &input_ids.device());
        let embedded = self.embeddings.forward(input_ids.clone());
        let states = self.encoder.forward(embedded, Some(&bias));
        let last_hidden_state = self.final_layer_norm.forward(states.last);
        let positions = self.pooling.positions(input_ids);
        ClipTextOutput {
            pooled_outputs: take_rows(last_hidden_state.clone(), positions),
            last_hidden_state,
            hidden_embeds: states.penultimate,
            text_embeds: None,
        }
    }
}

/// A vector for each token plus a vector for each position.
#[derive(Module, Debug)]
struct TextEmbeddings {
    token_embedding: Embedding,
    position_embedding: Embedding,
}

impl TextEmbeddings {
    fn forward(&self, input_ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, len] = input_ids.dims();
        let positions = self.position_embedding.weight.val();
        let positions = match positions.dims()[0] == len {
            true => positions,
            false => positions.narrow(0, 0, len),
        };
        self.token_embedding.forward(input_ids) + positions.unsqueeze::<3>()
    }
}

impl Pooling {
    /// Index of the pooled position in each row: `[B, S]` ids to `[B]`.
    fn positions(self, input_ids: Tensor<2, Int>) -> Tensor<1, Int> {
        let [batch, _] = input_ids.dims();
        let ranked = match self {
            Self::LargestId => input_ids,
            Self::FirstOf(id) => input_ids.equal_elem(id).int(),
        };
        ranked.argmax(1).reshape([batch])
    }
}

/// Row `positions[b]` of each `x[b]`: `[B, S, D]` to `[B, D]`.
fn take_rows(x: Tensor<3>, positions: Tensor<1, Int>) -> Tensor<2> {
    let [batch, len, dim] = x.dims();
    let positions = match batch {
        1 => positions,
        _ => {
            let starts: Vec<i64> = (0..batch).map(|row| (row * len) as i64).collect();
            let device = positions.device();
            positions + Tensor::from_data(TensorData::new(starts, [batch]), &device)
        }
    };
    x.reshape([batch * len, dim]).select(0, positions)
}

/// `[1, 1, len, len]`: 0 where the key is not after the query, [`MASKED`] elsewhere.
fn causal_bias(len: usize, device: &Device) -> Tensor<4> {
    let values: Vec<f32> =
        (0..len).flat_map(|query| (0..len).map(move |key| if key > query { MASKED } else { 0.0 })).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, len, len]), device)
}
