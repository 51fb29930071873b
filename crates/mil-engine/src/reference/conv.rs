//! Convolution and its transposition, as matrix products over unfolded blocks of positions.

use super::{
    call::{Call, Results, one},
    kernels::{Kernel, computes},
    product::{Matrix, Sizes, Threads, multiply},
    value::{Tensor, filled},
    window::Window,
};
use crate::OpFault;
use rayon::prelude::*;

pub(super) const KERNELS: &[Kernel] = &[computes("conv", conv), computes("conv_transpose", conv_transpose)];

/// Elements of one unfolded block: small enough for the cache of a core and its neighbour.
const BLOCK_ELEMENTS: usize = 1 << 19;

/// Operands of either operation, their channels checked.
struct Operands {
    x: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    n_groups: usize,
    /// Channels of `x` in one group.
    group_in: usize,
    /// Channels of the result in one group.
    group_out: usize,
}

impl Operands {
    /// `weight` is [out, in / groups, …], or [in, out / groups, …] when `transposed`.
    fn read(call: &Call<'_>, transposed: bool) -> Result<Self, OpFault> {
        let (x, weight, bias) = (call.tensor("x")?, call.tensor("weight")?, call.optional("bias")?);
        let n_groups = call.int("groups")?;
        let rule = "x and weight must have one to three spatial dimensions, and channels that the groups divide";
        let fault = || OpFault::shapes(rule, &[x.shape(), weight.shape()]);
        let n_groups = usize::try_from(n_groups).ok().filter(|&g| g > 0).ok_or_else(fault)?;
        if !(3..=5).contains(&x.rank()) || weight.rank() != x.rank() {
            return Err(fault());
        }
        let (c_in, first, second) = (x.shape()[1], weight.shape()[0], weight.shape()[1]);
        let (group_in, group_out) = if transposed { (first / n_groups, second) } else { (second, first / n_groups) };
        if first % n_groups != 0 || group_in.checked_mul(n_groups) != Some(c_in) {
            return Err(fault());
        }
        if bias.as_ref().is_some_and(|b| b.len() != group_out * n_groups) {
            return Err(OpFault::shapes("bias must have one element per output channel", &[weight.shape()]));
        }
        Ok(Self { x, weight, bias, n_groups, group_in, group_out })
    }

    fn add_bias(&self, out: &mut [f32], n_positions: usize) -> Result<(), OpFault> {
        let Some(bias) = &self.bias else { return Ok(()) };
        let bias = bias.floats()?;
        let add = |(i, channel): (usize, &mut [f32])| {
            let b = bias[i % bias.len()];
            channel.iter_mut().for_each(|v| *v += b);
        };
        out.par_chunks_mut(n_positions.max(1)).enumerate().for_each(add);
        Ok(())
    }
}

/// `conv(x, weight, bias, strides, pad_type, pad, dilations, groups)`: cross-correlation.
fn conv(call: &mut Call<'_>) -> Results {
    let ops = Operands::read(call, false)?;
    let window = Window::over(call, &ops.x.shape()[2..], &ops.weight.shape()[2..])?;
    let (n_batch, c_out) = (ops.x.shape()[0], ops.n_groups * ops.group_out);
    let shape = [&[n_batch, c_out], window.output_shape()].concat();
    let mut out = filled(call.count(&shape)?, 0f32)?;
    let (x, weight) = (ops.x.floats()?, ops.weight.floats()?);
    let n_in: usize = window.input.iter().product();
    let n_out: usize = window.output.iter().product();
    let depth = ops.group_in * window.n_taps();
    let block = (BLOCK_ELEMENTS / depth.max(1)).clamp(64, 1 << 16).min(n_out.max(1));
    let mut unfolded = if window.is_pointwise() { Vec::new() } else { filled(depth * block, 0f32)? };
    let slab = ops.group_out * n_out;
    for (i, out) in out.chunks_mut(slab.max(1)).enumerate().take_while(|_| !call.stop.is_set()) {
        let x = &x[i * ops.group_in * n_in..][..ops.group_in * n_in];
        let weight = Matrix::rows(&weight[i % ops.n_groups * ops.group_out * depth..], depth);
        if window.is_pointwise() {
            let sizes = Sizes { m: ops.group_out, n: n_out, k: depth };
            multiply(sizes, weight, Matrix::rows(x, n_out), out, n_out, Threads::All);
            continue;
        }
        for start in (0..n_out).step_by(block).take_while(|_| !call.stop.is_set()) {
            let n = block.min(n_out - start);
            let unfolded = &mut unfolded[..depth * n];
            unfold(&window, x, start, n, unfolded);
            let sizes = Sizes { m: ops.group_out, n, k: depth };
            multiply(sizes, weight, Matrix::rows(unfolded, n), &mut out[start..], n_out, Threads::All);
        }
    }
    ops.add_bias(&mut out, n_out)?;
    one(Tensor::new(shape, out))
}

