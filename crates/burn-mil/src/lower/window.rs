//! Pooling.

use burn::backend::ir::{ModuleOperationIr, TensorIr};

use super::module::{symmetric, window_arguments};
use super::{Failure, Lowerer, dims};

/// A pooling window of any rank.
struct Window<'a> {
    x: &'a TensorIr,
    out: &'a TensorIr,
    kernel: &'a [usize],
    stride: &'a [usize],
    padding: &'a [usize],
    ceil_mode: bool,
}

impl Lowerer<'_, '_> {
    pub(super) fn pool(&mut self, op: &ModuleOperationIr) -> Result<(), Failure> {
        use ModuleOperationIr as Op;
        match op {
            Op::AvgPool1d(op) => {
                let (kernel, stride, padding) = ([op.kernel_size], [op.stride], [op.padding]);
                let window = window(&op.x, &op.out, &kernel, &stride, &padding, op.ceil_mode);
                self.avg_pool(&window, op.count_include_pad)
            }
            Op::AvgPool2d(op) => {
                let window = window(&op.x, &op.out, &op.kernel_size, &op.stride, &op.padding, op.ceil_mode);
                self.avg_pool(&window, op.count_include_pad)
            }
            Op::AdaptiveAvgPool1d(op) => self.adaptive_avg_pool(&op.x, &op.out),
            Op::AdaptiveAvgPool2d(op) => self.adaptive_avg_pool(&op.x, &op.out),
            Op::MaxPool1d(op) => {
                require_undilated(&[op.dilation])?;
                let (kernel, stride, padding) = ([op.kernel_size], [op.stride], [op.padding]);
                self.max_pool(&window(&op.x, &op.out, &kernel, &stride, &padding, op.ceil_mode))
            }
            Op::MaxPool2d(op) => {
                require_undilated(&op.dilation)?;
                self.max_pool(&window(&op.x, &op.out, &op.kernel_size, &op.stride, &op.padding, op.ceil_mode))
            }
            Op::MaxPool1dWithIndices(_) | Op::MaxPool2dWithIndices(_) => {
                Err(Failure::Unsupported("max pooling without indices"))
            }
            Op::DeformableConv2d(_) => Err(Failure::Unsupported("a plain convolution")),
            Op::ConvTranspose3d(_) => Err(Failure::Unsupported("a transposed convolution of one or two dimensions")),
            Op::Unfold4d(_) => Err(Failure::Unsupported("a convolution with a fixed kernel")),
            _ => Err(Failure::Unsupported(
                "linear, convolution, pooling, normalisation, embedding, attention or interpolation, forward only",
            )),
        }
    }

    fn avg_pool(&mut self, window: &Window<'_>, count_padding: bool) -> Result<(), Failure> {
        let x = self.value(window.x)?;
        let mut args = vec![("x", x.into()), ("kernel_sizes", dims(window.kernel)?)];
        args.extend(window_arguments(window.stride, &symmetric(window.padding))?);
        let exclude = !count_padding;
        args.extend([("exclude_padding_from_average", exclude.into()), ("ceil_mode", window.ceil_mode.into())]);
        let values = self.emit_many("avg_pool", args)?;
        self.bind(window.out, values[0])
    }

    fn max_pool(&mut self, window: &Window<'_>) -> Result<(), Failure> {
        let x = self.value(window.x)?;
        let mut args = vec![("x", x.into()), ("kernel_sizes", dims(window.kernel)?)];
        args.extend(window_arguments(window.stride, &symmetric(window.padding))?);
        args.push(("ceil_mode", window.ceil_mode.into()));
        let values = self.emit_many("max_pool", args)?;
        self.bind(window.out, values[0])
    }

    /// Windows of equal size, if the output divides the input; a mean over all if it is one element.
    fn adaptive_avg_pool(&mut self, x: &TensorIr, out: &TensorIr) -> Result<(), Failure> {
        let spatial: Vec<usize> = (2..x.shape.num_dims()).collect();
        if spatial.iter().all(|&at| out.shape[at] == 1) {
            let value = self.value(x)?;
            let args = [("x", value.into()), ("axes", dims(&spatial)?), ("keep_dims", true.into())];
            let value = self.emit("reduce_mean", args)?;
            return self.bind(out, value);
        }
        if spatial.iter().any(|&at| !x.shape[at].is_multiple_of(out.shape[at])) {
            return Err(Failure::Unsupported("adaptive pooling to a size that divides the input"));
        }
        let kernel: Vec<usize> = spatial.iter().map(|&at| x.shape[at] / out.shape[at]).collect();
        let padding = vec![0; kernel.len()];
        self.avg_pool(&window(x, out, &kernel, &kernel, &padding, false), true)
    }
}

fn window<'a>(
    x: &'a TensorIr,
    out: &'a TensorIr,
    kernel: &'a [usize],
    stride: &'a [usize],
    padding: &'a [usize],
    ceil_mode: bool,
) -> Window<'a> {
    Window { x, out, kernel, stride, padding, ceil_mode }
}

fn require_undilated(dilation: &[usize]) -> Result<(), Failure> {
    match dilation.iter().all(|n| *n == 1) {
        true => Ok(()),
        false => Err(Failure::Unsupported("max pooling with dilation 1")),
    }
}
