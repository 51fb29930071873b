//! What of a picture stays while the rest of it is repainted by a denoiser that knows nothing of masks.
// Source of the rules: diffusers 0.42, StableDiffusionInpaintPipeline with 4 channels.

use crate::scheduler::Scheduler;

/// Latents of the picture, put back after every step with as much noise as the next one expects.
pub(crate) struct Kept {
    /// Without noise: [C, h, w].
    pub(crate) clean: Vec<f32>,
    /// 1 where it is repainted: [h, w].
    pub(crate) mask: Vec<f32>,
}

impl Kept {
    /// Puts back what is kept after a step; `noise` is what the picture began with.
    pub(crate) fn put_back(&self, scheduler: &dyn Scheduler, step_idx: usize, noise: &[f32], sample: &mut [f32]) {
        let next = step_idx + 1;
        let mut known = noise.to_vec();
        match next < scheduler.timesteps().len() {
            true => scheduler.add_noise(next, &self.clean, &mut known),
            false => known.copy_from_slice(&self.clean),
        }
        let kept = self.mask.iter().cycle().map(|&repaint| repaint < 0.5);
        sample.iter_mut().zip(known).zip(kept).filter(|(_, kept)| *kept).for_each(|((x, known), _)| *x = known);
    }
}
