//! Attention spelt out in the operations that every opset has.
//!
//! Three layouts, after Apple's `ml-stable-diffusion`, for tokens in [B, C, 1, S]:
//! - [`AttentionLayout::Original`]: all heads in one batched product; for GPU and CPU;
//! - [`AttentionLayout::SplitEinsum`]: one head after the other, so that the Neural Engine keeps each in its
//!   fast memory;
//! - [`AttentionLayout::SplitEinsumV2`]: besides, at most 512 queries at a time. The last slice takes the
//!   remainder, so every length is right (the reference drops it).
//!
//! The scale is applied to the queries, S·C products instead of S·S for each head.

use super::error::PassError;
use super::rewrite::{Rewriter, rewrite};
use crate::{
    ir::{Function, Op, ValueId},
    ops::OpError,
};
use host_tensor::HostTensor;

/// How attention is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionLayout {
    /// One batched matrix product over all heads.
    Original,
    /// One einsum per head.
    SplitEinsum,
    /// One einsum per head and slice of 512 queries.
    SplitEinsumV2,
}

/// Queries in a slice of [`AttentionLayout::SplitEinsumV2`].
const QUERY_SLICE: usize = 512;

/// Expands every `scaled_dot_product_attention` where it stands, on [B, H, S, D].
///
/// ```text
/// %y = scaled_dot_product_attention(query=%q, key=%k, value=%v, attn_mask=%m)
///   ==>
/// %s = mul(x=%q, y=1/√D)
/// %l = matmul(x=%s, y=%k, transpose_y=true)
/// %a = add(x=%l, y=%m)
/// %w = softmax(x=%a, axis=-1)
/// %y = matmul(x=%w, y=%v)
/// ```
///
/// # Errors
/// When head size or mask type leave no exact expansion: an unknown head size, a boolean mask.
pub fn expand_attention(function: &mut Function) -> Result<usize, PassError> {
    rewrite("expand_attention", function, |rw, op| {
        if op.kind != "scaled_dot_product_attention" {
            return Ok(false);
        }
        let a = Operands::of(rw, op)?;
        let scaled = scale_queries(rw, a.query, a.head_size)?;
        let args =
            [("x", scaled.into()), ("y", a.key.into()), ("transpose_x", false.into()), ("transpose_y", true.into())];
        let mut logits = rw.op("matmul", args)?;
        if let Some(mask) = a.mask {
            logits = rw.op("add", [("x", logits.into()), ("y", mask.into())])?;
        }
        let weights = rw.op("softmax", [("x", logits.into()), ("axis", (-1).into())])?;
        let args = [
            ("x", weights.into()),
            ("y", a.value.into()),
            ("transpose_x", false.into()),
            ("transpose_y", false.into()),
        ];
        rw.replace_with(op, "matmul", args)
    })
}

struct Operands {
    query: ValueId,
    key: ValueId,
    value: ValueId,
    mask: Option<ValueId>,
    head_size: usize,
}

impl Operands {
    fn of(rw: &Rewriter<'_>, op: &Op) -> Result<Self, OpError> {
        let need = |p: &str| op.input(p).ok_or_else(|| OpError::new(format!("attention {} has no {p}", op.name)));
        let (query, key, value, mask) = (need("query")?, need("key")?, need("value")?, op.input("attn_mask"));
        let head_size = rw.shape(query).and_then(|s| s.last().copied()).filter(|&d| d > 0);
        let float_mask = mask.is_none_or(|m| rw.tensor(m).is_some_and(|t| t.dtype.is_float()));
        match head_size {
            Some(head_size) if float_mask => Ok(Self { query, key, value, mask, head_size }),
            _ => Err(OpError::new(format!(
                "attention {} cannot be expanded: it needs a known head size and a mask that is added",
                op.name
            ))),
        }
    }
}

fn scale_queries(rw: &mut Rewriter<'_>, query: ValueId, head_size: usize) -> Result<ValueId, OpError> {
    let dtype = rw.tensor(query).map_or(host_tensor::DType::F32, |t| t.dtype);
    let scale = HostTensor::scalar(dtype, 1.0 / (head_size as f64).sqrt());
    rw.op("mul", [("x", query.into()), ("y", crate::constant::Literal::from(scale).into())])
}

