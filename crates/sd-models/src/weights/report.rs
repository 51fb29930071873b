//! Compares a network with a checkpoint's table of contents.

use std::collections::BTreeMap;
use std::fmt;

use host_tensor::DType;

use super::{ByteRelation, Parameter};
use sd_spec::Role;

/// One entry of a checkpoint's table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointTensor {
    /// Its key.
    pub key: String,
    /// Its element type.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// A parameter and the tensor that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The parameter's path in the module.
    pub path: String,
    /// The tensor's key in the checkpoint.
    pub key: String,
    /// The tensor's element type.
    pub dtype: DType,
    /// The parameter's shape in the module.
    pub shape: Vec<usize>,
    /// The tensor's shape in the checkpoint.
    pub stored_shape: Vec<usize>,
    /// How the tensor's bytes become the parameter's.
    pub relation: ByteRelation,
}

/// A tensor that is left aside on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its key.
    pub key: String,
    /// Why.
    pub reason: &'static str,
}

/// A tensor that was found but cannot hold the parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// The tensor's key.
    pub key: String,
    /// What the network needs, trailing ones aside.
    pub expected: Vec<usize>,
    /// What the checkpoint has.
    pub found: Vec<usize>,
}

/// The names of a network's tensors in checkpoints.
#[derive(Clone, Copy, Debug)]
pub struct Naming {
    /// Other keys under which checkpoints hold the parameter of a key, likeliest first.
    pub other_keys: fn(&str) -> Vec<String>,
    /// Why a tensor of this key, which real checkpoints hold, is not needed.
    pub reason_to_ignore: fn(&str) -> Option<&'static str>,
}

impl Naming {
    /// Tensors are called as the paths of parameters, and every one is needed.
    pub const PATHS: Self = Self { other_keys: |_| Vec::new(), reason_to_ignore: |_| None };
}

/// What became of every parameter and every tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadReport {
    /// The network.
    pub role: Role,
    /// Parameters with their tensors, in the order of the module's fields.
    pub applied: Vec<Binding>,
    /// Keys of parameters that the checkpoint lacks.
    pub missing: Vec<String>,
    /// Keys of tensors that no parameter wants and no rule names.
    pub unused: Vec<String>,
    /// Tensors that a rule names as not needed.
    pub ignored: Vec<Ignored>,
    /// Tensors of another shape than the parameter.
    pub mismatched: Vec<ShapeMismatch>,
    /// Tensors that hold something else than F64, F32, F16 or BF16.
    pub not_float: Vec<(String, DType)>,
}

impl LoadReport {
    /// Compares `parameters` with `tensors`; the order of `tensors` does not matter.
    pub fn new(
        role: Role,
        naming: Naming,
        parameters: &[Parameter],
        tensors: impl IntoIterator<Item = CheckpointTensor>,
    ) -> Self {
        let tensors: Vec<CheckpointTensor> = tensors.into_iter().collect();
        let prefix = common_prefix(tensors.iter().map(|tensor| tensor.key.as_str())).to_owned();
        let name = |key: &str| key.strip_prefix(&prefix).unwrap_or(key).to_owned();
        let mut left: BTreeMap<String, CheckpointTensor> =
            tensors.into_iter().map(|tensor| (name(&tensor.key), tensor)).collect();
        let mut report = Self {
            role,
            applied: Vec::with_capacity(parameters.len()),
            missing: Vec::new(),
            unused: Vec::new(),
            ignored: Vec::new(),
            mismatched: Vec::new(),
            not_float: Vec::new(),
        };
        for parameter in parameters {
            let keys = std::iter::once(parameter.key.clone()).chain((naming.other_keys)(&parameter.key));
            let found = keys.into_iter().find_map(|key| left.remove(&key));
            match found {
                Some(tensor) => report.bind(parameter, tensor),
                None => report.missing.push(parameter.key.clone()),
            }
        }
        for key in left.into_keys() {
            match reason_to_ignore(naming, &key) {
                Some(reason) => report.ignored.push(Ignored { key, reason }),
                None => report.unused.push(key),
            }
        }
        report
    }

