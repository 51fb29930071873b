//! A multiplication and an addition per channel are one `batch_norm`, as Apple's converter writes them.
//!
//! ```text
//! %m = mul(x=%x, y=γ[1, C, 1, 1])
//! %y = add(x=%m, y=β[1, C, 1, 1])   ==>   %y = batch_norm(x=%x, mean=0, variance=1, gamma=γ, beta=β, epsilon=0)
//! ```
//! coremltools leaves `batch_norm`'s default epsilon of 1e-5, which scales by 0.999995 in f32; here epsilon
//! is 0, so that the affine map stays what the checkpoint says.

use super::error::PassError;
use super::rewrite::{Rewriter, rewrite};
use crate::{
    constant::{Const, Literal},
    ir::{Function, Op, ValueId},
};
use host_tensor::{DType, HostTensor};

/// Fuses `add(mul(x, γ), β)` of rank 4 with per-channel constants.
///
/// # Errors
/// When the fused operation is refused, which validated programs do not cause.
pub fn fuse_batch_norm(function: &mut Function) -> Result<usize, PassError> {
    rewrite("fuse_batch_norm", function, |rw, op| {
        let Some((x, gamma, beta)) = match_affine(rw, op) else { return Ok(false) };
        let channels = gamma.len();
        let filled = |v: f32| Literal::from(HostTensor::from_f32([channels], vec![v; channels]).cast(gamma.dtype()));
        let (mean, variance) = (filled(0.0), filled(1.0));
        let epsilon = Literal::from(HostTensor::scalar(gamma.dtype(), 0.0));
        let args = [
            ("x", x.into()),
            ("mean", mean.into()),
            ("variance", variance.into()),
            ("gamma", gamma.into()),
            ("beta", beta.into()),
            ("epsilon", epsilon.into()),
        ];
        rw.replace_with(op, "batch_norm", args)
    })
}

/// `(x, γ[C], β[C])` of a per-channel affine map on a float tensor of rank 4.
fn match_affine(rw: &Rewriter<'_>, op: &Op) -> Option<(ValueId, Const, Const)> {
    if op.kind != "add" {
        return None;
    }
    let (product, beta) = tensor_and_constant(rw, op)?;
    let inner = rw.def_of(product, "mul").filter(|_| rw.single_use(product) && !rw.is_output(product))?;
    let (x, gamma) = tensor_and_constant(rw, inner)?;
    let shape = rw.shape(x)?;
    let fits = shape.len() == 4 && shape[1] > 1 && rw.tensor(x)?.dtype != DType::I32;
    if !fits {
        return None;
    }
    Some((x, per_channel(&gamma, shape[1])?, per_channel(&beta, shape[1])?))
}

fn tensor_and_constant(rw: &Rewriter<'_>, op: &Op) -> Option<(ValueId, Const)> {
    let (a, b) = (op.input("x")?, op.input("y")?);
    match (rw.literal(a), rw.literal(b)) {
        (None, Some(Literal::Tensor(c))) => Some((a, c.clone())),
        (Some(Literal::Tensor(c)), None) => Some((b, c.clone())),
        _ => None,
    }
}

fn per_channel(c: &Const, channels: usize) -> Option<Const> {
    let fits = matches!(c.shape(), [1, n, 1, 1] | [n, 1, 1] if *n == channels);
    fits.then(|| c.reshape([channels]).ok()).flatten()
}