/// Row (channel, tap), column (position): what that tap reads at `n` positions from `start`.
fn unfold(window: &Window, x: &[f32], start: usize, n: usize, out: &mut [f32]) {
    let (n_taps, n_in) = (window.n_taps(), window.input.iter().product::<usize>());
    let fill = |(row, out): (usize, &mut [f32])| {
        let channel = &x[row / n_taps * n_in..][..n_in];
        let tap = window.tap(row % n_taps);
        for_lines(window, start, out, |line, column, out| read_line(window, channel, tap, line, column, out));
    };
    out.par_chunks_mut(n).with_min_len(8).enumerate().for_each(fill);
}

/// Splits a run of positions that begins at `start` into lines along the last dimension.
fn for_lines<T>(window: &Window, start: usize, mut run: &mut [T], mut f: impl FnMut(usize, usize, &mut [T])) {
    let width = window.output[2];
    let mut at = start;
    while !run.is_empty() {
        let n = (width - at % width).min(run.len());
        let (line, rest) = run.split_at_mut(n);
        f(at / width, at % width, line);
        (run, at) = (rest, at + n);
    }
}

/// What `tap` reads on one line of output positions from `column` on.
fn read_line(window: &Window, channel: &[f32], tap: [usize; 3], line: usize, column: usize, out: &mut [f32]) {
    let (oz, oy) = (line / window.output[1], line % window.output[1]);
    let (Some(z), Some(y)) = (window.source(0, oz, tap[0]), window.source(1, oy, tap[1])) else {
        return out.fill(0.0);
    };
    let [_, height, width] = window.input;
    let row = &channel[(z * height + y) * width..][..width];
    if window.strides[2] != 1 {
        let read = |i: usize| window.source(2, column + i, tap[2]).map_or(0.0, |x| row[x]);
        return out.iter_mut().enumerate().for_each(|(i, o)| *o = read(i));
    }
    // Step 1: padding, then a copy, then padding.
    let reads_at = column + tap[2] * window.dilations[2];
    let lead = window.before[2].saturating_sub(reads_at).min(out.len());
    let from = (reads_at + lead).saturating_sub(window.before[2]).min(width);
    let n = (width - from).min(out.len() - lead);
    out[..lead].fill(0.0);
    out[lead..lead + n].copy_from_slice(&row[from..from + n]);
    out[lead + n..].fill(0.0);
}

/// `conv_transpose(x, weight, bias, pad, output_shape, pad_type, strides, dilations, groups)`: each element of
/// `x` adds its multiple of the kernel to the result.
fn conv_transpose(call: &mut Call<'_>) -> Results {
    let ops = Operands::read(call, true)?;
    let spatial = ops.x.rank() - 2;
    let wanted = call.optional_sizes("output_shape")?;
    if wanted.as_ref().is_some_and(|w| w.len() != spatial + 2) {
        return Err(OpFault::value("output_shape", wanted, "it must have as many elements as x has dimensions"));
    }
    let window =
        Window::transposed(call, &ops.x.shape()[2..], &ops.weight.shape()[2..], wanted.as_ref().map(|w| &w[2..]))?;
    let (n_batch, c_out) = (ops.x.shape()[0], ops.n_groups * ops.group_out);
    let shape = [&[n_batch, c_out], window.input_shape()].concat();
    let mut out = filled(call.count(&shape)?, 0f32)?;
    let (x, weight) = (ops.x.floats()?, ops.weight.floats()?);
    let n_in: usize = window.output.iter().product();
    let n_out: usize = window.input.iter().product();
    let depth = ops.group_out * window.n_taps();
    let block = (BLOCK_ELEMENTS / depth.max(1)).clamp(64, 1 << 16).min(n_in.max(1));
    let mut spread = filled(depth * block, 0f32)?;
    for (i, out) in out.chunks_mut((ops.group_out * n_out).max(1)).enumerate() {
        let x = &x[i * ops.group_in * n_in..][..ops.group_in * n_in];
        let weight = &weight[i % ops.n_groups * ops.group_in * depth..][..ops.group_in * depth];
        for start in (0..n_in).step_by(block).take_while(|_| !call.stop.is_set()) {
            let n = block.min(n_in - start);
            let spread = &mut spread[..depth * n];
            let a = Matrix::rows(weight, depth).transposed();
            let b = Matrix::rows(&x[start..], n_in);
            multiply(Sizes { m: depth, n, k: ops.group_in }, a, b, spread, n, Threads::All);
            fold(&window, spread, start, n, out);
        }
    }
    ops.add_bias(&mut out, n_out)?;
    one(Tensor::new(shape, out))
}

