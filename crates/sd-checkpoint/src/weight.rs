//! A weight: a tensor of a file as it is, or what is made of several, computed by rows while it is read.
//!
//! Nothing is computed before somebody reads, and then a few rows at a time, so that a checkpoint with an adapter needs no more
//! memory than one without.

mod bound;
mod delta;
mod magnitude;
mod matrix;
mod product;
mod sum;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use host_tensor::{DType, HostTensor, convert_bytes, element_count, to_singles};
use mil::{Compute, Const};

pub use delta::Delta;
pub use matrix::Matrix;
pub use sum::Sum;

/// A weight of a checkpoint.
///
/// Cloning is cheap, and clones are the same weight: what is converted from them shares its bytes.
#[derive(Debug, Clone)]
pub enum Weight {
    /// A tensor, or its transposition.
    View(View),
    /// Several, one after the other along the first axis.
    Joined(Arc<Joined>),
    /// One, with what adapters add to it.
    Sum(Arc<Sum>),
    /// What something else computes by rows, such as a tensor whose elements are stored in another form.
    Computed(Arc<dyn Compute>),
}

/// A tensor as it lies in a file, whole or some rows of it, and perhaps transposed.
#[derive(Debug, Clone)]
pub struct View {
    tensor: HostTensor,
    is_transposed: bool,
}

/// Weights one after the other along the first axis.
#[derive(Debug)]
pub struct Joined {
    parts: Vec<Weight>,
    dtype: DType,
    shape: Vec<usize>,
}

