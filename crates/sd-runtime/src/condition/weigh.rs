//! What weights do to the states of a window's tokens.

use crate::prompt::Chunk;

/// How far the mean of a window may be moved back; weights that take it further away are left as they are.
const MAX_RATIO: f64 = 16.0;

/// Multiplies states [window, D] by the weights of their tokens; where it `keeps_mean`, their mean is then what it was.
// modules/sd_emphasis.py of AUTOMATIC1111's web UI 1.10, EmphasisOriginal and EmphasisOriginalNoNorm.
pub(super) fn multiply(states: &mut [f32], chunk: &Chunk, keeps_mean: bool) {
    if chunk.weights.iter().all(|weight| *weight == 1.0) {
        return;
    }
    let before = mean(states);
    for (state, weight) in states.chunks_mut(width(states, chunk)).zip(&chunk.weights) {
        state.iter_mut().for_each(|x| *x *= *weight as f32);
    }
    let ratio = before / mean(states);
    // A mean near zero would make noise of everything.
    if keeps_mean && ratio.is_finite() && ratio > 0.0 && ratio < MAX_RATIO {
        states.iter_mut().for_each(|x| *x = (f64::from(*x) * ratio) as f32);
    }
}

/// Moves states away from those of the empty prompt, or towards them, by the weights of their tokens.
// compel 2.5.1, build_weighted_embedding_tensor.
pub(super) fn move_from(states: &mut [f32], empty: &[f32], chunk: &Chunk) {
    let width = width(states, chunk);
    let rows = states.chunks_mut(width).zip(empty.chunks(width)).zip(&chunk.weights);
    for ((state, empty), weight) in rows.filter(|(_, weight)| **weight != 1.0) {
        state.iter_mut().zip(empty).for_each(|(x, empty)| *x = empty + (*x - empty) * *weight as f32);
    }
}

/// How much the states without a piece count beside those with it, for its weight below 1.
// compel 2.5.1, get_embeddings_for_weighted_prompt_fragments.
pub(super) fn share_without(weight: f64) -> f64 {
    ((1.0 - weight.max(1e-5)) * std::f64::consts::FRAC_PI_2).tan()
}

fn width(states: &[f32], chunk: &Chunk) -> usize {
    (states.len() / chunk.ids.len().max(1)).max(1)
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|x| f64::from(*x)).sum::<f64>() / values.len().max(1) as f64
}
