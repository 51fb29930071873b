//! Reading and writing elements by index.

use super::{
    Default, OpError, OpSpec, Param, View,
    dims::{agree, axis, one, show},
    domain::{INDEX16, INDEX17, INT32, IOS15, IOS16, IOS17, NUMBER, NUMBER17},
};
use crate::types::{Dim, TensorType, Type};
use host_tensor::DType;

const AXIS: Param = Param::int("axis").or(Default::Int(0));
const BATCH_DIMS: Param = Param::int("batch_dims").or(Default::Int(0));
/// Since iOS 17 a negative index is out of bounds, and only this makes the run say so.
const VALIDATE: Param = Param::flag("validate_indices").or(Default::Bool(false));
/// coremltools' code says "add", its documentation "update": programs should always say it.
const MODE: Param = Param::text("mode", &["update", "add", "sub", "mul", "div", "max", "min"]).or(Default::Text("add"));

const fn x(domain: &'static [DType]) -> Param {
    Param::tensor("x", 'T', domain)
}

const fn indices(domain: &'static [DType]) -> Param {
    Param::tensor("indices", 'I', domain)
}

const DATA: Param = Param::tensor("data", 'T', NUMBER);
const UPDATES: Param = Param::tensor("updates", 'T', NUMBER);
const INDICES: Param = indices(INT32);

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("gather", IOS15, &[x(NUMBER), INDICES, AXIS], gather),
    OpSpec::new("gather", IOS16, &[x(NUMBER), indices(INDEX16), AXIS, BATCH_DIMS], gather_in_batches),
    OpSpec::new("gather", IOS17, &[x(NUMBER17), indices(INDEX17), AXIS, BATCH_DIMS, VALIDATE], gather_in_batches),
    OpSpec::new("gather_along_axis", IOS15, &[x(NUMBER), INDICES, AXIS], gather_along_axis),
    OpSpec::new("gather_along_axis", IOS16, &[x(NUMBER), indices(INDEX16), AXIS], gather_along_axis),
    OpSpec::new("gather_along_axis", IOS17, &[x(NUMBER17), indices(INDEX17), AXIS, VALIDATE], gather_along_axis),
    OpSpec::new("gather_nd", IOS15, &[x(NUMBER), INDICES], gather_nd),
    OpSpec::new("gather_nd", IOS16, &[x(NUMBER), indices(INDEX16), BATCH_DIMS], gather_nd_in_batches),
    OpSpec::new("gather_nd", IOS17, &[x(NUMBER17), indices(INDEX17), BATCH_DIMS, VALIDATE], gather_nd_in_batches),
    OpSpec::new("scatter", IOS15, &[DATA, INDICES, UPDATES, AXIS, MODE], scatter),
    OpSpec::new("scatter", IOS17, &[DATA, INDICES, UPDATES, AXIS, MODE, VALIDATE], scatter),
    OpSpec::new("scatter_along_axis", IOS15, &[DATA, INDICES, UPDATES, AXIS, MODE], scatter_along_axis),
    OpSpec::new("scatter_along_axis", IOS17, &[DATA, INDICES, UPDATES, AXIS, MODE, VALIDATE], scatter_along_axis),
    OpSpec::new("scatter_nd", IOS15, &[DATA, INDICES, UPDATES, MODE], scatter_nd),
    OpSpec::new("scatter_nd", IOS17, &[DATA, INDICES, UPDATES, MODE, VALIDATE], scatter_nd),
];

fn gather(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    gathered(o, 0)
}

fn gather_in_batches(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    gathered(o, batch_dims(o)?)
}

/// `x[:axis] + indices[batch_dims:] + x[axis + 1:]`.
fn gathered(o: &View<'_>, batch_dims: usize) -> Result<Vec<Type>, OpError> {
    let (x, indices) = (o.tensor("x")?, o.tensor("indices")?);
    let along = axis(o.known_int("axis")?, x.rank())?;
    ensure!(along >= batch_dims, "axis {along} is one of the {batch_dims} batch dimensions");
    one(x.dtype, [&x.shape[..along], &indices.shape[batch_dims..], &x.shape[along + 1..]].concat())
}

/// The number of leading dimensions that x and indices share.
fn batch_dims(o: &View<'_>) -> Result<usize, OpError> {
    let (x, indices, n) = (o.tensor("x")?, o.tensor("indices")?, o.known_int("batch_dims")?);
    let Ok(n) = usize::try_from(n) else { fail!("batch_dims {n} is negative") };
    ensure!(n < x.rank() && n <= indices.rank(), "batch_dims {n} is too many for x {x} and indices {indices}");
    ensure!(
        agree(&x.shape[..n], &indices.shape[..n]),
        "x {x} and indices {indices} differ in the first {n} dimensions"
    );
    Ok(n)
}

fn gather_along_axis(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, indices) = (o.tensor("x")?, o.tensor("indices")?);
    let along = axis(o.known_int("axis")?, x.rank())?;
    check_along("x", x, indices, along)?;
    one(x.dtype, indices.shape.clone())
}

/// All dimensions but one are equal.
fn check_along(name: &str, data: &TensorType, indices: &TensorType, along: usize) -> Result<(), OpError> {
    let fits =
        data.rank() == indices.rank() && (0..data.rank()).all(|i| i == along || data.shape[i].agrees(indices.shape[i]));
    ensure!(fits, "{name} {data} and indices {indices} differ elsewhere than along axis {along}");
    Ok(())
}

fn gather_nd(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, indices) = (o.tensor("x")?, o.tensor("indices")?);
    one(x.dtype, picked(x, indices, 0)?)
}

fn gather_nd_in_batches(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, indices) = (o.tensor("x")?, o.tensor("indices")?);
    one(x.dtype, picked(x, indices, batch_dims(o)?)?)
}

/// The shape of what indices [.., K] pick from data: `indices[:-1] + data[batch_dims + K:]`.
fn picked(data: &TensorType, indices: &TensorType, batch_dims: usize) -> Result<Vec<Dim>, OpError> {
    let Some((Dim::Size(k), places)) = indices.shape.split_last() else {
        fail!("the last dimension of indices {indices} must be known")
    };
    let rest = k.checked_add(batch_dims).and_then(|taken| data.shape.get(taken..));
    let Some(rest) = rest else { fail!("indices {indices} address more dimensions than {data} has") };
    ensure!(places.len() >= batch_dims, "indices {indices} have fewer dimensions than the {batch_dims} of the batch");
    Ok([places, rest].concat())
}

fn same_as_data(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    Ok(vec![Type::Tensor(o.tensor("data")?.clone())])
}

fn check_updates(o: &View<'_>, expected: &[Dim]) -> Result<(), OpError> {
    let updates = o.tensor("updates")?;
    ensure!(agree(&updates.shape, expected), "updates {updates} must have shape {}", show(expected));
    Ok(())
}

fn scatter(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (data, indices) = (o.tensor("data")?, o.tensor("indices")?);
    let along = axis(o.known_int("axis")?, data.rank())?;
    check_updates(o, &[&data.shape[..along], &indices.shape[..], &data.shape[along + 1..]].concat())?;
    same_as_data(o)
}

fn scatter_along_axis(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (data, indices) = (o.tensor("data")?, o.tensor("indices")?);
    let along = axis(o.known_int("axis")?, data.rank())?;
    check_along("data", data, indices, along)?;
    check_updates(o, &indices.shape)?;
    same_as_data(o)
}

fn scatter_nd(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (data, indices) = (o.tensor("data")?, o.tensor("indices")?);
    check_updates(o, &picked(data, indices, 0)?)?;
    same_as_data(o)
}