/// Why tensors do not make a weight.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightError {
    /// Rows are asked for that the tensor does not have.
    #[error("rows {}..{} of a tensor of shape {shape:?} are not there", rows.start, rows.end)]
    Rows {
        /// The rows.
        rows: Range<usize>,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// Rows that do not divide.
    #[error("the rows of a tensor of shape {shape:?} are not {n} equal parts")]
    Parts {
        /// How many parts.
        n: usize,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// A part is asked for of what no file holds as it is.
    #[error("a weight of shape {0:?} that is computed has no parts")]
    Computed(Vec<usize>),
    /// Only matrices are transposed.
    #[error("a tensor of shape {0:?} is no matrix and cannot be transposed")]
    NoMatrix(Vec<usize>),
    /// Parts of a join differ in more than their rows.
    #[error("weights of shapes {first:?} and {other:?} cannot be joined along the first axis")]
    Join {
        /// Shape of the first part.
        first: Vec<usize>,
        /// Shape of one that does not fit.
        other: Vec<usize>,
    },
    /// There is nothing to join.
    #[error("no weights to join")]
    Empty,
    /// Tensors do not make a matrix together.
    #[error("tensors of shapes {0:?} do not fit together")]
    Factors(Vec<Vec<usize>>),
    /// What is to be added has another shape.
    #[error("a matrix of {delta:?} cannot be added to a weight of shape {shape:?}")]
    Delta {
        /// Rows and columns of what is added.
        delta: Vec<usize>,
        /// The weight's shape.
        shape: Vec<usize>,
    },
    /// Lengths are neither one for each row nor one for each input.
    #[error("lengths of shape {values:?} are neither those of rows nor those of inputs of a weight of shape {shape:?}")]
    Magnitude {
        /// Their shape.
        values: Vec<usize>,
        /// The weight's shape.
        shape: Vec<usize>,
    },
    /// Numbers are no floating-point ones.
    #[error("tensors of {0} cannot be computed with")]
    Type(DType),
    /// The whole has more elements than there are addresses.
    #[error("a weight of shape {0:?} is too large")]
    TooLarge(Vec<usize>),
}

impl From<HostTensor> for Weight {
    fn from(tensor: HostTensor) -> Self {
        Self::View(View { tensor, is_transposed: false })
    }
}

impl Weight {
    /// Some rows of a tensor; no byte is copied.
    ///
    /// # Errors
    /// [`WeightError::Rows`] for rows that it does not have.
    pub fn rows_of(tensor: &HostTensor, rows: Range<usize>) -> Result<Self, WeightError> {
        let shape = tensor.shape();
        let fail = || WeightError::Rows { rows: rows.clone(), shape: shape.to_vec() };
        let (&n_rows, rest) = shape.split_first().ok_or_else(fail)?;
        if rows.start > rows.end || rows.end > n_rows {
            return Err(fail());
        }
        let row_bytes = element_count(rest).and_then(|n| tensor.dtype().byte_len(n)).ok_or_else(fail)?;
        let bytes = tensor.bytes().slice(rows.start * row_bytes..rows.end * row_bytes);
        let sliced: Vec<usize> = std::iter::once(rows.len()).chain(rest.iter().copied()).collect();
        HostTensor::new(tensor.dtype(), sliced, bytes).map(Self::from).map_err(|_| fail())
    }

    /// The transposition of a matrix; no byte is copied.
    ///
    /// # Errors
    /// [`WeightError::NoMatrix`] for tensors of another rank.
    pub fn transposed(tensor: HostTensor) -> Result<Self, WeightError> {
        match tensor.shape().len() {
            2 => Ok(Self::View(View { tensor, is_transposed: true })),
            _ => Err(WeightError::NoMatrix(tensor.shape().to_vec())),
        }
    }

    /// Weights one after the other along the first axis; in the type of all, or in f32 where they differ.
    ///
    /// # Errors
    /// When there is none, or their other axes differ.
    pub fn joined(parts: Vec<Self>) -> Result<Self, WeightError> {
        let first = parts.first().ok_or(WeightError::Empty)?;
        let (dtype, first_shape) = (first.dtype(), first.shape());
        let mut n_rows = 0usize;
        for part in &parts {
            let shape = part.shape();
            let fits = !shape.is_empty() && shape.len() == first_shape.len() && shape[1..] == first_shape[1..];
            if !fits {
                return Err(WeightError::Join { first: first_shape, other: shape });
            }
            n_rows = n_rows.checked_add(shape[0]).ok_or_else(|| WeightError::TooLarge(shape.clone()))?;
        }
        let dtype = if parts.iter().all(|part| part.dtype() == dtype) { dtype } else { DType::F32 };
        let shape: Vec<usize> = std::iter::once(n_rows).chain(first_shape[1..].iter().copied()).collect();
        check_computed(&parts, &shape)?;
        Ok(Self::Joined(Arc::new(Joined { parts, dtype, shape })))
    }

    /// A weight with matrices of its shape added to it, in f32; what is added to a sum joins it.
    ///
    /// # Errors
    /// When one has not the weight's shape, or the weight is not of floating-point numbers.
    pub fn sum(base: Self, deltas: Vec<Delta>) -> Result<Self, WeightError> {
        Sum::new(base, deltas, None).map(|sum| Self::Sum(Arc::new(sum)))
    }

    /// The same, rescaled so that its rows have lengths `[rows, 1…]`, or what comes from each input `[1, inputs, 1…]`.
    ///
    /// # Errors
    /// As [`Weight::sum`], and for lengths of another shape.
    pub fn decomposed(base: Self, deltas: Vec<Delta>, lengths: &HostTensor) -> Result<Self, WeightError> {
        Sum::new(base, deltas, Some(lengths)).map(|sum| Self::Sum(Arc::new(sum)))
    }

    /// What something else computes by rows.
    ///
    /// # Errors
    /// When it has more elements than there are addresses, or they are narrower than a byte.
    pub fn computed(source: Arc<dyn Compute>) -> Result<Self, WeightError> {
        check_size(source.shape())?;
        match source.dtype() {
            dtype if dtype.is_sub_byte() => Err(WeightError::Type(dtype)),
            _ => Ok(Self::Computed(source)),
        }
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self {
            Self::Computed(source) => source.dtype(),
            Self::View(view) => view.tensor.dtype(),
            Self::Joined(joined) => joined.dtype,
            Self::Sum(_) => DType::F32,
        }
    }

    /// Shape, outermost dimension first.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::View(View { tensor, is_transposed: false }) => tensor.shape().to_vec(),
            Self::View(View { tensor, is_transposed: true }) => tensor.shape().iter().rev().copied().collect(),
            Self::Joined(joined) => joined.shape.clone(),
            Self::Computed(source) => source.shape().to_vec(),
            Self::Sum(sum) => sum.shape().to_vec(),
        }
    }

    /// The tensor itself, where it is one as it lies in a file.
    #[must_use]
    pub const fn stored(&self) -> Option<&HostTensor> {
        match self {
            Self::View(View { tensor, is_transposed: false }) => Some(tensor),
            _ => None,
        }
    }

    /// Bytes of all its values.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        let elements = element_count(&self.shape()).unwrap_or(0);
        self.dtype().byte_len(elements).unwrap_or(0) as u64
    }

    /// The weight as a constant, which computes it when it is read; constants of clones are views of one source.
    #[must_use]
    pub fn constant(&self) -> Const {
        let computed = |compute: Arc<dyn Compute>| {
            Const::computed(compute).expect("invariant: of whole bytes and of a size that was checked")
        };
        match self {
            Self::View(View { tensor, is_transposed: false }) => Const::new(tensor.clone()),
            Self::View(View { tensor, is_transposed: true }) => {
                Const::new(tensor.clone()).transpose(&[1, 0]).expect("invariant: a matrix")
            }
            Self::Joined(joined) => computed(joined.clone()),
            Self::Sum(sum) => computed(sum.clone()),
            Self::Computed(source) => computed(source.clone()),
        }
    }

    /// Writes rows as elements of `dtype`.
    fn fill(&self, rows: Range<usize>, dtype: DType, out: &mut [u8]) {
        match self {
            Self::View(view) => view.fill(rows, dtype, out),
            Self::Joined(joined) => joined.fill(rows, dtype, out),
            Self::Sum(sum) => sum.fill(rows, dtype, out),
            Self::Computed(source) if source.dtype() == dtype => source.fill_rows(rows, out),
            Self::Computed(source) => {
                let n = rows.len() * row_elements(source.shape());
                let mut bytes = vec![0; n * source.dtype().bits() / 8];
                source.fill_rows(rows, &mut bytes);
                copy(source.dtype(), dtype, &bytes, n, out);
            }
        }
    }

    /// Rows in f32, into `out`, which is as long as they are.
    fn read(&self, rows: Range<usize>, out: &mut [f32]) {
        match self {
            Self::View(View { tensor, is_transposed: false }) => decode(tensor, rows, out),
            other => {
                let mut bytes = vec![0; out.len() * 4];
                other.fill(rows, DType::F32, &mut bytes);
                to_singles(DType::F32, &bytes, out);
            }
        }
    }

    /// Rows in f32.
    pub(crate) fn values(&self, rows: Range<usize>) -> Vec<f32> {
        let mut values = vec![0.0; rows.len() * row_elements(&self.shape())];
        self.read(rows, &mut values);
        values
    }
}

