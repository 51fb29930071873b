//! Weights that are no numbers, or that half precision cannot hold, by tensor.
//!
//! Every tensor that a network uses is read once, at the speed of memory, whatever becomes of it.

use crate::options::Precision;
use host_tensor::{DType, Exceptions};
use mil::{Const, Function, Literal, SourceId};
use sd_checkpoint::Weights;
use std::{cell::OnceCell, collections::HashMap, fmt};

/// A tensor of the checkpoint with values that are not finite, or that the precision of a conversion cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceptional {
    /// Its name in the checkpoint.
    pub key: String,
    /// Its element type there.
    pub dtype: DType,
    /// How many values it has.
    pub n_elements: usize,
    /// How many of them are what; none is beyond f16 where the conversion is in float32.
    pub exceptions: Exceptions,
}

/// What is wrong with it, as `conv_in.weight (f32): 2 of 1280 values are NaN`.
impl fmt::Display for Exceptional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exceptions { nans, infinities, beyond_f16 } = self.exceptions;
        let counts = [(nans, "NaN"), (infinities, "infinite"), (beyond_f16, "beyond half precision")];
        write!(f, "{} ({}): ", self.key, self.dtype)?;
        for (i, (n, what)) in counts.into_iter().filter(|(n, _)| *n > 0).enumerate() {
            write!(f, "{}{n} {what}", if i > 0 { ", " } else { "" })?;
        }
        write!(f, " of {} values", self.n_elements)
    }
}

/// A component's mapped weights, and what is known of those that its network uses.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) weights: Weights,
    known: OnceCell<Known>,
}

#[derive(Debug)]
struct Known {
    /// By the tensor, as constants that view it name it.
    by_source: HashMap<SourceId, Exceptions>,
    /// Those with an exception, by key.
    tensors: Vec<Exceptional>,
}

impl Mapped {
    pub(crate) fn new(weights: Weights) -> Self {
        Self { weights, known: OnceCell::new() }
    }

    /// Reads the tensors that a function's constants are views of, the first time.
    pub(crate) fn read(&self, function: &Function) {
        self.known.get_or_init(|| {
            let literals = function.values().iter().filter_map(|v| v.literal.as_ref().and_then(Literal::as_const));
            let mut by_source: HashMap<SourceId, Exceptions> =
                literals.map(|c| (c.source_id(), Exceptions::default())).collect();
            let mut tensors = Vec::new();
            let weights = self.weights.iter().map(|(key, weight)| (key, weight.constant()));
            for (key, weight) in weights.filter(|(_, weight)| !weight.is_empty()) {
                let Some(found) = by_source.get_mut(&weight.source_id()) else { continue };
                *found = weight.source_exceptions();
                if !found.is_empty() {
                    let (dtype, n_elements) = (weight.source_dtype(), weight.len());
                    tensors.push(Exceptional { key: key.to_owned(), dtype, n_elements, exceptions: *found });
                }
            }
            Known { by_source, tensors }
        });
    }

    /// Whether a constant has a finite value beyond f16, if it is a view of a tensor that was read.
    pub(crate) fn is_beyond_half(&self, constant: &Const) -> Option<bool> {
        let found = self.known.get()?.by_source.get(&constant.source_id())?;
        Some(found.beyond_f16 > 0)
    }

    /// The tensors with an exception that counts in this precision.
    pub(crate) fn exceptional(&self, precision: Precision) -> Vec<Exceptional> {
        let all = self.known.get().map_or(&[][..], |known| &known.tensors).iter().cloned();
        all.map(|tensor| match precision {
            Precision::Float16 => tensor,
            Precision::Float32 => {
                Exceptional { exceptions: Exceptions { beyond_f16: 0, ..tensor.exceptions }, ..tensor }
            }
        })
        .filter(|tensor| !tensor.exceptions.is_empty())
        .collect()
    }
}
