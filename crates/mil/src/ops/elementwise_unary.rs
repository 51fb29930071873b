//! Operations on one tensor, element by element, and conversion between element types.

use super::{
    Accepts, Default, OpError, OpSpec, Param, View,
    dims::one,
    domain::{BOOL, FLOAT, IOS15, IOS17, NUMBER, PLAIN, PLAIN17},
    same_as_x,
};
use crate::types::Type;
use host_tensor::DType;

const X: Param = Param::tensor("x", 'T', FLOAT);
const X_NUMBER: Param = Param::tensor("x", 'T', NUMBER);
const DTYPE: Param = Param::other("dtype", Accepts::FreeText).constant();

/// A constant float scalar, of x's type before iOS 17 (letter `T`), of any float type since (letter `U`).
const fn float(name: &'static str, letter: char) -> Param {
    Param::tensor(name, letter, FLOAT).scalar().constant()
}

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("abs", IOS15, &[X_NUMBER], same_as_x),
    OpSpec::new("sign", IOS15, &[X_NUMBER], same_as_x),
    OpSpec::new("square", IOS15, &[X_NUMBER], same_as_x),
    OpSpec::new("exp2", IOS15, &[X_NUMBER], same_as_x),
    OpSpec::new("sqrt", IOS15, &[X], same_as_x),
    OpSpec::new("exp", IOS15, &[X], same_as_x),
    OpSpec::new("erf", IOS15, &[X], same_as_x),
    OpSpec::new("sin", IOS15, &[X], same_as_x),
    OpSpec::new("cos", IOS15, &[X], same_as_x),
    OpSpec::new("floor", IOS15, &[X], same_as_x),
    OpSpec::new("ceil", IOS15, &[X], same_as_x),
    // Halves go to even.
    OpSpec::new("round", IOS15, &[X], same_as_x),
    OpSpec::new("logical_not", IOS15, &[Param::tensor("x", 'T', BOOL)], same_as_x),
    // 1 / sqrt(x + epsilon)
    OpSpec::new("rsqrt", IOS15, &[X, float("epsilon", 'T').or(Default::Float(1e-12))], same_as_x),
    OpSpec::new("rsqrt", IOS17, &[X, float("epsilon", 'U').or(Default::Float(1e-12))], same_as_x),
    // 1 / (x + epsilon)
    OpSpec::new("inverse", IOS15, &[X, float("epsilon", 'T').or(Default::Float(1e-4))], same_as_x),
    OpSpec::new("inverse", IOS17, &[X, float("epsilon", 'U').or(Default::Float(1e-4))], same_as_x),
    // log(x + epsilon)
    OpSpec::new("log", IOS15, &[X, float("epsilon", 'T').or(Default::Float(1e-45))], same_as_x),
    OpSpec::new("log", IOS17, &[X, float("epsilon", 'U').or(Default::Float(1e-45))], same_as_x),
    // min(max(x, alpha), beta)
    OpSpec::new("clip", IOS15, &[X, float("alpha", 'T'), float("beta", 'T')], same_as_x),
    // Since iOS 17 the bounds are checked.
    OpSpec::new("clip", IOS17, &[X, float("alpha", 'T'), float("beta", 'T')], clip17),
    OpSpec::new("cast", IOS15, &[Param::tensor("x", 'T', PLAIN), DTYPE], cast15),
    OpSpec::new("cast", IOS17, &[Param::tensor("x", 'T', PLAIN17), DTYPE], cast17),
];

fn cast15(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    cast(o, PLAIN)
}

fn cast17(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    cast(o, PLAIN17)
}

fn cast(o: &View<'_>, targets: &[DType]) -> Result<Vec<Type>, OpError> {
    let name = o.known_text("dtype")?;
    let dtype = DType::from_name(name).filter(|d| targets.contains(d));
    let Some(dtype) = dtype else { fail!("{name:?} is no type that {} casts to", o.opset()) };
    one(dtype, o.tensor("x")?.shape.clone())
}

fn clip17(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (alpha, beta) = (o.known_number("alpha")?, o.known_number("beta")?);
    ensure!(alpha < beta, "alpha {alpha} must be less than beta {beta}");
    same_as_x(o)
}
