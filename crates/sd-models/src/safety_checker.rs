//! The safety checker: how close is a picture to concepts that must not be shown?
//!
//! The arithmetic is diffusers' `StableDiffusionSafetyChecker` with the `adjustment` input that
//! Apple's package adds.

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear};
use burn::tensor::{Device, Tensor};
use sd_spec::{Axis, Dims};

use crate::clip::VisionModel;
use crate::layer::linear_without_bias;
use crate::weights::COUNTER;
use crate::{Facts, Features, Naming, Network, Role, SafetyCheckerConfig};

/// Concepts in every released checkpoint: entries of a row of [`SafetyVerdict::concept_scores`].
pub const N_CONCEPTS: usize = 17;
/// Concepts that make the checker stricter about the others.
const N_SPECIAL_CONCEPTS: usize = 3;
/// Added to every score when a special concept is seen.
const SPECIAL_ADJUSTMENT: f64 = 0.01;

/// Vision encoder, concepts and thresholds.
#[derive(Module, Debug)]
pub struct SafetyChecker {
    vision_model: VisionModel,
    visual_projection: Linear,
    concept_embeds: Param<Tensor<2>>,
    concept_embeds_weights: Param<Tensor<1>>,
    special_care_embeds: Param<Tensor<2>>,
    special_care_embeds_weights: Param<Tensor<1>>,
}

/// What the checker found.
#[derive(Debug)]
pub struct SafetyVerdict {
    /// The pictures, all zeros where a concept was found, `[B, H, W, 3]`.
    pub filtered_images: Tensor<4>,
    /// 1 where a concept was found, else 0, `[B, 1, 1, 1]`.
    pub has_nsfw_concepts: Tensor<4>,
    /// Above 0 where a concept was found, `[B, 17]`.
    pub concept_scores: Tensor<2>,
}

impl SafetyCheckerConfig {
    /// Builds the checker; its weights are initialised when they are first used.
    #[must_use]
    pub fn init(&self, device: &Device) -> SafetyChecker {
        let dim = self.projection_dim;
        let normal = Initializer::Normal { mean: 0.0, std: 1.0 };
        let thresholds = Initializer::Ones;
        SafetyChecker {
            vision_model: self.vision.init(device),
            visual_projection: linear_without_bias(self.vision.tower.hidden_size, dim, device),
            concept_embeds: normal.init([N_CONCEPTS, dim], device),
            concept_embeds_weights: thresholds.init([N_CONCEPTS], device),
            special_care_embeds: normal.init([N_SPECIAL_CONCEPTS, dim], device),
            special_care_embeds_weights: thresholds.init([N_SPECIAL_CONCEPTS], device),
        }
    }
}

impl Network for SafetyChecker {
    type Config = SafetyCheckerConfig;
    const ROLES: &'static [Role] = &[Role::SafetyChecker];
    const CLASSES: &'static [&'static str] = &["StableDiffusionSafetyChecker"];
    const NAMING: Naming = Naming { other_keys, reason_to_ignore };

    fn facts(config: &SafetyCheckerConfig) -> Facts {
        let dims = Dims::new()
            .with(Axis::ClipChannels, config.vision.n_channels)
            .with(Axis::ClipSide, config.vision.image_size)
            .with(Axis::Concepts, N_CONCEPTS);
        Facts { dims, ..Facts::default() }
    }

    fn init(config: &SafetyCheckerConfig, device: &Device) -> Self {
        config.init(device)
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let (clip, images) = (features.real::<4>("clip_input")?, features.real::<4>("images")?);
        let verdict = self.forward(clip, images, features.real::<1>("adjustment")?);
        features.give("filtered_images", verdict.filtered_images)?;
        features.give("has_nsfw_concepts", verdict.has_nsfw_concepts)?;
        features.give("concept_scores", verdict.concept_scores)
    }
}

/// transformers 5 saves the tower without the wrapper's name.
fn other_keys(key: &str) -> Vec<String> {
    key.strip_prefix("vision_model.").map(str::to_owned).into_iter().collect()
}

fn reason_to_ignore(key: &str) -> Option<&'static str> {
    if key.ends_with("embeddings.position_ids") {
        return Some(COUNTER);
    }
    let is_text = ["text_model.", "text_projection.", "logit_scale"].iter().any(|prefix| key.starts_with(prefix));
    is_text.then_some("belongs to CLIP's text half, and the safety checker looks at pictures")
}

impl SafetyChecker {
    /// Scores pictures and blanks those in which a concept is found.
    ///
    /// Blanking multiplies with 0 or 1, so it keeps the shape static; Apple's package scatters
    /// zeros at positions that it finds at run time.
    ///
    /// # Shapes
    /// - clip_input: `[B, 3, side, side]`, normalised with CLIP's mean and deviation
    /// - images: `[B, H, W, 3]`
    /// - adjustment: `[1]`, added to the special scores; above 0 is stricter
    #[must_use]
    pub fn forward(&self, clip_input: Tensor<4>, images: Tensor<4>, adjustment: Tensor<1>) -> SafetyVerdict {
        let embeds = normalize(self.visual_projection.forward(self.vision_model.forward(clip_input)));
        let special = similarity(&embeds, self.special_care_embeds.val())
            - self.special_care_embeds_weights.val().unsqueeze::<2>()
            + adjustment.reshape([1, 1]);
        let stricter = any_above_zero(special) * SPECIAL_ADJUSTMENT;
        let concept_scores = similarity(&embeds, self.concept_embeds.val())
            - self.concept_embeds_weights.val().unsqueeze::<2>()
            + stricter;
        let [batch, _] = concept_scores.dims();
        let found = any_above_zero(concept_scores.clone()).reshape([batch, 1, 1, 1]);
        SafetyVerdict {
            filtered_images: images * (found.clone().neg() + 1.0),
            has_nsfw_concepts: found,
            concept_scores,
        }
    }
}

/// 1 where a row has an entry above zero, else 0: `[B, K]` to `[B, 1]`.
fn any_above_zero(scores: Tensor<2>) -> Tensor<2> {
    scores.max_dim(1).greater_elem(0.0).float()
}

/// Cosines between normalised rows `[B, P]` and the rows of `concepts` `[K, P]`: `[B, K]`.
fn similarity(embeds: &Tensor<2>, concepts: Tensor<2>) -> Tensor<2> {
    embeds.clone().matmul(normalize(concepts).transpose())
}

/// Rows at length 1 (PyTorch `normalize`, which divides by at least 1e-12).
fn normalize(rows: Tensor<2>) -> Tensor<2> {
    let length = rows.clone().square().sum_dim(1).sqrt();
    rows / length.clamp_min(1e-12)
}
