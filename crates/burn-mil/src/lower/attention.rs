//! Attention, which stays one operation.
//!
//! `scaled_dot_product_attention` is an operation of CoreML8. It is emitted below CoreML8 too, as an
//! abstract one: a MIL pass (`mil::pass::expand_attention`, `channels_first`) then spells it out in the layout
//! that the caller chooses. A program in which it remains is refused by validation there.

use burn::backend::ir::{AttentionOpIr, ScalarIr, TensorIr};
use mil::{Bound, Const, HostTensor, Literal, Opset, ValueId};

use super::{Failure, Lowerer};
use crate::types::as_f64;

/// Added to the scores of keys that a query must not see.
///
/// The softmax of such a score is exactly zero beside any score above −29 000, and f16 holds the number.
const MASKED: f32 = -3e4;

impl Lowerer<'_, '_> {
    pub(super) fn attention(&mut self, op: &AttentionOpIr) -> Result<(), Failure> {
        if op.options.softcap.is_some() {
            return Err(Failure::Unsupported("attention without softcap"));
        }
        let query = self.scaled_query(op)?;
        let (key, value) = (self.value(&op.key)?, self.value(&op.value)?);
        let mut args = vec![("query", query.into()), ("key", key.into()), ("value", value.into())];
        if let Some(mask) = self.attention_bias(op)? {
            args.push(("attn_mask", mask.into()));
        }
        let attended = self.in_opset_with_attention(args)?;
        self.bind(&op.out, attended)
    }

    /// MIL's attention scales by 1/√E; another scale is brought in through the query.
    fn scaled_query(&mut self, op: &AttentionOpIr) -> Result<ValueId, Failure> {
        let query = self.value(&op.query)?;
        let width = op.query.shape.last().copied().unwrap_or(1) as f64;
        let usual = 1.0 / width.sqrt();
        let scale = op.options.scale.map_or(usual, as_f64);
        match (scale - usual).abs() <= 1e-7 * usual {
            true => Ok(query),
            false => self.scaled(query, ScalarIr::Float(scale / usual), &op.query),
        }
    }

    /// Everything that is added to the scores, in one tensor.
    fn attention_bias(&mut self, op: &AttentionOpIr) -> Result<Option<ValueId>, Failure> {
        let mut parts = Vec::new();
        if let Some(bias) = &op.attn_bias {
            parts.push(self.value(bias)?);
        }
        if let Some(mask) = &op.mask {
            parts.push(self.mask_bias(mask, &op.query)?);
        }
        if op.options.is_causal {
            parts.push(self.causal_bias(&op.query, &op.key)?);
        }
        let mut sum: Option<ValueId> = None;
        for part in parts {
            sum = Some(match sum {
                None => part,
                Some(sum) => self.emit("add", [("x", sum.into()), ("y", part.into())])?,
            });
        }
        Ok(sum)
    }

    /// Burn's mask is true where a key must not be seen.
    fn mask_bias(&mut self, mask: &TensorIr, like: &TensorIr) -> Result<ValueId, Failure> {
        let mask = self.value(mask)?;
        let dtype = self.dtype(like)?;
        let hidden = self.cast_to(mask, dtype)?;
        self.scaled(hidden, ScalarIr::Float(f64::from(MASKED)), like)
    }

    /// `[1, 1, queries, keys]`: hides every key after its query.
    fn causal_bias(&mut self, query: &TensorIr, key: &TensorIr) -> Result<ValueId, Failure> {
        let (n_queries, n_keys) = (query.shape[2], key.shape[2]);
        let row = |q: usize| (0..n_keys).map(move |k| if k > q { MASKED } else { 0.0 });
        let values: Vec<f32> = (0..n_queries).flat_map(row).collect();
        let bias = Const::new(HostTensor::from_f32([1, 1, n_queries, n_keys], values)).cast(self.dtype(query)?);
        Ok(self.emitter.constant("causal_mask", Literal::Tensor(bias)))
    }

    /// Emits the operation under the opset that has it, whatever the function's is.
    fn in_opset_with_attention(&mut self, args: Vec<(&'static str, Bound)>) -> Result<ValueId, Failure> {
        let opset = self.emitter.function().opset;
        self.emitter.function_mut().opset = opset.max(Opset::CoreML8);
        let values = self.emit_many("scaled_dot_product_attention", args);
        self.emitter.function_mut().opset = opset;
        Ok(values?[0])
    }
}
