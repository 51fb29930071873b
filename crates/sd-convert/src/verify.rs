//! Verification: what two models make of the same random inputs, as signal-to-noise ratio per output.
//!
//! Inputs are drawn in the ranges that the features of Stable Diffusion have; a seed gives the same inputs on
//! every machine.
//! Running the models is an engine's business.

use crate::recipe::{picture_scale, text_length};
use crate::{Batch, Checkpoint, ConvertError, LatentSize, Options, Precision, Role};
use host_tensor::{DType, HostTensor, element_count};
use mil::{Function, Op, ValueId, pass::AttentionLayout};
use sd_spec::{Axis, Dims, Draw, FeatureSpec, Misfit, Presence};
use std::collections::{BTreeMap, HashSet};

/// Largest number of elements of an input that is drawn.
const MAX_ELEMENTS: usize = 1 << 30;
/// Ids that every CLIP vocabulary has, for text encoders whose embedding cannot be found.
const SAFE_VOCABULARY: usize = 1024;
/// Largest side of a picture that is drawn.
const MAX_SIDE: usize = 1536;
/// Steps of the noise schedule.
const TRAIN_STEPS: usize = 1000;

/// A model's input, of known shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Feature name.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Shape.
    pub shape: Vec<usize>,
}

/// How near an output came to its reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Name of the output.
    pub output: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// 20·log₁₀(max|reference| / rms error): +∞ for equal tensors, −∞ for values that are not finite.
    pub psnr_db: f64,
}

/// Options under which a role converts to a model of these inputs, in full precision.
///
/// # Errors
/// When an input that says a size is missing or of another rank, sizes contradict each other, or the checkpoint has no such
/// role.
pub fn reference_options(ckpt: &Checkpoint, role: Role, inputs: &[Input]) -> Result<Options, ConvertError> {
    let dims = dims_of(role, inputs)?;
    let mut options =
        Options { precision: Some(Precision::Float32), attention: AttentionLayout::Original, ..Options::default() };
    let size = |height: Axis, width: Axis, scale: usize| {
        let (height, width) = (dims.get(height)? / scale, dims.get(width)? / scale);
        Some(LatentSize { height, width })
    };
    options.latent_size = match dims.get(Axis::PictureHeight) {
        Some(_) => size(Axis::PictureHeight, Axis::PictureWidth, picture_scale(ckpt, role)?),
        None => size(Axis::LatentHeight, Axis::LatentWidth, 1),
    };
    options.unet_batch = if dims.get(Axis::Batch) == Some(1) { Batch::One } else { Batch::Two };
    options.text_length = match dims.get(Axis::JointTokens) {
        Some(n) => Some(third_length(ckpt, role, n)?),
        None => dims.get(Axis::Tokens),
    };
    let is_there = |spec: &FeatureSpec| inputs.iter().any(|input| spec.is_named(&input.name));
    let on_request = role.spec().inputs.iter().filter(|spec| spec.presence == Presence::OnRequest && is_there(spec));
    options.on_request = on_request.map(|spec| spec.name).collect();
    Ok(options)
}

/// Tokens of the third text encoder among those of all: CLIP's come first, and their number is fixed.
fn third_length(ckpt: &Checkpoint, role: Role, all: usize) -> Result<usize, ConvertError> {
    let clips = text_length(ckpt)?;
    all.checked_sub(clips).filter(|&n| n > 0).ok_or_else(|| {
        ConvertError::Option(format!(
            "the model takes {all} tokens of text, of which {clips} are CLIP's and none are left for a third encoder: it is \
             no {role}"
        ))
    })
}

/// The numbers of a role's axes in a model of these inputs; inputs without a size are not needed.
fn dims_of(role: Role, inputs: &[Input]) -> Result<Dims, ConvertError> {
    let mut dims = Dims::new();
    for spec in role.spec().inputs {
        let rank = spec.axes.len();
        let of_no_such_model = || {
            ConvertError::Option(format!("the model has no input {} of {rank} dimensions: it is no {role}", spec.name))
        };
        let Some(found) = inputs.iter().find(|input| spec.is_named(&input.name)) else {
            if spec.presence.is_optional() {
                continue;
            }
            return Err(of_no_such_model());
        };
        match dims.learn(spec, &found.shape) {
            Ok(()) => {}
            Err(Misfit::Rank) => return Err(of_no_such_model()),
            Err(Misfit::Axis { axis, known, found: n }) => {
                return Err(ConvertError::Option(format!(
                    "the model's input {} has shape {:?}, where the {axis} is {n} and should be {known}: it is no {role}",
                    spec.name, found.shape
                )));
            }
        }
    }
    Ok(dims)
}

