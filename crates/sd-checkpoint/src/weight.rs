//! A weight: a tensor of a file as it is, or what is made of several, computed by rows while it is read.
//!
//! Nothing is computed before somebody reads, and then a few rows at a time, so that a checkpoint with an adapter needs no more
//! memory than one without.

use std::ops::Range;
use std::sync::Arc;

use host_tensor::{DType, HostTensor, convert_bytes, element_count};
use mil::{Compute, Const};

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

/// A weight and products of thin matrices that are added to it, in f32.
#[derive(Debug)]
pub struct Sum {
    base: Weight,
    added: Vec<LowRank>,
    shape: Vec<usize>,
}

/// `scale · up · down`: `[rows, rank]` times `[rank, columns]`, where columns are all axes of a weight but the first.
#[derive(Debug, Clone)]
pub struct LowRank {
    /// `[rows, rank]`, trailing ones aside.
    pub up: HostTensor,
    /// `[rank, columns…]`.
    pub down: HostTensor,
    /// The factor.
    pub scale: f32,
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
    /// Factors do not make a matrix of the weight's shape.
    #[error("a product of {up:?} and {down:?} cannot be added to a weight of shape {shape:?}")]
    LowRank {
        /// Shape of the left factor.
        up: Vec<usize>,
        /// Shape of the right factor.
        down: Vec<usize>,
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

    /// A weight with products added to it, in f32.
    ///
    /// # Errors
    /// When a product has not the weight's shape, or a tensor is not of floating-point numbers.
    pub fn sum(base: Self, added: Vec<LowRank>) -> Result<Self, WeightError> {
        let shape = base.shape();
        check_computed(std::slice::from_ref(&base), &shape)?;
        for LowRank { up, down, .. } in &added {
            let fail =
                || WeightError::LowRank { up: up.shape().to_vec(), down: down.shape().to_vec(), shape: shape.clone() };
            let rank = down.shape().first().copied().ok_or_else(fail)?;
            let rows = shape.first().copied().ok_or_else(fail)?;
            let columns = element_count(&shape[1..]).ok_or_else(fail)?;
            let is_product = rows.checked_mul(rank) == Some(up.len())
                && up.shape().first() == Some(&rows)
                && rank.checked_mul(columns) == Some(down.len());
            if !is_product {
                return Err(fail());
            }
            let real = |tensor: &HostTensor| tensor.dtype().is_float() && !tensor.dtype().is_sub_byte();
            if let Some(other) = [up, down].into_iter().find(|tensor| !real(tensor)) {
                return Err(WeightError::Type(other.dtype()));
            }
        }
        Ok(Self::Sum(Arc::new(Sum { base, added, shape })))
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
            Self::Sum(sum) => sum.shape.clone(),
            Self::Computed(source) => source.shape().to_vec(),
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
            Self::Sum(sum) => {
                let values = sum.values(rows);
                out.copy_from_slice(&convert_bytes(DType::F32, dtype, &to_bytes(&values), values.len()));
            }
            Self::Computed(source) if source.dtype() == dtype => source.fill_rows(rows, out),
            Self::Computed(source) => {
                let n = rows.len() * row_elements(source.shape());
                let mut bytes = vec![0; n * source.dtype().bits() / 8];
                source.fill_rows(rows, &mut bytes);
                copy(source.dtype(), dtype, &bytes, n, out);
            }
        }
    }

    /// Rows in f32.
    fn values(&self, rows: Range<usize>) -> Vec<f32> {
        let n = rows.len() * row_elements(&self.shape());
        let mut bytes = vec![0; n * 4];
        self.fill(rows, DType::F32, &mut bytes);
        from_bytes(&bytes)
    }
}

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
}

impl Sum {
    fn values(&self, rows: Range<usize>) -> Vec<f32> {
        let columns = row_elements(&self.shape);
        let mut values = self.base.values(rows.clone());
        for LowRank { up, down, scale } in &self.added {
            let rank = down.shape()[0];
            // The right factor is decoded whole, for each block of rows: a few MiB for the ranks of adapters.
            let (up_rows, down) = (up_rows(up, rank, rows.clone()), down.to_f32_vec());
            for (row, up_row) in values.chunks_exact_mut(columns.max(1)).zip(up_rows.chunks_exact(rank.max(1))) {
                for (factor, down_row) in up_row.iter().zip(down.chunks_exact(columns.max(1))) {
                    let factor = factor * scale;
                    row.iter_mut().zip(down_row).for_each(|(value, x)| *value += factor * x);
                }
            }
        }
        values
    }
}

/// Rows of the left factor in f32.
fn up_rows(up: &HostTensor, rank: usize, rows: Range<usize>) -> Vec<f32> {
    let width = up.dtype().bits() / 8;
    let bytes = &up.bytes()[rows.start * rank * width..rows.end * rank * width];
    from_bytes(&convert_bytes(up.dtype(), DType::F32, bytes, rows.len() * rank))
}

