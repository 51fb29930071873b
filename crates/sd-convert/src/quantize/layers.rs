//! The layers of a program, and which of them are decided beforehand.

use mil_compress::{QuantizableOp, WorkKind};

/// What is decided at once: an operation with weights, or the heads of a product of attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Name: of the layer in the checkpoint with underscores, where a weight says it, else of the first operation.
    pub name: String,
    /// What its operations multiply.
    pub work: WorkKind,
    /// Its operations.
    pub ops: Vec<QuantizableOp>,
    /// Products of two numbers that they compute.
    pub multiplications: u64,
    /// What a rule has decided already.
    pub fixed: Option<Fixed>,
}

/// What is decided beforehand, whatever a layer loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixed {
    /// Its activations are quantized.
    Quantized,
    /// Its activations stay as they are.
    Kept,
}

/// Rules by name, the first that matches: parts of a name that must be there, in order.
///
/// ml-stable-diffusion 1.1.1, `activation_quantization.py`: the first convolutions of the residual blocks on the way up and
/// the upsamplers are always quantized, the projections behind attention never.
const RULES: &[(&[&str], Fixed)] = &[
    (&["to_out"], Fixed::Kept),
    (&["up_blocks", "resnets", "conv1"], Fixed::Quantized),
    (&["upsamplers"], Fixed::Quantized),
];

/// The layers of operations, in order.
#[must_use]
pub fn layers(ops: Vec<QuantizableOp>) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    for op in ops {
        let group = |layer: &&mut Layer| layer.ops.first().is_some_and(|first| first.group == op.group);
        if let Some(layer) = layers.iter_mut().find(group) {
            layer.multiplications += op.multiplications;
            layer.ops.push(op);
            continue;
        }
        let name = op.weights.first().map_or(&*op.name, |weight| layer_of(weight)).to_owned();
        let (work, multiplications, fixed) = (op.work, op.multiplications, rule(&name));
        layers.push(Layer { name, work, ops: vec![op], multiplications, fixed });
    }
    layers
}

/// The layer that a weight belongs to, by its name.
fn layer_of(weight: &str) -> &str {
    weight.rsplit_once("_weight").map_or(weight, |(layer, _)| layer)
}

fn rule(name: &str) -> Option<Fixed> {
    let holds = |parts: &[&str]| {
        let mut rest = name;
        parts.iter().all(|part| rest.split_once(part).map(|(_, after)| rest = after).is_some())
    };
    RULES.iter().find(|(parts, _)| holds(parts)).map(|(_, fixed)| *fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_by_parts_of_names() {
        for (name, fixed) in [
            ("unet_up_blocks_1_resnets_0_conv1", Some(Fixed::Quantized)),
            ("up_blocks_1_upsamplers_0_conv", Some(Fixed::Quantized)),
            ("up_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0", Some(Fixed::Kept)),
            ("up_blocks_1_resnets_0_conv2", None),
            ("down_blocks_1_resnets_0_conv1", None),
            ("resnets_0_conv1_up_blocks", None),
        ] {
            assert_eq!(rule(name), fixed, "{name}");
        }
        assert_eq!(layer_of("down_blocks_0_conv1_weight_to_fp16"), "down_blocks_0_conv1");
    }
}
