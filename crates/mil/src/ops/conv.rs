//! Convolutions, and the size arithmetic that they share with pooling.

use super::{
    Default, OpError, OpSpec, Param, View,
    dims::{self, div, mul, one, show},
    domain::{FLOAT, IOS15, IOS17},
};
use crate::{
    opset::Opset,
    types::{Dim, TensorType, Type},
};

/// `same_lower` exists since iOS 16; see [`pad_type`].
pub(super) const PAD_TYPES: &[&str] = &["valid", "same", "same_lower", "custom"];
/// `[before, after]` of each spatial dimension in turn; read only with `pad_type` "custom".
const PAD: Param = Param::ints("pad").or(Default::Zeros);
const STRIDES: Param = Param::ints("strides").or(Default::Ones);
const DILATIONS: Param = Param::ints("dilations").or(Default::Ones);
const GROUPS: Param = Param::int("groups").or(Default::Int(1));
const PAD_TYPE: Param = Param::text("pad_type", PAD_TYPES).or(Default::Text("valid"));

/// x is [N, `C_in`, spatial…] with one to three spatial dimensions, weight [`C_out`, `C_in` / groups, kernel…].
const X: Param = Param::tensor("x", 'T', FLOAT);
const CONV: &[Param] = &[
    X,
    Param::tensor("weight", 'T', FLOAT),
    Param::tensor("bias", 'T', FLOAT).vector().constant().optional(),
    STRIDES,
    PAD_TYPE,
    PAD,
    DILATIONS,
    GROUPS,
];
const CONV17: &[Param] = &[
    X,
    Param::tensor("weight", 'U', FLOAT),
    Param::tensor("bias", 'U', FLOAT).vector().optional(),
    STRIDES,
    PAD_TYPE,
    PAD,
    DILATIONS,
    GROUPS,
];

/// As above, but weight is [`C_in`, `C_out` / groups, kernel…].
const TRANSPOSE_PAD_TYPE: Param = Param::text("pad_type", &["valid", "same", "custom"]).or(Default::Text("valid"));
const CONV_TRANSPOSE: &[Param] = &[
    X,
    Param::tensor("weight", 'T', FLOAT).constant(),
    Param::tensor("bias", 'T', FLOAT).vector().constant().optional(),
    PAD,
    Param::ints("output_shape").optional(),
    TRANSPOSE_PAD_TYPE,
    STRIDES,
    DILATIONS,
    GROUPS,
];
const CONV_TRANSPOSE17: &[Param] = &[
    X,
    Param::tensor("weight", 'U', FLOAT),
    Param::tensor("bias", 'U', FLOAT).vector().optional(),
    PAD,
    Param::ints("output_shape").optional(),
    TRANSPOSE_PAD_TYPE,
    STRIDES,
    DILATIONS,
    GROUPS,
];

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("conv", IOS15, CONV, conv),
    OpSpec::new("conv", IOS17, CONV17, conv),
    OpSpec::new("conv_transpose", IOS15, CONV_TRANSPOSE, conv_transpose),
    OpSpec::new("conv_transpose", IOS17, CONV_TRANSPOSE17, conv_transpose),
];

/// How a window moves over the spatial dimensions; one entry per dimension.
pub(super) struct Window {
    pub(super) kernel: Vec<Dim>,
    pub(super) strides: Vec<i64>,
    pub(super) dilations: Vec<i64>,
    pub(super) padding: Padding,
    /// Round the number of positions up instead of down.
    pub(super) ceil: bool,
}

/// Padding of the spatial dimensions.
pub(super) enum Padding {
    /// As much as makes `out = ceil(in / stride)`.
    Same,
    /// Before and after, in turn.
    Explicit(Vec<i64>),
}

/// The padding type; "`same_lower`" is unknown to iOS 15.
pub(super) fn pad_type<'a>(o: &View<'a>) -> Result<&'a str, OpError> {
    let name = o.known_text("pad_type")?;
    ensure!(name != "same_lower" || o.opset() > Opset::CoreML5, "pad_type same_lower needs CoreML6");
    Ok(name)
}

