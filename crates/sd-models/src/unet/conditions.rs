//! What a denoiser is told beside the latents: the step, the text, and what XL and distilled networks add.

use burn::tensor::{Device, Tensor};

use crate::layer::{TimestepEmbedding, sinusoid};
use crate::{AddedConditionConfig, Features, TimestepConfig};

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

/// The layers that make one vector of the step and of the added conditions.
pub(crate) struct TimeEmbedding<'a> {
    pub(crate) time_embedding: &'a TimestepEmbedding,
    pub(crate) add_embedding: Option<&'a TimestepEmbedding>,
    pub(crate) time: &'a TimestepConfig,
    pub(crate) added: Option<&'a AddedConditionConfig>,
}

impl TimeEmbedding<'_> {
    /// `[B]` and the rest of the conditions to `[B, embed_dim]`.
    pub(crate) fn forward(
        &self,
        timestep: Tensor<1>,
        guidance: Option<Tensor<2>>,
        added: Option<AddedConditions>,
    ) -> Tensor<2> {
        let wave = sinusoid(timestep, self.time.channels, self.time);
        let embedding = self.time_embedding.forward(wave, guidance);
        let (Some(layers), Some(config)) = (self.add_embedding, self.added) else {
            return embedding;
        };
        let added = added.expect("invariant: a network with added conditions is given them");
        let [batch, n_numbers] = added.time_ids.dims();
        let numbers = added.time_ids.reshape([batch * n_numbers]);
        let waves = sinusoid(numbers, config.time_channels, self.time);
        let waves = waves.reshape([batch, n_numbers * config.time_channels]);
        embedding + layers.forward(Tensor::cat(vec![added.text_embeds, waves], 1), None)
    }
}
