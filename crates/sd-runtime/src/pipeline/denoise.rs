//! The loop from noise to latents.

use std::ops::ControlFlow;

use host_tensor::Stop;

use super::options::{GenerateOptions, Progress};
use super::text::Conditioning;
use super::unet::UNet;
use crate::error::{Result, RuntimeError};
use crate::scheduler::Scheduler;

/// Denoises `latents`, given as standard normal noise, in place; with `clean` the noise is added to those latents first.
pub(super) fn denoise(
    unet: &mut UNet,
    scheduler: &mut dyn Scheduler,
    text: &Conditioning,
    clean: Option<&[f32]>,
    options: &GenerateOptions,
    latents: &mut [f32],
    stop: &Stop,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<()> {
    match clean {
        Some(clean) => scheduler.add_noise(clean, latents),
        None => {
            let sigma = scheduler.init_noise_sigma();
            latents.iter_mut().for_each(|x| *x *= sigma);
        }
    }
    let timesteps = scheduler.timesteps().to_vec();
    let n_steps = timesteps.len();
    let mut input = vec![0.0; latents.len()];
    for (step_idx, &timestep) in timesteps.iter().enumerate() {
        input.copy_from_slice(latents);
        scheduler.scale_model_input(step_idx, &mut input);
        let noise = unet.predict(&input, timestep, text, options.guidance_scale, stop)?;
        scheduler.step(step_idx, &noise, latents)?;
        let step = step_idx + 1;
        let at = Progress { image_idx: 0, n_images: 1, step, n_steps, latents };
        if progress(at).is_break() {
            return Err(RuntimeError::Stopped { step, count: n_steps });
        }
    }
    Ok(())
}
