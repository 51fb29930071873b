//! Operations on two tensors, element by element, with broadcasting.

use super::{
    OpError, OpSpec, Param, View,
    dims::{broadcast, one},
    domain::{BOOL, IOS15, NUMBER, PLAIN},
};
use crate::types::Type;
use host_tensor::DType;

const NUMBERS: &[Param] = &[Param::tensor("x", 'T', NUMBER), Param::tensor("y", 'T', NUMBER)];
const TRUTHS: &[Param] = &[Param::tensor("x", 'T', BOOL), Param::tensor("y", 'T', BOOL)];
const SELECT: &[Param] =
    &[Param::tensor("cond", '_', BOOL), Param::tensor("a", 'T', PLAIN), Param::tensor("b", 'T', PLAIN)];

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("add", IOS15, NUMBERS, arithmetic),
    OpSpec::new("sub", IOS15, NUMBERS, arithmetic),
    OpSpec::new("mul", IOS15, NUMBERS, arithmetic),
    OpSpec::new("real_div", IOS15, NUMBERS, arithmetic),
    OpSpec::new("floor_div", IOS15, NUMBERS, arithmetic),
    // The sign is the divisor's, as in Python.
    OpSpec::new("mod", IOS15, NUMBERS, arithmetic),
    OpSpec::new("pow", IOS15, NUMBERS, arithmetic),
    OpSpec::new("maximum", IOS15, NUMBERS, arithmetic),
    OpSpec::new("minimum", IOS15, NUMBERS, arithmetic),
    OpSpec::new("greater", IOS15, NUMBERS, comparison),
    OpSpec::new("greater_equal", IOS15, NUMBERS, comparison),
    OpSpec::new("less", IOS15, NUMBERS, comparison),
    OpSpec::new("less_equal", IOS15, NUMBERS, comparison),
    OpSpec::new("equal", IOS15, NUMBERS, comparison),
    OpSpec::new("not_equal", IOS15, NUMBERS, comparison),
    OpSpec::new("logical_and", IOS15, TRUTHS, comparison),
    OpSpec::new("logical_or", IOS15, TRUTHS, comparison),
    OpSpec::new("logical_xor", IOS15, TRUTHS, comparison),
    OpSpec::new("select", IOS15, SELECT, select),
];

fn arithmetic(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, y) = (o.tensor("x")?, o.tensor("y")?);
    one(x.dtype, broadcast(&x.shape, &y.shape)?)
}

fn comparison(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    one(DType::Bool, broadcast(&o.tensor("x")?.shape, &o.tensor("y")?.shape)?)
}

/// coremltools types the result by `a` and `b` alone, so `cond` must not enlarge it.
fn select(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (cond, a, b) = (o.tensor("cond")?, o.tensor("a")?, o.tensor("b")?);
    let shape = broadcast(&a.shape, &b.shape)?;
    let whole = broadcast(&cond.shape, &shape)?;
    ensure!(super::dims::agree(&whole, &shape), "cond {cond} enlarges the result of a {a} and b {b}");
    one(a.dtype, shape)
}
