//! What a model says of itself: features, functions and metadata, in plain types.
//!
//! [`Description::of`] derives the interface from a program, so that it cannot contradict it; the caller then adds
//! words. The protobuf messages behind these types are known to `description::proto` only.

mod mirror;
mod proto;

pub(crate) use mirror::{check_features, check_names};
pub(crate) use proto::{decode, encode};

use std::collections::BTreeMap;

use mil::{DType, Function, Program, TensorType, Type, ValueId};

/// The interface of a model and its metadata.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Description {
    /// One entry per function; a pipeline has one, which stands for the whole.
    pub functions: Vec<Interface>,
    /// Name of the function that runs when none is chosen; `main` in a model with one function.
    pub default_function: String,
    /// Author, license and the like.
    pub metadata: Metadata,
}

/// Inputs and outputs of one function.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Interface {
    /// Name of the function.
    pub name: String,
    /// Inputs; names are those of the function's inputs.
    pub inputs: Vec<Feature>,
    /// Outputs; names are those of the function's outputs.
    pub outputs: Vec<Feature>,
    /// States: inputs that persist between predictions.
    pub states: Vec<Feature>,
    /// Of a classifier, the output with the class; otherwise empty.
    pub predicted_feature: String,
    /// Of a classifier, the output with the probabilities; otherwise empty.
    pub predicted_probabilities: String,
}

/// Free text about a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// What the model does.
    pub short_description: String,
    /// Version of the model.
    pub version: String,
    /// Who made it.
    pub author: String,
    /// On which terms.
    pub license: String,
    /// Anything else, by key.
    pub user_defined: BTreeMap<String, String>,
}

/// One input, output or state.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// Name.
    pub name: String,
    /// What it means, in words.
    pub description: String,
    /// What it is.
    pub ty: FeatureType,
    /// Whether a prediction may leave it out.
    pub is_optional: bool,
}

/// What a feature is.
#[derive(Debug, Clone, PartialEq)]
pub enum FeatureType {
    /// An integer.
    Int64,
    /// A floating-point number.
    Double,
    /// Text.
    String,
    /// A picture.
    Image(Image),
    /// A tensor.
    MultiArray(MultiArray),
    /// A map to doubles.
    Dictionary(KeyType),
    /// A list of integers or texts; the size is inclusive.
    Sequence(KeyType, Option<SizeRange>),
    /// A tensor that persists between predictions.
    State(MultiArray),
}

/// What keys of a dictionary and elements of a sequence are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// Integers.
    Int64,
    /// Text.
    String,
}

/// A tensor feature.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiArray {
    /// One of fp32, fp64, fp16, int32 and int8.
    pub dtype: DType,
    /// Shape; the default one where shapes are flexible, empty where it is not known.
    pub shape: Vec<usize>,
    /// Which other shapes are admissible.
    pub flexibility: ShapeFlexibility,
    /// What every element of an absent optional input is.
    pub default: Option<DefaultValue>,
}

/// Admissible shapes besides the default one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ShapeFlexibility {
    /// None.
    #[default]
    Fixed,
    /// These.
    Enumerated(Vec<Vec<usize>>),
    /// A range per axis.
    Ranges(Vec<SizeRange>),
}

/// An inclusive range of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeRange {
    /// Smallest size.
    pub lower: u64,
    /// Largest size; `None` when there is no bound.
    pub upper: Option<u64>,
}

/// Value of an optional input that is left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DefaultValue {
    /// For integers.
    Int(i32),
    /// For fp32 and fp16.
    Float(f32),
    /// For fp64.
    Double(f64),
}

/// A picture feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Width in pixels.
    pub width: u64,
    /// Height in pixels.
    pub height: u64,
    /// Pixel format.
    pub color_space: ColorSpace,
    /// Which other sizes are admissible.
    pub flexibility: ImageFlexibility,
}

/// Pixel formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorSpace {
    /// 8 bits of grey.
    Grayscale,
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// 16-bit floats of grey.
    GrayscaleFloat16,
}

/// Admissible picture sizes besides the default one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ImageFlexibility {
    /// None.
    #[default]
    Fixed,
    /// These widths and heights.
    Enumerated(Vec<(u64, u64)>),
    /// A range of widths and one of heights.
    Range(SizeRange, SizeRange),
}

impl Description {
    /// The description that follows from a program's signatures, without words.
    #[must_use]
    pub fn of(program: &Program) -> Self {
        let default = program.main().or_else(|| program.functions.values().next());
        Self {
            functions: program.functions.values().map(Interface::of).collect(),
            default_function: default.map(|f| f.name.clone()).unwrap_or_default(),
            metadata: Metadata::default(),
        }
    }

    /// The interface of the default function.
    #[must_use]
    pub fn main(&self) -> Option<&Interface> {
        self.function(&self.default_function)
    }

    /// The interface of the default function, to add words.
    #[must_use]
    pub fn main_mut(&mut self) -> Option<&mut Interface> {
        self.functions.iter_mut().find(|f| f.name == self.default_function)
    }

    /// The interface of a function.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Interface> {
        self.functions.iter().find(|f| f.name == name)
    }
}

impl Interface {
    /// The interface that follows from a function's signature.
    #[must_use]
    pub fn of(function: &Function) -> Self {
        let is_state = |id: &ValueId| matches!(function.ty(*id), Type::State(_));
        let features = |ids: &mut dyn Iterator<Item = ValueId>, is_input| {
            ids.map(|id| Feature::of(function.name_of(id), function.ty(id), is_input)).collect()
        };
        Self {
            name: function.name.clone(),
            inputs: features(&mut function.inputs.iter().copied().filter(|id| !is_state(id)), true),
            outputs: features(&mut function.body.outputs.iter().copied(), false),
            states: features(&mut function.inputs.iter().copied().filter(is_state), true),
            ..Self::default()
        }
    }

    /// The input, output or state with this name, to add words.
    #[must_use]
    pub fn feature_mut(&mut self, name: &str) -> Option<&mut Feature> {
        self.inputs.iter_mut().chain(&mut self.outputs).chain(&mut self.states).find(|f| f.name == name)
    }
}

impl Feature {
    /// A feature of this name and type, without words. An input of rank 0 is given as one element.
    ///
    /// A tuple, which no boundary admits, becomes a sequence; the check against the program refuses it.
    fn of(name: &str, ty: &Type, is_input: bool) -> Self {
        let array = |t: &TensorType| {
            // coremltools 9.0: scalar inputs have shape [1], scalar outputs none.
            let shape = match t.static_shape() {
                Some(shape) if shape.is_empty() && is_input => vec![1],
                Some(shape) => shape,
                None => Vec::new(),
            };
            MultiArray { dtype: t.dtype, shape, flexibility: ShapeFlexibility::Fixed, default: None }
        };
        let ty = match ty {
            Type::Tensor(t) => FeatureType::MultiArray(array(t)),
            Type::State(t) => FeatureType::State(array(t)),
            Type::Strings(_) => FeatureType::String,
            Type::Dict(key, _) => FeatureType::Dictionary(KeyType::of(key)),
            Type::List(element, _) => FeatureType::Sequence(KeyType::of(element), None),
            Type::Tuple(_) => FeatureType::Sequence(KeyType::Int64, None),
        };
        Self { name: name.to_owned(), description: String::new(), ty, is_optional: false }
    }
}

impl KeyType {
    const fn of(ty: &Type) -> Self {
        match ty {
            Type::Strings(_) => Self::String,
            _ => Self::Int64,
        }
    }
}
