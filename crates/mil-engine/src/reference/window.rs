//! How a window slides over an image: the geometry that convolution and pooling share.

use super::call::Call;
use crate::OpFault;

/// Sizes and steps of a sliding window, with one to three spatial dimensions brought to three.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) kernel: [usize; 3],
    pub(super) strides: [usize; 3],
    pub(super) dilations: [usize; 3],
    /// Padding before each dimension.
    pub(super) before: [usize; 3],
    /// Padding behind each dimension.
    pub(super) after: [usize; 3],
    pub(super) input: [usize; 3],
    pub(super) output: [usize; 3],
    n_dims: usize,
}

/// Strides, dilations and paddings beyond this are refused, so that positions never overflow.
const MAX_STEP: usize = 1 << 31;

impl Window {
    /// Reads `strides` and `dilations`, without sizes of the output.
    fn steps(call: &Call<'_>, n_dims: usize) -> Result<Self, OpFault> {
        Ok(Self { dilations: spread(call, "dilations", n_dims)?, ..Self::dense_steps(call, n_dims)? })
    }

    /// Reads `strides`, for windows that skip nothing.
    fn dense_steps(call: &Call<'_>, n_dims: usize) -> Result<Self, OpFault> {
        let strides = spread(call, "strides", n_dims)?;
        let zeros = [0; 3];
        Ok(Self {
            kernel: [1; 3],
            strides,
            dilations: [1; 3],
            before: zeros,
            after: zeros,
            input: [1; 3],
            output: [1; 3],
            n_dims,
        })
    }

    /// The window of a convolution over `input`.
    pub(super) fn over(call: &Call<'_>, input: &[usize], kernel: &[usize]) -> Result<Self, OpFault> {
        Self::steps(call, input.len())?.placed(call, input, kernel, false)
    }

    /// The window of a pooling over `input`; `ceil_mode` rounds the number of positions up.
    pub(super) fn pooled(call: &Call<'_>, input: &[usize], kernel: &[usize]) -> Result<Self, OpFault> {
        Self::dense_steps(call, input.len())?.placed(call, input, kernel, call.flag("ceil_mode")?)
    }

    fn placed(self, call: &Call<'_>, input: &[usize], kernel: &[usize], ceil: bool) -> Result<Self, OpFault> {
        let mut w = self;
        (w.input, w.kernel) = (widen(input), widen(kernel));
        let pads = Pads::read(call, input.len())?;
        for i in 0..3 {
            let stride = w.strides[i];
            let total =
                w.input[i].div_ceil(stride).saturating_sub(1).saturating_mul(stride).saturating_add(w.reach(i)?);
            (w.before[i], w.after[i]) = pads.of(i, total.saturating_sub(w.input[i]));
            w.output[i] = w.positions(i, ceil)?;
        }
        Ok(w)
    }

    /// The window of a transposed convolution: its result is the window's input, its operand `x` the output.
    pub(super) fn transposed(
        call: &Call<'_>,
        x: &[usize],
        kernel: &[usize],
        result: Option<&[usize]>,
    ) -> Result<Self, OpFault> {
        let mut w = Self::steps(call, x.len())?;
        (w.output, w.kernel) = (widen(x), widen(kernel));
        let pads = Pads::read(call, x.len())?;
        for i in 0..3 {
            let full = w.output[i].saturating_sub(1).saturating_mul(w.strides[i]).saturating_add(w.reach(i)?);
            let result = result.map(widen);
            w.input[i] = match (result, &pads) {
                (Some(size), _) => size[i],
                (None, Pads::Same { .. }) => w.output[i].saturating_mul(w.strides[i]),
                (None, Pads::Explicit { before, after }) => {
                    full.checked_sub(before[i] + after[i]).ok_or_else(|| {
                        OpFault::value("pad", [before[i], after[i]], "it must leave something of the result")
                    })?
                }
            };
            (w.before[i], w.after[i]) = pads.of(i, full.saturating_sub(w.input[i]));
        }
        Ok(w)
    }

    /// How far the window extends along dimension `i`.
    fn reach(&self, i: usize) -> Result<usize, OpFault> {
        let taps = self.kernel[i].checked_sub(1).ok_or_else(|| OpFault::value("kernel", self.kernel, "it is empty"))?;
        Ok(taps.saturating_mul(self.dilations[i]).saturating_add(1))
    }

