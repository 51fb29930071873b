//! Names of TAESD in its author's files (madebyollin/taesd): each half is one list, and layers are known by their places in
//! it. The decoder's list begins with what bounds latents, which has no tensors and in diffusers no place.

use sd_models::TinyAutoencoderConfig;
use sd_spec::Role;

use super::names::Names;

/// What stands before the decoder's first convolution.
const BEFORE_DECODER: usize = 1;

/// How diffusers' keys of a half begin, and how many layers its list has in the author's files before the first of them.
pub(crate) const fn list(half: Role) -> (&'static str, usize) {
    match half {
        Role::VaeEncoder => ("encoder.layers", 0),
        _ => ("decoder.layers", BEFORE_DECODER),
    }
}

/// The names of a half's layers.
pub(crate) fn half(config: &TinyAutoencoderConfig, half: Role) -> Names {
    let levels = if half == Role::VaeEncoder { &config.encoder } else { &config.decoder };
    // Beside its blocks a level has a convolution and, in the decoder, what makes pictures larger; the ends have a
    // convolution and an activation more.
    let n_layers = levels.n_blocks.iter().sum::<usize>() + 2 * levels.n_blocks.len() + 2;
    let (diffusers, offset) = list(half);
    let mut names = Names::default();
    for layer in 0..n_layers {
        names.add(format!("{diffusers}.{layer}"), (layer + offset).to_string(), &[]);
    }
    names
}
