//! The spelt-out Gaussian error linear unit is one operation.
//!
//! ```text
//! %a = mul(x=%x, y=0.7071)   (or real_div by 1.4142)
//! %e = erf(x=%a)
//! %p = add(x=%e, y=1)
//! %q = mul(x=%x, y=%p)       (factors in any order)
//! %y = mul(x=%q, y=0.5)      ==>   %y = gelu(x=%x, mode="EXACT")
//! ```

use super::error::PassError;
use super::rewrite::{Rewriter, rewrite};
use crate::ir::{Function, Op, ValueId};

/// Fuses the exact form with `erf`; the factors ½, x and 1 + erf may come in any order.
///
/// # Errors
/// When the fused operation is refused, which validated programs do not cause.
pub fn fuse_gelu(function: &mut Function) -> Result<usize, PassError> {
    rewrite("fuse_gelu", function, |rw, op| {
        let Some(x) = match_gelu(rw, op) else { return Ok(false) };
        rw.replace_with(op, "gelu", [("x", x.into()), ("mode", "EXACT".into())])
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

fn match_gelu(rw: &Rewriter<'_>, op: &Op) -> Option<ValueId> {
    if op.kind != "mul" {
        return None;
    }
    three_factors(rw, op).into_iter().find_map(|[half, x, one_plus_erf]| {
        let near = |v: ValueId, target: f32| rw.scalar(v).is_some_and(|s| (s - target).abs() < 1e-5 * target);
        let sum = rw.def_of(one_plus_erf, "add").filter(|_| rw.single_use(one_plus_erf))?;
        let (a, b) = (sum.input("x")?, sum.input("y")?);
        let e = if near(a, 1.0) {
            b
        } else if near(b, 1.0) {
            a
        } else {
            return None;
        };
        let inner = rw.def_of(e, "erf").filter(|_| rw.single_use(e))?.input("x")?;
        let scaled = rw.def(inner).filter(|_| rw.single_use(inner))?;
        let (p, q) = (scaled.input("x")?, scaled.input("y")?);
        let fits = match &*scaled.kind {
            "mul" => {
                (p == x && near(q, std::f32::consts::FRAC_1_SQRT_2))
                    || (q == x && near(p, std::f32::consts::FRAC_1_SQRT_2))
            }
            "real_div" => p == x && near(q, std::f32::consts::SQRT_2),
            _ => false,
        };
        (fits && near(half, 0.5)).then_some(x)
    })
}
