//! From a recipe to a program: which module is built, and how features map to its arguments.

use super::Recipe;
use burn::{module::Module, tensor::Device};
use burn_mil::{Inputs, LowerError, Lowering, Outputs};
use mil::{Const, DType, Function, Opset};
use sd_models::{
    ByteRelation, CheckpointTensor, ClipTextEncoder, LoadReport, ModelError, NetworkConfig, Parameter, Role,
    SafetyChecker, UNet, VaeDecoder, VaeEncoder,
    weights::{Binding, parameters},
};
use std::{cell::RefCell, collections::HashMap};

use crate::Weights;

/// Why a network has no program.
pub(crate) enum Failure {
    /// The checkpoint's tensors are not the network's.
    Model(ModelError),
    /// The network could not be lowered.
    Lower(LowerError),
}

/// Records the recipe's network and lowers it, with the weights as views.
pub(crate) fn lower(recipe: &Recipe, weights: &Weights, opset: Opset) -> Result<Function, Failure> {
    match &recipe.network {
        NetworkConfig::TextEncoder(c) => run(recipe, weights, opset, |d| c.init(d), text_encoder),
        NetworkConfig::UNet(c) => run(recipe, weights, opset, |d| c.init(d), unet),
        NetworkConfig::VaeDecoder(c) => run(recipe, weights, opset, |d| c.init_decoder(d), vae_decoder),
        NetworkConfig::VaeEncoder(c) => run(recipe, weights, opset, |d| c.init_encoder(d), vae_encoder),
        NetworkConfig::SafetyChecker(c) => run(recipe, weights, opset, |d| c.init(d), safety_checker),
    }
}

fn text_encoder(model: &ClipTextEncoder, inputs: &Inputs<'_>) -> Result<Outputs, LowerError> {
    let out = model.forward(inputs.int::<2>("input_ids")?);
    Outputs::new().float("last_hidden_state", out.last_hidden_state)?.float("pooled_outputs", out.pooled_outputs)
}

fn unet(model: &UNet, inputs: &Inputs<'_>) -> Result<Outputs, LowerError> {
    let (sample, timestep) = (inputs.float::<4>("sample")?, inputs.float::<1>("timestep")?);
    let text = inputs.float::<4>("encoder_hidden_states")?;
    // [B, C, 1, S], as the Core ML pipelines pass it, to the network's [B, S, C].
    let [batch, channels, _, length] = text.dims();
    let text = text.reshape([batch, channels, length]).swap_dims(1, 2);
    Outputs::new().float("noise_pred", model.forward(sample, timestep, text, None))
}

fn vae_decoder(model: &VaeDecoder, inputs: &Inputs<'_>) -> Result<Outputs, LowerError> {
    Outputs::new().float("image", model.forward(inputs.float::<4>("z")?))
}

fn vae_encoder(model: &VaeEncoder, inputs: &Inputs<'_>) -> Result<Outputs, LowerError> {
    Outputs::new().float("latent", model.forward(inputs.float::<4>("x")?))
}

fn safety_checker(model: &SafetyChecker, inputs: &Inputs<'_>) -> Result<Outputs, LowerError> {
    let (clip, images) = (inputs.float::<4>("clip_input")?, inputs.float::<4>("images")?);
    let verdict = model.forward(clip, images, inputs.float::<1>("adjustment")?);
    Outputs::new()
        .float("filtered_images", verdict.filtered_images)?
        .float("has_nsfw_concepts", verdict.has_nsfw_concepts)?
        .float("concept_scores", verdict.concept_scores)
}

fn run<M: Module>(
    recipe: &Recipe,
    weights: &Weights,
    opset: Opset,
    init: impl FnOnce(&Device) -> M,
    forward: impl FnOnce(&M, &Inputs<'_>) -> Result<Outputs, LowerError>,
) -> Result<Function, Failure> {
    let lowering =
        recipe.inputs.iter().fold(Lowering::new("main", opset), |l, f| l.input(f.name, f.inner_dtype(), &f.shape));
    let bound: RefCell<Result<HashMap<String, Binding>, ModelError>> = RefCell::new(Ok(HashMap::new()));
    let lowered = lowering.lower(
        |device| {
            let module = init(device);
            *bound.borrow_mut() = bind(recipe.network.role(), &parameters(&module), weights);
            module
        },
        |path| constant(bound.borrow().as_ref().ok()?.get(path)?, weights),
        forward,
    );
    // A tensor that is missing is better said by the load report than by whoever trips over it first.
    bound.into_inner().map_err(Failure::Model)?;
    lowered.map_err(Failure::Lower)
}

/// Compares the recipe's network with the checkpoint's tensors, without recording it.
pub(crate) fn load_report(recipe: &Recipe, weights: &Weights) -> LoadReport {
    let device = Device::capture();
    let parameters = match &recipe.network {
        NetworkConfig::TextEncoder(c) => parameters(&c.init(&device)),
        NetworkConfig::UNet(c) => parameters(&c.init(&device)),
        NetworkConfig::VaeDecoder(c) => parameters(&c.init_decoder(&device)),
        NetworkConfig::VaeEncoder(c) => parameters(&c.init_encoder(&device)),
        NetworkConfig::SafetyChecker(c) => parameters(&c.init(&device)),
    };
    report(recipe.network.role(), &parameters, weights)
}

fn report(role: Role, parameters: &[Parameter], weights: &Weights) -> LoadReport {
    let contents = weights.iter().map(|(key, t)| CheckpointTensor {
        key: key.to_owned(),
        dtype: t.dtype(),
        shape: t.shape().to_vec(),
    });
    LoadReport::new(role, parameters, contents)
}

/// Compares network and checkpoint; anything missing, unused or of another shape is an error.
fn bind(role: Role, parameters: &[Parameter], weights: &Weights) -> Result<HashMap<String, Binding>, ModelError> {
    let bindings = report(role, parameters, weights).into_bindings()?;
    Ok(bindings.into_iter().map(|b| (b.path.clone(), b)).collect())
}

/// The parameter as a view of the checkpoint's bytes, in the module's shape, as f32.
fn constant(binding: &Binding, weights: &Weights) -> Option<Const> {
    let stored = Const::new(weights.get(&binding.key)?.clone());
    let view = match binding.relation {
        ByteRelation::Identical => stored.reshape(binding.shape.clone()),
        ByteRelation::Transposed => {
            let mut shape = binding.shape.clone();
            shape.reverse();
            stored.reshape(shape).and_then(|c| c.transpose(&[1, 0]))
        }
    };
    Some(view.ok()?.cast(DType::F32))
}
