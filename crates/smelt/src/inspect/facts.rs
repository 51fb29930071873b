//! The facts about a package, gathered once for text and JSON.

use std::collections::{BTreeMap, BTreeSet};

use mil::{Const, Function, Literal};
use mlpackage::{Body, Description, Feature, FeatureType, Interface, Metadata, Model, Package, ShapeFlexibility};
use serde::Serialize;

/// Everything that `inspect` tells.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// The files.
    #[serde(flatten)]
    pub package: PackageFacts,
    /// The model.
    pub model: ModelFacts,
}

/// The files.
#[derive(Debug, Clone, Serialize)]
pub struct PackageFacts {
    /// Where it is.
    pub path: String,
    /// Name and version of the compiler, of a compiled model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compiler: Option<String>,
    /// What the manifest lists.
    pub items: Vec<ItemFacts>,
    /// Bytes of the model file.
    pub model_bytes: u64,
    /// Its weight files.
    pub weight_files: Vec<FileFacts>,
}

/// An item of the manifest.
#[derive(Debug, Clone, Serialize)]
pub struct ItemFacts {
    /// Where it is.
    pub path: String,
    /// What it is for.
    pub description: String,
}

/// A weight file.
#[derive(Debug, Clone, Serialize)]
pub struct FileFacts {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Blobs in it.
    pub n_blobs: u32,
}

/// A model; a pipeline has models in place of functions.
#[derive(Debug, Clone, Serialize)]
pub struct ModelFacts {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Version of the form of the model file.
    pub specification_version: i32,
    /// In the order in which they are told; empty entries are left out.
    pub metadata: Vec<(String, String)>,
    /// Its functions.
    pub functions: Vec<FunctionFacts>,
    /// The models of a pipeline.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelFacts>,
}

/// A function.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionFacts {
    /// Its name.
    pub name: String,
    /// Whether it runs when none is named.
    pub is_default: bool,
    /// What its operations mean.
    pub opset: &'static str,
    /// What it takes.
    pub inputs: Vec<FeatureFacts>,
    /// What it gives.
    pub outputs: Vec<FeatureFacts>,
    /// What it keeps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<FeatureFacts>,
    /// Constants are not operations here.
    pub n_operations: usize,
    /// Constants of all kinds.
    pub n_constants: usize,
    /// Operations by kind, the most frequent first.
    pub operations: Vec<(String, usize)>,
    /// Bytes in weight files.
    pub weight_bytes: u64,
    /// Constants in weight files by element type, the largest share first.
    pub weights: Vec<WeightFacts>,
}

/// What goes in or comes out.
#[derive(Debug, Clone, Serialize)]
pub struct FeatureFacts {
    /// Its name.
    pub name: String,
    /// Element type and shape, or what else it is.
    #[serde(rename = "type")]
    pub ty: String,
    /// What it is for.
    pub description: String,
}

/// Weights of one element type.
#[derive(Debug, Clone, Serialize)]
pub struct WeightFacts {
    /// Element type.
    pub dtype: &'static str,
    /// How many.
    pub n_tensors: usize,
    /// Its bytes.
    pub bytes: u64,
    /// Of all bytes in weight files.
    pub share: f64,
}

impl Facts {
    /// Looks at a package.
    #[must_use]
    pub fn of(package: &Package) -> Self {
        let items = package.manifest().map(mlpackage::Manifest::items).into_iter().flatten();
        let blobs = package.weight_files();
        Self {
            package: PackageFacts {
                path: package.path().display().to_string(),
                compiler: package.compiler().map(str::to_owned),
                items: items.map(|i| ItemFacts { path: i.path.clone(), description: i.description.clone() }).collect(),
                model_bytes: package.model_bytes(),
                weight_files: blobs
                    .iter()
                    .map(|(name, file)| FileFacts { name: name.clone(), bytes: file.n_bytes(), n_blobs: file.count() })
                    .collect(),
            },
            model: ModelFacts::of(None, package.model()),
        }
    }
}

impl ModelFacts {
    fn of(name: Option<&str>, model: &Model) -> Self {
        let (functions, models) = match &model.body {
            Body::Program(program) => {
                (program.functions.values().map(|f| FunctionFacts::of(f, &model.description)).collect(), Vec::new())
            }
            Body::Pipeline(subs) => (Vec::new(), subs.iter().map(|s| Self::of(Some(&s.name), &s.model)).collect()),
        };
        Self {
            name: name.map(str::to_owned),
            specification_version: model.specification_version,
            metadata: metadata(&model.description.metadata),
            functions,
            models,
        }
    }
}

