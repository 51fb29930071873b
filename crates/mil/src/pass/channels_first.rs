//! Token tensors move from [B, S, C] to [B, C, 1, S], the layout that the Neural Engine wants.
//!
//! Linear layers become 1×1 convolutions, normalisation runs over the channel axis, attention is laid out
//! as [`AttentionLayout`] says. Every operation of a transformer block commutes with that layout, so the
//! transpositions at the block's borders vanish and none is left inside.
//!
//! ```text
//! %r = reshape(x=%x, shape=[B, C, S])            %t = reshape(x=%x, shape=[B, C, 1, S])
//! %t = transpose(x=%r, perm=[0, 2, 1])     ==>   %l = conv(x=%t, weight=W[O, C, 1, 1], bias=b)
//! %l = linear(x=%t, weight=W[O, C], bias=b)      …
//! …
//! ```
//!
//! Vectors [B, C], such as embeddings of time, move to [B, C, 1, 1] where a linear layer reads them, so that
//! all of the network is convolutions.
//!
//! How: for each token value a *shadow* in the new layout is computed beside the old one. An operation on
//! shadows replaces the old operation; whoever still wants the old layout gets it from the shadow by a
//! transposition, and what nobody reads is removed at the end.

mod rms_norm;

use super::{
    attention::{AttentionLayout, attend},
    cancel_transposes::permutation,
    dead_code::remove_dead,
    error::{PassError, atomically},
    rewrite::{Rewriter, visit_all},
};
use crate::{
    builder::Bound,
    constant::{Const, Literal},
    ir::{Function, Op, ValueId},
    ops::OpError,
};
use rms_norm::match_rms_norm;
use std::collections::HashMap;

/// Rewrites token tensors to channels first, with attention in the given layout.
///
/// # Errors
/// When a rewritten operation is refused, which validated programs do not cause.
pub fn channels_first(function: &mut Function, layout: AttentionLayout) -> Result<usize, PassError> {
    let mut state = Shadows { layout, tokens: HashMap::new(), heads: HashMap::new(), head_rows: HashMap::new() };
    atomically("channels_first", function, |function| {
        let n = visit_all(function, |rw, op| state.visit(rw, op))?;
        remove_dead(function);
        Ok(n)
    })
}

struct Shadows {
    layout: AttentionLayout,
    /// [B, S, C] ↦ [B, C, 1, S], and [B, C] ↦ [B, C, 1, 1].
    tokens: HashMap<ValueId, ValueId>,
    /// [B, H, S, D] ↦ [B, H·D, 1, S].
    heads: HashMap<ValueId, ValueId>,
    /// [B, S, H, D] ↦ [B, H·D, 1, S].
    head_rows: HashMap<ValueId, ValueId>,
}

/// Operations of one operand that act on each element alone.
const UNARY: [&str; 14] = [
    "gelu", "silu", "sigmoid", "tanh", "relu", "exp", "exp2", "erf", "square", "sqrt", "abs", "sin", "cos", "identity",
];

impl Shadows {
    fn visit(&mut self, rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
        if op.outputs.is_empty() {
            return Ok(false);
        }
        match &*op.kind {
            "transpose" => self.transpose(rw, op),
            "reshape" => self.reshape(rw, op),
            "linear" => self.linear(rw, op),
            "layer_norm" => self.layer_norm(rw, op),
            "add" | "sub" | "mul" | "real_div" | "maximum" | "minimum" => self.binary(rw, op),
            "split" => self.split(rw, op),
            "concat" => self.concat(rw, op),
            "scaled_dot_product_attention" => self.attention(rw, op),
            kind if UNARY.contains(&kind) => self.unary(rw, op),
            _ => Ok(false),
        }
    }

    /// Replaces a token value by its shadow; the old layout is made from it for whoever reads it.
    fn settle(&mut self, rw: &mut Rewriter<'_>, old: ValueId, shadow: ValueId) -> Result<bool, OpError> {
        let shape = known_shape(rw, shadow)?;
        if known_shape(rw, old)?.len() == 2 {
            let flat = as_i32(&shape[..2]);
            let vector = rw.op("reshape", [("x", shadow.into()), ("shape", flat.into())])?;
            rw.replace(old, vector)?;
            self.tokens.insert(vector, shadow);
            return Ok(true);
        }
        let flat = as_i32(&[shape[0], shape[1], shape[3]]);
        let rows = rw.op("reshape", [("x", shadow.into()), ("shape", flat.into())])?;
        let tokens = rw.op("transpose", [("x", rows.into()), ("perm", [0, 2, 1].into())])?;
        rw.replace(old, tokens)?;
        self.tokens.insert(tokens, shadow);
        Ok(true)
    }

