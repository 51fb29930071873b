//! Root-mean-square normalisation of each head, on channels first.
//!
//! ```text
//! %m = reduce_mean(x=square(%x), axes=[3], keep_dims=true)       %h = reshape(x=%x, shape=[B·H, D, 1, S])
//! %n = real_div(x=%x, y=sqrt(%m + ε))                     ==>    %b = concat(values=(%h, −%h), axis=1)
//! %y = mul(x=%n, y=γ)                                            %n = layer_norm(x=%b, axes=[1], γ, ε)
//!                                                                %y = the first half of %n
//! ```
//!
//! What a head and its negative are together has the mean zero, so the deviation of `layer_norm` is the root mean square.
//! Devices normalise layers without leaving half precision; the sum of squares that is spelt out would leave it from 256 on.

use crate::{
    constant::Const,
    ir::{Op, ValueId},
    ops::OpError,
    pass::{
        fuse_layer_norm::{is_square, mean},
        rewrite::Rewriter,
    },
};
use host_tensor::HostTensor;

/// A matched `x / sqrt(mean(x²) + ε) · γ` over the last axis.
pub(super) struct RmsNorm {
    pub(super) x: ValueId,
    gamma: Const,
    epsilon: Const,
}

/// Recognises the normalisation that ends in a `mul`.
pub(super) fn match_rms_norm(rw: &Rewriter<'_>, op: &Op) -> Option<RmsNorm> {
    let (a, b) = (op.input("x")?, op.input("y")?);
    let (normed, gamma) = if rw.literal(b).is_some() { (a, b) } else { (b, a) };
    let quotient = rw.def_of(normed, "real_div")?;
    let (x, root) = (quotient.input("x")?, quotient.input("y")?);
    let sum = rw.def_of(rw.def_of(root, "sqrt")?.input("x")?, "add")?;
    let (squares, axes) = mean(rw, sum.input("x")?)?;
    let last = rw.tensor(x)?.rank().checked_sub(1)?;
    if !is_square(rw, squares, x) || axes != super::as_i32(&[last]) {
        return None;
    }
    let width = rw.shape(x)?.last().copied()?;
    let gamma = rw.literal(gamma)?.as_const()?;
    let is_vector = gamma.len() == width && gamma.shape().last() == Some(&width);
    let epsilon = rw.literal(sum.input("y")?)?.as_const().filter(|e| e.len() == 1)?.reshape([]).ok()?;
    is_vector.then(|| gamma.reshape([width]).ok()).flatten().map(|gamma| RmsNorm { x, gamma, epsilon })
}

impl RmsNorm {
    /// The same on a shadow [B, H·D, 1, S].
    pub(super) fn on(self, rw: &mut Rewriter<'_>, shadow: ValueId) -> Result<ValueId, OpError> {
        let unknown = || OpError::new("normalisation of heads needs known shapes".to_owned());
        let shape = rw.shape(shadow).ok_or_else(unknown)?;
        let [batch, channels, one, len] = <[usize; 4]>::try_from(shape).map_err(|_| unknown())?;
        let width = self.gamma.len();
        let folded = [batch * channels / width, width, one, len];
        let heads = rw.op("reshape", [("x", shadow.into()), ("shape", super::as_i32(&folded).into())])?;
        let negative = rw.op("mul", [("x", heads.into()), ("y", crate::constant::Literal::float(-1.0).into())])?;
        let both = vec![heads, negative];
        let both = rw.op("concat", [("values", both.into()), ("axis", 1.into()), ("interleave", false.into())])?;
        let gamma = self.gamma.read().to_f32_vec();
        let gamma = Const::new(HostTensor::from_f32([2 * width], gamma.repeat(2))).cast(self.gamma.dtype());
        let args =
            [("x", both.into()), ("axes", [1].into()), ("gamma", gamma.into()), ("epsilon", self.epsilon.into())];
        let normed = rw.op("layer_norm", args)?;
        let halves = rw.op_multi("split", vec![("x", normed.into()), ("num_splits", 2.into()), ("axis", 1.into())])?;
        let unfolded = super::as_i32(&[batch, channels, one, len]);
        rw.op("reshape", [("x", halves[0].into()), ("shape", unfolded.into())])
    }
}
