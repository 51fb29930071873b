//! `smelt upscale`: pictures to larger ones.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use safe_files::{OutputFile, OutputFolder, Outputs};
use serde::Serialize;
use smelt::{Enlargement, Opening, Original, Upscaled, Upscaler, UpscalerOptions, metadata};

use crate::cli::UpscaleArgs;
use crate::file;
use crate::interrupt;
use crate::report::{Report, count, seconds};
use crate::screen::Screen;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    model: String,
    factor: usize,
    pictures: Vec<Saved>,
    seconds: f64,
}

#[derive(Serialize)]
struct Saved {
    /// The picture that was read.
    from: String,
    path: String,
    width: usize,
    height: usize,
    /// Whether it has transparent pixels, whose opacity was enlarged by Lanczos.
    alpha: bool,
    seconds: f64,
}

pub(super) fn run(args: &UpscaleArgs, report: &Report) -> Result<ExitCode> {
    let begin = Instant::now();
    let mut places = Places::of(args, report)?;
    let mut screen = Screen::new(report);
    let opening = Opening { offline: args.offline, ..Opening::default() };
    opening.fetch([&args.model], &[], &mut screen)?;
    let mut upscaler = Upscaler::open(args.model.clone(), &options(args))?;
    places.make()?;
    let mut pictures = Vec::new();
    for (from, output) in args.pictures.iter().zip(&places.files) {
        pictures.push(one(args, &mut upscaler, from, output, &mut screen, report)?);
    }
    let (n, elapsed) = (count(pictures.len(), "picture"), begin.elapsed());
    report.line(format_args!("{n} by {}, x{}, {} in all", upscaler.name(), upscaler.factor(), seconds(elapsed)));
    report.json(&Summary {
        model: upscaler.name().to_owned(),
        factor: upscaler.factor(),
        pictures,
        seconds: elapsed.as_secs_f64(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What was typed, as the library takes it.
fn options(args: &UpscaleArgs) -> UpscalerOptions {
    UpscalerOptions {
        engine: args.engine.spec(),
        tile: args.tile,
        overlap: args.overlap,
        precision: args.precision,
        offline: args.offline,
    }
}

/// Upscales one picture into its file.
fn one(
    args: &UpscaleArgs,
    upscaler: &mut Upscaler,
    from: &Path,
    output: &OutputFile,
    screen: &mut Screen<'_>,
    report: &Report,
) -> Result<Saved> {
    let begin = Instant::now();
    let (picture, alpha) = smelt::read_picture_with_alpha(from)?;
    let enlargement = args.scale.map_or(Enlargement::Own, Enlargement::By);
    let factor = args.scale.unwrap_or(upscaler.factor() as f64);
    let texts = metadata::of_larger(&metadata::read(from)?, factor, upscaler.name());
    let (original, stop) = (Original { picture: &picture, alpha: alpha.as_ref(), texts: &texts }, interrupt::stop());
    let Upscaled { size, has_alpha } = upscaler.upscale_into(original, enlargement, output, &stop, screen)?;
    let said = if has_alpha { ", its transparency by Lanczos" } else { "" };
    report.line(format_args!("wrote {output} ({size}{said})"));
    Ok(Saved {
        from: from.display().to_string(),
        path: output.path().display().to_string(),
        width: size.width,
        height: size.height,
        alpha: has_alpha,
        seconds: begin.elapsed().as_secs_f64(),
    })
}

/// Where everything goes, named before any work.
struct Places {
    files: Vec<OutputFile>,
    folder: Option<OutputFolder>,
}

impl Places {
    fn of(args: &UpscaleArgs, report: &Report) -> Result<Self> {
        let mut outputs = Outputs::new();
        args.pictures.iter().try_for_each(|path| outputs.reads("the picture", path))?;
        if let Some(model) = args.model.path().filter(|path| path.exists()) {
            smelt::files(model).iter().try_for_each(|path| outputs.reads("the model's file", path))?;
        }
        let is_folder = args.output.is_dir() || args.pictures.len() > 1;
        if is_folder && args.output.is_file() {
            bail!(
                "-o {} is a file, and there are {}; give a folder, which is made if it is not there",
                args.output.display(),
                count(args.pictures.len(), "picture")
            );
        }
        let (folder, paths) = match is_folder {
            true => {
                let path = |picture: &PathBuf| args.output.join(format!("{}.png", file::stem(picture)));
                (Some(outputs.folder("-o", &args.output)?), args.pictures.iter().map(path).collect())
            }
            false => (None, vec![args.output.clone()]),
        };
        let files = paths.iter().map(|path| file::picture(&mut outputs, "-o", path)).collect::<Result<_>>()?;
        report.make_way(&outputs)?;
        Ok(Self { files, folder })
    }

    fn make(&mut self) -> Result<()> {
        Ok(self.folder.as_mut().map_or(Ok(()), OutputFolder::make)?)
    }
}