    fn positions(&self, i: usize, ceil: bool) -> Result<usize, OpFault> {
        let (stride, pad) = (self.strides[i], self.before[i] + self.after[i]);
        let padded = self.input[i].saturating_add(pad);
        let room = padded.checked_sub(self.reach(i)?).ok_or_else(|| OpFault::Shapes {
            rule: "the window must fit into the padded input",
            shapes: vec![self.input.to_vec(), self.kernel.to_vec()],
        })?;
        let mut n = (room + if ceil { stride - 1 } else { 0 }) / stride + 1;
        // The last window begins inside of the input or the padding before it.
        if ceil && pad > 0 && (n - 1) * stride >= self.input[i] + self.before[i] {
            n -= 1;
        }
        Ok(n)
    }

    /// The spatial part of the output's shape.
    pub(super) fn output_shape(&self) -> &[usize] {
        &self.output[3 - self.n_dims..]
    }

    /// The spatial part of the input's shape.
    pub(super) fn input_shape(&self) -> &[usize] {
        &self.input[3 - self.n_dims..]
    }

    /// Taps of the kernel.
    pub(super) fn n_taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Where tap `k` of output position `o` reads along dimension `i`; `None` in the padding.
    pub(super) fn source(&self, i: usize, o: usize, k: usize) -> Option<usize> {
        (o * self.strides[i] + k * self.dilations[i]).checked_sub(self.before[i]).filter(|&at| at < self.input[i])
    }

    /// The taps of output position `o` along dimension `i` that do not lie in the padding.
    pub(super) fn taps(&self, i: usize, o: usize) -> std::ops::Range<usize> {
        let (at, dilation) = (o * self.strides[i], self.dilations[i]);
        let first = self.before[i].saturating_sub(at).div_ceil(dilation);
        let end = (self.before[i] + self.input[i]).saturating_sub(at).div_ceil(dilation).min(self.kernel[i]);
        first.min(end)..end
    }

    /// The tap with this number, as positions in the kernel.
    pub(super) const fn tap(&self, n: usize) -> [usize; 3] {
        let [_, h, w] = self.kernel;
        [n / (h * w), n / w % h, n % w]
    }

    /// True when every output position reads exactly the input position of the same number.
    pub(super) fn is_pointwise(&self) -> bool {
        self.n_taps() == 1 && self.strides == [1; 3] && self.before == [0; 3] && self.input == self.output
    }
}

/// How much padding there is.
enum Pads {
    /// As much as makes the output `ceil(input / stride)`; an odd element stands behind or, when `lower`, before.
    Same {
        lower: bool,
    },
    Explicit {
        before: [usize; 3],
        after: [usize; 3],
    },
}

impl Pads {
    fn read(call: &Call<'_>, n_dims: usize) -> Result<Self, OpFault> {
        let name = call.text("pad_type")?;
        let (mut before, mut after) = ([0; 3], [0; 3]);
        match name {
            "same" => return Ok(Self::Same { lower: false }),
            "same_lower" => return Ok(Self::Same { lower: true }),
            "valid" => {}
            "custom" => {
                let pad = call.sizes_for("pad", 2 * n_dims)?;
                if pad.len() != 2 * n_dims || pad.iter().any(|&p| p > MAX_STEP) {
                    return Err(OpFault::value("pad", pad, "it must have two moderate elements per spatial dimension"));
                }
                for (i, p) in pad.chunks(2).enumerate() {
                    (before[3 - n_dims + i], after[3 - n_dims + i]) = (p[0], p[1]);
                }
            }
            _ => return Err(OpFault::value("pad_type", name, "it must be valid, same, same_lower or custom")),
        }
        Ok(Self::Explicit { before, after })
    }

    /// Padding of dimension `i`, of which `same` needs `total`.
    const fn of(&self, i: usize, total: usize) -> (usize, usize) {
        match self {
            Self::Same { lower: false } => (total / 2, total - total / 2),
            Self::Same { lower: true } => (total - total / 2, total / 2),
            Self::Explicit { before, after } => (before[i], after[i]),
        }
    }
}

/// Sizes of one to three dimensions as three, ones before.
fn widen(sizes: &[usize]) -> [usize; 3] {
    let mut wide = [1; 3];
    wide[3 - sizes.len()..].copy_from_slice(sizes);
    wide
}

/// A parameter with one positive integer per spatial dimension.
fn spread(call: &Call<'_>, param: &str, n_dims: usize) -> Result<[usize; 3], OpFault> {
    let given = call.sizes_for(param, n_dims)?;
    if given.len() != n_dims || given.iter().any(|&v| v == 0 || v > MAX_STEP) {
        return Err(OpFault::value(param, given, "it must have one moderate positive element per spatial dimension"));
    }
    Ok(widen(&given))
}
