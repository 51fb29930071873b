//! `scaled_dot_product_attention` (iOS 18).

use super::{
    activation::softmax_row,
    call::{Call, Results, one},
    kernels::{Kernel, computes},
    layout::{Odometer, broadcast_strides},
    product::{Matrix, Sizes, Threads, multiply},
    value::{Data, Tensor, filled},
};
use crate::OpFault;
use rayon::prelude::*;

pub(super) const KERNELS: &[Kernel] = &[computes("scaled_dot_product_attention", attention)];

/// Queries whose scores are held at a time.
const QUERY_BLOCK: usize = 64;

/// `softmax(query·keyᵀ / √E + mask)·value` over the last two dimensions.
///
/// A boolean mask keeps where it is true. A query that may attend to nothing gets zeros, as in PyTorch since
/// version 2.5.
fn attention(call: &mut Call<'_>) -> Results {
    let (query, key, value) = (call.tensor("query")?, call.tensor("key")?, call.tensor("value")?);
    let rule = "query [B, *, L, E], key [B, *, S, E] and value [B, *, S, F] must agree";
    let fault = || OpFault::shapes(rule, &[query.shape(), key.shape(), value.shape()]);
    let ([qb @ .., l, e], [kb @ .., s, ke], [vb @ .., vs, f]) = (query.shape(), key.shape(), value.shape()) else {
        return Err(fault());
    };
    if qb != kb || qb != vb || e != ke || s != vs {
        return Err(fault());
    }
    let (l, e, s, f) = (*l, *e, *s, *f);
    let shape = [qb, &[l, f]].concat();
    let mut out = filled(call.count(&shape)?, 0f32)?;
    let mask = call.optional("attn_mask")?.map(|t| Mask::new(t, &[qb, &[l, s]].concat())).transpose()?;
    let (qs, ks, vs) = (query.floats()?, key.floats()?, value.floats()?);
    let (scale, stop) = ((1.0 / (e as f64).sqrt()) as f32, call.stop);
    if l * f == 0 {
        return one(Tensor::new(shape, out));
    }
    out.par_chunks_mut(l * f).enumerate().try_for_each(|(i, out)| {
        let k = Matrix::rows(&ks[i * s * e..], e).transposed();
        let v = Matrix::rows(&vs[i * s * f..], f);
        let mut scores = filled(QUERY_BLOCK.min(l) * s, 0f32)?;
        for (b, out) in out.chunks_mut(QUERY_BLOCK * f).enumerate().take_while(|_| !stop.is_set()) {
            let (first, m) = (b * QUERY_BLOCK, out.len() / f);
            let scores = &mut scores[..m * s];
            let q = Matrix::rows(&qs[(i * l + first) * e..], e);
            multiply(Sizes { m, n: s, k: e }, q, k, scores, s, Threads::One);
            for (r, row) in scores.chunks_mut(s.max(1)).enumerate() {
                row.iter_mut().for_each(|v| *v *= scale);
                if let Some(mask) = &mask {
                    mask.apply(i, first + r, row);
                }
                weigh(row);
            }
            multiply(Sizes { m, n: f, k: s }, Matrix::rows(scores, s), v, out, f, Threads::One);
        }
        Ok(())
    })?;
    one(Tensor::new(shape, out))
}

/// Softmax of a row of scores; zeros when all are masked.
fn weigh(row: &mut [f32]) {
    if row.iter().all(|&v| v == f32::NEG_INFINITY) {
        row.fill(0.0);
    } else {
        softmax_row(row);
    }
}

/// A mask that is broadcast to the scores.
struct Mask {
    tensor: Tensor,
    batch: Vec<usize>,
    /// Steps through the mask: of the batch, of queries, of keys.
    batch_strides: Vec<isize>,
    query_step: usize,
    key_step: usize,
}

