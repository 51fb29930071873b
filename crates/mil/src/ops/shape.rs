//! Reshaping, transposing, joining and parting: the same elements under other shapes.

use super::{
    Default, OpError, OpSpec, Param, View,
    dims::{self, add, axes, axis, count, meet, one, show},
    domain::{INT32, IOS15, IOS17, PLAIN, PLAIN17, SHAPE17},
};
use crate::types::{Dim, TensorType, Type};
use host_tensor::DType;

const X: Param = Param::tensor("x", 'T', PLAIN);
const X17: Param = Param::tensor("x", 'T', PLAIN17);

/// -1 at most once: what the rest leaves; 0: the dimension of x at the same place, when the ranks are equal.
const SHAPE: Param = Param::tensor("shape", '_', INT32).vector();
const CONCAT: &[Param] =
    &[Param::tensors("values"), Param::int("axis"), Param::flag("interleave").or(Default::Bool(false))];
const SPLIT: &[Param] =
    &[X, Param::int("num_splits").optional(), Param::ints("split_sizes").optional(), Param::int("axis")];

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("reshape", IOS15, &[X, SHAPE], reshape),
    OpSpec::new("reshape", IOS17, &[X17, Param::tensor("shape", '_', SHAPE17).vector()], reshape),
    OpSpec::new("transpose", IOS15, &[X, Param::ints("perm")], transpose),
    OpSpec::new("transpose", IOS17, &[X17, Param::ints("perm")], transpose),
    // Axes count in the result.
    OpSpec::new("expand_dims", IOS15, &[X, Param::ints("axes")], expand_dims),
    OpSpec::new("expand_dims", IOS17, &[X17, Param::ints("axes")], expand_dims),
    // Axes that are not 1 stay, without complaint.
    OpSpec::new("squeeze", IOS15, &[X, Param::ints("axes").or(Default::AllAxes)], squeeze),
    OpSpec::new("squeeze", IOS17, &[X17, Param::ints("axes").or(Default::AllAxes)], squeeze),
    OpSpec::new("concat", IOS15, CONCAT, concat),
    OpSpec::new("stack", IOS15, &[Param::tensors("values"), Param::int("axis")], stack),
    OpSpec::new("split", IOS15, SPLIT, split),
    OpSpec::new("shape", IOS15, &[X], shape_of),
];

fn reshape(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    let Some(wanted) = o.ints("shape") else {
        return one(x.dtype, vec![Dim::Unknown; unknown_len(o, "shape")?]);
    };
    ensure!(
        !wanted.contains(&0) || wanted.len() == x.rank(),
        "shape {wanted:?} copies a dimension of {x}, which needs equal ranks"
    );
    ensure!(wanted.iter().filter(|&&d| d == -1).count() <= 1, "shape {wanted:?} leaves more than one dimension open");
    let dim = |(i, &d): (usize, &i64)| match d {
        -1 => Ok(Dim::Unknown),
        0 => Ok(x.shape[i]),
        d => dims::size(d, "shape"),
    };
    let mut shape = wanted.iter().enumerate().map(dim).collect::<Result<Vec<_>, _>>()?;
    let open = wanted.iter().position(|&d| d == -1);
    let rest: Vec<Dim> = shape.iter().enumerate().filter(|(i, _)| Some(*i) != open).map(|(_, d)| *d).collect();
    let (Some(total), Some(rest)) = (count(&x.shape)?, count(&rest)?) else { return one(x.dtype, shape) };
    let whole = match open {
        None => total == rest,
        Some(_) if rest == 0 => false,
        Some(i) => {
            shape[i] = Dim::Size(total / rest);
            total % rest == 0
        }
    };
    ensure!(whole, "the {total} elements of {x} do not fill shape {wanted:?}");
    one(x.dtype, shape)
}

/// The length of a vector whose elements are known only when the program runs.
fn unknown_len(o: &View<'_>, param: &str) -> Result<usize, OpError> {
    let t = o.tensor(param)?;
    match t.shape.first().and_then(|d| d.size()) {
        // Ranks are small; a long vector here is hostile.
        Some(n) if n <= 16 => Ok(n),
        _ => fail!("the length of {param} {t} does not make a rank"),
    }
}

