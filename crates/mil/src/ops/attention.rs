//! Scaled dot-product attention.

use super::{
    OpError, OpSpec, Param, View,
    dims::{agree, broadcast, meet, one, show},
    domain::{FLOAT, IOS18},
};
use crate::types::{Dim, Type};
use host_tensor::DType::{self, Bool, F16, F32};

const MASK: &[DType] = &[Bool, F16, F32];

/// `softmax(query · keyᵀ / √E + attn_mask) · value` for query [B…, L, E], key [B…, S, E], value [B…, S, F].
/// A boolean mask keeps where it is true; the mask broadcasts to [B…, L, S].
const ATTENTION: &[Param] = &[
    Param::tensor("query", 'T', FLOAT),
    Param::tensor("key", 'T', FLOAT),
    Param::tensor("value", 'T', FLOAT),
    Param::tensor("attn_mask", 'M', MASK).optional(),
];

pub(super) const SPECS: &[OpSpec] =
    &[OpSpec::new("scaled_dot_product_attention", IOS18, ATTENTION, attention).abstract_before()];

fn attention(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (query, key, value) = (o.tensor("query")?, o.tensor("key")?, o.tensor("value")?);
    let ([qb @ .., l, e], [kb @ .., s, ke], [vb @ .., vs, f]) = (&query.shape[..], &key.shape[..], &value.shape[..])
    else {
        fail!("query {query}, key {key} and value {value} must have rank 3 or more")
    };
    ensure!(!qb.is_empty(), "query {query} must have rank 3 or more");
    ensure!(agree(qb, kb) && agree(qb, vb), "query {query}, key {key} and value {value} differ in their batch");
    ensure!(e.agrees(*ke), "query {query} and key {key} differ in their last dimension");
    ensure!(s.agrees(*vs), "key {key} and value {value} differ in length");
    if let Some(mask) = o.optional_tensor("attn_mask") {
        check_mask(&mask.shape, &[qb, &[*l, meet(*s, *vs).unwrap_or(*s)]].concat())?;
    }
    one(query.dtype, [qb, &[*l, *f]].concat())
}

fn check_mask(mask: &[Dim], scores: &[Dim]) -> Result<(), OpError> {
    ensure!(mask.len() <= scores.len(), "attn_mask {} has more dimensions than {}", show(mask), show(scores));
    let whole = broadcast(mask, scores).map_err(|e| OpError::new(format!("attn_mask: {e}")))?;
    ensure!(agree(&whole, scores), "attn_mask {} does not broadcast to {}", show(mask), show(scores));
    Ok(())
}
