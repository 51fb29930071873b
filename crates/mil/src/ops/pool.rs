//! Pooling.

use super::{
    Default, OpError, OpSpec, Param, View,
    conv::{PAD_TYPES, Padding, Window, pad_type, padding, positive},
    dims::{self, one},
    domain::{FLOAT, IOS15},
};
use crate::types::Type;

/// x is [N, C, spatial…] with one to three spatial dimensions.
const X: Param = Param::tensor("x", 'T', FLOAT);
const KERNEL: Param = Param::ints("kernel_sizes");
const STRIDES: Param = Param::ints("strides").or(Default::Ones);
const PAD_TYPE: Param = Param::text("pad_type", PAD_TYPES);
const PAD: Param = Param::ints("pad").or(Default::Zeros);
const CEIL_MODE: Param = Param::flag("ceil_mode").or(Default::Bool(false));
const WITHOUT_PADDING: Param = Param::flag("exclude_padding_from_average").or(Default::Bool(false));

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("avg_pool", IOS15, &[X, KERNEL, STRIDES, PAD_TYPE, PAD, CEIL_MODE, WITHOUT_PADDING], pool),
    OpSpec::new("max_pool", IOS15, &[X, KERNEL, STRIDES, PAD_TYPE, PAD, CEIL_MODE], pool),
];

fn pool(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    ensure!((3..=5).contains(&x.rank()), "x {x} must have one to three spatial dimensions");
    let n = x.rank() - 2;
    let kernel = positive(o, "kernel_sizes", n)?;
    let ceil = o.known_bool("ceil_mode")?;
    let padding = padding(o, n)?;
    if ceil {
        ensure!(n <= 2, "ceil_mode needs one or two spatial dimensions, not {n}");
        ensure!(pad_type(o)? != "same", "ceil_mode does not go with pad_type same");
        if let Padding::Explicit(pad) = &padding {
            ensure!(pad.chunks_exact(2).all(|p| p[0] == p[1]), "ceil_mode needs symmetric padding, not {pad:?}");
        }
    }
    let window = Window {
        kernel: kernel.iter().map(|&k| dims::size(k, "kernel_sizes")).collect::<Result<_, _>>()?,
        strides: positive(o, "strides", n)?,
        dilations: vec![1; n],
        padding,
        ceil,
    };
    one(x.dtype, [x.shape[..2].to_vec(), window.positions(&x.shape[2..])?].concat())
}