    fn transpose(&mut self, rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
        let (Some(x), Some(perm)) = (op.input("x"), permutation(rw, op)) else { return Ok(false) };
        let out = op.output();
        match perm[..] {
            [0, 2, 1] => {
                if let Some(&shadow) = self.tokens.get(&x) {
                    let shape = as_i32(&known_shape(rw, out)?);
                    return rw.replace_with(op, "reshape", [("x", shadow.into()), ("shape", shape.into())]);
                }
                let Some(shape) = rw.shape(x) else { return Ok(false) };
                let four = as_i32(&[shape[0], shape[1], 1, shape[2]]);
                let shadow = rw.op("reshape", [("x", x.into()), ("shape", four.into())])?;
                self.tokens.insert(out, shadow);
            }
            [0, 2, 1, 3] => {
                if let Some(&shadow) = self.head_rows.get(&x) {
                    self.heads.insert(out, shadow);
                } else if let Some(&shadow) = self.heads.get(&x) {
                    self.head_rows.insert(out, shadow);
                }
            }
            // [B, H, W, C] from tokens, back to an image.
            [0, 3, 1, 2] => {
                let tokens = rw.def_of(x, "reshape").and_then(|r| r.input("x")).and_then(|t| self.tokens.get(&t));
                let same_channels = |rw: &Rewriter<'_>, s: ValueId| {
                    rw.shape(s).map(|s| s[1]) == rw.shape(out).and_then(|s| s.get(1).copied())
                };
                if let Some(&shadow) = tokens.filter(|&&s| same_channels(rw, s)) {
                    let shape = as_i32(&known_shape(rw, out)?);
                    return rw.replace_with(op, "reshape", [("x", shadow.into()), ("shape", shape.into())]);
                }
            }
            _ => {}
        }
        Ok(false)
    }

    fn reshape(&mut self, rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
        let (Some(x), Some(to)) = (op.input("x"), rw.shape(op.output())) else { return Ok(false) };
        let Some(from) = rw.shape(x) else { return Ok(false) };
        let out = op.output();
        match (&from[..], &to[..]) {
            ([b, s, c], [b2, s2, h, d]) if (b, s) == (b2, s2) && h * d == *c => {
                if let Some(&shadow) = self.tokens.get(&x) {
                    self.head_rows.insert(out, shadow);
                }
            }
            ([b, s, h, d], [b2, s2, c]) if (b, s) == (b2, s2) && h * d == *c => {
                if let Some(&shadow) = self.head_rows.get(&x) {
                    self.tokens.insert(out, shadow);
                }
            }
            // A vector that is meant for every pixel.
            ([b, c], [b2, c2, 1, 1]) if (b, c) == (b2, c2) => {
                if let Some(&shadow) = self.tokens.get(&x) {
                    rw.replace(out, shadow)?;
                    return Ok(true);
                }
            }
            // One that is meant for every token.
            ([b, c], [b2, 1, c2]) if (b, c) == (b2, c2) => {
                if let Some(&shadow) = self.tokens.get(&x) {
                    self.tokens.insert(out, shadow);
                }
            }
            // An image in [B, H, W, C] becomes tokens.
            ([b, h, w, c], [b2, s, c2]) if (b, c) == (b2, c2) && h * w == *s => {
                let image = rw.def_of(x, "transpose").filter(|t| permutation(rw, t).as_deref() == Some(&[0, 2, 3, 1]));
                if let Some(image) = image.and_then(|t| t.input("x")) {
                    let four = as_i32(&[*b, *c, 1, *s]);
                    let shadow = rw.op("reshape", [("x", image.into()), ("shape", four.into())])?;
                    self.tokens.insert(out, shadow);
                }
            }
            _ => {}
        }
        Ok(false)
    }

    /// The shadow of a linear layer's operand; that of a vector is made where it is wanted first.
    fn shadow_of_operand(&mut self, rw: &mut Rewriter<'_>, x: ValueId) -> Result<Option<ValueId>, OpError> {
        if let Some(&shadow) = self.tokens.get(&x) {
            return Ok(Some(shadow));
        }
        let Some([b, c]) = rw.shape(x).and_then(|s| <[usize; 2]>::try_from(s).ok()) else { return Ok(None) };
        let four = as_i32(&[b, c, 1, 1]);
        let shadow = rw.op("reshape", [("x", x.into()), ("shape", four.into())])?;
        self.tokens.insert(x, shadow);
        Ok(Some(shadow))
    }

    fn linear(&mut self, rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
        let Some(x) = op.input("x") else { return Ok(false) };
        let Some(x) = self.shadow_of_operand(rw, x)? else { return Ok(false) };
        let Some(weight) = rw.view(op).literal("weight").and_then(Literal::as_const).cloned() else { return Ok(false) };
        let [o, i] = [weight.shape()[0], weight.shape()[1]];
        let kernel = reshaped(&weight, [o, i, 1, 1])?;
        let mut args: Vec<(&'static str, Bound)> = vec![
            ("x", x.into()),
            ("weight", kernel.into()),
            ("strides", [1, 1].into()),
            ("pad_type", "valid".into()),
            ("pad", [0, 0, 0, 0].into()),
            ("dilations", [1, 1].into()),
            ("groups", 1.into()),
        ];
        if let Some(bias) = op.input("bias") {
            args.push(("bias", bias.into()));
        }
        let shadow = rw.op_multi("conv", args)?[0];
        self.settle(rw, op.output(), shadow)
    }

    fn layer_norm(&mut self, rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
        let Some(&x) = op.input("x").and_then(|x| self.tokens.get(&x)) else { return Ok(false) };
        let rank = op.input("x").and_then(|x| rw.tensor(x)).map_or(0, |t| t.rank());
        if !matches!(rw.view(op).known_axes("axes", rank).as_deref(), Ok([2] | [-1])) {
            return Ok(false);
        }
        let mut args: Vec<(&'static str, Bound)> = vec![("x", x.into()), ("axes", [1].into())];
        for param in ["gamma", "beta", "epsilon"] {
            if let Some(v) = op.input(param) {
                args.push((param, v.into()));
            }
        }
        let shadow = rw.op_multi("layer_norm", args)?[0];
        self.settle(rw, op.output(), shadow)
    }

    fn unary(&mut self, rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
        let Some(&x) = op.input("x").and_then(|x| self.tokens.get(&x)) else { return Ok(false) };
        let shadow = self.like(rw, op, vec![("x", x.into())], &["x"])?[0];
        self.settle(rw, op.output(), shadow)
    }

    /// The same operation with other operands; parameters not in `changed` are taken over.
    fn like(
        &self,
        rw: &mut Rewriter<'_>,
        op: &Op,
        mut args: Vec<(&'static str, Bound)>,
        changed: &[&str],
    ) -> Result<Vec<ValueId>, OpError> {
        let spec = crate::ops::lookup(&op.kind, rw.function().opset)
            .ok_or_else(|| OpError::new(format!("{} is not in this opset", op.kind)))?;
        for param in spec.params {
            if let Some(v) = op.input(param.name).filter(|_| !changed.contains(&param.name)) {
                args.push((param.name, v.into()));
            }
        }
        rw.op_multi(spec.kind, args)
    }

    fn binary(&mut self, rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
        let (Some(x), Some(y)) = (op.input("x"), op.input("y")) else { return Ok(false) };
        if !self.tokens.contains_key(&x) && !self.tokens.contains_key(&y) {
            return self.head_norm(rw, op);
        }
        let Some(out) = rw.shape(op.output()).filter(|s| matches!(s.len(), 2 | 3)) else { return Ok(false) };
        let (Some(a), Some(b)) = (self.operand(rw, x, &out), self.operand(rw, y, &out)) else { return Ok(false) };
        let shadow = self.like(rw, op, vec![("x", a), ("y", b)], &["x", "y"])?[0];
        self.settle(rw, op.output(), shadow)
    }

    /// A normalisation of heads gets a shadow; the old operations go when nobody reads them.
    fn head_norm(&mut self, rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
        if op.kind != "mul" {
            return Ok(false);
        }
        let Some(norm) = match_rms_norm(rw, op) else { return Ok(false) };
        let Some(&shadow) = self.head_rows.get(&norm.x) else { return Ok(false) };
        let normed = norm.on(rw, shadow)?;
        self.head_rows.insert(op.output(), normed);
        Ok(false)
    }

    /// An operand of a binary operation in the new layout: token values, or one for all tokens, a scalar, a vector of
    /// channels, or a table of tokens.
    fn operand(&self, rw: &Rewriter<'_>, v: ValueId, out: &[usize]) -> Option<Bound> {
        if let Some(&shadow) = self.tokens.get(&v) {
            let shape = rw.shape(v)?;
            let fits = shape.len() == out.len() && shape.iter().zip(out).all(|(&d, &o)| d == o || d == 1);
            return fits.then(|| shadow.into());
        }
        let c = rw.literal(v)?.as_const()?;
        if c.shape().is_empty() {
            return Some(v.into());
        }
        let channels = *c.shape().last()?;
        if let ([.., s, channels], [_, out_s, out_c]) = (c.shape(), out)
            && *s > 1
            && (s, channels, s * channels) == (out_s, out_c, c.len())
        {
            let rows = c.reshape([*s, *channels]).and_then(|rows| rows.transpose(&[1, 0]));
            return rows.and_then(|columns| columns.reshape([1, *channels, 1, *s])).ok().map(Bound::from);
        }
        let vector = c.len() == channels && (Some(&channels) == out.last() || channels == 1);
        vector.then(|| c.reshape([1, channels, 1, 1]).ok().map(Bound::from)).flatten()
    }

    fn split(&mut self, rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
        let Some(old) = op.input("x") else { return Ok(false) };
        let Some(&x) = self.tokens.get(&old) else { return Ok(false) };
        let Some(axis) = axis_in_shadow(rw, op, old) else { return Ok(false) };
        let args = vec![("x", x.into()), ("axis", axis.into())];
        let shadows = self.like(rw, op, args, &["x", "axis"])?;
        for (&old, shadow) in op.outputs.iter().zip(shadows) {
            self.settle(rw, old, shadow)?;
        }
        Ok(true)
    }

    fn concat(&mut self, rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
        let shadows: Option<Vec<ValueId>> =
            op.input_values("values").iter().map(|v| self.tokens.get(v).copied()).collect();
        let Some(axis) = axis_in_shadow(rw, op, op.output()) else { return Ok(false) };
        let Some(shadows) = shadows.filter(|s| !s.is_empty()) else { return Ok(false) };
        let shadow =
            self.like(rw, op, vec![("values", shadows.into()), ("axis", axis.into())], &["values", "axis"])?[0];
        self.settle(rw, op.output(), shadow)
    }

    fn attention(&mut self, rw: &mut Rewriter<'_>, op: &Op) -> Result<bool, OpError> {
        let shadow = |param| op.input(param).and_then(|v| self.heads.get(&v).copied());
        let (Some(q), Some(k), Some(v)) = (shadow("query"), shadow("key"), shadow("value")) else { return Ok(false) };
        let shapes = |param| op.input(param).and_then(|v| rw.shape(v));
        let (Some(qs), Some(vs)) = (shapes("query"), shapes("value")) else { return Ok(false) };
        // A mask, or values of another width than the keys', keep the general form.
        if op.input("attn_mask").is_some() || qs[3] != vs[3] || qs[1] != vs[1] {
            return Ok(false);
        }
        let (batch, heads, s_query, head_size) = (qs[0], qs[1], qs[2], qs[3]);
        let context = attend(rw, self.layout, heads, [q, k, v])?;
        let rows = as_i32(&[batch, heads, head_size, s_query]);
        let turned = rw.op("reshape", [("x", context.into()), ("shape", rows.into())])?;
        let old = rw.op("transpose", [("x", turned.into()), ("perm", [0, 1, 3, 2].into())])?;
        rw.replace(op.output(), old)?;
        self.heads.insert(old, context);
        Ok(true)
    }
}

/// Where the axis of a `split` or `concat` on values like `old` lies in their shadows.
fn axis_in_shadow(rw: &Rewriter<'_>, op: &Op, old: ValueId) -> Option<i32> {
    match (rw.tensor(old)?.rank(), rw.view(op).known_int("axis").ok()?) {
        (3, 2 | -1) | (2, 1 | -1) => Some(1),
        (3, 1 | -2) => Some(3),
        _ => None,
    }
}

fn as_i32(dims: &[usize]) -> Vec<i32> {
    dims.iter().map(|&d| i32::try_from(d).unwrap_or(i32::MAX)).collect()
}

fn known_shape(rw: &Rewriter<'_>, v: ValueId) -> Result<Vec<usize>, OpError> {
    rw.shape(v).ok_or_else(|| OpError::new(format!("the shape of {} is not known", rw.function().name_of(v))))
}

fn reshaped(c: &Const, shape: [usize; 4]) -> Result<Const, OpError> {
    c.reshape(shape).map_err(|e| OpError::new(e.to_string()))
}
