//! A tiny Stable Diffusion made of closed formulas, for tests of the pipeline's arithmetic.

use std::path::Path;
use std::sync::{Arc, Mutex};

use host_tensor::{DType, HostTensor, Stop};
use sd_spec::{Family, Role};

use super::{Models, PipelineConfig, PreprocessorConfig, VaeConfig};
use crate::engine::{Engine, EngineError, Feature, Shape, Signature, Tensors};
use crate::part::Part;
use crate::scheduler::SchedulerConfig;
use crate::tokenizer::ClipTokenizer;

/// Latents of the fakes: channels, height, width.
pub(super) const LATENT: [usize; 3] = [4, 3, 5];
/// Width of hidden states.
pub(super) const WIDTH: usize = 6;
/// Tokens of a prompt.
pub(super) const LENGTH: usize = 77;

/// Inputs of every call, by the order of calls.
pub(super) type Calls = Arc<Mutex<Vec<Tensors>>>;

type Formula = Box<dyn Fn(&Tensors) -> Result<Tensors, EngineError> + Send>;

/// An engine that computes a formula and remembers what it was given.
pub(super) struct Fake {
    pub(super) signature: Signature,
    formula: Formula,
    pub(super) calls: Calls,
}

impl Fake {
    pub(super) fn new(
        inputs: Vec<Feature>,
        outputs: Vec<Feature>,
        formula: impl Fn(&Tensors) -> Result<Tensors, EngineError> + Send + 'static,
    ) -> Self {
        Self { signature: Signature { inputs, outputs }, formula: Box::new(formula), calls: Calls::default() }
    }
}

impl Engine for Fake {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &Tensors, _: &Stop) -> Result<Tensors, EngineError> {
        assert_eq!(inputs.len(), self.signature.inputs.len());
        for feature in &self.signature.inputs {
            let given = &inputs[&feature.name];
            assert_eq!(
                (given.dtype(), given.shape()),
                (feature.dtype, feature.shape.dims().unwrap()),
                "{}",
                feature.name
            );
        }
        self.calls.lock().unwrap().push(inputs.clone());
        (self.formula)(inputs)
    }
}

