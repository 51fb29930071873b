//! The guidance scale as an input, of models that guidance was distilled into (arXiv 2310.04378; diffusers 0.42,
//! `get_guidance_scale_embedding`).

/// Sines, then cosines, of the scale times frequencies that fall from 1 to 1/10000.
pub(super) fn guidance_embedding(scale: f32, width: usize) -> Vec<f32> {
    let half = width / 2;
    let fall = 10_000_f32.ln() / (half.max(2) - 1) as f32;
    let angles: Vec<f32> = (0..half).map(|i| (scale - 1.0) * 1000.0 * (-fall * i as f32).exp()).collect();
    let mut embedding: Vec<f32> = angles.iter().map(|x| x.sin()).chain(angles.iter().map(|x| x.cos())).collect();
    embedding.resize(width, 0.0);
    embedding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_come_first_and_frequencies_fall() {
        let embedding = guidance_embedding(1.001, 5);
        testkit::assert_all_close("sines", &[1.0_f32.sin(), 1e-4_f32.sin()], &embedding[..2], 2e-3, 1e-6);
        testkit::assert_all_close("cosines", &[1.0_f32.cos(), 1.0], &embedding[2..4], 2e-3, 1e-6);
        assert_eq!(embedding[4], 0.0);
    }
}
