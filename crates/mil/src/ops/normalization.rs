//! Normalizations; all keep the type of x.

use super::{
    Default, OpError, OpSpec, Param, View,
    dims::{agree, axes, has_len, show},
    domain::{FLOAT, IOS15, IOS17},
    same_as_x,
};
use crate::types::{Dim, Type};

const X: Param = Param::tensor("x", 'T', FLOAT);

const fn epsilon(letter: char, default: f64) -> Param {
    Param::tensor("epsilon", letter, FLOAT).scalar().constant().or(Default::Float(default))
}

/// Mean and variance over `axes` (all of them when left out); gamma and beta have the shape of those axes.
const fn layer_norm_params(letter: char) -> [Param; 5] {
    [
        X,
        Param::ints("axes").or(Default::AllAxes),
        Param::tensor("gamma", letter, FLOAT).constant().optional(),
        Param::tensor("beta", letter, FLOAT).constant().optional(),
        epsilon(letter, 1e-5),
    ]
}

/// One value per channel of x [N, C, …].
const fn per_channel(name: &'static str, letter: char) -> Param {
    Param::tensor(name, letter, FLOAT).vector().constant()
}

const fn batch_norm_params(letter: char) -> [Param; 6] {
    [
        X,
        per_channel("mean", letter),
        per_channel("variance", letter),
        per_channel("gamma", letter).or(Default::Ones),
        per_channel("beta", letter).or(Default::Zeros),
        epsilon(letter, 1e-5),
    ]
}

const fn instance_norm_params(letter: char) -> [Param; 4] {
    [
        X,
        per_channel("gamma", letter).or(Default::Ones),
        per_channel("beta", letter).or(Default::Zeros),
        epsilon(letter, 1e-5),
    ]
}

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("layer_norm", IOS15, &layer_norm_params('T'), layer_norm),
    OpSpec::new("layer_norm", IOS17, &layer_norm_params('U'), layer_norm),
    OpSpec::new("batch_norm", IOS15, &batch_norm_params('T'), batch_norm),
    OpSpec::new("batch_norm", IOS17, &batch_norm_params('U'), batch_norm),
    OpSpec::new("instance_norm", IOS15, &instance_norm_params('T'), instance_norm),
    OpSpec::new("instance_norm", IOS17, &instance_norm_params('U'), instance_norm),
    // x / sqrt(sum of squares over the last three dimensions + epsilon)
    OpSpec::new("l2_norm", IOS15, &[X, epsilon('T', 1e-6)], l2_norm),
    OpSpec::new("l2_norm", IOS17, &[X, epsilon('U', 1e-6)], l2_norm),
];

fn layer_norm(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    let over = axes(&o.known_axes("axes", x.rank())?, x.rank())?;
    let normalized: Vec<Dim> = over.iter().map(|&a| x.shape[a]).collect();
    for param in ["gamma", "beta"] {
        if let Some(t) = o.optional_tensor(param) {
            ensure!(agree(&t.shape, &normalized), "{param} {t} must have the normalized shape {}", show(&normalized));
        }
    }
    same_as_x(o)
}

fn batch_norm(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    channelwise(o, 3..=5, &["mean", "variance", "gamma", "beta"])
}

fn instance_norm(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    channelwise(o, 3..=4, &["gamma", "beta"])
}

fn channelwise(o: &View<'_>, ranks: std::ops::RangeInclusive<usize>, params: &[&str]) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    ensure!(ranks.contains(&x.rank()), "x {x} must have rank {} to {}", ranks.start(), ranks.end());
    for param in params {
        if let Some(t) = o.optional_tensor(param) {
            let c = x.shape[1];
            ensure!(
                c.size().is_none_or(|c| has_len(&t.shape, c)),
                "{param} {t} must have one value for each of {c} channels"
            );
        }
    }
    same_as_x(o)
}

fn l2_norm(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    ensure!(x.rank() >= 3, "x {x} must have rank 3 or more");
    same_as_x(o)
}
