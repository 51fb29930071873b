//! `cargo xtask demo-model`: trains the model in the box (`crates/sd-demo`) again, from pictures to checkpoint.
//!
//! Training is a development tool: it needs Python and network for a virtual environment with PyTorch and diffusers,
//! and hours. Every step goes on where it stopped. `docs/demo-model.md` tells what was done, and what came of it.

mod pictures;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    python::{ensure_venv, succeed},
    smelt::{self, Profile},
    workspace_root,
};

const REQUIREMENTS: [&str; 5] =
    ["torch==2.15.0", "diffusers==0.42.1", "transformers==5.24.0", "pillow==13.0.0", "numpy==2.4.6"];
/// Width and height of the pictures, as in `common.py`.
const SIZE: &str = "128";
const CHECKPOINT: &str = "crates/sd-demo/sd-emoji";
/// Largest difference of final latents from diffusers', in f32.
const TOLERANCE: f64 = 1e-3;

/// Arguments of `cargo xtask demo-model`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    step: Step,
    /// Where pictures, states of training and their logs lie; default: `demo-model` in the target folder.
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Step {
    /// Download the emoji and their names, and make the picture set.
    Data,
    /// Train VAE, UNet with text encoder, and the decoder once more; goes on where it stopped.
    Train {
        /// Seconds for the VAE.
        #[arg(long, default_value_t = 1400)]
        vae: u32,
        /// Seconds for UNet and text encoder.
        #[arg(long, default_value_t = 7000)]
        unet: u32,
        /// Seconds for the decoder alone.
        #[arg(long, default_value_t = 1800)]
        decoder: u32,
    },
    /// Write the checkpoint into the crate.
    Export,
    /// Draw with the checkpoint here and in diffusers, and compare the latents.
    Check,
    /// Draw the pictures of the documentation, into `docs/images`.
    Pictures,
}

/// Runs a step.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let place = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => smelt::target_dir()?.join("demo-model"),
    };
    fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    let trainer = || Trainer::new(&place);
    match &arguments.step {
        Step::Data => {
            let [packages, data] = ["packages", "data"].map(|name| place.join(name));
            trainer()?.script("data.py", &[&path(&packages), &path(&data), SIZE])?;
            copy_tokenizer(&data.join("tokenizer"))
        }
        Step::Train { vae, unet, decoder } => {
            let [data, out] = ["data", "out"].map(|name| path(&place.join(name)));
            let trainer = trainer()?;
            trainer.script("train_vae.py", &[&data, &out, &vae.to_string()])?;
            trainer.script("train_unet.py", &[&data, &out, &unet.to_string()])?;
            trainer.script("train_vae.py", &[&data, &out, &decoder.to_string(), "decoder"])
        }
        Step::Export => {
            let [data, out] = ["data", "out"].map(|name| path(&place.join(name)));
            let new = place.join("sd-emoji");
            let trainer = trainer()?;
            trainer.script("export.py", &[&data, &out, &path(&new)])?;
            let curves = workspace_root().join("docs/images/training.svg");
            trainer.script("curves.py", &[&out, &path(&curves)])?;
            let target = workspace_root().join(CHECKPOINT);
            fs::remove_dir_all(&target).with_context(|| target.display().to_string())?;
            succeed(Command::new("cp").arg("-r").args([&new, &target]))
        }
        Step::Check => check(&trainer()?, &place),
        Step::Pictures => pictures::draw(&place.join("pictures")),
    }
}

/// The environment and the scripts.
struct Trainer {
    python: PathBuf,
    scripts: PathBuf,
}

impl Trainer {
    fn new(place: &Path) -> Result<Self> {
        let python = ensure_venv(&place.join("venv"), &REQUIREMENTS)?;
        Ok(Self { python, scripts: workspace_root().join("xtask/src/demo_model") })
    }

    fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.scripts.join(script)).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn script(&self, script: &str, arguments: &[&str]) -> Result<()> {
        succeed(&mut self.command(script, arguments))
    }
}

/// The tokenizer does not change: it is CLIP's, cut to its first merges.
fn copy_tokenizer(to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(workspace_root().join(CHECKPOINT).join("tokenizer"))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Draws three prompts in f32 here, and with the same noise in diffusers.
#[allow(clippy::print_stdout, reason = "a command reports on standard output")]
fn check(trainer: &Trainer, place: &Path) -> Result<()> {
    let smelt = smelt::build(Profile::Release, |_| {})?.binary;
    let checkpoint = workspace_root().join(CHECKPOINT);
    for (prompt, seed) in [("a red heart", 1), ("smiling face with sunglasses", 2), ("a penguin", 3)] {
        let [picture, latents] = ["check.png", "check.safetensors"].map(|name| place.join(name));
        let mut draw = Command::new(&smelt);
        draw.args(["generate", prompt, "--precision", "float32", "--steps", "20", "--guidance", "4"]);
        draw.args(["--seed", &seed.to_string(), "--random", "torch", "-o"]).arg(&picture);
        succeed(draw.arg("--latents").arg(&latents).arg("-m").arg(&checkpoint))?;
        let mut command = trainer.command("check.py", &[&path(&checkpoint), &path(&latents), prompt, "20", "4"]);
        let output = command.output().context("cannot start Python")?;
        ensure!(output.status.success(), "check.py: {}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout)?;
        println!("{found}");
        let largest = found["largest"].as_f64().context("check.py gave no difference")?;
        if largest > TOLERANCE {
            bail!("{prompt:?}: latents differ from diffusers' by {largest}, more than {TOLERANCE}");
        }
    }
    Ok(())
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