fn one(name: &str, shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Tensors {
    [(name.to_owned(), HostTensor::from_f32(shape, values))].into()
}

/// Hidden state `d` of token `s` is `id/1000 + d`.
pub(super) fn text_encoder() -> Fake {
    let inputs = vec![Feature::new("input_ids", DType::F32, [1, LENGTH])];
    let outputs = vec![Feature::new("last_hidden_state", DType::F32, [1, LENGTH, WIDTH])];
    Fake::new(inputs, outputs, |inputs| {
        let ids = inputs["input_ids"].to_f32_vec();
        let states = ids.iter().flat_map(|id| (0..WIDTH).map(move |d| id / 1000.0 + d as f32)).collect();
        Ok(one("last_hidden_state", [1, LENGTH, WIDTH], states))
    })
}

/// Noise is `sample/2 + timestep/1000 + hidden[0, first token of the prompt]`, each row with its own.
pub(super) fn unet(batch: usize, dtype: DType) -> Fake {
    let [c, h, w] = LATENT;
    let inputs = vec![
        Feature::new("sample", dtype, [batch, c, h, w]),
        Feature::new("timestep", dtype, [batch]),
        Feature::new("encoder_hidden_states", dtype, [batch, WIDTH, 1, LENGTH]),
    ];
    let outputs = vec![Feature::new("noise_pred", DType::F32, [batch, c, h, w])];
    Fake::new(inputs, outputs, move |inputs| {
        let (sample, t) = (inputs["sample"].to_f32_vec(), inputs["timestep"].to_f32_vec());
        let hidden = inputs["encoder_hidden_states"].to_f32_vec();
        let n = c * h * w;
        let noise = (0..batch * n).map(|i| {
            let row = i / n;
            noise(sample[i], t[row], hidden[row * WIDTH * LENGTH + 1])
        });
        Ok(one("noise_pred", [batch, c, h, w], noise.collect()))
    })
}

/// As [`unet`], for latents with further channels behind them, whose sum counts too: each pixel with its own.
pub(super) fn wide_unet(batch: usize, channels: usize) -> Fake {
    let [c, h, w] = LATENT;
    let Fake { signature: Signature { mut inputs, outputs }, .. } = unet(batch, DType::F32);
    inputs[0].shape = [batch, channels, h, w].into();
    Fake::new(inputs, outputs, move |inputs| {
        let (sample, t) = (inputs["sample"].to_f32_vec(), inputs["timestep"].to_f32_vec());
        let hidden = inputs["encoder_hidden_states"].to_f32_vec();
        let n = h * w;
        let noise = (0..batch * c * n).map(|i| {
            let (row, pixel) = (i / (c * n), i % n);
            let own = &sample[row * channels * n..][..channels * n];
            let further: f32 = own[c * n..].iter().skip(pixel).step_by(n).sum();
            noise(own[i % (c * n)], t[row], hidden[row * WIDTH * LENGTH + 1]) + further
        });
        Ok(one("noise_pred", [batch, c, h, w], noise.collect()))
    })
}

/// The formula of [`unet`].
pub(super) fn noise(sample: f32, timestep: f32, text: f32) -> f32 {
    sample / 2.0 + timestep / 1000.0 + text
}

/// The picture is twice the latents' size; its planes are the first three channels of `z`.
pub(super) fn vae_decoder() -> Fake {
    let [c, h, w] = LATENT;
    let inputs = vec![Feature::new("z", DType::F32, [1, c, h, w])];
    let outputs = vec![Feature::new("image", DType::F32, Shape::Unknown)];
    Fake::new(inputs, outputs, move |inputs| {
        let z = inputs["z"].to_f32_vec();
        let at = |i: usize| {
            let (plane, y, x) = (i / (4 * h * w), i / (2 * w) % (2 * h), i % (2 * w));
            z[(plane * h + y / 2) * w + x / 2]
        };
        Ok(one("image", [1, 3, 2 * h, 2 * w], (0..12 * h * w).map(at).collect()))
    })
}

/// Means are the picture's planes at every other pixel (the fourth channel is the first again), log variances their
/// negatives.
pub(super) fn vae_encoder() -> Fake {
    let [c, h, w] = LATENT;
    let inputs = vec![Feature::new("x", DType::F16, [1, 3, 2 * h, 2 * w])];
    let outputs = vec![Feature::new("latent", DType::F32, Shape::Unknown)];
    Fake::new(inputs, outputs, move |inputs| {
        let x = inputs["x"].to_f32_vec();
        let at = |i: usize| x[((i / (h * w) % 3) * 2 * h + i / w % h * 2) * 2 * w + i % w * 2];
        let moments = (0..2 * c * h * w).map(|i| if i < c * h * w { at(i) } else { -at(i - c * h * w) });
        Ok(one("latent", [1, 2 * c, h, w], moments.collect()))
    })
}

/// Flags a picture whose mean CLIP value is above `limit`.
pub(super) fn safety_checker(limit: f32) -> Fake {
    let inputs = vec![
        Feature::new("clip_input", DType::F16, [1, 3, 8, 8]),
        Feature::new("images", DType::F16, [1, 2 * LATENT[1], 2 * LATENT[2], 3]),
        Feature::new("adjustment", DType::F16, [1]),
    ];
    let output = |name| Feature::new(name, DType::F32, Shape::Unknown);
    let outputs = vec![output("filtered_images"), output("has_nsfw_concepts"), output("concept_scores")];
    Fake::new(inputs, outputs, move |inputs| {
        let values = inputs["clip_input"].to_f32_vec();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let mut outputs = one("has_nsfw_concepts", [1, 1, 1, 1], vec![f32::from(mean > limit)]);
        outputs.extend(one("concept_scores", [1, 2], vec![mean - limit, -1.0]));
        outputs.insert("filtered_images".into(), inputs["images"].clone());
        Ok(outputs)
    })
}

/// The models that a pipeline cannot do without.
pub(super) fn models(unet: Fake) -> Models {
    let boxed = |role: Role, fake: Fake| -> (Part, Box<dyn Engine>) { (role.into(), Box::new(fake)) };
    Models::from([
        boxed(Role::TextEncoder, text_encoder()),
        boxed(Role::UNet, unet),
        boxed(Role::VaeDecoder, vae_decoder()),
    ])
}

/// The same, with one more or another of that role.
pub(super) fn with(role: Role, fake: Fake, unet: Fake) -> Models {
    let mut models = models(unet);
    models.insert(role.into(), Box::new(fake));
    models
}

/// The demo checkpoint's tokenizer with Stable Diffusion's own settings.
pub(super) fn config() -> PipelineConfig {
    let demo: &Path = &testkit::demo();
    PipelineConfig {
        family: Family::Sd,
        tokenizers: vec![ClipTokenizer::from_dir(&demo.join("tokenizer")).unwrap()],
        t5: None,
        scheduler: SchedulerConfig::stable_diffusion(),
        vae: VaeConfig { scaling_factor: 16.0, shift_factor: 0.25 },
        decoder: None,
        preprocessor: PreprocessorConfig::default(),
        zeros_without_negative: false,
    }
}
