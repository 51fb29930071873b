//! Repeating, padding and reordering elements.

use super::{
    Default, OpError, OpSpec, Param, View,
    dims::{self, add, axes, div, mul, one},
    domain::{FLOAT, INT32, IOS15, IOS16, IOS17, PLAIN, PLAIN17},
    same_as_x,
};
use crate::types::{Dim, Type};
use host_tensor::DType;

const X: Param = Param::tensor("x", 'T', FLOAT);
const X_PLAIN: Param = Param::tensor("x", 'T', PLAIN);

/// `pad` is `[before, after]` of each of the last dimensions in turn, outermost first.
const PAD: &[Param] = &[
    X,
    Param::tensor("pad", '_', INT32).vector(),
    Param::text("mode", &["constant", "reflect", "replicate"]).or(Default::Text("constant")),
    Param::tensor("constant_val", 'T', FLOAT).scalar().constant().or(Default::Float(0.0)),
];

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("tile", IOS15, &[X_PLAIN, Param::tensor("reps", '_', INT32).vector()], tile),
    OpSpec::new("pad", IOS15, PAD, pad),
    // Without axes, all of them.
    OpSpec::new("reverse", IOS15, &[X_PLAIN, Param::ints("axes").or(Default::AllAxes)], reverse),
    OpSpec::new(
        "reverse",
        IOS17,
        &[Param::tensor("x", 'T', PLAIN17), Param::ints("axes").or(Default::AllAxes)],
        reverse,
    ),
    // Negative bounds keep the whole triangle.
    OpSpec::new(
        "band_part",
        IOS15,
        &[X_PLAIN, Param::int("lower").or(Default::Int(-1)), Param::int("upper").or(Default::Int(-1))],
        band_part,
    ),
    // [n, c, h, w] to [n, c/f², hf, wf], channels outermost as in PyTorch.
    OpSpec::new("pixel_shuffle", IOS15, &[X, Param::int("upscale_factor")], pixel_shuffle),
    OpSpec::new(
        "pixel_unshuffle",
        IOS16,
        &[X, Param::tensor("downscale_factor", '_', &[DType::U32]).scalar().constant()],
        pixel_unshuffle,
    ),
    // As above, but channels innermost, as in TensorFlow.
    OpSpec::new("depth_to_space", IOS15, &[X, Param::int("block_size")], depth_to_space),
    OpSpec::new("space_to_depth", IOS15, &[X, Param::int("block_size")], space_to_depth),
];

fn tile(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    let reps_ty = o.tensor("reps")?;
    ensure!(dims::has_len(&reps_ty.shape, x.rank()), "reps {reps_ty} must have one element per dimension of {x}");
    let Some(reps) = o.ints("reps") else { return one(x.dtype, vec![Dim::Unknown; x.rank()]) };
    ensure!(reps.iter().all(|&r| r > 0), "reps {reps:?} must be positive");
    let tiled = |(&d, &r): (&Dim, &i64)| if r == 1 { Ok(d) } else { mul(d, dims::size(r, "reps")?) };
    one(x.dtype, x.shape.iter().zip(&reps).map(tiled).collect::<Result<_, _>>()?)
}

fn pad(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, pad_ty) = (o.tensor("x")?, o.tensor("pad")?);
    let mut shape = x.shape.clone();
    let Some(pad) = o.ints("pad") else {
        ensure!(dims::has_len(&pad_ty.shape, 2 * x.rank()), "pad {pad_ty} must have two elements per dimension of {x}");
        return one(x.dtype, vec![Dim::Unknown; x.rank()]);
    };
    let n = pad.len() / 2;
    ensure!(
        pad.len() % 2 == 0 && n <= x.rank(),
        "pad {pad:?} is not two elements for each of the last dimensions of {x}"
    );
    let first = x.rank() - n;
    for (d, p) in shape[first..].iter_mut().zip(pad.chunks_exact(2)) {
        *d = add(*d, add(dims::size(p[0], "pad")?, dims::size(p[1], "pad")?)?)?;
    }
    one(x.dtype, shape)
}

fn reverse(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let rank = o.tensor("x")?.rank();
    axes(&o.known_axes("axes", rank)?, rank)?;
    same_as_x(o)
}

fn band_part(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    ensure!(x.rank() >= 2, "x {x} must have two dimensions");
    same_as_x(o)
}

/// Moves `factor²` channels into space, or back.
fn between_channels_and_space(o: &View<'_>, param: &str, to_space: bool) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    let [n, c, h, w] = x.shape[..] else { fail!("x {x} must have rank 4") };
    let factor = o.known_int(param)?;
    let Some(f) = usize::try_from(factor).ok().filter(|&f| f > 0) else { fail!("{param} {factor} must be positive") };
    let Some(square) = f.checked_mul(f) else { fail!("{param} {factor} is too large") };
    let (f_dim, square_dim) = (Dim::Size(f), Dim::Size(square));
    let shape = if to_space {
        vec![n, div(c, square, "the channels")?, mul(h, f_dim)?, mul(w, f_dim)?]
    } else {
        vec![n, mul(c, square_dim)?, div(h, f, "the height")?, div(w, f, "the width")?]
    };
    one(x.dtype, shape)
}

fn pixel_shuffle(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    between_channels_and_space(o, "upscale_factor", true)
}

fn pixel_unshuffle(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    between_channels_and_space(o, "downscale_factor", false)
}

fn depth_to_space(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    between_channels_and_space(o, "block_size", true)
}

fn space_to_depth(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    between_channels_and_space(o, "block_size", false)
}
