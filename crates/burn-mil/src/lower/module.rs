//! Layers that Burn records whole: convolutions, normalisations, embeddings.

use burn::backend::ir::{BatchNormOpIr, EmbeddingOpIr, LayerNormOpIr, LinearOpIr, ModuleOperationIr, TensorIr};
use mil::{Bound, ValueId};

use super::{Failure, Lowerer, axis, dims};

/// A convolution of any rank.
struct Conv<'a> {
    x: &'a TensorIr,
    weight: &'a TensorIr,
    bias: Option<&'a TensorIr>,
    out: &'a TensorIr,
    stride: &'a [usize],
    /// Before and after, for each spatial axis.
    padding: Vec<(usize, usize)>,
    dilation: &'a [usize],
    groups: usize,
}

/// Burn has a type for each rank, with the same fields.
macro_rules! conv {
    ($op:ident, $padding:expr) => {
        Conv {
            x: &$op.x,
            weight: &$op.weight,
            bias: $op.bias.as_ref(),
            out: &$op.out,
            stride: &$op.options.stride,
            padding: $padding,
            dilation: &$op.options.dilation,
            groups: $op.options.groups,
        }
    };
}

impl Lowerer<'_, '_> {
    pub(super) fn module(&mut self, op: &ModuleOperationIr) -> Result<(), Failure> {
        use ModuleOperationIr as Op;
        match op {
            Op::Embedding(op) => self.embedding(op),
            Op::Linear(op) => self.dynamic_linear(op),
            Op::LayerNorm(op) => self.layer_norm(op),
            Op::BatchNorm(op) => self.batch_norm(op),
            Op::Attention(op) => self.attention(op),
            Op::Interpolate(op) => self.interpolate(op),
            Op::Conv1d(op) => self.conv(&conv!(op, op.options.padding.to_vec())),
            Op::Conv2d(op) => self.conv(&conv!(op, op.options.padding.to_vec())),
            Op::Conv3d(op) => self.conv(&conv!(op, symmetric(&op.options.padding))),
            Op::ConvTranspose1d(op) => {
                self.conv_transpose(&conv!(op, symmetric(&op.options.padding)), &op.options.padding_out)
            }
            Op::ConvTranspose2d(op) => {
                self.conv_transpose(&conv!(op, symmetric(&op.options.padding)), &op.options.padding_out)
            }
            pool => self.pool(pool),
        }
    }

    fn embedding(&mut self, op: &EmbeddingOpIr) -> Result<(), Failure> {
        let (x, indices) = (self.value(&op.weights)?, self.value(&op.indices)?);
        let value = self.emit("gather", [("x", x.into()), ("indices", indices.into()), ("axis", 0.into())])?;
        self.bind(&op.out, value)
    }

    /// A product whose matrix is computed; static ones are [`crate::plan::LinearNode`].
    fn dynamic_linear(&mut self, op: &LinearOpIr) -> Result<(), Failure> {
        let (x, weight) = (self.value(&op.x)?, self.value(&op.weight)?);
        let args =
            [("x", x.into()), ("y", weight.into()), ("transpose_x", false.into()), ("transpose_y", false.into())];
        let mut value = self.emit("matmul", args)?;
        if let Some(bias) = &op.bias {
            let bias = self.value(bias)?;
            value = self.emit("add", [("x", value.into()), ("y", bias.into())])?;
        }
        self.bind(&op.out, value)
    }

    /// Burn normalises over the last axis.
    fn layer_norm(&mut self, op: &LayerNormOpIr) -> Result<(), Failure> {
        let last = op.input.shape.num_dims().saturating_sub(1);
        let (x, gamma) = (self.value(&op.input)?, self.value(&op.gamma)?);
        let mut args = vec![("x", x.into()), ("axes", dims(&[last])?), ("gamma", gamma.into())];
        if let Some(beta) = &op.beta {
            args.push(("beta", self.value(beta)?.into()));
        }
        args.push(("epsilon", self.scalar(op.epsilon, &op.input)?));
        let values = self.emit_many("layer_norm", args)?;
        self.bind(&op.out, values[0])
    }

    fn batch_norm(&mut self, op: &BatchNormOpIr) -> Result<(), Failure> {
        let args = [
            ("x", self.value(&op.x)?.into()),
            ("mean", self.value(&op.mean)?.into()),
            ("variance", self.value(&op.variance)?.into()),
            ("gamma", self.value(&op.gamma)?.into()),
            ("beta", self.value(&op.beta)?.into()),
            ("epsilon", self.scalar(op.epsilon, &op.x)?),
        ];
        let value = self.emit("batch_norm", args)?;
        self.bind(&op.out, value)
    }

    fn conv(&mut self, conv: &Conv<'_>) -> Result<(), Failure> {
        let args = self.conv_arguments(conv)?;
        let values = self.emit_many("conv", args)?;
        self.bind(conv.out, values[0])
    }

    fn conv_transpose(&mut self, conv: &Conv<'_>, padding_out: &[usize]) -> Result<(), Failure> {
        let mut args = self.conv_arguments(conv)?;
        if padding_out.iter().any(|n| *n != 0) {
            args.push(("output_shape", dims(&conv.out.shape)?));
        }
        let values = self.emit_many("conv_transpose", args)?;
        self.bind(conv.out, values[0])
    }

    fn conv_arguments(&mut self, conv: &Conv<'_>) -> Result<Vec<(&'static str, Bound)>, Failure> {
        let (x, weight): (ValueId, ValueId) = (self.value(conv.x)?, self.value(conv.weight)?);
        let mut args = vec![("x", x.into()), ("weight", weight.into())];
        if let Some(bias) = conv.bias {
            args.push(("bias", self.value(bias)?.into()));
        }
        args.extend(window_arguments(conv.stride, &conv.padding)?);
        args.extend([("dilations", dims(conv.dilation)?), ("groups", axis(conv.groups)?.into())]);
        Ok(args)
    }
}

/// The same padding before and after.
pub(super) fn symmetric(padding: &[usize]) -> Vec<(usize, usize)> {
    padding.iter().map(|&n| (n, n)).collect()
}

/// `strides`, `pad_type` and `pad`, which convolutions and pooling share.
pub(super) fn window_arguments(
    stride: &[usize],
    padding: &[(usize, usize)],
) -> Result<[(&'static str, Bound); 3], Failure> {
    let flat: Vec<usize> = padding.iter().flat_map(|&(before, after)| [before, after]).collect();
    let kind = if flat.iter().all(|n| *n == 0) { "valid" } else { "custom" };
    Ok([("strides", dims(stride)?), ("pad_type", kind.into()), ("pad", dims(&flat)?)])
}
