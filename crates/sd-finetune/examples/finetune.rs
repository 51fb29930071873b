//! Learns the palettes of a network, and writes the checkpoint again with them.
//!
//! ```sh
//! smelt calibrate --prompts xtask/src/demo_model/concepts.txt --samples 8192 -o samples.safetensors
//! cargo run --release -p sd-finetune --example finetune -- --data samples.safetensors --state state.safetensors -o tuned
//! smelt convert tuned -o packages && smelt compress packages -o small --mode unique
//! ```

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a command tells what it does")]

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use burn_core::tensor::Device;
use clap::Parser;
use safe_files::Outputs;
use sd_checkpoint::Checkpoint;
use sd_finetune::{Data, FinetuneError, Progress, Recipe, Tuner};
use sd_models::NetworkConfig;

/// Learns the palettes of a network by distillation from itself.
#[derive(Parser)]
struct Arguments {
    /// A checkpoint, a folder in the layout of diffusers; default: the small model in the box.
    #[arg(short, long)]
    model: Option<PathBuf>,
    /// Samples of the denoiser's inputs, as `smelt calibrate` writes them.
    #[arg(long)]
    data: PathBuf,
    /// Where the training is kept once a minute, and goes on from where it is there.
    #[arg(long)]
    state: PathBuf,
    /// The state of another training, whose weights and palettes this one begins with.
    #[arg(long)]
    begin_with: Option<PathBuf>,
    /// The checkpoint to write.
    #[arg(short, long)]
    output: PathBuf,
    /// Width of an index.
    #[arg(long, default_value_t = 2)]
    bits: u8,
    /// Output channels that share a palette; default: all.
    #[arg(long)]
    group_size: Option<usize>,
    /// Samples of a step.
    #[arg(long, default_value_t = Recipe::default().batch)]
    batch: usize,
    /// The guidance that pictures will be drawn with: what it makes of two outputs counts beside each of them.
    #[arg(long)]
    guidance: Option<f32>,
    /// Steps in which weights and palettes are trained.
    #[arg(long, default_value_t = Recipe::default().soft_steps)]
    soft_steps: usize,
    /// Steps behind them for palettes alone.
    #[arg(long, default_value_t = Recipe::default().hard_steps)]
    hard_steps: usize,
    /// Iterations of k-means in a step.
    #[arg(long, default_value_t = Recipe::default().n_iterations)]
    iterations: usize,
    /// The first temperature.
    #[arg(long, default_value_t = Recipe::default().temperatures.0)]
    warm: f32,
    /// The last temperature.
    #[arg(long, default_value_t = Recipe::default().temperatures.1)]
    cold: f32,
    /// How far elements move in a step at first, as a share of the distance between neighbouring entries.
    #[arg(long, default_value_t = Recipe::default().soft_rates.elements)]
    rate: f32,
}

impl Arguments {
    fn recipe(&self) -> Recipe {
        let mut recipe = Recipe {
            n_bits: self.bits,
            group_size: self.group_size,
            batch: self.batch,
            guidance: self.guidance,
            soft_steps: self.soft_steps,
            hard_steps: self.hard_steps,
            n_iterations: self.iterations,
            temperatures: (self.warm, self.cold),
            ..Recipe::default()
        };
        recipe.soft_rates.elements = self.rate;
        recipe
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut outputs = Outputs::new();
    let state = outputs.file("--state", &arguments.state)?;
    outputs.directory("-o", &arguments.output)?;
    outputs.reads("--data", &arguments.data)?;
    arguments.begin_with.iter().try_for_each(|path| outputs.reads("--begin-with", path))?;
    if arguments.output.exists() {
        bail!("{} is there already; give another place", arguments.output.display());
    }
    let model = match &arguments.model {
        Some(model) => model.clone(),
        None => sd_demo::unpack(&std::env::temp_dir().join("smelt"))?,
    };
    let checkpoint = Checkpoint::open(model.as_path())?;
    let role = checkpoint.denoiser();
    let config = format!("{}/config.json", role.spec().folder);
    let config = checkpoint.file(&config)?.with_context(|| format!("{} has no {config}", model.display()))?;
    let config = NetworkConfig::read(role, &config)?;
    let data = Data::read(&arguments.data)?;
    let mut tuner = Tuner::new(&config, &checkpoint.weights(role)?, arguments.recipe(), &device())?;
    if arguments.state.exists() {
        tuner.resume(&arguments.state)?;
        eprintln!("goes on behind step {}", tuner.n_done());
    } else if let Some(path) = &arguments.begin_with {
        tuner.begin_with(path)?;
    }
    judge(&tuner, &data)?;
    match tuner.run(&data, Some(&state), watch()?) {
        Err(FinetuneError::Stopped) => {
            bail!("stopped; the same command goes on from {}", arguments.state.display())
        }
        done => done?,
    }
    judge(&tuner, &data)?;
    tuner.export(&checkpoint, role, &arguments.output)?;
    println!("{}", arguments.output.display());
    Ok(())
}

fn device() -> Device {
    Device::flex()
}

/// Says how far the network is from itself.
fn judge(tuner: &Tuner, data: &Data) -> Result<()> {
    let (error, power) = tuner.judge(data, 128)?;
    eprintln!("error {error:.5}, {:.2} dB below the output", 10.0 * (power / error).log10());
    Ok(())
}

/// Tells of every step, and breaks off when Ctrl-C was pressed.
fn watch() -> Result<impl FnMut(Progress) -> ControlFlow<()>> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    let asked = is_stopped.clone();
    ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed))?;
    let mut mean = None;
    Ok(move |at: Progress| {
        let mean = mean.insert(mean.map_or(at.loss, |mean: f64| 0.95 * mean + 0.05 * at.loss));
        let minutes = at.seconds_left / 60.0;
        eprint!("\rstep {} of {}, error {mean:.5}, {minutes:.1} minutes left   ", at.n_done, at.n_steps);
        if at.n_done.is_multiple_of(50) || at.n_done == at.n_steps {
            eprintln!("{:.0} s", at.seconds);
        }
        std::io::stderr().flush().ok();
        match is_stopped.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })
}