/// Reads `pad_type` and `pad` for `n` spatial dimensions.
pub(super) fn padding(o: &View<'_>, n: usize) -> Result<Padding, OpError> {
    match pad_type(o)? {
        "same" | "same_lower" => Ok(Padding::Same),
        "custom" => {
            let pad = o.known_ints_of_len("pad", 2 * n)?;
            ensure!(pad.iter().all(|&p| p >= 0), "pad {pad:?} must not be negative");
            Ok(Padding::Explicit(pad))
        }
        _ => Ok(Padding::Explicit(vec![0; 2 * n])),
    }
}

/// A vector parameter of `n` positive integers.
pub(super) fn positive(o: &View<'_>, param: &str, n: usize) -> Result<Vec<i64>, OpError> {
    let values = o.known_ints_of_len(param, n)?;
    ensure!(values.iter().all(|&v| v > 0), "{param} {values:?} must be positive");
    Ok(values)
}

impl Window {
    /// The number of positions in each spatial dimension.
    ///
    /// Source: coremltools 9.0, `spatial_dimensions_out_shape`.
    pub(super) fn positions(&self, input: &[Dim]) -> Result<Vec<Dim>, OpError> {
        (0..input.len()).map(|i| self.positions_along(i, input[i])).collect()
    }

    fn positions_along(&self, i: usize, input: Dim) -> Result<Dim, OpError> {
        let (Some(n), Some(kernel)) = (dims::known(input), dims::known(self.kernel[i])) else {
            return Ok(Dim::Unknown);
        };
        ensure!(kernel > 0, "the kernel {} is empty", show(&self.kernel));
        let (stride, dilation) = (i128::from(self.strides[i]), i128::from(self.dilations[i]));
        let reach = (kernel - 1).saturating_mul(dilation).saturating_add(1);
        let pad = match &self.padding {
            Padding::Same => {
                let covered = ceil_div(n, stride).saturating_mul(stride);
                covered.saturating_sub(n).saturating_add(reach).saturating_sub(stride).max(0)
            }
            Padding::Explicit(pad) => i128::from(pad[2 * i]) + i128::from(pad[2 * i + 1]),
        };
        let room = n.saturating_add(pad).saturating_sub(reach);
        let mut out = room.saturating_add(if self.ceil { stride - 1 } else { 0 }).div_euclid(stride) + 1;
        // With rounding up, the last window must begin inside the input or its leading padding.
        if self.ceil && pad > 0 && 2 * (out - 1).saturating_mul(stride) >= n.saturating_mul(2).saturating_add(pad) {
            out -= 1;
        }
        ensure!(out > 0, "a window of {reach} does not fit into spatial dimension {i} of {input} padded by {pad}");
        dims::wide(out, "a spatial dimension")
    }
}

fn ceil_div(n: i128, d: i128) -> i128 {
    n.div_euclid(d) + i128::from(n.rem_euclid(d) != 0)
}

/// Spatial rank of x; the weight must have the same.
fn spatial_rank(x: &TensorType, weight: &TensorType) -> Result<usize, OpError> {
    ensure!((3..=5).contains(&x.rank()), "x {x} must have one to three spatial dimensions");
    ensure!(weight.rank() == x.rank(), "weight {weight} and x {x} differ in rank");
    Ok(x.rank() - 2)
}

fn groups(o: &View<'_>) -> Result<usize, OpError> {
    let groups = o.known_int("groups")?;
    match usize::try_from(groups) {
        Ok(g) if g > 0 => Ok(g),
        _ => fail!("groups {groups} must be positive"),
    }
}

