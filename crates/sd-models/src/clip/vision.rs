//! The vision encoder.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm};
use burn::tensor::{Device, Tensor};

use super::tower::{Encoder, layer_norm};
use crate::ClipVisionConfig;

/// The wrapper whose name stands in the checkpoint's keys (transformers `CLIPVisionModel`).
#[derive(Module, Debug)]
pub struct VisionModel {
    vision_model: VisionTransformer,
}

impl ClipVisionConfig {
    /// Builds the encoder; its weights are initialised when they are first used.
    #[must_use]
    pub fn init(&self, device: &Device) -> VisionModel {
        let dim = self.tower.hidden_size;
        let side = self.patch_size;
        let n_positions = self.grid() * self.grid() + 1;
        VisionModel {
            vision_model: VisionTransformer {
                embeddings: VisionEmbeddings {
                    class_embedding: Initializer::Normal { mean: 0.0, std: 0.02 }.init([dim], device),
                    patch_embedding: Conv2dConfig::new([self.n_channels, dim], [side, side])
                        .with_stride([side, side])
                        .with_bias(false)
                        .init(device),
                    position_embedding: EmbeddingConfig::new(n_positions, dim).init(device),
                },
                pre_layrnorm: layer_norm(&self.tower, device),
                encoder: Encoder::init(&self.tower, device),
                post_layernorm: layer_norm(&self.tower, device),
            },
        }
    }
}

impl VisionModel {
    /// `[B, 3, side, side]`, normalised with CLIP's mean and deviation, to the pooled `[B, D]`.
    #[must_use]
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        self.vision_model.forward(pixels)
    }
}

/// Patches and a class token through the transformer; the class token is the result.
///
/// `pre_layrnorm` is spelt as in every released checkpoint.
#[derive(Module, Debug)]
pub struct VisionTransformer {
    embeddings: VisionEmbeddings,
    pre_layrnorm: LayerNorm,
    encoder: Encoder,
    post_layernorm: LayerNorm,
}

impl VisionTransformer {
    fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let embedded = self.pre_layrnorm.forward(self.embeddings.forward(pixels));
        let states = self.encoder.forward(embedded, None).last;
        let [batch, _, dim] = states.dims();
        let class = states.narrow(1, 0, 1).reshape([batch, dim]);
        self.post_layernorm.forward(class)
    }
}

/// One vector per patch, one for the class token, and one for each position.
#[derive(Module, Debug)]
struct VisionEmbeddings {
    class_embedding: Param<Tensor<1>>,
    patch_embedding: Conv2d,
    position_embedding: Embedding,
}

impl VisionEmbeddings {
    fn forward(&self, pixels: Tensor<4>) -> Tensor<3> {
        let patches = self.patch_embedding.forward(pixels);
        let [batch, dim, rows, columns] = patches.dims();
        let patches = patches.reshape([batch, dim, rows * columns]).swap_dims(1, 2);
        let class = self.class_embedding.val().reshape([1, 1, dim]);
        let class = match batch {
            1 => class,
            _ => class.expand([batch, 1, dim]),
        };
        let positions = self.position_embedding.weight.val();
        Tensor::cat(vec![class, patches], 1) + positions.unsqueeze::<3>()
    }
}