/// Elements of rows that are looked at together.
const BLOCK_ELEMENTS: usize = 1 << 20;

/// Refuses what cannot be computed by rows.
fn check_computed(parts: &[Weight], shape: &[usize]) -> Result<(), WeightError> {
    check_size(shape)?;
    match parts.iter().map(Weight::dtype).find(|dtype| !dtype.is_float() || dtype.is_sub_byte()) {
        Some(other) => Err(WeightError::Type(other)),
        None => Ok(()),
    }
}

/// Refuses a shape whose bytes in the widest type cannot be counted.
fn check_size(shape: &[usize]) -> Result<(), WeightError> {
    match element_count(shape).and_then(|n| n.checked_mul(8)).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        true => Err(WeightError::TooLarge(shape.to_vec())),
        false => Ok(()),
    }
}

/// Refuses numbers that are none of floating point, in whole bytes.
fn check_real(tensors: &[&HostTensor]) -> Result<(), WeightError> {
    match tensors.iter().map(|tensor| tensor.dtype()).find(|dtype| !dtype.is_float() || dtype.is_sub_byte()) {
        Some(other) => Err(WeightError::Type(other)),
        None => Ok(()),
    }
}

fn row_elements(shape: &[usize]) -> usize {
    shape.iter().skip(1).product()
}

impl View {
    fn fill(&self, rows: Range<usize>, dtype: DType, out: &mut [u8]) {
        let (own, bytes) = (self.tensor.dtype(), self.tensor.bytes());
        let width = own.bits() / 8;
        if !self.is_transposed {
            let row_bytes = row_elements(self.tensor.shape()) * width;
            let n = rows.len() * row_elements(self.tensor.shape());
            let taken = &bytes[rows.start * row_bytes..rows.end * row_bytes];
            return copy(own, dtype, taken, n, out);
        }
        let (n_rows, n_columns) = (self.tensor.shape()[1], self.tensor.shape()[0]);
        let mut taken = Vec::with_capacity(rows.len() * n_columns * width);
        for row in rows.clone() {
            for column in 0..n_columns {
                let at = (column * n_rows + row) * width;
                taken.extend_from_slice(&bytes[at..at + width]);
            }
        }
        copy(own, dtype, &taken, rows.len() * n_columns, out);
    }
}

fn copy(from: DType, to: DType, bytes: &[u8], n: usize, out: &mut [u8]) {
    match from == to {
        true => out.copy_from_slice(bytes),
        false => out.copy_from_slice(&convert_bytes(from, to, bytes, n)),
    }
}

impl Joined {
    fn fill(&self, rows: Range<usize>, dtype: DType, out: &mut [u8]) {
        let row_bytes = row_elements(&self.shape) * dtype.bits() / 8;
        let (mut start, mut rest) = (0, out);
        for part in &self.parts {
            let n_rows = part.shape()[0];
            let own = rows.start.clamp(start, start + n_rows) - start..rows.end.clamp(start, start + n_rows) - start;
            start += n_rows;
            if own.is_empty() {
                continue;
            }
            let (here, after) = rest.split_at_mut(own.len() * row_bytes);
            part.fill(own, dtype, here);
            rest = after;
        }
    }
}

impl Compute for Joined {
    fn dtype(&self) -> DType {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]) {
        self.fill(rows, self.dtype, out);
    }

    fn fill_rows_as(&self, rows: Range<usize>, dtype: DType, out: &mut [u8]) -> bool {
        self.fill(rows, dtype, out);
        true
    }
}

/// Rows of a tensor in f32, into `out`, which is as long as they are.
fn decode(tensor: &HostTensor, rows: Range<usize>, out: &mut [f32]) {
    let row_bytes = out.len() / rows.len().max(1) * tensor.dtype().bits() / 8;
    to_singles(tensor.dtype(), &tensor.bytes()[rows.start * row_bytes..rows.end * row_bytes], out);
}
