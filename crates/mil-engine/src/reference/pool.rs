//! Pooling: the mean or the maximum of a window.

use super::{
    call::{Call, Results, one},
    kernels::{Kernel, computes, moves},
    value::{Tensor, filled},
    window::Window,
};
use crate::OpFault;
use rayon::prelude::*;

pub(super) const KERNELS: &[Kernel] = &[computes("avg_pool", avg_pool), moves("max_pool", max_pool)];

/// The mean of each window. Padding counts as zeros, unless `exclude_padding_from_average` leaves it out.
fn avg_pool(call: &mut Call<'_>) -> Results {
    let exclude = call.flag("exclude_padding_from_average")?;
    pool(call, |window, position, values| {
        let mut sum = 0f64;
        let mut n = 0usize;
        values(&mut |v| {
            sum += f64::from(v);
            n += 1;
        });
        let count = if exclude { n } else { padded_taps(window, position) };
        (sum / count as f64) as f32
    })
}

/// The largest element of each window; padding is never it.
fn max_pool(call: &mut Call<'_>) -> Results {
    pool(call, |_, _, values| {
        let mut max = f32::NEG_INFINITY;
        values(&mut |v| max = if v > max || v.is_nan() { v } else { max });
        max
    })
}

/// Taps that lie in the input or its padding; with `ceil_mode` a window may reach beyond both.
fn padded_taps(window: &Window, position: [usize; 3]) -> usize {
    let along = |i: usize| {
        let end = window.input[i] + window.before[i] + window.after[i];
        end.saturating_sub(position[i] * window.strides[i]).min(window.kernel[i])
    };
    along(0) * along(1) * along(2)
}

/// Passes every element of a window to a function.
type Values<'a> = &'a dyn Fn(&mut dyn FnMut(f32));

fn pool(call: &mut Call<'_>, f: impl Fn(&Window, [usize; 3], Values<'_>) -> f32 + Sync) -> Results {
    let x = call.take("x")?;
    let kernel = call.sizes("kernel_sizes")?;
    if !(3..=5).contains(&x.rank()) || kernel.len() != x.rank() - 2 {
        return Err(OpFault::shapes(
            "kernel_sizes must have an element per spatial dimension of x",
            &[x.shape(), &kernel],
        ));
    }
    let window = Window::pooled(call, &x.shape()[2..], &kernel)?;
    let shape = [&x.shape()[..2], window.output_shape()].concat();
    let mut out = filled(call.count(&shape)?, 0f32)?;
    let values = x.floats()?;
    let n_in: usize = window.input.iter().product();
    let n_out: usize = window.output.iter().product();
    out.par_chunks_mut(n_out.max(1)).enumerate().for_each(|(i, out)| {
        let channel = &values[i * n_in..][..n_in];
        for (at, o) in out.iter_mut().enumerate() {
            let [_, height, width] = window.output;
            let position = [at / (height * width), at / width % height, at % width];
            *o = f(&window, position, &|visit| visit_window(&window, channel, position, visit));
        }
    });
    one(Tensor::new(shape, out))
}

fn visit_window(window: &Window, channel: &[f32], position: [usize; 3], visit: &mut dyn FnMut(f32)) {
    let [_, height, width] = window.input;
    let taps = |i: usize| window.taps(i, position[i]).filter_map(move |k| window.source(i, position[i], k));
    for z in taps(0) {
        for y in taps(1) {
            for x in taps(2) {
                visit(channel[(z * height + y) * width + x]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::reference::testing::{counting, eval, f, floats};

    #[test]
    fn windows_are_averaged_with_or_without_their_padding() {
        let x = || counting([1, 1, 2, 2]);
        let pad = [1, 0, 1, 0];
        let got = floats!("avg_pool", x = x(), kernel_sizes = [2, 2], pad_type = "custom", pad = pad);
        assert_eq!(got, (vec![1, 1, 2, 2], vec![0., 0.25, 0.5, 1.5]));
        let got = floats!(
            "avg_pool",
            x = x(),
            kernel_sizes = [2, 2],
            pad_type = "custom",
            pad = pad,
            exclude_padding_from_average = true
        );
        assert_eq!(got.1, [0., 0.5, 1., 1.5]);
    }

    #[test]
    fn padding_is_never_the_maximum() {
        let x = f([1, 1, 3], &[-5., -1., -3.]);
        let got = floats!("max_pool", x = x, kernel_sizes = [2], strides = [2], pad_type = "same");
        assert_eq!(got, (vec![1, 1, 2], vec![-1., -3.]));
    }

    #[test]
    fn ceil_mode_adds_a_window_that_overhangs() {
        let x = || counting([1, 1, 5]);
        let got = floats!("max_pool", x = x(), kernel_sizes = [2], strides = [2], pad_type = "valid", ceil_mode = true);
        assert_eq!(got, (vec![1, 1, 3], vec![1., 3., 4.]));
        let got = floats!("avg_pool", x = x(), kernel_sizes = [2], strides = [2], pad_type = "valid", ceil_mode = true);
        assert_eq!(got.1, [0.5, 2.5, 4.]);
        // A window that would begin in the padding behind the input is left out.
        let got = floats!(
            "max_pool",
            x = x(),
            kernel_sizes = [1],
            strides = [3],
            pad_type = "custom",
            pad = [1, 1],
            ceil_mode = true
        );
        assert_eq!(got.0, [1, 1, 2]);
    }

    #[test]
    fn a_window_larger_than_the_input_is_a_fault() {
        assert!(eval!("max_pool", x = counting([1, 1, 2]), kernel_sizes = [3], pad_type = "valid").is_err());
        assert!(eval!("max_pool", x = counting([1, 1, 2]), kernel_sizes = [0], pad_type = "valid").is_err());
    }
}