/// Attention of `heads` heads over tokens in [B, C, 1, S]; returns the context in [B, C, 1, S_query].
///
/// # Shapes
/// `query`: [B, heads·D, 1, S_query]; `key`, `value`: [B, heads·D, 1, S_key].
pub(crate) fn attend(
    rw: &mut Rewriter<'_>,
    layout: AttentionLayout,
    heads: usize,
    [query, key, value]: [ValueId; 3],
) -> Result<ValueId, OpError> {
    let (Some(q), Some(k)) = (rw.shape(query), rw.shape(key)) else {
        return Err(OpError::new("attention needs known shapes"));
    };
    let channels = q[1];
    let scaled = scale_queries(rw, query, channels / heads)?;
    if layout == AttentionLayout::Original {
        return attend_batched(rw, heads, [scaled, key, value], [q[0], channels, q[3], k[3]]);
    }
    let slice = if layout == AttentionLayout::SplitEinsumV2 { QUERY_SLICE } else { usize::MAX };
    attend_split(rw, heads, [scaled, key, value], q[3], slice)
}

fn attend_batched(
    rw: &mut Rewriter<'_>,
    heads: usize,
    qkv: [ValueId; 3],
    [batch, channels, s_query, s_key]: [usize; 4],
) -> Result<ValueId, OpError> {
    let mut split = Vec::with_capacity(3);
    for (v, s) in qkv.into_iter().zip([s_query, s_key, s_key]) {
        let shape = [batch, heads, channels / heads, s].map(|d| d as i32);
        split.push(rw.op("reshape", [("x", v.into()), ("shape", shape.into())])?);
    }
    let flags = |x: bool, y: bool| [("transpose_x", x.into()), ("transpose_y", y.into())];
    let [tx, ty] = flags(true, false);
    let logits = rw.op("matmul", [("x", split[0].into()), ("y", split[1].into()), tx, ty])?;
    let weights = rw.op("softmax", [("x", logits.into()), ("axis", 3.into())])?;
    let [tx, ty] = flags(false, true);
    let context = rw.op("matmul", [("x", split[2].into()), ("y", weights.into()), tx, ty])?;
    let shape = [batch, channels, 1, s_query].map(|d| d as i32);
    rw.op("reshape", [("x", context.into()), ("shape", shape.into())])
}

fn attend_split(
    rw: &mut Rewriter<'_>,
    heads: usize,
    [query, key, value]: [ValueId; 3],
    s_query: usize,
    slice: usize,
) -> Result<ValueId, OpError> {
    let turned = rw.op("transpose", [("x", key.into()), ("perm", [0, 3, 2, 1].into())])?;
    let queries = split_evenly(rw, query, heads, 1)?;
    let keys = split_evenly(rw, turned, heads, 3)?;
    let values = split_evenly(rw, value, heads, 1)?;
    let mut contexts = Vec::with_capacity(heads);
    for ((q, k), v) in queries.into_iter().zip(keys).zip(values) {
        let mut parts = Vec::new();
        for part in split_queries(rw, q, s_query, slice)? {
            let equation = ("equation", "bkhc,bchq->bkhq".into());
            let logits = rw.op("einsum", [("values", vec![k, part].into()), equation])?;
            let weights = rw.op("softmax", [("x", logits.into()), ("axis", 1.into())])?;
            let equation = ("equation", "bchk,bkhq->bchq".into());
            parts.push(rw.op("einsum", [("values", vec![v, weights].into()), equation])?);
        }
        contexts.push(join(rw, parts, 3)?);
    }
    join(rw, contexts, 1)
}

fn split_evenly(rw: &mut Rewriter<'_>, x: ValueId, parts: usize, axis: i32) -> Result<Vec<ValueId>, OpError> {
    if parts == 1 {
        return Ok(vec![x]);
    }
    rw.op_multi("split", vec![("x", x.into()), ("num_splits", (parts as i32).into()), ("axis", axis.into())])
}

fn split_queries(rw: &mut Rewriter<'_>, q: ValueId, s_query: usize, slice: usize) -> Result<Vec<ValueId>, OpError> {
    if s_query <= slice {
        return Ok(vec![q]);
    }
    let sizes: Vec<i32> = (0..s_query.div_ceil(slice)).map(|i| slice.min(s_query - i * slice) as i32).collect();
    rw.op_multi("split", vec![("x", q.into()), ("split_sizes", sizes.into()), ("axis", 3.into())])
}

fn join(rw: &mut Rewriter<'_>, parts: Vec<ValueId>, axis: i32) -> Result<ValueId, OpError> {
    match parts[..] {
        [only] => Ok(only),
        _ => rw.op("concat", [("values", parts.into()), ("axis", axis.into()), ("interleave", false.into())]),
    }
}