impl Compute for Sum {
    fn dtype(&self) -> DType {
        DType::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]) {
        for (bytes, value) in out.chunks_exact_mut(4).zip(self.values(rows)) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }
}

fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], dtype: DType) -> HostTensor {
        let n = shape.iter().product::<usize>();
        HostTensor::from_f32(shape.to_vec(), (0..n).map(|i| i as f32 * 0.25 - 3.0).collect::<Vec<f32>>()).cast(dtype)
    }

    #[test]
    fn rows_transpositions_and_joins_read_as_what_they_are() {
        let whole = tensor(&[6, 4], DType::F16);
        let rows = |r: Range<usize>| Weight::rows_of(&whole, r).unwrap();
        assert_eq!(rows(1..3).constant().read().to_f32_vec(), whole.to_f32_vec()[4..12]);
        let joined = Weight::joined(vec![rows(0..2), rows(2..2), rows(2..5), rows(5..6)]).unwrap();
        assert_eq!((joined.dtype(), joined.shape()), (DType::F16, vec![6, 4]));
        assert_eq!(joined.constant().read().bytes(), whole.bytes());
        let turned = Weight::transposed(whole.clone()).unwrap();
        assert_eq!(turned.shape(), [4, 6]);
        let twice = Weight::joined(vec![turned.clone(), turned.clone()]).unwrap().constant().read();
        let once = turned.constant().read().to_f32_vec();
        assert_eq!(twice.to_f32_vec(), [once.clone(), once].concat());
        let mixed = Weight::joined(vec![whole.clone().into(), tensor(&[1, 4], DType::F32).into()]).unwrap();
        assert_eq!(mixed.dtype(), DType::F32);
        assert_eq!(mixed.constant().read().to_f32_vec()[..24], whole.to_f32_vec());
    }

    #[test]
    fn sums_add_products_whatever_rows_are_asked_for() {
        let base = tensor(&[3, 2, 1, 2], DType::BF16);
        let added = LowRank { up: tensor(&[3, 2], DType::F16), down: tensor(&[2, 2, 1, 2], DType::F32), scale: 0.5 };
        let (up, down) = (added.up.to_f32_vec(), added.down.to_f32_vec());
        let expected: Vec<f32> = (0..12)
            .map(|i| {
                let product: f32 = (0..2).map(|r| up[i / 4 * 2 + r] * 0.5 * down[r * 4 + i % 4]).sum();
                base.to_f32_vec()[i] + product
            })
            .collect();
        let sum = Weight::sum(base.into(), vec![added]).unwrap();
        assert_eq!((sum.dtype(), sum.shape()), (DType::F32, vec![3, 2, 1, 2]));
        assert_eq!(sum.constant().read().to_f32_vec(), expected);
        assert_eq!(sum.values(1..2), expected[4..8]);
        let joined = Weight::joined(vec![sum.clone(), sum]).unwrap();
        assert_eq!(joined.values(2..4), [&expected[8..], &expected[..4]].concat());
    }

    #[test]
    fn constants_of_clones_are_views_of_one_source() {
        let part: Weight = tensor(&[2, 2], DType::F16).into();
        let joined = Weight::joined(vec![part.clone(), part.clone()]).unwrap();
        assert_eq!(joined.constant().source_id(), joined.clone().constant().source_id());
        assert_eq!(part.constant().source_id(), part.clone().constant().source_id());
        let other = Weight::joined(vec![part.clone(), part]).unwrap();
        assert_ne!(joined.constant().source_id(), other.constant().source_id());
    }

    #[test]
    fn what_does_not_fit_together_is_refused_by_shape() {
        let whole = tensor(&[6, 4], DType::F16);
        assert!(Weight::rows_of(&whole, 5..7).is_err());
        assert!(Weight::rows_of(&HostTensor::from_f32([], vec![1.0]), 0..1).is_err());
        assert!(Weight::transposed(tensor(&[2, 2, 1], DType::F32)).is_err());
        assert_eq!(Weight::joined(Vec::new()).unwrap_err(), WeightError::Empty);
        let error = Weight::joined(vec![whole.clone().into(), tensor(&[6, 5], DType::F16).into()]).unwrap_err();
        assert!(error.to_string().contains("[6, 4] and [6, 5]"), "{error}");
        let product = |up: &[usize], down: &[usize]| LowRank {
            up: tensor(up, DType::F32),
            down: tensor(down, DType::F32),
            scale: 1.0,
        };
        for (up, down) in [(&[6, 2], &[2, 5]), (&[5, 2], &[2, 4]), (&[6, 3], &[2, 4]), (&[4, 3], &[2, 4])] {
            let error = Weight::sum(whole.clone().into(), vec![product(up, down)]).unwrap_err();
            assert!(matches!(error, WeightError::LowRank { .. }), "{error}");
        }
        let ints = HostTensor::from_f32([6, 4], vec![0.0; 24]).cast(DType::I32);
        assert_eq!(Weight::sum(ints.into(), Vec::new()).unwrap_err(), WeightError::Type(DType::I32));
    }
}