fn check_bias(o: &View<'_>, c_out: Dim) -> Result<(), OpError> {
    if let Some(bias) = o.optional_tensor("bias") {
        ensure!(bias.shape[0].agrees(c_out), "bias {bias} does not have C_out {c_out}");
    }
    Ok(())
}

fn conv(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, weight) = (o.tensor("x")?, o.tensor("weight")?);
    let n = spatial_rank(x, weight)?;
    let (c_in, c_out, groups) = (x.shape[1], weight.shape[0], groups(o)?);
    let per_group =
        div(c_in, groups, "C_in").map_err(|_| OpError::new(format!("groups {groups} does not divide C_in {c_in}")))?;
    ensure!(
        per_group.agrees(weight.shape[1]),
        "weight {weight} takes {} channels per group, but C_in {c_in} in {groups} groups has {per_group}",
        weight.shape[1]
    );
    div(c_out, groups, "C_out").map_err(|_| OpError::new(format!("groups {groups} does not divide C_out {c_out}")))?;
    check_bias(o, c_out)?;
    let window = Window {
        kernel: weight.shape[2..].to_vec(),
        strides: positive(o, "strides", n)?,
        dilations: positive(o, "dilations", n)?,
        padding: padding(o, n)?,
        ceil: false,
    };
    let is_dynamic = o.value("weight").and_then(|v| o.is_constant(v)) == Some(false);
    ensure!(!is_dynamic || window.dilations.iter().all(|&d| d == 1), "a weight that is no constant cannot be dilated");
    one(x.dtype, [vec![x.shape[0], c_out], window.positions(&x.shape[2..])?].concat())
}

fn conv_transpose(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, weight) = (o.tensor("x")?, o.tensor("weight")?);
    let n = spatial_rank(x, weight)?;
    let (c_in, groups) = (x.shape[1], groups(o)?);
    ensure!(c_in.agrees(weight.shape[0]), "weight {weight} does not take C_in {c_in}");
    div(c_in, groups, "C_in").map_err(|_| OpError::new(format!("groups {groups} does not divide C_in {c_in}")))?;
    let c_out = mul(weight.shape[1], Dim::Size(groups))?;
    check_bias(o, c_out)?;
    let mut shape = vec![x.shape[0], c_out];
    if o.has("output_shape") {
        let wanted = o.known_ints_of_len("output_shape", n + 2)?;
        let wanted = wanted.iter().map(|&d| dims::size(d, "output_shape")).collect::<Result<Vec<_>, _>>()?;
        ensure!(dims::agree(&wanted[..2], &shape), "output_shape {} must begin with {}", show(&wanted), show(&shape));
        return one(x.dtype, wanted);
    }
    let (strides, dilations) = (positive(o, "strides", n)?, positive(o, "dilations", n)?);
    let padding = padding(o, n)?;
    for i in 0..n {
        shape.push(stretched(x.shape[2 + i], weight.shape[2 + i], strides[i], dilations[i], &padding, i)?);
    }
    one(x.dtype, shape)
}

/// The size of a transposed convolution's result: `(in - 1) · stride + (kernel - 1) · dilation + 1 - padding`.
fn stretched(input: Dim, kernel: Dim, stride: i64, dilation: i64, pad: &Padding, i: usize) -> Result<Dim, OpError> {
    let (Some(n), Some(kernel)) = (dims::known(input), dims::known(kernel)) else { return Ok(Dim::Unknown) };
    let (stride, dilation) = (i128::from(stride), i128::from(dilation));
    let out = match pad {
        Padding::Same => n.saturating_mul(stride),
        Padding::Explicit(pad) => {
            let reach = (kernel - 1).saturating_mul(dilation).saturating_add(1);
            let pad = i128::from(pad[2 * i]) + i128::from(pad[2 * i + 1]);
            (n - 1).saturating_mul(stride).saturating_add(reach).saturating_sub(pad)
        }
    };
    ensure!(out > 0, "spatial dimension {i} of {input} would become {out}");
    dims::wide(out, "a spatial dimension")
}
