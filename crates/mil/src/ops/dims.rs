//! Arithmetic on dimensions that may be unknown, and that a hostile program may have chosen.
//!
//! Nothing here overflows: sizes are added and multiplied checked, and results that do not fit are errors.

use super::OpError;
use crate::types::{Dim, TensorType, Type};
use host_tensor::DType;

/// The single result of most operations.
pub(super) fn one(dtype: DType, shape: Vec<Dim>) -> Result<Vec<Type>, OpError> {
    Ok(vec![Type::Tensor(TensorType { dtype, shape })])
}

/// A shape as messages show it.
pub(super) fn show(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// The axis counted from the front.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, OpError> {
    let signed_rank = i64::try_from(rank).unwrap_or(i64::MAX);
    let counted = if axis < 0 { axis.saturating_add(signed_rank) } else { axis };
    match usize::try_from(counted) {
        Ok(a) if a < rank => Ok(a),
        _ => Err(OpError::new(format!("axis {axis} is outside rank {rank}"))),
    }
}

/// Axes counted from the front, ascending; none may stand twice.
pub(super) fn axes(wanted: &[i64], rank: usize) -> Result<Vec<usize>, OpError> {
    let mut out = wanted.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    out.sort_unstable();
    match out.windows(2).find(|w| w[0] == w[1]) {
        Some(w) => Err(OpError::new(format!("axis {} stands twice", w[0]))),
        None => Ok(out),
    }
}

/// A dimension of this size.
pub(super) fn size(n: i64, what: &str) -> Result<Dim, OpError> {
    match usize::try_from(n) {
        Ok(n) => Ok(Dim::Size(n)),
        Err(_) => Err(OpError::new(format!("{what} {n} is not a size"))),
    }
}

/// A dimension of this size, which arithmetic in 128 bits produced.
pub(super) fn wide(n: i128, what: &str) -> Result<Dim, OpError> {
    match usize::try_from(n) {
        Ok(n) => Ok(Dim::Size(n)),
        Err(_) => Err(OpError::new(format!("{what} would be {n}"))),
    }
}

/// The known size in 128 bits, in which sums and products of two sizes never overflow.
pub(super) fn known(d: Dim) -> Option<i128> {
    d.size().and_then(|n| i128::try_from(n).ok())
}

/// `a + b`.
pub(super) fn add(a: Dim, b: Dim) -> Result<Dim, OpError> {
    match (a, b) {
        (Dim::Size(a), Dim::Size(b)) => a.checked_add(b).map(Dim::Size).ok_or_else(too_large),
        _ => Ok(Dim::Unknown),
    }
}

/// `a · b`.
pub(super) fn mul(a: Dim, b: Dim) -> Result<Dim, OpError> {
    match (a, b) {
        (Dim::Size(a), Dim::Size(b)) => a.checked_mul(b).map(Dim::Size).ok_or_else(too_large),
        _ => Ok(Dim::Unknown),
    }
}

/// `a / n`, which must be whole; `n` is positive.
pub(super) fn div(a: Dim, n: usize, what: &str) -> Result<Dim, OpError> {
    match a {
        Dim::Size(a) if n == 0 || a % n != 0 => Err(OpError::new(format!("{n} does not divide {what} {a}"))),
        Dim::Size(a) => Ok(Dim::Size(a / n)),
        Dim::Unknown => Ok(Dim::Unknown),
    }
}

/// Number of elements, when every dimension is known.
pub(super) fn count(shape: &[Dim]) -> Result<Option<usize>, OpError> {
    // A zero makes the product zero, whatever the others are.
    if shape.contains(&Dim::Size(0)) {
        return Ok(Some(0));
    }
    Ok(shape.iter().try_fold(Dim::Size(1), |n, &d| mul(n, d))?.size())
}

fn too_large() -> OpError {
    OpError::new("the result is too large")
}

/// The dimension that both are, the known one if one is unknown; `None` when they differ.
pub(super) fn meet(a: Dim, b: Dim) -> Option<Dim> {
    match (a, b) {
        (Dim::Unknown, d) => Some(d),
        (d, e) => d.agrees(e).then_some(d),
    }
}

/// True when the shapes are equal but for unknown dimensions.
pub(super) fn agree(a: &[Dim], b: &[Dim]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.agrees(*b))
}

/// NumPy's broadcasting: shapes are aligned at their ends, missing dimensions and ones stretch.
pub(super) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, OpError> {
    let rank = a.len().max(b.len());
    let at = |shape: &[Dim], i: usize| (i + shape.len()).checked_sub(rank).map_or(Dim::Size(1), |i| shape[i]);
    let stretch = |i: usize| match (at(a, i), at(b, i)) {
        (Dim::Size(1), d) | (d, Dim::Size(1)) => Ok(d),
        (x, y) => meet(x, y)
            .ok_or_else(|| OpError::new(format!("{} and {} do not broadcast: {x} is not {y}", show(a), show(b)))),
    };
    (0..rank).map(stretch).collect()
}

/// True for a vector of this length, as far as it is known.
pub(super) fn has_len(shape: &[Dim], n: usize) -> bool {
    shape.len() == 1 && shape[0].agrees(Dim::Size(n))
}
