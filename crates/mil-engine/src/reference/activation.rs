//! Activation functions, `softmax` among them.

use super::{
    call::{Call, Results, one},
    elementwise_unary::float,
    kernels::{Kernel, computes},
    value::{PARALLEL_ELEMENTS, filled},
};
use crate::OpFault;
use rayon::prelude::*;
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

pub(super) const KERNELS: &[Kernel] = &[
    computes("gelu", gelu),
    computes("leaky_relu", leaky_relu),
    computes("relu", |c| float(c, |x| if x < 0.0 { 0.0 } else { x })),
    computes("relu6", |c| float(c, |x| if x < 0.0 { 0.0 } else { x.min(6.0) })),
    computes("sigmoid", |c| float(c, sigmoid)),
    computes("silu", |c| float(c, |x| x * sigmoid(x))),
    computes("softmax", softmax),
    computes("tanh", |c| float(c, f32::tanh)),
];

/// 1 / (1 + e⁻ˣ).
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn leaky_relu(call: &mut Call<'_>) -> Results {
    let alpha = call.float("alpha")?;
    float(call, |x| if x < 0.0 { alpha * x } else { x })
}

fn gelu(call: &mut Call<'_>) -> Results {
    let mode = call.text("mode")?;
    let root = FRAC_2_PI.sqrt();
    match mode {
        "EXACT" => float(call, |x| 0.5 * x * (1.0 + libm::erff(x * FRAC_1_SQRT_2))),
        "TANH_APPROXIMATION" => float(call, |x| 0.5 * x * (1.0 + (root * (x + 0.044_715 * x * x * x)).tanh())),
        "SIGMOID_APPROXIMATION" => float(call, |x| x * sigmoid(1.702 * x)),
        _ => Err(OpFault::value("mode", mode, "it must be EXACT, TANH_APPROXIMATION or SIGMOID_APPROXIMATION")),
    }
}

/// `softmax(x, axis)`: the maximum is subtracted first, so that nothing overflows.
fn softmax(call: &mut Call<'_>) -> Results {
    let mut x = call.take("x")?;
    let axis = call.axis("axis", x.rank())?;
    let shape = x.shape().to_vec();
    let inner: usize = shape[axis + 1..].iter().product();
    let slab = shape[axis] * inner;
    if x.len() == 0 {
        return one(x);
    }
    let n = x.len();
    let values = x.floats_mut()?;
    if inner == 1 {
        let rows = |chunk: &mut [f32]| chunk.chunks_mut(slab).for_each(softmax_row);
        if n < PARALLEL_ELEMENTS {
            rows(values);
        } else {
            values.par_chunks_mut(slab * (PARALLEL_ELEMENTS / 4).div_ceil(slab)).for_each(rows);
        }
    } else {
        let scratch = filled(inner, 0.0f32)?;
        values.par_chunks_mut(slab).for_each(|slab| softmax_columns(slab, inner, scratch.clone()));
    }
    one(x)
}

/// Softmax of one contiguous row.
pub(super) fn softmax_row(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0f64;
    for v in row.iter_mut() {
        *v = (*v - max).exp();
        sum += f64::from(*v);
    }
    let scale = (1.0 / sum) as f32;
    row.iter_mut().for_each(|v| *v *= scale);
}

/// Softmax down the columns of a slab whose rows have `inner` elements.
fn softmax_columns(slab: &mut [f32], inner: usize, mut max: Vec<f32>) {
    max.fill(f32::NEG_INFINITY);
    for row in slab.chunks(inner) {
        max.iter_mut().zip(row).for_each(|(m, &v)| *m = m.max(v));
    }
    let mut sum = vec![0f64; inner];
    for row in slab.chunks_mut(inner) {
        for ((v, m), s) in row.iter_mut().zip(&max).zip(&mut sum) {
            *v = (*v - m).exp();
            *s += f64::from(*v);
        }
    }
    let scale: Vec<f32> = sum.iter().map(|s| (1.0 / s) as f32).collect();
    for row in slab.chunks_mut(inner) {
        row.iter_mut().zip(&scale).for_each(|(v, s)| *v *= s);
    }
}

/// The tensor after `softmax_row` on each row; for kernels that softmax inside.
#[cfg(test)]
fn softmax_of(t: &super::value::Tensor) -> Vec<f32> {
    let mut v = t.floats().expect("floats").to_vec();
    v.chunks_mut(t.shape()[t.rank() - 1]).for_each(softmax_row);
    v
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::{eval, f, floats};
    use host_tensor::HostTensor;
    use testkit::{Rng, assert_all_close};

    #[test]
    fn softmax_of_large_values_does_not_overflow() {
        assert_eq!(floats!("softmax", x = f([2], &[1000., 1000.])).1, [0.5, 0.5]);
        let got = floats!("softmax", x = f([2], &[0., 3f32.ln()])).1;
        assert_all_close("softmax", &[0.25, 0.75], &got, 1e-6, 0.0);
    }

    #[test]
    fn softmax_along_any_axis_is_softmax_of_the_transposed() {
        let x = HostTensor::from_f32([2, 5, 3], Rng::new(3).normals(30));
        let moved = eval!("transpose", x = x.clone(), perm = [0, 2, 1]).unwrap().remove(0);
        let rows = HostTensor::from_f32([2, 3, 5], softmax_of(&super::super::value::Tensor::from_host(&moved)));
        let (_, want) = floats!("transpose", x = rows, perm = [0, 2, 1]);
        let (_, got) = floats!("softmax", x = x, axis = 1);
        assert_all_close("softmax", &want, &got, 1e-6, 0.0);
    }

    #[test]
    fn large_softmax_rows_sum_to_one() {
        let x = HostTensor::from_f32([300, 257], Rng::new(5).normals(300 * 257));
        let (_, got) = floats!("softmax", x = x, axis = -1);
        assert!(got.chunks(257).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    }

    #[test]
    fn the_three_forms_of_gelu() {
        let x = || f([3], &[-1.0, 0.0, 2.0]);
        // The formulas in double precision, by Python 3.11.
        let close = |got: Vec<f32>, want: [f32; 3]| assert_all_close("gelu", &want, &got, 2e-6, 0.0);
        close(floats!("gelu", x = x()).1, [-0.158_655_25, 0.0, 1.954_499_7]);
        close(floats!("gelu", x = x(), mode = "TANH_APPROXIMATION").1, [-0.158_808_01, 0.0, 1.954_597_7]);
        close(floats!("gelu", x = x(), mode = "SIGMOID_APPROXIMATION").1, [-0.154_204_23, 0.0, 1.935_658_6]);
        assert!(eval!("gelu", x = x(), mode = "exact").is_err());
    }

    #[test]
    fn silu_is_finite_at_both_ends() {
        let (_, got) = floats!("silu", x = f([3], &[-1e30, 0.0, 1e30]));
        assert_eq!(got, [-0.0, 0.0, 1e30]);
    }

    #[test]
    fn kinked_activations() {
        let x = || f([3], &[-2., 0.5, 9.]);
        assert_eq!(floats!("relu", x = x()).1, [0., 0.5, 9.]);
        assert_eq!(floats!("relu6", x = x()).1, [0., 0.5, 6.]);
        assert_eq!(floats!("leaky_relu", x = x(), alpha = 0.5).1, [-1., 0.5, 9.]);
    }
}
