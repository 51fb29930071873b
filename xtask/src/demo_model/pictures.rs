//! The pictures of the documentation, drawn and joined by `smelt` itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::CHECKPOINT;
use crate::{
    python::succeed,
    smelt::{self, Profile},
    workspace_root,
};

/// The first picture of the README.
const FIRST: [&str; 6] =
    ["a red heart", "a rocket", "a penguin", "smiling face with sunglasses", "a strawberry", "a castle"];
/// Prompts that show what bits do.
const COMPRESSED: [&str; 3] = ["a red heart", "a penguin", "smiling face with sunglasses"];
/// Steps of every picture.
const STEPS: &str = "25";

/// Where things are.
struct Studio {
    smelt: PathBuf,
    /// Single pictures and packages.
    work: PathBuf,
    images: PathBuf,
}

/// Draws them all into `docs/images`.
pub(super) fn draw(work: &Path) -> Result<()> {
    let studio = Studio {
        smelt: smelt::build(Profile::Release, |_| {})?.binary,
        work: work.to_owned(),
        images: workspace_root().join("docs/images"),
    };
    fs::create_dir_all(&studio.work)?;
    fs::create_dir_all(&studio.images)?;
    let checkpoint = workspace_root().join(CHECKPOINT);
    studio.first(&checkpoint)?;
    studio.sixty(&checkpoint)?;
    studio.guidance(&checkpoint)?;
    studio.sketch(&checkpoint)?;
    studio.bits(&checkpoint)
}

impl Studio {
    fn command(&self) -> Command {
        Command::new(&self.smelt)
    }

    /// One picture.
    fn picture(&self, model: &Path, name: &str, prompt: &str, seed: usize, more: &[&str]) -> Result<PathBuf> {
        let path = self.work.join(format!("{name}.png"));
        let mut command = self.command();
        command.args(["generate", prompt, "--seed", &seed.to_string(), "--steps", STEPS]).args(more);
        if !more.contains(&"--guidance") {
            command.args(["--guidance", "4"]);
        }
        succeed(command.arg("-m").arg(model).arg("-o").arg(&path))?;
        Ok(path)
    }

    /// A sheet of pictures with captions.
    fn sheet(&self, name: &str, columns: usize, cells: &[(PathBuf, String)]) -> Result<()> {
        let captions: Vec<&str> = cells.iter().map(|(_, caption)| caption.as_str()).collect();
        let mut command = self.command();
        command.arg("compare").args(cells.iter().map(|(path, _)| path));
        command.args(["--captions", &captions.join(","), "--columns", &columns.to_string(), "--grid"]);
        succeed(command.arg(self.images.join(name)))
    }

    fn first(&self, model: &Path) -> Result<()> {
        let cell = |(i, prompt): (usize, &&str)| {
            Ok((self.picture(model, &format!("first-{i}"), prompt, 8, &[])?, (*prompt).to_owned()))
        };
        self.sheet("first.png", 6, &FIRST.iter().enumerate().map(cell).collect::<Result<Vec<_>>>()?)
    }

    fn sixty(&self, model: &Path) -> Result<()> {
        let names = include_str!("sixty.txt").lines().filter(|line| !line.starts_with('#'));
        let cell = |(i, name): (usize, &str)| {
            Ok((self.picture(model, &format!("sixty-{i}"), name, i + 1, &[])?, name.to_owned()))
        };
        self.sheet("sixty.png", 10, &names.enumerate().map(cell).collect::<Result<Vec<_>>>()?)
    }

    fn guidance(&self, model: &Path) -> Result<()> {
        let mut cells = Vec::new();
        for guidance in ["1", "2", "4", "8"] {
            let name = format!("guidance-{guidance}");
            let path = self.picture(model, &name, "a red apple", 5, &["--guidance", guidance])?;
            cells.push((path, format!("guidance {guidance}")));
        }
        for negative in ["red", "green"] {
            let more = ["--negative-prompt", negative];
            let path = self.picture(model, &format!("negative-{negative}"), "an apple", 5, &more)?;
            cells.push((path, format!("an apple not {negative}")));
        }
        self.sheet("guidance.png", 6, &cells)
    }

    fn sketch(&self, model: &Path) -> Result<()> {
        let sketch = self.images.join("sketch.png");
        ensure!(sketch.is_file(), "{} is not there", sketch.display());
        let mut cells = vec![(sketch.clone(), "sketch.png".to_owned())];
        for strength in ["0.2", "0.4", "0.6"] {
            let path = sketch.display().to_string();
            let more = ["--image", &path, "--strength", strength];
            let drawn = self.picture(model, &format!("sketch-{strength}"), "a cat face", 3, &more)?;
            cells.push((drawn, format!("strength {strength}")));
        }
        self.sheet("from-sketch.png", 4, &cells)
    }

    /// The README's four lines: convert, compress, and generate from each.
    fn bits(&self, checkpoint: &Path) -> Result<()> {
        let whole = self.work.join("bits16");
        succeed(self.command().args(["convert", "--force"]).arg(checkpoint).arg("-o").arg(&whole))?;
        let mut models = vec![("16", whole.clone())];
        for bits in ["6", "4", "2"] {
            let small = self.work.join(format!("bits{bits}"));
            let mut command = self.command();
            command.arg("compress").arg(&whole).args(["--bits", bits, "--force", "-o"]).arg(&small);
            succeed(&mut command)?;
            models.push((bits, small));
        }
        let mut cells = Vec::new();
        for (i, prompt) in COMPRESSED.iter().enumerate() {
            let mut row = Vec::new();
            for (bits, model) in &models {
                row.push(self.picture(model, &format!("bits-{i}-{bits}"), prompt, 8, &[])?);
            }
            let output = self.command().arg("--json").arg("compare").args(&row).output()?;
            ensure!(output.status.success(), "compare: {}", String::from_utf8_lossy(&output.stderr));
            let compared: Value = serde_json::from_slice(&output.stdout)?;
            for (k, (path, (bits, model))) in row.into_iter().zip(&models).enumerate() {
                let mut caption = format!("{bits} bits {:.1} MB", bytes(model)? as f64 / 1e6);
                if k > 0 {
                    let psnr = compared["pictures"][k]["difference"]["psnr_db"].as_f64();
                    caption += &format!(" {:.1}dB", psnr.context("compare gave no PSNR")?);
                }
                cells.push((path, caption));
            }
        }
        self.sheet("bits.png", models.len(), &cells)
    }
}

/// Size of all files below a folder.
fn bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}
