//! Taking parts of a tensor, and writing parts back.

use super::{
    Default, OpError, OpSpec, Param, View,
    dims::{self, agree, known, one, show},
    domain::{INT32, IOS15, IOS17, IOS18, PLAIN, PLAIN17, SHAPE17},
};
use crate::types::{Dim, TensorType, Type};
use host_tensor::DType;

/// Python's `x[begin:end:stride]` in each dimension; a mask opens a bound; `squeeze_mask` takes `x[begin]`.
const fn by_index(x: &'static [DType], positions: &'static [DType]) -> [Param; 7] {
    [
        Param::tensor("x", 'T', x),
        Param::tensor("begin", 'U', positions).vector(),
        Param::tensor("end", 'U', positions).vector(),
        Param::tensor("stride", 'U', positions).vector().constant().or(Default::Ones),
        Param::flags("begin_mask").or(Default::Zeros),
        Param::flags("end_mask").or(Default::Zeros),
        Param::flags("squeeze_mask").or(Default::Zeros),
    ]
}

/// `size` -1 means to the end.
const fn by_size(x: &'static [DType], positions: &'static [DType]) -> [Param; 3] {
    [
        Param::tensor("x", 'T', x),
        Param::tensor("begin", 'U', positions).vector(),
        Param::tensor("size", 'U', positions).vector(),
    ]
}

const UPDATE: &[Param] = &[
    Param::tensor("x", 'T', PLAIN17),
    Param::tensor("update", 'T', PLAIN17),
    Param::tensor("begin", 'U', SHAPE17).vector(),
    Param::tensor("end", 'U', SHAPE17).vector(),
    Param::tensor("stride", 'U', SHAPE17).vector().constant().or(Default::Ones),
    Param::flags("begin_mask").or(Default::Zeros),
    Param::flags("end_mask").or(Default::Zeros),
    Param::flags("squeeze_mask").or(Default::Zeros),
];

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("slice_by_index", IOS15, &by_index(PLAIN, INT32), slice_by_index),
    OpSpec::new("slice_by_index", IOS17, &by_index(PLAIN17, SHAPE17), slice_by_index),
    OpSpec::new("slice_by_size", IOS15, &by_size(PLAIN, INT32), slice_by_size),
    OpSpec::new("slice_by_size", IOS17, &by_size(PLAIN17, SHAPE17), slice_by_size),
    OpSpec::new("slice_update", IOS18, UPDATE, slice_update),
];

fn slice_by_index(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    one(x.dtype, sliced(o, x)?)
}

fn slice_update(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, update) = (o.tensor("x")?, o.tensor("update")?);
    ensure!(update.rank() > 0, "update must not be a scalar");
    let part = sliced(o, x)?;
    ensure!(agree(&part, &update.shape), "update {update} must have the shape {} of the part", show(&part));
    one(x.dtype, x.shape.clone())
}

/// One dimension's part of a slice; a bound is `None` where only the run knows it.
struct Range {
    begin: Option<i64>,
    end: Option<i64>,
    stride: i64,
    begin_open: bool,
    end_open: bool,
}

/// The shape of `x[begin:end:stride]`.
///
/// Source: coremltools 9.0, `solve_slice_by_index_shape`.
fn sliced(o: &View<'_>, x: &TensorType) -> Result<Vec<Dim>, OpError> {
    let n = x.rank();
    let bound = |param: &str| -> Result<Vec<Option<i64>>, OpError> {
        let t = o.tensor(param)?;
        ensure!(dims::has_len(&t.shape, n), "{param} {t} must have one element for each dimension of {x}");
        Ok(o.ints(param).map_or(vec![None; n], |v| v.into_iter().map(Some).collect()))
    };
    let (begin, end) = (bound("begin")?, bound("end")?);
    let stride = o.known_ints_of_len("stride", n)?;
    let begin_open = o.known_flags("begin_mask", n)?;
    let end_open = o.known_flags("end_mask", n)?;
    let squeeze = o.known_flags("squeeze_mask", n)?;
    let mut shape = Vec::with_capacity(n);
    for i in 0..n {
        let range =
            Range { begin: begin[i], end: end[i], stride: stride[i], begin_open: begin_open[i], end_open: end_open[i] };
        ensure!(range.stride != 0, "stride of dimension {i} is zero");
        if squeeze[i] {
            range.check_single(i, x)?;
        } else {
            shape.push(range.len(x.shape[i]).map_err(|e| OpError::new(format!("dimension {i} of {x}: {e}")))?);
        }
    }
    Ok(shape)
}