/// Random inputs: ids within the vocabulary, steps of the noise schedule, pictures in [0, 1], everything else
/// standard normal.
///
/// `function` is the one that reads the ids, where the caller has it.
///
/// # Errors
/// When an input is too large to be drawn.
pub fn random_inputs(
    inputs: &[Input],
    function: Option<&Function>,
    seed: u64,
) -> Result<BTreeMap<String, HostTensor>, ConvertError> {
    let mut random = SplitMix { state: seed };
    let mut tensors = BTreeMap::new();
    for Input { name, dtype, shape } in inputs {
        let n = element_count(shape)
            .filter(|&n| n <= MAX_ELEMENTS)
            .ok_or_else(|| ConvertError::Option(format!("input {name} of shape {shape:?} is too large to be drawn")))?;
        let values: Vec<f32> = match sd_spec::input(name).map(|spec| spec.draw) {
            Some(Draw::Ids) => {
                let vocabulary = function.and_then(|f| vocabulary(f, name)).unwrap_or(SAFE_VOCABULARY);
                (0..n).map(|_| random.below(vocabulary) as f32).collect()
            }
            Some(Draw::Step) => vec![random.below(TRAIN_STEPS) as f32; n],
            Some(Draw::Sizes) => (0..n).map(|_| (random.below(MAX_SIDE / 8) * 8) as f32).collect(),
            Some(Draw::Mask) => (0..n).map(|i| if i < n.div_ceil(2) { 1.0 } else { 0.0 }).collect(),
            Some(Draw::Zero) => vec![0.0; n],
            Some(Draw::Unit) => (0..n).map(|_| random.unit() as f32).collect(),
            _ if !dtype.is_float() => (0..n).map(|_| random.below(2) as f32).collect(),
            _ => (0..n).map(|_| random.normal() as f32).collect(),
        };
        tensors.insert(name.clone(), HostTensor::from_f32(shape.clone(), values).cast(*dtype));
    }
    Ok(tensors)
}

/// Compares outputs by name.
///
/// # Errors
/// When one side has an output that the other has not, or shapes differ.
pub fn compare(
    reference: &BTreeMap<String, HostTensor>,
    other: &BTreeMap<String, HostTensor>,
) -> Result<Vec<Comparison>, ConvertError> {
    if !reference.keys().eq(other.keys()) {
        return Err(ConvertError::Option(format!(
            "the models differ in their outputs: {:?} and {:?}",
            reference.keys().collect::<Vec<_>>(),
            other.keys().collect::<Vec<_>>()
        )));
    }
    let pairs = reference.iter().zip(other.values());
    pairs
        .map(|((name, reference), other)| {
            if reference.shape() != other.shape() {
                return Err(ConvertError::Option(format!(
                    "output {name} has shape {:?} in one model and {:?} in the other",
                    reference.shape(),
                    other.shape()
                )));
            }
            let psnr_db = psnr(&reference.to_f32_vec(), &other.to_f32_vec());
            Ok(Comparison { output: name.clone(), shape: reference.shape().to_vec(), psnr_db })
        })
        .collect()
}

/// Peak signal-to-noise ratio in decibels: 20·log₁₀(max|reference| / rms error), over equally long slices.
#[must_use]
pub fn psnr(reference: &[f32], other: &[f32]) -> f64 {
    if reference.iter().chain(other).any(|x| !x.is_finite()) {
        return f64::NEG_INFINITY;
    }
    let peak = reference.iter().fold(0.0f64, |peak, &x| peak.max(f64::from(x).abs()));
    let squares: f64 = reference.iter().zip(other).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    if squares == 0.0 {
        return f64::INFINITY;
    }
    20.0 * (peak / (squares / reference.len() as f64).sqrt()).log10()
}

