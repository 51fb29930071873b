//! Activations of 8 bits that are decoded where they stand.
//!
//! ```text
//! %q = quantize(input=%x, scale=s, output_dtype="int8")
//! %y = dequantize(input=%q, scale=s)                     ==>   %y = steps(%x)
//! ```

use super::found::Found;
use crate::{
    cpu::{body::Body, graph::Kind},
    kernel::map,
};
use mil::Op;

pub(super) fn find(found: &mut Found<'_, '_>, at: usize) {
    if let Some((ops, kind)) = pair(found.body, at) {
        found.add(&ops, kind);
    }
}

fn pair(body: &Body<'_>, at: usize) -> Option<([usize; 2], Kind)> {
    let decode = &body.ops[at];
    if decode.kind != "dequantize" {
        return None;
    }
    let integers = decode.input("input")?;
    let from = body.def_of(integers, "quantize").filter(|_| body.only_use(integers) == Some(at))?;
    let encode = &body.ops[from];
    let (x, out, step) = (encode.input("input")?, decode.output(), symmetric(body, encode)?);
    let is_whole = body.floats(x)? == body.floats(out)? && symmetric(body, decode) == Some(step);
    let is_signed = body.view(encode).known_text("output_dtype").ok()? == "int8";
    (is_whole && is_signed).then(|| ([from, at], Kind::Map { op: map::Op::Steps(step), operands: vec![x], out }))
}

/// The only scale, where zero is zero.
fn symmetric(body: &Body<'_>, op: &Op) -> Option<f32> {
    let is_plain = op.input("zero_point").is_none() && op.input("axis").is_none();
    op.input("scale").filter(|_| is_plain).and_then(|scale| body.scalar(scale)).filter(|scale| *scale > 0.0)
}