fn metadata(metadata: &Metadata) -> Vec<(String, String)> {
    let known = [
        ("description", &metadata.short_description),
        ("version", &metadata.version),
        ("author", &metadata.author),
        ("license", &metadata.license),
    ];
    let known = known.into_iter().map(|(key, value)| (key.to_owned(), value.clone()));
    let own = metadata.user_defined.iter().map(|(key, value)| (key.clone(), value.clone()));
    known.chain(own).filter(|(_, value)| !value.is_empty()).collect()
}

impl FunctionFacts {
    fn of(function: &Function, description: &Description) -> Self {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        function.body.for_each_op(&mut |op| *kinds.entry(&op.kind).or_default() += 1);
        let n_operations = kinds.values().sum();
        let mut operations: Vec<(String, usize)> = kinds.into_iter().map(|(k, n)| (k.to_owned(), n)).collect();
        operations.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let described = description.function(&function.name);
        let of_program;
        let interface = match described {
            Some(interface) => interface,
            None => {
                of_program = Interface::of(function);
                &of_program
            }
        };
        let features = |list: &[Feature]| list.iter().map(FeatureFacts::of).collect();
        let (weights, weight_bytes) = weights(function);
        Self {
            name: function.name.clone(),
            is_default: function.name == description.default_function,
            opset: function.opset.name(),
            inputs: features(&interface.inputs),
            outputs: features(&interface.outputs),
            states: features(&interface.states),
            n_operations,
            n_constants: function.constants_in_order().iter().map(Vec::len).sum(),
            operations,
            weight_bytes,
            weights,
        }
    }
}

/// Constants in weight files, each blob once: file, offset, constant.
fn distinct_weights<'p>(
    functions: impl Iterator<Item = &'p Function> + 'p,
) -> impl Iterator<Item = (&'p str, u64, &'p Const)> + 'p {
    let mut seen = BTreeSet::new();
    functions
        .flat_map(|f| f.constants_in_order().into_iter().flatten().filter_map(|id| f.literal(id)))
        .filter_map(Literal::as_const)
        .filter_map(|c| c.location.as_ref().map(|l| (&*l.file, l.offset, c)))
        .filter(move |(file, offset, _)| seen.insert((*file, *offset)))
}

fn weights(function: &Function) -> (Vec<WeightFacts>, u64) {
    let mut by_dtype: BTreeMap<&'static str, (usize, u64)> = BTreeMap::new();
    for (_, _, constant) in distinct_weights(std::iter::once(function)) {
        let entry = by_dtype.entry(constant.dtype().name()).or_default();
        entry.0 += 1;
        entry.1 += constant.dtype().byte_len(constant.len()).unwrap_or(0) as u64;
    }
    let total: u64 = by_dtype.values().map(|(_, bytes)| bytes).sum();
    let share = |bytes: u64| if total == 0 { 0.0 } else { bytes as f64 / total as f64 };
    let facts = |(dtype, (n_tensors, bytes))| WeightFacts { dtype, n_tensors, bytes, share: share(bytes) };
    let mut weights: Vec<WeightFacts> = by_dtype.into_iter().map(facts).collect();
    weights.sort_by_key(|w| std::cmp::Reverse(w.bytes));
    (weights, total)
}

impl FeatureFacts {
    fn of(feature: &Feature) -> Self {
        let optional = if feature.is_optional { ", optional" } else { "" };
        Self {
            name: feature.name.clone(),
            ty: format!("{}{optional}", type_text(&feature.ty)),
            description: feature.description.clone(),
        }
    }
}

fn type_text(ty: &FeatureType) -> String {
    match ty {
        FeatureType::MultiArray(a) | FeatureType::State(a) => {
            let flexible = match &a.flexibility {
                ShapeFlexibility::Fixed => String::new(),
                ShapeFlexibility::Enumerated(shapes) => format!(" or one of {shapes:?}"),
                ShapeFlexibility::Ranges(ranges) => {
                    let range = |r: &mlpackage::SizeRange| match r.upper {
                        Some(upper) => format!("{}..={upper}", r.lower),
                        None => format!("{}..", r.lower),
                    };
                    format!(" within [{}]", ranges.iter().map(range).collect::<Vec<_>>().join(", "))
                }
            };
            let shape = if a.shape.is_empty() { "of open shape".into() } else { format!("{:?}", a.shape) };
            format!("{} {shape}{flexible}", a.dtype)
        }
        FeatureType::Image(i) => format!("image {}x{} {:?}", i.width, i.height, i.color_space),
        other => format!("{other:?}").to_lowercase(),
    }
}
