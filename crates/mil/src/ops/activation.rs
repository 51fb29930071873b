//! Activation functions.

use super::{
    Default, OpError, OpSpec, Param, View,
    dims::axis,
    domain::{FLOAT, IOS15, IOS17},
    same_as_x,
};
use crate::types::Type;

const X: Param = Param::tensor("x", 'T', FLOAT);

/// The forms of `gelu`: exact; with tanh; `x · sigmoid(1.702 x)`.
const GELU_MODES: &[&str] = &["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"];

const fn alpha(letter: char) -> Param {
    Param::tensor("alpha", letter, FLOAT).scalar().constant()
}

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("relu", IOS15, &[X], same_as_x),
    // min(max(x, 0), 6)
    OpSpec::new("relu6", IOS15, &[X], same_as_x),
    OpSpec::new("leaky_relu", IOS15, &[X, alpha('T')], same_as_x),
    OpSpec::new("leaky_relu", IOS17, &[X, alpha('U')], same_as_x),
    OpSpec::new("sigmoid", IOS15, &[X], same_as_x),
    OpSpec::new("tanh", IOS15, &[X], same_as_x),
    // x · sigmoid(x)
    OpSpec::new("silu", IOS15, &[X], same_as_x),
    OpSpec::new("gelu", IOS15, &[X, Param::text("mode", GELU_MODES).or(Default::Text("EXACT"))], same_as_x),
    OpSpec::new("softmax", IOS15, &[X, Param::int("axis").or(Default::Int(-1))], softmax),
];

fn softmax(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    axis(o.known_int("axis")?, o.tensor("x")?.rank())?;
    same_as_x(o)
}
