//! Normalizations; means and variances are accumulated in `f64`, variances are biased.

use super::{
    call::{Call, Results, one},
    kernels::{Kernel, computes},
    layout::transpose,
    value::{PARALLEL_ELEMENTS, Tensor},
};
use crate::OpFault;
use rayon::prelude::*;

pub(super) const KERNELS: &[Kernel] = &[
    computes("batch_norm", batch_norm),
    computes("instance_norm", instance_norm),
    computes("l2_norm", l2_norm),
    computes("layer_norm", layer_norm),
];

/// Calls `f` with the number of each row and the row, on several threads when there is much.
fn for_rows(values: &mut [f32], row_len: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let row_len = row_len.max(1);
    if values.len() < PARALLEL_ELEMENTS {
        values.chunks_mut(row_len).enumerate().for_each(|(i, row)| f(i, row));
    } else {
        values.par_chunks_mut(row_len).enumerate().for_each(|(i, row)| f(i, row));
    }
}

/// Brings a row to mean 0 and variance 1.
fn standardize(row: &mut [f32], epsilon: f32) {
    let n = row.len() as f64;
    let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
    row.iter_mut().for_each(|v| *v = ((f64::from(*v) - mean) * scale) as f32);
}

/// `layer_norm(x, axes, gamma, beta, epsilon)`; gamma and beta have the shape of the normalized axes.
fn layer_norm(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    let epsilon = call.float("epsilon")?;
    let mut axes = call.axes("axes", x.rank())?;
    axes.sort_unstable();
    let (gamma, beta) = (call.optional("gamma")?, call.optional("beta")?);
    let row_len: usize = axes.iter().map(|&a| x.shape()[a]).product();
    for t in [&gamma, &beta].into_iter().flatten() {
        if t.len() != row_len {
            return Err(OpFault::shapes(
                "gamma and beta must have the shape of the normalized axes",
                &[x.shape(), t.shape()],
            ));
        }
    }
    let outer = (0..x.rank()).filter(|a| !axes.contains(a));
    let perm: Vec<usize> = outer.chain(axes.iter().copied()).collect();
    let mut back = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(i, &p)| back[p] = i);
    let gamma = gamma.as_ref().map(Tensor::floats).transpose()?;
    let beta = beta.as_ref().map(Tensor::floats).transpose()?;
    let mut x = transpose(x, &perm)?;
    for_rows(x.floats_mut()?, row_len, |_, row| {
        standardize(row, epsilon);
        if let Some(gamma) = gamma {
            row.iter_mut().zip(gamma).for_each(|(v, g)| *v *= g);
        }
        if let Some(beta) = beta {
            row.iter_mut().zip(beta).for_each(|(v, b)| *v += b);
        }
    });
    one(transpose(x, &back)?)
}

/// One value per channel of `x`.
fn per_channel(call: &Call<'_>, param: &str, n_channels: usize) -> Result<Tensor, OpFault> {
    let t = call.floats_for(param, n_channels)?;
    if t.len() != n_channels {
        return Err(OpFault::shapes("there must be one element per channel of x", &[&[n_channels], t.shape()]));
    }
    Ok(t)
}

fn n_channels(x: &Tensor) -> Result<usize, OpFault> {
    let n = x.shape().get(1).copied();
    n.filter(|_| x.rank() >= 3).ok_or_else(|| OpFault::shapes("x must be [N, C, …] of rank 3 or more", &[x.shape()]))
}

/// `(x − mean) / sqrt(variance + epsilon) · gamma + beta` for each channel.
fn batch_norm(call: &mut Call<'_>) -> Results {
    let mut x = call.take("x")?;
    let n = n_channels(&x)?;
    let (mean, variance) = (per_channel(call, "mean", n)?, per_channel(call, "variance", n)?);
    let (gamma, beta) = (per_channel(call, "gamma", n)?, per_channel(call, "beta", n)?);
    let epsilon = f64::from(call.float("epsilon")?);
    let scales: Vec<f32> = variance.floats()?.iter().map(|&v| (1.0 / (f64::from(v) + epsilon).sqrt()) as f32).collect();
    let (means, gamma, beta) = (mean.floats()?, gamma.floats()?, beta.floats()?);
    let inner = x.shape()[2..].iter().product();
    for_rows(x.floats_mut()?, inner, |i, row| {
        let c = i % n;
        row.iter_mut().for_each(|v| *v = (*v - means[c]) * scales[c] * gamma[c] + beta[c]);
    });
    one(x)
}

/// Each channel of each sample is brought to mean 0 and variance 1.
fn instance_norm(call: &mut Call<'_>) -> Results {
    let mut x = call.take("x")?;
    let n = n_channels(&x)?;
    let (gamma, beta) = (per_channel(call, "gamma", n)?, per_channel(call, "beta", n)?);
    let (epsilon, gamma, beta) = (call.float("epsilon")?, gamma.floats()?, beta.floats()?);
    let inner = x.shape()[2..].iter().product();
    for_rows(x.floats_mut()?, inner, |i, row| {
        standardize(row, epsilon);
        let (gamma, beta) = (gamma[i % n], beta[i % n]);
        row.iter_mut().for_each(|v| *v = *v * gamma + beta);
    });
    one(x)
}

