//! Reductions over axes, and running sums.

use super::{
    Default, OpError, OpSpec, Param, View,
    dims::{axes, axis, one},
    domain::{IOS15, IOS17, NUMBER},
    same_as_x,
};
use crate::types::{Dim, Type};
use host_tensor::DType;

const X: Param = Param::tensor("x", 'T', NUMBER);
const KEEP_DIMS: Param = Param::flag("keep_dims").or(Default::Bool(false));
const LAST_AXIS: Param = Param::int("axis").or(Default::Int(-1));

/// Without `axes`, all of them.
const OVER_AXES: &[Param] = &[X, Param::ints("axes").or(Default::AllAxes), KEEP_DIMS];
const ARG: &[Param] = &[X, LAST_AXIS, KEEP_DIMS];
const ARG17: &[Param] =
    &[X, LAST_AXIS, KEEP_DIMS, Param::text("output_dtype", &["int32", "uint16"]).or(Default::Text("int32"))];

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("reduce_mean", IOS15, OVER_AXES, reduce),
    OpSpec::new("reduce_sum", IOS15, OVER_AXES, reduce),
    OpSpec::new("reduce_max", IOS15, OVER_AXES, reduce),
    OpSpec::new("reduce_min", IOS15, OVER_AXES, reduce),
    OpSpec::new("reduce_sum_square", IOS15, OVER_AXES, reduce),
    OpSpec::new("reduce_l2_norm", IOS15, OVER_AXES, reduce),
    OpSpec::new("reduce_argmax", IOS15, ARG, reduce_arg),
    OpSpec::new("reduce_argmax", IOS17, ARG17, reduce_arg17),
    OpSpec::new("reduce_argmin", IOS15, ARG, reduce_arg),
    OpSpec::new("reduce_argmin", IOS17, ARG17, reduce_arg17),
    OpSpec::new(
        "cumsum",
        IOS15,
        &[
            X,
            Param::int("axis").or(Default::Int(0)),
            Param::flag("exclusive").or(Default::Bool(false)),
            Param::flag("reverse").or(Default::Bool(false)),
        ],
        cumsum,
    ),
];

/// The shape without the axes `over`, which are ascending, or with ones in their place.
fn reduced(shape: &[Dim], over: &[usize], keep_dims: bool) -> Vec<Dim> {
    let keep = |(i, d): (usize, &Dim)| match over.binary_search(&i) {
        Ok(_) => keep_dims.then_some(Dim::Size(1)),
        Err(_) => Some(*d),
    };
    shape.iter().enumerate().filter_map(keep).collect()
}

fn reduce(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    let over = axes(&o.known_axes("axes", x.rank())?, x.rank())?;
    one(x.dtype, reduced(&x.shape, &over, o.known_bool("keep_dims")?))
}

fn reduce_arg(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    arg_of(o, DType::I32)
}

fn reduce_arg17(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    arg_of(o, if o.known_text("output_dtype")? == "uint16" { DType::U16 } else { DType::I32 })
}

fn arg_of(o: &View<'_>, dtype: DType) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    let over = axis(o.known_int("axis")?, x.rank())?;
    one(dtype, reduced(&x.shape, &[over], o.known_bool("keep_dims")?))
}

fn cumsum(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (along, rank) = (o.known_int("axis")?, o.tensor("x")?.rank());
    ensure!(along >= -1, "axis {along} is less than -1");
    axis(along, rank)?;
    same_as_x(o)
}
