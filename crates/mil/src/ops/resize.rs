//! Changing the resolution of images; the last two dimensions are height and width.

use super::{
    Default, OpError, OpSpec, Param, View,
    dims::{self, one},
    domain::{FLOAT, IOS15, IOS16, IOS17, NUMBER},
};
use crate::types::{Dim, Type};
use host_tensor::DType::{self, F32, I16, I32, U16, U32};

const X: Param = Param::tensor("x", 'T', FLOAT);
const SCALE: &[DType] = &[F32, I32];
const SCALE_H: Param = Param::tensor("scale_factor_height", 'U', SCALE).scalar().constant().or(Default::Int(1));
const SCALE_W: Param = Param::tensor("scale_factor_width", 'U', SCALE).scalar().constant().or(Default::Int(1));
const ALIGN: Param = Param::flag("align_corners").or(Default::Bool(true));

/// Where the samples lie.
const SAMPLING: &[&str] = &["DEFAULT", "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "OFFSET_CORNERS", "UNALIGN_CORNERS"];
const SAMPLING_MODE: Param = Param::text("sampling_mode", SAMPLING).or(Default::Text("DEFAULT"));

const RESIZE: &[Param] = &[
    Param::tensor("x", 'T', NUMBER),
    Param::tensor("shape", '_', &[I32, I16, U16, U32]).vector(),
    Param::tensor("resized_dims", '_', &[U32]).scalar().constant(),
    Param::text("interpolation_mode", &["LINEAR", "NEAREST_NEIGHBOR"]).or(Default::Text("LINEAR")),
    SAMPLING_MODE,
];

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("upsample_nearest_neighbor", IOS15, &[X, SCALE_H, SCALE_W], upsample),
    OpSpec::new("upsample_bilinear", IOS15, &[X, SCALE_H, SCALE_W, ALIGN], upsample),
    OpSpec::new(
        "upsample_bilinear",
        IOS16,
        &[X, SCALE_H, SCALE_W, ALIGN, Param::flag("half_pixel_centers").or(Default::Not("align_corners"))],
        upsample,
    ),
    OpSpec::new(
        "resize_nearest_neighbor",
        IOS15,
        &[X, Param::int("target_size_height"), Param::int("target_size_width")],
        resize_to,
    ),
    OpSpec::new(
        "resize_bilinear",
        IOS15,
        &[
            X,
            Param::int("target_size_height").or(Default::Int(1)),
            Param::int("target_size_width").or(Default::Int(1)),
            SAMPLING_MODE,
        ],
        resize_to,
    ),
    OpSpec::new("resize", IOS17, RESIZE, resize),
];

/// The result with other sizes in its last two dimensions.
fn with_size(
    o: &View<'_>,
    size: impl Fn(&str, Dim) -> Result<Dim, OpError>,
    params: [&str; 2],
) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    ensure!(x.rank() >= 3, "x {x} must have rank 3 or more");
    let mut shape = x.shape.clone();
    let first = shape.len() - 2;
    for (d, param) in shape[first..].iter_mut().zip(params) {
        *d = size(param, *d)?;
    }
    one(x.dtype, shape)
}

fn upsample(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let scaled = |param: &str, d: Dim| {
        let scale = o.known_number(param)?;
        ensure!(scale > 0.0 && scale.is_finite(), "{param} {scale} must be positive");
        let Dim::Size(n) = d else { return Ok(Dim::Unknown) };
        #[expect(clippy::cast_precision_loss, reason = "checked below")]
        let size = (n as f64 * scale).floor();
        ensure!((1.0..9.0e15).contains(&size), "{param} {scale} makes {n} to {size}");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        Ok(Dim::Size(size as usize))
    };
    with_size(o, scaled, ["scale_factor_height", "scale_factor_width"])
}

fn resize_to(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let target = |param: &str, _: Dim| {
        let n = o.known_int(param)?;
        ensure!(n > 0, "{param} {n} must be positive");
        dims::size(n, param)
    };
    with_size(o, target, ["target_size_height", "target_size_width"])
}

/// The last `resized_dims` elements of `shape` replace the dimensions of x; a zero keeps x's.
fn resize(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, shape_ty) = (o.tensor("x")?, o.tensor("shape")?);
    let n = usize::try_from(o.known_int("resized_dims")?).unwrap_or(usize::MAX);
    let Some(len) = shape_ty.shape[0].size() else { fail!("the length of shape {shape_ty} must be known") };
    ensure!(n <= len && len <= x.rank(), "resized_dims {n}, shape {shape_ty} and x {x} do not fit together");
    let wanted = o.ints("shape");
    let mut shape = x.shape.clone();
    for i in 0..n {
        let at = x.rank() - n + i;
        shape[at] = match wanted.as_ref().map(|w| w[len - n + i]) {
            None => Dim::Unknown,
            Some(0) => x.shape[at],
            Some(d) => dims::size(d, "shape")?,
        };
    }
    one(x.dtype, shape)
}