fn transpose(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, perm) = (o.tensor("x")?, o.known_ints("perm")?);
    ensure!(perm.len() == x.rank(), "perm {perm:?} does not permute the {} dimensions of {x}", x.rank());
    axes(&perm, x.rank()).map_err(|e| OpError::new(format!("perm {perm:?}: {e}")))?;
    let shape = perm.iter().map(|&p| axis(p, x.rank()).map(|p| x.shape[p])).collect::<Result<_, _>>()?;
    one(x.dtype, shape)
}

fn expand_dims(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, new) = (o.tensor("x")?, o.known_ints("axes")?);
    let mut shape = x.shape.clone();
    for a in axes(&new, x.rank() + new.len())? {
        shape.insert(a, Dim::Size(1));
    }
    one(x.dtype, shape)
}

fn squeeze(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    let wanted = axes(&o.known_axes("axes", x.rank())?, x.rank())?;
    let gone = |i: usize| x.shape[i] == Dim::Size(1) && wanted.binary_search(&i).is_ok();
    one(x.dtype, (0..x.rank()).filter(|&i| !gone(i)).map(|i| x.shape[i]).collect())
}

/// Scalars concatenate to a vector.
fn concat(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (values, interleave) = (o.tensors("values")?, o.known_bool("interleave")?);
    let first = values[0];
    if first.rank() == 0 {
        ensure!(values.iter().all(|t| t.rank() == 0), "a scalar is joined with a tensor");
        return one(first.dtype, vec![Dim::Size(values.len())]);
    }
    let along = axis(o.known_int("axis")?, first.rank())?;
    let mut shape = first.shape.clone();
    for (i, t) in values.iter().enumerate().skip(1) {
        join(&mut shape, t, along, interleave)
            .ok_or_else(|| OpError::new(format!("values[{i}] {t} does not fit to {first} along axis {along}")))?;
    }
    shape[along] = values.iter().try_fold(Dim::Size(0), |sum, t| add(sum, t.shape[along]))?;
    one(first.dtype, shape)
}

/// Narrows `shape` to what it shares with `t`; `None` when they differ elsewhere than along the axis.
fn join(shape: &mut [Dim], t: &TensorType, along: usize, interleave: bool) -> Option<()> {
    if t.rank() != shape.len() {
        return None;
    }
    for (i, (d, e)) in shape.iter_mut().zip(&t.shape).enumerate() {
        if i != along || interleave {
            *d = meet(*d, *e)?;
        }
    }
    Some(())
}

fn stack(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let values = o.tensors("values")?;
    let first = values[0];
    let at = axis(o.known_int("axis")?, first.rank() + 1)?;
    let mut shape = first.shape.clone();
    for (i, t) in values.iter().enumerate().skip(1) {
        let fits = t.rank() == shape.len() && join(&mut shape, t, usize::MAX, false).is_some();
        ensure!(fits, "values[{i}] {t} and values[0] {first} differ in shape");
    }
    shape.insert(at, Dim::Size(values.len()));
    one(first.dtype, shape)
}

/// More parts than this are a mistake or an attack.
const MAX_PARTS: i64 = 1 << 14;

fn split(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    let along = axis(o.known_int("axis")?, x.rank())?;
    let whole = x.shape[along];
    let parts = if o.has("split_sizes") {
        let sizes = o.known_ints("split_sizes")?;
        let sizes = sizes.iter().map(|&n| dims::size(n, "split_sizes")).collect::<Result<Vec<_>, _>>()?;
        let sum = sizes.iter().try_fold(Dim::Size(0), |a, &b| add(a, b))?;
        ensure!(sum.agrees(whole), "split_sizes {} do not add up to {whole} of {x}", show(&sizes));
        if o.has("num_splits") {
            let n = o.known_int("num_splits")?;
            ensure!(usize::try_from(n) == Ok(sizes.len()), "num_splits {n} is not the length of split_sizes");
        }
        sizes
    } else {
        ensure!(o.has("num_splits"), "either num_splits or split_sizes must be given");
        let n = o.known_int("num_splits")?;
        ensure!((1..=MAX_PARTS).contains(&n), "num_splits {n} must be from 1 to {MAX_PARTS}");
        let n = usize::try_from(n).unwrap_or(1);
        vec![dims::div(whole, n, "dimension")?; n]
    };
    let part = |d: Dim| {
        let mut shape = x.shape.clone();
        shape[along] = d;
        Type::Tensor(TensorType { dtype: x.dtype, shape })
    };
    Ok(parts.into_iter().map(part).collect())
}

fn shape_of(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    one(DType::I32, vec![Dim::Size(o.tensor("x")?.rank())])
}