/// `x / sqrt(Σ x² + epsilon)` over the last three dimensions.
fn l2_norm(call: &mut Call<'_>) -> Results {
    let mut x = call.take("x")?;
    let epsilon = f64::from(call.float("epsilon")?);
    let Some(first) = x.rank().checked_sub(3) else {
        return Err(OpFault::shapes("x must have rank 3 or more", &[x.shape()]));
    };
    let row_len = x.shape()[first..].iter().product();
    for_rows(x.floats_mut()?, row_len, |_, row| {
        let squares: f64 = row.iter().map(|&v| f64::from(v).powi(2)).sum();
        let scale = 1.0 / (squares + epsilon).sqrt();
        row.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
    });
    one(x)
}

#[cfg(test)]
mod tests {
    use crate::reference::testing::{counting, eval, f, floats};
    use host_tensor::HostTensor;
    use testkit::{Rng, assert_all_close};

    #[test]
    fn layer_norm_over_the_last_axis() {
        let x = f([2, 2], &[1., 3., -5., 5.]);
        let got = floats!(
            "layer_norm",
            x = x,
            axes = [-1],
            gamma = f([2], &[2., 3.]),
            beta = f([2], &[0., 1.]),
            epsilon = 0.0
        );
        assert_all_close("layer_norm", &[-2., 4., -2., 4.], &got.1, 1e-6, 0.0);
    }

    #[test]
    fn layer_norm_over_channels_is_that_of_the_transposed() {
        let mut rng = Rng::new(29);
        let x = HostTensor::from_f32([2, 5, 1, 3], rng.normals(30));
        let (gamma, beta) = (f([5], &rng.normals(5)), f([5], &rng.normals(5)));
        let moved = eval!("transpose", x = x.clone(), perm = [0, 2, 3, 1]).unwrap().remove(0);
        let normed = eval!("layer_norm", x = moved, axes = [3], gamma = gamma.clone(), beta = beta.clone());
        let want = floats!("transpose", x = normed.unwrap().remove(0), perm = [0, 3, 1, 2]).1;
        let (shape, got) = floats!("layer_norm", x = x, axes = [1], gamma = gamma, beta = beta);
        assert_eq!(shape, [2, 5, 1, 3]);
        assert_eq!(got, want);
    }

    #[test]
    fn gamma_must_fit_the_axes() {
        assert!(eval!("layer_norm", x = counting([2, 3]), axes = [1], gamma = counting([2])).is_err());
        assert!(eval!("batch_norm", x = counting([1, 2, 1]), mean = counting([3]), variance = counting([2])).is_err());
        assert!(eval!("l2_norm", x = counting([2, 3])).is_err());
    }

    #[test]
    fn batch_norm_is_an_affine_map_of_each_channel() {
        let got = floats!(
            "batch_norm",
            x = counting([1, 2, 2]),
            mean = f([2], &[0., 1.]),
            variance = f([2], &[4., 1.]),
            gamma = f([2], &[2., 1.]),
            beta = f([2], &[10., 0.]),
            epsilon = 0.0
        );
        assert_eq!(got.1, [10., 11., 1., 2.]);
    }

    #[test]
    fn instance_norm_is_layer_norm_over_space() {
        let x = HostTensor::from_f32([2, 3, 4, 5], Rng::new(31).normals(120));
        let got = floats!("instance_norm", x = x.clone(), epsilon = 1e-3).1;
        assert_eq!(got, floats!("layer_norm", x = x, axes = [2, 3], epsilon = 1e-3).1);
        let got = floats!(
            "instance_norm",
            x = f([1, 2, 2], &[1., 3., 1., 3.]),
            gamma = f([2], &[2., 1.]),
            beta = f([2], &[0., 1.]),
            epsilon = 0.0
        );
        assert_all_close("instance_norm", &[-2., 2., 0., 2.], &got.1, 1e-6, 1e-6);
    }

    #[test]
    fn l2_norm_divides_by_the_length() {
        let got = floats!("l2_norm", x = f([2, 1, 1, 2], &[3., 4., 0., 2.]), epsilon = 0.0).1;
        assert_all_close("l2_norm", &[0.6, 0.8, 0., 1.], &got, 1e-6, 0.0);
    }

    #[test]
    fn a_large_mean_does_not_swallow_the_variance() {
        let x: Vec<f32> = (0..70_000).map(|i| 10_000.0 + if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let got = floats!("layer_norm", x = f([1, 70_000], &x), axes = [1], epsilon = 0.0).1;
        assert!(got.iter().zip(&x).all(|(g, x)| (g - (x - 10_000.0)).abs() < 1e-6));
    }
}
