//! What a denoiser is told beside the latents: the step, the text, and what XL and distilled networks add.

use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};

use crate::layer::{TimestepEmbedding, sinusoid};
use crate::{AddedConditionConfig, Features, TimestepConfig, WayDownConfig};

/// XL's second conditioning.
#[derive(Debug)]
pub struct AddedConditions {
    /// Pooled text, `[B, P]`.
    pub text_embeds: Tensor<2>,
    /// Original size, crop and target size, or the aesthetic score, `[B, 6]` (refiner `[B, 5]`).
    pub time_ids: Tensor<2>,
}

/// Everything that a prediction depends on beside the latents.
#[derive(Debug)]
pub struct UNetConditions {
    /// Step of the noise schedule, `[B]`.
    pub timestep: Tensor<1>,
    /// Text states, `[B, T, cross_attention_dim]`.
    pub text: Tensor<3>,
    /// Needed exactly when the configuration has `added`.
    pub added: Option<AddedConditions>,
    /// The embedding of the guidance scale, `[B, guidance_dim]`.
    pub guidance: Option<Tensor<2>>,
}

impl UNetConditions {
    /// Those of a model's features.
    pub(crate) fn of<F: Features>(features: &mut F) -> Result<Self, F::Error> {
        let timestep = features.real::<1>("timestep")?;
        let text = features.real::<4>("encoder_hidden_states")?;
        // [B, C, 1, S], as the Core ML pipelines pass it, to the network's [B, S, C].
        let [batch, channels, _, length] = text.dims();
        let text = text.reshape([batch, channels, length]).swap_dims(1, 2);
        let added = match features.has("time_ids") {
            true => {
                let time_ids = features.real::<2>("time_ids")?;
                Some(AddedConditions { time_ids, text_embeds: features.real::<2>("text_embeds")? })
            }
            false => None,
        };
        let guidance = match features.has("timestep_cond") {
            true => Some(features.real::<2>("timestep_cond")?),
            false => None,
        };
        Ok(Self { timestep, text, added, guidance })
    }
}

impl TimestepConfig {
    pub(crate) fn init(&self, device: &Device) -> TimestepEmbedding {
        TimestepEmbedding::init(self.channels, self.guidance_dim, self.embed_dim, device)
    }
}

impl AddedConditionConfig {
    pub(crate) fn init(&self, time: &TimestepConfig, device: &Device) -> TimestepEmbedding {
        TimestepEmbedding::init(self.input_dim, None, time.embed_dim, device)
    }
}

/// What the vectors of steps and added numbers are made with.
#[derive(Clone, Debug)]
pub(crate) struct Waves {
    time: TimestepConfig,
    added: Option<AddedConditionConfig>,
}

impl Waves {
    pub(crate) fn of(config: &WayDownConfig) -> Self {
        Self { time: config.time.clone(), added: config.added.clone() }
    }

    /// One vector of the step, the guidance and the added conditions, after SiLU, as every residual block takes it:
    /// `[B, embed_dim]`. The text is left.
    pub(crate) fn embed(
        &self,
        conditions: UNetConditions,
        time_embedding: &TimestepEmbedding,
        add_embedding: Option<&TimestepEmbedding>,
    ) -> (Tensor<2>, Tensor<3>) {
        let UNetConditions { timestep, text, added, guidance } = conditions;
        let wave = sinusoid(timestep, self.time.channels, &self.time);
        let mut embedding = time_embedding.forward(wave, guidance);
        if let (Some(layers), Some(config)) = (add_embedding, &self.added) {
            let AddedConditions { text_embeds, time_ids } =
                added.expect("invariant: a network with added conditions is given them");
            let [batch, n_numbers] = time_ids.dims();
            let numbers = time_ids.reshape([batch * n_numbers]);
            let waves = sinusoid(numbers, config.time_channels, &self.time);
            let waves = waves.reshape([batch, n_numbers * config.time_channels]);
            embedding = embedding + layers.forward(Tensor::cat(vec![text_embeds, waves], 1), None);
        }
        (silu(embedding), text)
    }
}