impl Mask {
    fn new(tensor: Tensor, scores: &[usize]) -> Result<Self, OpFault> {
        let fits = tensor.rank() <= scores.len()
            && tensor.shape().iter().rev().zip(scores.iter().rev()).all(|(&m, &d)| m == 1 || m == d);
        if !fits || !matches!(tensor.data(), Data::Float(_) | Data::Bool(_)) {
            return Err(OpFault::shapes("attn_mask must broadcast to [B, *, L, S]", &[tensor.shape(), scores]));
        }
        let strides = broadcast_strides(tensor.shape(), scores);
        let (batch, last) = strides.split_at(scores.len() - 2);
        Ok(Self {
            batch: scores[..scores.len() - 2].to_vec(),
            batch_strides: batch.iter().map(|&s| s as isize).collect(),
            query_step: last[0],
            key_step: last[1],
            tensor,
        })
    }

    fn apply(&self, batch: usize, query: usize, row: &mut [f32]) {
        let [start] = Odometer::new(&self.batch, [&self.batch_strides], batch).offsets();
        let start = start as usize + query * self.query_step;
        match self.tensor.data() {
            Data::Float(m) => row.iter_mut().enumerate().for_each(|(i, v)| *v += m[start + i * self.key_step]),
            Data::Bool(m) => {
                for (i, v) in row.iter_mut().enumerate() {
                    if !m[start + i * self.key_step] {
                        *v = f32::NEG_INFINITY;
                    }
                }
            }
            Data::Int(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::reference::testing::{counting, eval, f, floats};
    use host_tensor::HostTensor;
    use testkit::{Rng, assert_all_close};

    /// By matmul, mul, add and softmax.
    fn composed(q: &HostTensor, k: &HostTensor, v: &HostTensor, mask: Option<HostTensor>) -> Vec<f32> {
        let scale = 1.0 / (q.shape()[q.shape().len() - 1] as f32).sqrt();
        let run = |r: Result<Vec<HostTensor>, _>| r.unwrap().remove(0);
        let scores = run(eval!("matmul", x = q.clone(), y = k.clone(), transpose_y = true));
        let mut scores = run(eval!("mul", x = scores, y = scale));
        if let Some(mask) = mask {
            scores = run(eval!("add", x = scores, y = mask));
        }
        let weights = run(eval!("softmax", x = scores));
        floats!("matmul", x = weights, y = v.clone()).1
    }

    #[test]
    fn attention_is_what_its_parts_compute() {
        let mut rng = Rng::new(37);
        let mut t = |shape: &[usize]| HostTensor::from_f32(shape, rng.normals(shape.iter().product()));
        let (q, k, v) = (t(&[2, 3, 130, 4]), t(&[2, 3, 7, 4]), t(&[2, 3, 7, 5]));
        for mask in [None, Some(t(&[130, 7])), Some(t(&[2, 1, 1, 7])), Some(t(&[3, 130, 1]))] {
            let want = composed(&q, &k, &v, mask.clone());
            let (q, k, v) = (q.clone(), k.clone(), v.clone());
            let got = match mask {
                Some(m) => floats!("scaled_dot_product_attention", query = q, key = k, value = v, attn_mask = m),
                None => floats!("scaled_dot_product_attention", query = q, key = k, value = v),
            };
            assert_eq!(got.0, [2, 3, 130, 5]);
            assert_all_close("attention", &want, &got.1, 1e-5, 1e-5);
        }
    }

    #[test]
    fn a_boolean_mask_keeps_what_is_true_and_may_keep_nothing() {
        let (q, k) = (f([1, 2, 1], &[1., 1.]), f([1, 2, 1], &[1., 1.]));
        let v = f([1, 2, 1], &[3., 5.]);
        let mask = HostTensor::from_bool([2, 2], &[true, false, false, false]);
        let got = floats!("scaled_dot_product_attention", query = q, key = k, value = v, attn_mask = mask);
        assert_eq!(got.1, [3., 0.]);
    }

    #[test]
    fn operands_must_agree() {
        let (q, k) = (counting([1, 2, 3]), counting([1, 2, 4]));
        let got = eval!("scaled_dot_product_attention", query = q.clone(), key = k, value = q.clone());
        assert!(got.is_err());
        let mask = counting([5]);
        let got =
            eval!("scaled_dot_product_attention", query = q.clone(), key = q.clone(), value = q, attn_mask = mask);
        assert!(got.is_err());
    }
}