/// Adds row (channel, tap), column (position) to where that tap writes.
fn fold(window: &Window, spread: &mut [f32], start: usize, n: usize, out: &mut [f32]) {
    let (n_taps, n_out) = (window.n_taps(), window.input.iter().product::<usize>());
    if n_out == 0 {
        return;
    }
    let [_, height, width] = window.input;
    out.par_chunks_mut(n_out).zip(spread.par_chunks_mut(n_taps * n)).for_each(|(channel, rows)| {
        for (t, row) in rows.chunks_mut(n).enumerate() {
            let tap = window.tap(t);
            for_lines(window, start, row, |line, column, values| {
                let (iz, iy) = (line / window.output[1], line % window.output[1]);
                let (Some(z), Some(y)) = (window.source(0, iz, tap[0]), window.source(1, iy, tap[1])) else { return };
                for (i, v) in values.iter().enumerate() {
                    if let Some(x) = window.source(2, column + i, tap[2]) {
                        channel[(z * height + y) * width + x] += v;
                    }
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::{counting, eval, f, floats};
    use host_tensor::HostTensor;
    use testkit::{Rng, assert_all_close};

    /// Sizes and steps of one random case with two spatial dimensions.
    struct Case {
        x: HostTensor,
        weight: HostTensor,
        strides: [usize; 2],
        dilations: [usize; 2],
        pad: [usize; 4],
        groups: usize,
    }

    fn small(v: &[usize]) -> Vec<i32> {
        v.iter().map(|&v| v as i32).collect()
    }

    impl Case {
        fn random(rng: &mut Rng, transposed: bool) -> Self {
            let mut pick = |n: usize| 1 + rng.below(n);
            let (groups, gi, go, batch) = (pick(3), pick(3), pick(3), pick(2));
            let (kernel, strides, dilations) = ([pick(3), pick(3)], [pick(3), pick(3)], [pick(2), pick(2)]);
            let size = [4 + pick(6), 4 + pick(6)];
            let pad = if transposed { [0, 1, 1, 0] } else { [pick(3) - 1, pick(3) - 1, pick(3) - 1, pick(3) - 1] };
            let weight = if transposed { [groups * gi, go] } else { [groups * go, gi] };
            let mut tensor = |shape: Vec<usize>| {
                let n = shape.iter().product();
                HostTensor::from_f32(shape, rng.normals(n))
            };
            Self {
                x: tensor(vec![batch, groups * gi, size[0], size[1]]),
                weight: tensor([weight, kernel].concat()),
                strides,
                dilations,
                pad,
                groups,
            }
        }

        /// The convolution by its definition.
        fn naive(&self) -> (Vec<usize>, Vec<f32>) {
            let (x, w) = (self.x.to_f32_vec(), self.weight.to_f32_vec());
            let [n, c, h, wd] = *self.x.shape() else { panic!("rank") };
            let [co, gi, kh, kw] = *self.weight.shape() else { panic!("rank") };
            let size = |i: usize, n: usize, k: usize| {
                (n + self.pad[2 * i] + self.pad[2 * i + 1] - (k - 1) * self.dilations[i] - 1) / self.strides[i] + 1
            };
            let (oh, ow) = (size(0, h, kh), size(1, wd, kw));
            let mut out = Vec::new();
            for (b, o, i, j) in
                (0..n * co * oh * ow).map(|f| (f / (co * oh * ow), f / (oh * ow) % co, f / ow % oh, f % ow))
            {
                let mut sum = 0.0;
                for (ci, ki, kj) in (0..gi * kh * kw).map(|f| (f / (kh * kw), f / kw % kh, f % kw)) {
                    let y = (i * self.strides[0] + ki * self.dilations[0]).wrapping_sub(self.pad[0]);
                    let z = (j * self.strides[1] + kj * self.dilations[1]).wrapping_sub(self.pad[2]);
                    if y < h && z < wd {
                        let channel = o / (co / self.groups) * gi + ci;
                        sum += x[((b * c + channel) * h + y) * wd + z] * w[((o * gi + ci) * kh + ki) * kw + kj];
                    }
                }
                out.push(sum);
            }
            (vec![n, co, oh, ow], out)
        }

        fn conv(&self) -> (Vec<usize>, Vec<f32>) {
            floats!(
                "conv",
                x = self.x.clone(),
                weight = self.weight.clone(),
                strides = small(&self.strides),
                dilations = small(&self.dilations),
                pad_type = "custom",
                pad = small(&self.pad),
                groups = self.groups as i32
            )
        }
    }

    #[test]
    fn convolution_agrees_with_its_definition() {
        let mut rng = Rng::new(17);
        for _ in 0..200 {
            let case = Case::random(&mut rng, false);
            let ((shape, want), (got_shape, got)) = (case.naive(), case.conv());
            assert_eq!(shape, got_shape);
            assert_all_close("conv", &want, &got, 1e-4, 1e-4);
        }
    }

    #[test]
    fn blocks_of_positions_have_no_seams() {
        let mut rng = Rng::new(19);
        let (depth, side) = (BLOCK_ELEMENTS / 9 / 1000 + 1, 61);
        let case = Case {
            x: HostTensor::from_f32([1, depth, side, side], rng.normals(depth * side * side)),
            weight: HostTensor::from_f32([2, depth, 3, 3], rng.normals(2 * depth * 9)),
            strides: [1, 1],
            dilations: [1, 1],
            pad: [1, 1, 1, 1],
            groups: 1,
        };
        assert_all_close("conv", &case.naive().1, &case.conv().1, 1e-3, 1e-3);
    }

    /// ⟨conv(a, w), b⟩ = ⟨a, conv_transpose(b, w)⟩ for every a and b.
    #[test]
    fn transposed_convolution_is_the_adjoint_of_convolution() {
        let mut rng = Rng::new(23);
        for _ in 0..200 {
            let case = Case::random(&mut rng, true);
            let attempt = eval!(
                "conv_transpose",
                x = case.x.clone(),
                weight = case.weight.clone(),
                strides = small(&case.strides),
                dilations = small(&case.dilations),
                pad_type = "custom",
                pad = small(&case.pad),
                groups = case.groups as i32
            );
            let got = attempt.unwrap().remove(0);
            let a = HostTensor::from_f32(got.shape(), rng.normals(got.len()));
            let forward = Case { x: a.clone(), weight: case.weight.clone(), ..case };
            let (shape, conv) = forward.conv();
            assert_eq!(shape, case.x.shape());
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let (left, right) = (dot(&conv, &case.x.to_f32_vec()), dot(&a.to_f32_vec(), &got.to_f32_vec()));
            assert!((left - right).abs() < 1e-3 * (1.0 + left.abs()), "{left} against {right}");
        }
    }

    #[test]
    fn padding_same_keeps_the_size_and_puts_the_odd_element_where_it_says() {
        let (x, w) = (counting([1, 1, 4]), f([1, 1, 2], &[1., 10.]));
        let same = floats!("conv", x = x.clone(), weight = w.clone(), pad_type = "same");
        assert_eq!(same, (vec![1, 1, 4], vec![10., 21., 32., 3.]));
        let lower = floats!("conv", x = x.clone(), weight = w.clone(), pad_type = "same_lower");
        assert_eq!(lower, (vec![1, 1, 4], vec![0., 10., 21., 32.]));
        assert_eq!(
            floats!("conv", x = x, weight = w, pad_type = "same", strides = [3]),
            (vec![1, 1, 2], vec![10., 3.])
        );
    }

    #[test]
    fn three_spatial_dimensions_and_a_bias() {
        let got = floats!(
            "conv",
            x = counting([1, 1, 2, 2, 2]),
            weight = f([2, 1, 2, 2, 2], &[1.; 16]),
            bias = f([2], &[0., 5.])
        );
        assert_eq!(got, (vec![1, 2, 1, 1, 1], vec![28., 33.]));
    }

    #[test]
    fn transposed_convolution_takes_its_size_from_the_caller() {
        let (x, w) = (f([1, 1, 2], &[1., 2.]), f([1, 1, 2], &[1., 10.]));
        let got = floats!("conv_transpose", x = x.clone(), weight = w.clone(), strides = [2], output_shape = [1, 1, 5]);
        assert_eq!(got, (vec![1, 1, 5], vec![1., 10., 2., 20., 0.]));
        let got = floats!(
            "conv_transpose",
            x = x.clone(),
            weight = w.clone(),
            strides = [2],
            pad_type = "same",
            bias = f([1], &[1.])
        );
        assert_eq!(got, (vec![1, 1, 4], vec![2., 11., 3., 21.]));
    }

    #[test]
    fn hostile_sizes_are_faults() {
        let (x, w) = (|| counting([1, 2, 4, 4]), || counting([2, 2, 3, 3]));
        assert!(matches!(eval!("conv", x = x(), weight = w(), groups = 3), Err(OpFault::Shapes { .. })));
        assert!(matches!(eval!("conv", x = x(), weight = w(), groups = 0), Err(OpFault::Shapes { .. })));
        assert!(matches!(eval!("conv", x = x(), weight = w(), strides = [0, 1]), Err(OpFault::Value { .. })));
        assert!(matches!(eval!("conv", x = x(), weight = w(), dilations = [i32::MAX, 1]), Err(OpFault::Shapes { .. })));
        let pad = [i32::MAX; 4];
        assert!(matches!(
            eval!("conv", x = x(), weight = w(), pad_type = "custom", pad = pad),
            Err(OpFault::TooLarge { .. })
        ));
        assert!(matches!(eval!("conv", x = counting([1, 2, 4]), weight = w()), Err(OpFault::Shapes { .. })));
    }
}
