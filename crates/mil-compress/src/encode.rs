//! A scheme applied to a weight.

use crate::{
    Axes, Encoded, Loss, NonZero, PaletteGroups, Palettize, Scheme, palettize::palettize, prune::prune,
    quantize::quantize,
};
use host_tensor::{DType, HostTensor};

/// Compresses a weight of type `F16` or `F32` and at least two dimensions.
///
/// With `measure` the loss is computed too, where it does not come for free; it costs a decoding.
///
/// # Errors
/// Why the weight is better left as it is, in words.
pub fn encode(
    weight: &HostTensor,
    scheme: &Scheme,
    axes: Axes,
    measure: bool,
) -> Result<(Encoded, Option<Loss>), String> {
    if !matches!(weight.dtype(), DType::F16 | DType::F32) {
        return Err(format!("it is of type {}", weight.dtype().name()));
    }
    if weight.is_empty() {
        return Err("it has no elements".into());
    }
    let encoded = match scheme {
        Scheme::Keep => return Err("as asked for".into()),
        Scheme::Half if weight.dtype() == DType::F16 => return Err("it is in half precision already".into()),
        Scheme::Half => Encoded::Half(half(weight)),
        Scheme::Palettize(how) => {
            let (encoded, loss) = palettize(weight, how, axes)?;
            return Ok((encoded, Some(loss)));
        }
        Scheme::Quantize(how) => Encoded::Affine(quantize(weight, how, axes)?),
        Scheme::Prune(how) => prune(weight, how, axes)?.plain(),
        Scheme::PrunePalettize(pruning, how) => {
            let pruned = prune(weight, pruning, axes)?;
            let stored = pruned.stored(&pruned.weight);
            if stored.is_empty() {
                return Err("nothing of it would be left".into());
            }
            let how = Palettize { groups: PaletteGroups::PerTensor, cluster_dim: 1, per_channel_scale: false, ..*how };
            let (Encoded::Lut(mut lut), _) = palettize(&stored, &how, Axes { output: 0, input: 0 })? else {
                return Err("its values have no palette".into());
            };
            let mut shape = vec![1; weight.shape().len()];
            shape.extend([1 << lut.indices.dtype().bits(), 1]);
            lut.lut = lut.lut.reshape(shape).expect("invariant: one palette");
            Encoded::Sparse { mask: pruned.mask(), values: NonZero::Lut(lut) }
        }
        Scheme::PruneQuantize(pruning, how) => {
            let pruned = prune(weight, pruning, axes)?;
            let mut affine = quantize(&pruned.weight, how, axes)?;
            let dtype = affine.data.dtype();
            let wide = affine.data.cast(if dtype.is_signed_int() { DType::I8 } else { DType::U8 });
            affine.data = pruned.stored(&wide).cast(dtype);
            Encoded::Sparse { mask: pruned.mask(), values: NonZero::Affine(affine) }
        }
    };
    let loss = measure.then(|| encoded.loss(weight));
    Ok((encoded, loss))
}

/// Half precision; what is finite stays finite.
fn half(weight: &HostTensor) -> HostTensor {
    let limit = half::f16::MAX.to_f32();
    let clamp = |v: f32| if v.is_finite() { v.clamp(-limit, limit) } else { v };
    HostTensor::from_f32(weight.shape(), weight.to_f32_vec().into_iter().map(clamp).collect()).cast(DType::F16)
}
