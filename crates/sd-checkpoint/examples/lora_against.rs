//! Merges a LoRA into a checkpoint and compares all weights with those of a checkpoint into which another program merged it.
//!
//! `cargo run -p sd-checkpoint --example lora_against -- CHECKPOINT LORA WEIGHT MERGED`
//!
//! Prints how many weights were compared and changed, and the largest error: in steps of f16 at the value, and as a part
//! of the largest value of its tensor. Fails above one step.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use sd_checkpoint::Checkpoint;
use sd_checkpoint::lora::{Fitting, Lora, Strength};

/// The least magnitude that f16 has with all its digits.
const LEAST_NORMAL: f32 = 6.1e-5;

#[allow(clippy::print_stdout, reason = "the line is the output")]
fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, lora, weight, merged] = &arguments[..] else {
        return Err("usage: lora_against CHECKPOINT LORA WEIGHT MERGED".into());
    };
    let weight: f32 = weight.parse()?;
    let (plain, theirs) = (Checkpoint::open(Path::new(checkpoint))?, Checkpoint::open(Path::new(merged))?);
    let lora = Lora::open(lora.as_ref())?;
    let fitting = Fitting::new(&plain)?;
    let fitted = fitting.fit(&lora, Strength { denoiser: weight, text: weight })?;
    fitting.refuse_unapplied(&lora, &fitted)?;
    let n_fitted = fitted.n_changed();
    let ours = plain.clone().with(fitted);
    let (mut n, mut n_changed, mut steps, mut relative) = (0, 0, 0f32, 0f32);
    for role in plain.roles() {
        let (before, ours, theirs) = (plain.weights(role)?, ours.weights(role)?, theirs.weights(role)?);
        for (key, theirs) in theirs.iter() {
            let read = |weights: &sd_checkpoint::Weights| {
                let weight = weights.get(key).ok_or_else(|| format!("{key} is not in both"))?;
                Ok::<_, String>(weight.constant().read().to_f32_vec())
            };
            let (before, ours, theirs) = (read(&before)?, read(&ours)?, theirs.constant().read().to_f32_vec());
            let error = Distance::of(&ours, &theirs);
            (n, n_changed) = (n + 1, n_changed + usize::from(theirs != before));
            (steps, relative) = (steps.max(error.steps), relative.max(error.relative));
        }
    }
    println!(
        "{n} weights, {n_changed} changed by the other program and {n_fitted} by us: at most {steps:.4} steps of f16, \
         {relative:.1e} of a tensor's largest value"
    );
    Ok(if steps <= 1.0 && n_changed == n_fitted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How far two tensors are apart at most.
struct Distance {
    steps: f32,
    relative: f32,
}

impl Distance {
    fn of(ours: &[f32], theirs: &[f32]) -> Self {
        let largest = theirs.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        let step = |x: f32| x.abs().max(LEAST_NORMAL).log2().floor().exp2() / 1024.0;
        let pairs = || ours.iter().zip(theirs).map(|(&ours, &theirs)| ((ours - theirs).abs(), theirs));
        Self {
            steps: pairs().map(|(error, theirs)| error / step(theirs)).fold(0.0, f32::max),
            relative: pairs().map(|(error, _)| error / largest.max(f32::MIN_POSITIVE)).fold(0.0, f32::max),
        }
    }
}