/// Rows of the table that a function looks the ids of this input up in.
fn vocabulary(function: &Function, input: &str) -> Option<usize> {
    let start = function.inputs.iter().copied().find(|&id| function.name_of(id) == input)?;
    let mut derived: HashSet<ValueId> = HashSet::from([start]);
    for op in &function.body.ops {
        let reads = |param: &str| op.input(param).is_some_and(|id| derived.contains(&id));
        if op.kind == "gather" && reads("indices") {
            return table_rows(function, op);
        }
        if op.operands().any(|id| derived.contains(&id)) {
            derived.extend(op.outputs.iter().copied());
        }
    }
    None
}

fn table_rows(function: &Function, gather: &Op) -> Option<usize> {
    let table = function.ty(gather.input("x")?).as_tensor()?;
    table.shape.first()?.size().filter(|_| table.rank() == 2)
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct SplitMix {
    state: u64,
}

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number below `n`.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mil::{Const, FunctionBuilder, Opset, Type};

    fn input(name: &str, dtype: DType, shape: &[usize]) -> Input {
        Input { name: name.into(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn roles_are_known_by_their_inputs() {
        let of = |names: &[&'static str]| Role::of_inputs(names.iter().copied());
        assert_eq!(of(&["z"]), [Role::VaeDecoder]);
        assert_eq!(of(&["timestep", "sample", "encoder_hidden_states"]), [Role::UNet, Role::Refiner]);
        let control = ["timestep", "sample", "encoder_hidden_states", "additional_residual_0"];
        assert_eq!(of(&control), [Role::ControlledUNet]);
        assert_eq!(of(&["timestep", "sample"]), []);
    }

    #[test]
    fn ids_stay_within_the_table_that_they_index() {
        let mut b = FunctionBuilder::new("main", Opset::CoreML6);
        let ids = b.input("input_ids", Type::tensor(DType::F32, &[1, 64]));
        let mut e = b.emitter();
        let whole = e.op("cast", "whole", [("x", ids.into()), ("dtype", "int32".into())]).unwrap();
        let table = e.constant("table", Const::new(HostTensor::from_f32([7, 2], vec![0.0; 14])).into());
        let args = [("x", table.into()), ("indices", whole.into()), ("axis", 0.into())];
        let y = e.op("gather", "y", args).unwrap();
        let ops = e.into_ops();
        let function = b.finish(ops, &[y]);
        let inputs = [input("input_ids", DType::F32, &[1, 64])];
        let drawn = random_inputs(&inputs, Some(&function), 1).unwrap()["input_ids"].to_f32_vec();
        assert!(drawn.iter().all(|&id| (0.0..7.0).contains(&id) && id.fract() == 0.0), "{drawn:?}");
        assert!(drawn.iter().any(|&id| id != drawn[0]));
    }

    #[test]
    fn draws_depend_on_the_seed_and_have_unit_variance() {
        let inputs = [input("sample", DType::F32, &[2, 5000]), input("timestep", DType::F16, &[2])];
        let draw = |seed| random_inputs(&inputs, None, seed).unwrap();
        assert_eq!(draw(3)["sample"].bytes(), draw(3)["sample"].bytes());
        assert_ne!(draw(3)["sample"].bytes(), draw(4)["sample"].bytes());
        let values = draw(3)["sample"].to_f32_vec();
        let variance = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
        let steps = draw(3)["timestep"].to_f32_vec();
        assert!(steps[0] == steps[1] && (0.0..1000.0).contains(&steps[0]), "{steps:?}");
        assert!(random_inputs(&[input("sample", DType::F32, &[1 << 62, 8])], None, 0).is_err());
    }

    #[test]
    fn outputs_are_compared_by_name_and_shape() {
        let tensors = |name: &str, values: &[f32]| {
            BTreeMap::from([(name.to_owned(), HostTensor::from_f32([values.len()], values.to_vec()))])
        };
        let close = compare(&tensors("y", &[1.0, -0.5]), &tensors("y", &[1.01, -0.51])).unwrap();
        assert!((close[0].psnr_db - 40.0).abs() < 1e-4, "{close:?}");
        assert!(compare(&tensors("y", &[1.0]), &tensors("z", &[1.0])).is_err());
        assert!(compare(&tensors("y", &[1.0]), &tensors("y", &[1.0, 2.0])).is_err());
        assert_eq!(psnr(&[1.0], &[1.0]), f64::INFINITY);
        assert_eq!(psnr(&[1.0], &[f32::NAN]), f64::NEG_INFINITY);
    }
}