impl Range {
    /// Checks that the single element which a squeezed dimension takes exists.
    fn check_single(&self, i: usize, x: &TensorType) -> Result<(), OpError> {
        if let (Some(begin), Some(n), false) = (self.begin, known(x.shape[i]), self.begin_open) {
            let begin = i128::from(begin);
            ensure!((-n..n).contains(&begin), "begin {begin} is outside dimension {i} of {x}");
        }
        Ok(())
    }

    fn len(&self, dim: Dim) -> Result<Dim, OpError> {
        let step = i128::from(self.stride.unsigned_abs());
        if self.begin_open && self.end_open {
            return match known(dim) {
                Some(n) => dims::wide(ceil_div(n, step), "the slice"),
                None if step == 1 => Ok(dim),
                None => Ok(Dim::Unknown),
            };
        }
        if let Some(n) = self.len_without_dim(step)? {
            return Ok(Dim::Size(n));
        }
        match (known(dim), self.bounds()) {
            (Some(1), _) => Ok(Dim::Size(1)),
            (Some(n), Some((begin, end))) => dims::wide(self.clamped_len(n, begin, end, step), "the slice"),
            _ => Ok(Dim::Unknown),
        }
    }

    /// Lengths of zero and one that follow from the bounds alone, whatever the dimension is.
    fn len_without_dim(&self, step: i128) -> Result<Option<usize>, OpError> {
        let single = |n: i128| usize::try_from(n).ok().filter(|&n| n <= 1);
        match (self.begin, self.end, self.begin_open, self.end_open) {
            (Some(begin), Some(end), false, false) => {
                let (b, e, forward) = (i128::from(begin), i128::from(end), self.stride > 0);
                if b >= 0 && e >= 0 && forward {
                    ensure!(b <= e, "begin {b} is after end {e}");
                    return Ok(single(ceil_div(e - b, step)));
                }
                if b < 0 && e < 0 && !forward {
                    ensure!(b >= e, "begin {b} is before end {e}, with a negative stride");
                    return Ok(single(ceil_div(b - e, step)));
                }
                Ok(None)
            }
            (Some(0), _, false, true) if self.stride < 0 => Ok(Some(1)),
            (Some(-1), _, false, true) if self.stride > 0 => Ok(Some(1)),
            _ => Ok(None),
        }
    }

    /// Both bounds, where each is known or open.
    fn bounds(&self) -> Option<(i128, i128)> {
        let bound = |value: Option<i64>, open: bool| if open { Some(0) } else { value.map(i128::from) };
        Some((bound(self.begin, self.begin_open)?, bound(self.end, self.end_open)?))
    }

    fn clamped_len(&self, n: i128, begin: i128, end: i128, step: i128) -> i128 {
        let from_front = |b: i128| if b < 0 { (b + n).max(0) } else { b };
        let (begin, end) = (from_front(begin), from_front(end));
        // Backwards, the roles of the bounds change, and the lowest place is before the first element.
        let (low, high, low_open, high_open, bottom, top) = if self.stride > 0 {
            (begin, end, self.begin_open, self.end_open, 0, n)
        } else {
            (end, begin, self.end_open, self.begin_open, -1, n - 1)
        };
        let low = if low_open { bottom } else { low };
        let high = if high_open { top } else { high.min(top) };
        ceil_div((high - low).max(0), step)
    }
}

fn ceil_div(n: i128, step: i128) -> i128 {
    n.div_euclid(step) + i128::from(n.rem_euclid(step) != 0)
}

fn slice_by_size(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    let n = x.rank();
    for param in ["begin", "size"] {
        let t = o.tensor(param)?;
        ensure!(dims::has_len(&t.shape, n), "{param} {t} must have one element for each dimension of {x}");
    }
    let Some(sizes) = o.ints("size") else { return one(x.dtype, vec![Dim::Unknown; n]) };
    let begins = o.ints("begin");
    let mut shape = Vec::with_capacity(n);
    for i in 0..n {
        let begin = begins.as_ref().map(|b| i128::from(b[i]));
        let first = match (begin, known(x.shape[i])) {
            (Some(b), Some(n)) => {
                ensure!((-n..=n).contains(&b), "begin {b} is outside dimension {i} of {x}");
                Some(if b < 0 { b + n } else { b })
            }
            _ => None,
        };
        let rest = first.zip(known(x.shape[i])).map(|(b, n)| n - b);
        shape.push(match (sizes[i], rest) {
            (-1, Some(rest)) => dims::wide(rest, "the slice")?,
            (-1, None) => Dim::Unknown,
            (size, rest) => {
                ensure!(
                    rest.is_none_or(|rest| i128::from(size) <= rest),
                    "size {size} reaches beyond the end of dimension {i} of {x}"
                );
                dims::size(size, "size")?
            }
        });
    }
    one(x.dtype, shape)
}
