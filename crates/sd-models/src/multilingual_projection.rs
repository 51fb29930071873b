//! The projection of the multilingual text path: one linear layer, whose result is laid out as a denoiser takes it.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use sd_spec::{Axis, Dims};

use crate::{Facts, Features, LinearLayerConfig, Network, Role};

/// Contextual embeddings to text states.
#[derive(Module, Debug)]
pub struct MultilingualProjection {
    linear: Linear,
}

impl MultilingualProjection {
    /// `[1, S, W]` to `[1, D, 1, S]`.
    #[must_use]
    pub fn forward(&self, embeddings: Tensor<3>) -> Tensor<4> {
        self.linear.forward(embeddings).swap_dims(1, 2).unsqueeze_dim(2)
    }
}

impl Network for MultilingualProjection {
    type Config = LinearLayerConfig;
    const ROLES: &'static [Role] = &[Role::MultilingualProjection];
    const CLASSES: &'static [&'static str] = &["Linear"];

    fn facts(config: &LinearLayerConfig) -> Facts {
        Facts { dims: Dims::new().with(Axis::TextWidth, config.out_features), ..Facts::default() }
    }

    fn init(config: &LinearLayerConfig, device: &Device) -> Self {
        let LinearLayerConfig { in_features, out_features, has_bias } = *config;
        Self { linear: LinearConfig::new(in_features, out_features).with_bias(has_bias).init(device) }
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let embeddings = features.real::<3>("nlcontextualembeddings_output")?;
        features.give("encoder_hidden_states", self.forward(embeddings))
    }
}
