//! Pictures, and what they were made of, in their files.

use std::path::Path;

use anyhow::{Context, Result};
use safe_files::OutputFile;
use serde::Serialize;
use smelt::sheet::Cell;
use smelt::{HostTensor, Picture, tensor_file};

use crate::file;
use crate::report::Report;
use crate::screen::Screen;
use crate::view::View;

/// A picture that is written, as `--json` has it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Saved {
    pub(super) path: String,
    width: usize,
    height: usize,
    /// Where pictures have prompts of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt: Option<String>,
    /// What draws it again; with --seeds stream, as one of so many.
    seed: u64,
    /// Null when the safety checker did not run.
    flagged: Option<bool>,
}

/// Writes one picture with its settings.
pub(super) fn save(file: &OutputFile, picture: &Picture, report: &Report) -> Result<Saved> {
    let image = &picture.image;
    file::write_picture(file, |out, format| Ok(picture.write(out, format)?), report)?;
    Ok(Saved {
        path: file.path().display().to_string(),
        width: image.width(),
        height: image.height(),
        prompt: None,
        seed: picture.settings.seed,
        flagged: picture.flagged,
    })
}

/// Says that a picture is written.
pub(super) fn tell(file: &OutputFile, saved: &Saved, report: &Report) {
    if saved.flagged == Some(true) {
        report.warn(format_args!(
            "{file} is black: the safety checker found something unsafe in it; another seed or prompt may do, or --no-safety-check"
        ));
    }
    let prompt = saved.prompt.as_ref().map_or(String::new(), |prompt| format!(": {prompt}"));
    report.line(format_args!("wrote {file} ({}x{}){prompt}", saved.width, saved.height));
}

/// Reads the noise of so many pictures, as [`save_latents`] writes it.
pub(super) fn noise(path: &Path, count: usize) -> Result<Vec<HostTensor>> {
    let mut tensors = tensor_file::read(path).with_context(|| format!("--noise {}", path.display()))?;
    let mut take = |i: usize| {
        let name = if count == 1 { "noise".to_owned() } else { format!("{}.noise", i + 1) };
        let found = tensors.remove(&name);
        found.with_context(|| format!("--noise {} has no tensor {name:?}; --latents writes such files", path.display()))
    };
    (0..count).map(&mut take).collect()
}

/// Writes what each picture began with and what it was decoded from.
pub(super) fn save_latents(file: &OutputFile, pictures: &[Picture], report: &Report) -> Result<()> {
    let name = |i: usize, what: &str| if pictures.len() == 1 { what.to_owned() } else { format!("{}.{what}", i + 1) };
    let tensors = pictures.iter().enumerate().flat_map(|(i, picture)| {
        [(name(i, "noise"), picture.noise.clone()), (name(i, "latents"), picture.latents.clone())]
    });
    Ok(tensor_file::write(file, &tensors.collect(), &mut Screen::new(report))?)
}

/// Puts the pictures into a grid and on the terminal, with their captions.
pub(super) fn side_by_side(
    prompt: &str,
    captions: &[Vec<String>],
    pictures: &[Picture],
    view: &View,
    report: &Report,
) -> Result<Option<String>> {
    let cells = pictures.iter().zip(captions);
    let cells: Vec<Cell<'_>> = cells.map(|(i, lines)| Cell { image: &i.image, caption: lines.clone() }).collect();
    view.finish(&cells, Some(prompt), report)
}
