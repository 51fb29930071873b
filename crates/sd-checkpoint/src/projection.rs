//! The projection of a multilingual text path: one linear layer in a file of its own.
//!
//! Apple's converter takes any module of TorchScript and traces it. Here nothing is executed, so it must be a
//! `torch.nn.Linear`, as TorchScript or as safetensors.

use std::path::Path;

use host_tensor::HostTensor;
use serde_json::{Value as Json, json};

use crate::pickle::{Item, Kind};
use crate::torch_script::Module;
use crate::{CheckpointError, Weights};

/// Width of what `NLContextualEmbedding` gives.
const IN_FEATURES: usize = 512;
/// More tensors than this are no projection.
const MAX_TENSORS: usize = 16;

/// One linear layer.
#[derive(Debug, Clone)]
pub(crate) struct Projection {
    weight: HostTensor,
    bias: Option<HostTensor>,
}

impl Projection {
    /// Reads a file; none for one that is neither a module of TorchScript nor looks like linear layers.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let torch = |message: String| CheckpointError::Torch { path: path.to_owned(), message };
        let found = match Module::read(path)? {
            Some(module) => Some(of_module(&module).map_err(torch)?),
            None => of_safetensors(path)?,
        };
        found.map(|layer| layer.checked().map_err(torch)).transpose()
    }

    /// What a configuration would say of it.
    pub(crate) fn config(&self) -> Json {
        json!({
            "_class_name": "Linear",
            "in_features": self.weight.shape()[1],
            "out_features": self.weight.shape()[0],
            "bias": self.bias.is_some(),
        })
    }

    /// Its tensors, under the names of the network.
    pub(crate) fn weights(&self) -> Weights {
        let mut weights = Weights::default();
        weights.insert("linear.weight", self.weight.clone());
        if let Some(bias) = &self.bias {
            weights.insert("linear.bias", bias.clone());
        }
        weights
    }

    fn checked(self) -> Result<Self, String> {
        let shape = self.weight.shape();
        let &[out_features, IN_FEATURES] = shape else {
            return Err(format!(
                "its weight has shape {shape:?}; a projection of contextual embeddings has [D, {IN_FEATURES}], where D is \
                 the width of the denoiser's text"
            ));
        };
        match &self.bias {
            Some(bias) if bias.shape() != [out_features] => {
                Err(format!("its bias has shape {:?}, and its weight gives {out_features} numbers", bias.shape()))
            }
            _ => Ok(self),
        }
    }
}

/// A class as Python names it: `torch.nn.modules.linear.Linear` of `__torch__.torch.nn.modules.linear.___torch_mangle_3.Linear`.
fn class_of(module: Item<'_>) -> Option<String> {
    let parts = module.class()?.split('.');
    let parts = parts.filter(|part| *part != "__torch__" && !part.starts_with("___torch_mangle_"));
    Some(parts.collect::<Vec<_>>().join("."))
}

/// The linear layer that a module is, or is the only one of.
fn of_module(module: &Module) -> Result<Projection, String> {
    const LINEAR: &str = "torch.nn.modules.linear.Linear";
    const SEQUENTIAL: &str = "torch.nn.modules.container.Sequential";
    const ADVICE: &str = "only a torch.nn.Linear is read, for no code of the file is executed: save that layer by itself, \
                          torch.jit.save(torch.jit.script(layer), FILE)";
    let mut layer = module.root();
    if class_of(layer).as_deref() == Some(SEQUENTIAL) {
        let inside: Vec<Item<'_>> =
            attributes(layer).map(|(_, value)| value).filter(|value| class_of(*value).is_some()).collect();
        let classes: Vec<String> = inside.iter().filter_map(|value| class_of(*value)).collect();
        let [only] = inside[..] else {
            return Err(format!("it is {} layers one after another ({}); {ADVICE}", classes.len(), classes.join(", ")));
        };
        layer = only;
    }
    match class_of(layer) {
        Some(class) if class == LINEAR => {}
        Some(class) => return Err(format!("it is a module of the class {class}; {ADVICE}")),
        None => return Err(format!("it holds no module; {ADVICE}")),
    }
    let tensor = |name: &str| match layer.state().and_then(|state| state.get(name)) {
        Some(value) if !matches!(value.kind(), Kind::None) => {
            module.tensor(value).map(Some).map_err(|e| format!("its {name}: {e}"))
        }
        _ => Ok(None),
    };
    let known = ["weight", "bias", "training", "_is_full_backward_hook"];
    if let Some((other, _)) = attributes(layer).find(|(name, _)| !known.contains(name)) {
        return Err(format!("its {other} is nothing that a torch.nn.Linear has; {ADVICE}"));
    }
    let weight = tensor("weight")?
        .ok_or("it has no weight; a frozen module has it in its code, so save it without torch.jit.freeze")?;
    Ok(Projection { weight, bias: tensor("bias")? })
}

/// The attributes of a module.
fn attributes(module: Item<'_>) -> impl Iterator<Item = (&str, Item<'_>)> {
    let entries = module.state().into_iter().flat_map(Item::entries);
    entries.filter_map(|(name, value)| Some((name.text()?, value)))
}

/// The linear layer of a safetensors file; none where there are others than linear layers.
fn of_safetensors(path: &Path) -> Result<Option<Projection>, CheckpointError> {
    if path.extension().is_none_or(|e| e != "safetensors") {
        return Ok(None);
    }
    // What is wrong with another file is said by whoever looks at it next.
    let Ok(weights) = Weights::map(&[path.to_owned()]) else { return Ok(None) };
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let is_linear = |key: &str, rank: usize| match &*last(key) {
        "weight" => rank == 2,
        "bias" => rank == 1,
        _ => false,
    };
    let n = weights.iter().count();
    let is_known = weights.iter().all(|(key, weight)| is_linear(key, weight.shape().len()) && !key.contains("lora"));
    if n == 0 || n > MAX_TENSORS || !is_known {
        return Ok(None);
    }
    let of = |name: &str| -> Vec<(&str, &HostTensor)> {
        weights.iter().filter(|(key, _)| last(key) == name).filter_map(|(key, w)| Some((key, w.stored()?))).collect()
    };
    let torch = |message: String| CheckpointError::Torch { path: path.to_owned(), message };
    match (&of("weight")[..], &of("bias")[..]) {
        ([(_, weight)], bias @ ([] | [_])) => {
            let bias = bias.first().map(|(_, bias)| (*bias).clone());
            Ok(Some(Projection { weight: (*weight).clone(), bias }))
        }
        (several, _) => {
            let names: Vec<&str> = several.iter().map(|(key, _)| *key).collect();
            Err(torch(format!(
                "it holds {} weights of linear layers ({}); a projection is one layer, and what lies between several is \
                 not in the file",
                names.len(),
                names.join(", ")
            )))
        }
    }
}