    fn bind(&mut self, parameter: &Parameter, tensor: CheckpointTensor) {
        if !parameter.accepts(&tensor.shape) {
            return self.mismatched.push(ShapeMismatch {
                key: tensor.key,
                expected: parameter.stored_shape(),
                found: tensor.shape,
            });
        }
        if !matches!(tensor.dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
            return self.not_float.push((tensor.key, tensor.dtype));
        }
        self.applied.push(Binding {
            path: parameter.path.clone(),
            key: tensor.key,
            dtype: tensor.dtype,
            shape: parameter.shape.clone(),
            stored_shape: tensor.shape,
            relation: parameter.relation,
        });
    }

    /// Whether every parameter has its tensor and every tensor has its use or its reason.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.mismatched.is_empty() && self.not_float.is_empty()
    }

    /// The bindings of a complete report.
    ///
    /// # Errors
    /// The whole report otherwise.
    pub fn into_bindings(self) -> Result<Vec<Binding>, Box<Self>> {
        match self.is_complete() {
            true => Ok(self.applied),
            false => Err(Box::new(self)),
        }
    }
}

/// What wrappers of PyTorch put before every key: `torch.compile`, and `DataParallel` with its kin.
const WRAPPERS: [&str; 2] = ["_orig_mod.", "module."];

/// The wrappers' names that stand before every key, in whatever order; empty when one key has none.
fn common_prefix<'a>(keys: impl Iterator<Item = &'a str> + Clone) -> &'a str {
    let Some(first) = keys.clone().next() else { return "" };
    let mut length = 0;
    while let Some(wrapper) = WRAPPERS.into_iter().find(|w| first[length..].starts_with(w)) {
        length += wrapper.len();
    }
    let prefix = &first[..length];
    if keys.clone().all(|key| key.starts_with(prefix)) { prefix } else { "" }
}

/// Belongs to what shares a file with the network in every checkpoint.
pub(crate) const OTHER_HALF: &str = "belongs to the other half of the autoencoder";
/// Of no use to anybody, and in most checkpoints.
pub(crate) const COUNTER: &str = "a buffer that counts 0, 1, 2, …";

/// Tensors that real checkpoints hold and the network, or any, does not need.
fn reason_to_ignore(naming: Naming, key: &str) -> Option<&'static str> {
    let is_average = ["model_ema.", "ema."].iter().any(|prefix| key.starts_with(prefix));
    let average = is_average.then_some("an average that the training kept beside the weights");
    (naming.reason_to_ignore)(key).or(average)
}

impl Ignored {
    /// Whether healthy checkpoints hold it: nobody needs to be told.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        self.reason == OTHER_HALF || self.reason == COUNTER
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_complete() {
            f.write_str("the tensors are not those of the network that config.json describes; ")?;
        }
        write!(f, "{}: {} tensors applied, {} ignored", self.role, self.applied.len(), self.ignored.len())?;
        list(f, "missing", &self.missing)?;
        list(f, "unused", &self.unused)?;
        let mismatched = self
            .mismatched
            .iter()
            .map(|mismatch| format!("{} is {:?}, expected {:?}", mismatch.key, mismatch.found, mismatch.expected));
        list(f, "of another shape", &mismatched.collect::<Vec<_>>())?;
        let not_float = self.not_float.iter().map(|(key, dtype)| format!("{key} is {}", dtype.name()));
        list(f, "not fp64, fp32, fp16 or bf16", &not_float.collect::<Vec<_>>())
    }
}

/// `; N what: a, b, c, …`, or nothing when there are none.
fn list(f: &mut fmt::Formatter<'_>, what: &str, items: &[String]) -> fmt::Result {
    const SHOWN: usize = 8;
    if items.is_empty() {
        return Ok(());
    }
    write!(f, "; {} {what}: ", items.len())?;
    f.write_str(&items[..items.len().min(SHOWN)].join(", "))?;
    match items.len() > SHOWN {
        true => f.write_str(", …"),
        false => Ok(()),
    }
}
