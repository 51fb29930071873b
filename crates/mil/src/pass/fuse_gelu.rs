//! The spelt-out Gaussian error linear unit is one operation.
//!
//! ```text
//! %a = mul(x=%x, y=0.7071)   (or real_div by 1.4142)
//! %e = erf(x=%a)
//! %p = add(x=%e, y=1)
//! %q = mul(x=%x, y=%p)       (factors in any order)
//! %y = mul(x=%q, y=0.5)      ==>   %y = gelu(x=%x, mode="EXACT")
//!
//! %c = mul(x=pow(x=%x, y=3), y=0.0447)
//! %i = mul(x=add(x=%x, y=%c), y=0.798)
//! %p = add(x=tanh(x=%i), y=1)
//! %q = mul(x=%x, y=%p)       (factors in any order)
//! %y = mul(x=%q, y=0.5)      ==>   %y = gelu(x=%x, mode="TANH_APPROXIMATION")
//! ```
//! In half precision the cube of the second form would leave the range from 41 on; the operation does not.

use super::error::PassError;
use super::rewrite::{Rewriter, rewrite};
use crate::ir::{Function, Op, ValueId};

/// Fuses the exact form with `erf` and the approximation with `tanh`; the factors ½, x and 1 + … may come in any order.
///
/// # Errors
/// When the fused operation is refused, which validated programs do not cause.
pub fn fuse_gelu(function: &mut Function) -> Result<usize, PassError> {
    rewrite("fuse_gelu", function, |rw, op| {
        let Some((x, mode)) = match_gelu(rw, op) else { return Ok(false) };
        rw.replace_with(op, "gelu", [("x", x.into()), ("mode", mode.into())])
    })
}

/// The factors of a product of three, looking through one inner product that nothing else reads.
fn three_factors(rw: &Rewriter<'_>, op: &Op) -> Vec<[ValueId; 3]> {
    let (Some(a), Some(b)) = (op.input("x"), op.input("y")) else { return Vec::new() };
    let mut found = Vec::new();
    for (inner, outer) in [(a, b), (b, a)] {
        let product = rw.def_of(inner, "mul").filter(|_| rw.single_use(inner));
        if let Some((Some(c), Some(d))) = product.map(|p| (p.input("x"), p.input("y"))) {
            found.extend([[outer, c, d], [outer, d, c], [c, outer, d], [d, outer, c], [c, d, outer], [d, c, outer]]);
        }
    }
    found
}

fn match_gelu(rw: &Rewriter<'_>, op: &Op) -> Option<(ValueId, &'static str)> {
    if op.kind != "mul" {
        return None;
    }
    three_factors(rw, op).into_iter().find_map(|[half, x, sum]| {
        let inner = with_constant(rw, sum, "add", 1.0)?;
        let mode = match &*rw.def(inner).filter(|_| rw.single_use(inner))?.kind {
            "erf" if is_exact(rw, inner, x) => "EXACT",
            "tanh" if is_approximate(rw, inner, x) => "TANH_APPROXIMATION",
            _ => return None,
        };
        is_near(rw, half, 0.5).then_some((x, mode))
    })
}

fn is_near(rw: &Rewriter<'_>, v: ValueId, target: f32) -> bool {
    rw.scalar(v).is_some_and(|s| (s - target).abs() < 1e-5 * target)
}

/// The other operand of an `add` or `mul` with about this number, which nothing else reads.
fn with_constant(rw: &Rewriter<'_>, v: ValueId, kind: &str, number: f32) -> Option<ValueId> {
    let op = rw.def_of(v, kind).filter(|_| rw.single_use(v))?;
    let (a, b) = (op.input("x")?, op.input("y")?);
    if is_near(rw, b, number) {
        return Some(a);
    }
    is_near(rw, a, number).then_some(b)
}

/// `erf(x / √2)`.
fn is_exact(rw: &Rewriter<'_>, erf: ValueId, x: ValueId) -> bool {
    let Some(scaled) = rw.def(erf).and_then(|op| op.input("x")) else { return false };
    if with_constant(rw, scaled, "mul", std::f32::consts::FRAC_1_SQRT_2) == Some(x) {
        return true;
    }
    let quotient = rw.def_of(scaled, "real_div").filter(|_| rw.single_use(scaled));
    let operands = quotient.and_then(|op| Some((op.input("x")?, op.input("y")?)));
    operands.is_some_and(|(p, q)| p == x && is_near(rw, q, std::f32::consts::SQRT_2))
}

/// `tanh(√(2/π) · (x + 0.044715 · x³))`.
fn is_approximate(rw: &Rewriter<'_>, tanh: ValueId, x: ValueId) -> bool {
    const ROOT: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
    let matches = || {
        let sum = with_constant(rw, rw.def(tanh)?.input("x")?, "mul", ROOT)?;
        let sum = rw.def_of(sum, "add").filter(|_| rw.single_use(sum))?;
        let (a, b) = (sum.input("x")?, sum.input("y")?);
        let cubic = if a == x { b } else { (b == x).then_some(a)? };
        let cube = with_constant(rw, cubic, "mul", 0.044_715)?;
        let cube = rw.def_of(cube, "pow").filter(|_| rw.single_use(cube))?;
        let is_cube = cube.input("x") == Some(x) && is_near(rw, cube.input("y")?, 3.0);
        Some(is_cube)
    };
    matches().unwrap_or(false)
}
