//! The weights of a program as they are stored: for reports.

use crate::{
    decompress::Chains,
    select::{Source, weights_of},
};
use host_tensor::DType;
use mil::{Function, Literal, Op, Program, ops::View};

/// A float tensor that a program knows at compile time, plain or compressed.
#[derive(Debug, Clone)]
pub struct StoredWeight {
    /// Name, without what compression has put behind it.
    pub name: String,
    /// Types of the operations that read it.
    pub readers: Vec<String>,
    /// Shape.
    pub shape: Vec<usize>,
    /// How it is stored, for example `fp16`, `palette of 64`, `sparse, int8`.
    pub encoding: String,
    /// Bytes of all tensors that it is decoded from.
    pub bytes: u64,
}

impl StoredWeight {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bits per element, palettes and scales included.
    #[must_use]
    pub fn bits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.len().max(1) as f64
    }
}

/// All weights of a program, in the order in which it reads them; one that several functions share comes once.
#[must_use]
pub fn stored_weights(program: &Program) -> Vec<StoredWeight> {
    let describe = |w: crate::select::Weight| {
        let mut readers: Vec<String> = w.users.iter().map(|u| u.kind.clone()).collect();
        readers.sort();
        readers.dedup();
        let encoding = match &w.source {
            Source::Const(c) => c.dtype().name().to_owned(),
            Source::Chain { place: (function, value), kind } => {
                let function = program.functions.get(function);
                let text = function.and_then(|f| Chains::new(f).op(*value).map(|op| in_words(f, op)));
                text.unwrap_or_else(|| kind.clone())
            }
        };
        StoredWeight { name: w.name, readers, shape: w.shape, encoding, bytes: w.stored_bytes }
    };
    weights_of(program).into_iter().map(describe).collect()
}

fn in_words(function: &Function, op: &Op) -> String {
    let chains = Chains::new(function);
    let shape = |param: &str| {
        let ty = function.ty(op.input(param)?).as_tensor()?;
        ty.shape.iter().map(|d| d.size()).collect::<Option<Vec<usize>>>()
    };
    let dtype = |param: &str| op.input(param).and_then(|v| function.ty(v).as_tensor()).map_or("", |t| t.dtype.name());
    let before = |param: &str| op.input(param).and_then(|v| chains.op(v)).map(|op| in_words(function, op));
    let palette = || {
        let lut = shape("lut").unwrap_or_default();
        let (entries, vector) = match lut[..] {
            [n] => (n, 1),
            [.., n, v] => (n, v),
            [] => (0, 1),
        };
        let vectors = if vector > 1 { format!(" vectors of {vector}") } else { String::new() };
        format!("palette of {entries}{vectors}")
    };
    match &*op.kind {
        "constexpr_lut_to_dense" | "constexpr_lut_to_sparse" => palette(),
        "constexpr_affine_dequantize" => dtype("quantized_data").to_owned(),
        "constexpr_blockwise_shift_scale" => match before("data") {
            Some(text) => format!("{text}, scaled"),
            None => dtype("data").to_owned(),
        },
        "constexpr_sparse_blockwise_shift_scale" => dtype("nonzero_data").to_owned(),
        "constexpr_sparse_to_dense" => match before("nonzero_data") {
            Some(text) => format!("sparse, {text}"),
            None => "sparse".to_owned(),
        },
        "constexpr_cast" => {
            match View::of(function, op).literal("source_val").and_then(Literal::as_const).map(|c| c.dtype()) {
                Some(DType::F16) | None => "fp16, cast".to_owned(),
                Some(other) => format!("{}, cast", other.name()),
            }
        }
        kind => kind.to_owned(),
    }
}
