//! The denoiser of Stable Diffusion 3 and 3.5 (diffusers `SD3Transformer2DModel`), known as MMDiT.
//!
//! Patches of the latents and tokens of the text are two streams that attend to each other in every block.

mod attention;
mod block;
mod embed;

pub use attention::JointAttention;
pub use block::{JointBlock, Modulation};
pub use embed::{PatchEmbed, TimeTextEmbed};

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use sd_spec::{Axis, Dims};

use crate::layer::linear;
use crate::{Facts, Features, MmditConfig, Network, Resolution, Role, Sides};

/// Predicts the velocity of latents.
#[derive(Module, Debug)]
pub struct Mmdit {
    pos_embed: PatchEmbed,
    time_text_embed: TimeTextEmbed,
    context_embedder: Linear,
    transformer_blocks: Vec<JointBlock>,
    norm_out: Modulation,
    proj_out: Linear,
    patch: usize,
}

impl MmditConfig {
    /// Builds the denoiser; its weights are initialised when they are first used.
    #[must_use]
    pub fn init(&self, device: &Device) -> Mmdit {
        let dim = self.dim();
        Mmdit {
            pos_embed: PatchEmbed::init(self, device),
            time_text_embed: TimeTextEmbed::init(dim, self.pooled_dim, device),
            context_embedder: linear(self.text_dim, dim, device),
            transformer_blocks: (0..self.n_layers).map(|layer| JointBlock::init(self, layer, device)).collect(),
            norm_out: Modulation::init(dim, 2, device),
            proj_out: linear(dim, self.patch * self.patch * self.out_channels, device),
            patch: self.patch,
        }
    }
}

impl Network for Mmdit {
    type Config = MmditConfig;
    const ROLES: &'static [Role] = &[Role::Mmdit];
    const CLASSES: &'static [&'static str] = &["SD3Transformer2DModel"];

    fn facts(config: &MmditConfig) -> Facts {
        let dims = Dims::new()
            .with(Axis::SampleChannels, config.in_channels)
            .with(Axis::NoiseChannels, config.out_channels)
            .with(Axis::JointWidth, config.text_dim)
            .with(Axis::JointPooledWidth, config.pooled_dim);
        let side = config.native_side;
        Facts {
            dims,
            native: Some(Resolution { height: side, width: side }),
            sides: Some(Sides { multiple: config.patch, max: config.patch * config.table_side }),
            ..Facts::default()
        }
    }

    fn init(config: &MmditConfig, device: &Device) -> Self {
        config.init(device)
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let latents = features.real::<4>("latent_image_embeddings")?;
        let timestep = features.real::<1>("timestep")?;
        // Both channels first, as the Core ML pipelines pass them.
        let text = features.real::<4>("token_level_text_embeddings")?;
        let [batch, channels, _, length] = text.dims();
        let text = text.reshape([batch, channels, length]).swap_dims(1, 2);
        let pooled = features.real::<4>("pooled_text_embeddings")?;
        let [batch, channels, _, _] = pooled.dims();
        let pooled = pooled.reshape([batch, channels]);
        features.give("denoiser_output", self.forward(latents, timestep, text, pooled))
    }
}

impl Mmdit {
    /// One prediction.
    ///
    /// # Shapes
    /// - latents: `[B, in_channels, h, w]`, sides as [`Facts::sides`] has them
    /// - timestep: `[B]`, 0 to 1000
    /// - text: `[B, T, text_dim]`
    /// - pooled: `[B, pooled_dim]`
    /// - output: `[B, out_channels, h, w]`
    #[must_use]
    pub fn forward(&self, latents: Tensor<4>, timestep: Tensor<1>, text: Tensor<3>, pooled: Tensor<2>) -> Tensor<4> {
        let [_, _, height, width] = latents.dims();
        // Every block applies SiLU; the value is the same for all of them.
        let condition = silu(self.time_text_embed.forward(timestep, pooled));
        let mut tokens = self.pos_embed.forward(latents);
        let mut text = Some(self.context_embedder.forward(text));
        for block in &self.transformer_blocks {
            let Some(context) = text else { break };
            (tokens, text) = block.forward(tokens, context, &condition);
        }
        let tokens = self.norm_out.scaled_and_shifted(tokens, &condition);
        unpatch(self.proj_out.forward(tokens), self.patch, [height, width])
    }
}

/// Patches side by side: `[B, h/p · w/p, p · p · C]` to `[B, C, h, w]`, in tensors of four dimensions.
fn unpatch(tokens: Tensor<3>, patch: usize, [height, width]: [usize; 2]) -> Tensor<4> {
    let [batch, _, width_of_token] = tokens.dims();
    let channels = width_of_token / (patch * patch);
    let rows = tokens.reshape([batch * height / patch, width / patch, patch, patch * channels]).swap_dims(1, 2);
    rows.reshape([batch, height, width, channels]).permute([0, 3, 1, 2])
}
