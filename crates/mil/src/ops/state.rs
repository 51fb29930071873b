//! Tensors that persist between runs.

use super::{
    Accepts, OpError, OpSpec, Param, View,
    domain::{IOS18, PLAIN17},
};
use crate::types::Type;

const INPUT: Param = Param::other("input", Accepts::State);

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("read_state", IOS18, &[INPUT], read_state),
    OpSpec::new("write_state", IOS18, &[INPUT, Param::tensor("data", '_', PLAIN17)], write_state),
];

fn read_state(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    match o.ty("input") {
        Some(Type::State(t)) => Ok(vec![Type::Tensor(t.clone())]),
        _ => fail!("input must be a state"),
    }
}

/// No result: a later `read_state` sees the data.
fn write_state(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (state, data) = (read_state(o)?, o.tensor("data")?);
    ensure!(state[0].agrees(&Type::Tensor(data.clone())), "data {data} does not fit a state of {}", state[0]);
    Ok(Vec::new())
}
