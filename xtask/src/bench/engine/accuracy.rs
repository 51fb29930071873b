//! How near the CPU engine comes to the reference engine on a UNet's step of 512x512, in each precision of its products.

use anyhow::{Context, Result};
use testkit::{load_safetensors, psnr};

use super::ours::Ours;
use crate::{bench::record::Metrics, synth};

/// Precisions by the names of `--compute`, and the metric of each.
const PRECISIONS: [(&str, &str); 3] = [("f32", "psnr_f32"), ("bf16", "psnr_bf16"), ("bf16x3", "psnr_bf16x3")];

/// Latents and text of both samples are normal numbers, as far as they go in f16; the time step is an early one.
#[rustfmt::skip]
const INPUTS: [(&str, &[usize], f32, f32); 3] = [
    ("sample", &[2, 4, 64, 64], 0.0, 1.0),
    ("timestep", &[2], 901.0, 0.0),
    ("encoder_hidden_states", &[2, 768, 1, 77], 0.0, 1.0),
];

/// Runs the reference engine once, and the CPU engine in each precision, on the same inputs.
pub(super) fn measure(ours: &Ours, metrics: &mut Metrics) -> Result<()> {
    let dir = ours.empty("accuracy")?;
    let inputs = dir.join("inputs.safetensors");
    synth::write_normal(&inputs, &INPUTS, 0)?;
    let run = |name: &str, how: [&str; 2]| -> Result<Vec<f32>> {
        let outputs = dir.join(name).with_extension("safetensors");
        ours.run(&inputs, &outputs, how)?;
        let tensors = load_safetensors(&outputs);
        let noise = tensors.get("noise_pred");
        Ok(noise.with_context(|| format!("{} has no noise_pred", outputs.display()))?.to_f32_vec())
    };
    let expected = run("reference", ["--engine", "reference"])?;
    for (precision, metric) in PRECISIONS {
        let db = psnr(&expected, &run(precision, ["--compute", precision])?);
        metrics.add(metric, "dB to the reference engine", db);
    }
    Ok(())
}
