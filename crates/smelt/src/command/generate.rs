//! `smelt generate`: a prompt to pictures.
//!
//! The models come from a directory of packages, or from a checkpoint that is converted in memory: the same programs, without files.

mod burn;
mod models;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use sd_runtime::pipeline::{GenerateOptions, GeneratedImage, PictureSettings, Progress, TextToImage};
use sd_runtime::rng::RandomKind;
use sd_runtime::scheduler::SchedulerKind;
use serde::Serialize;

use crate::cli::GenerateArgs;
use crate::file;
use crate::report::{Report, count, seconds};
use crate::sheet::Cell;
use crate::view::View;
use models::Loaded;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    model: String,
    scheduler: &'static str,
    pictures: Vec<Picture>,
    /// Path of the file that holds all pictures, with `--grid`.
    grid: Option<String>,
    warnings: Vec<String>,
    load_s: f64,
    /// Mean over all evaluations of the UNet; null without any.
    seconds_per_step: Option<f64>,
    seconds: f64,
}

#[derive(Serialize)]
struct Picture {
    path: String,
    width: usize,
    height: usize,
    /// Null when the safety checker did not run.
    flagged: Option<bool>,
}

pub(super) fn run(args: &GenerateArgs, report: &Report) -> Result<ExitCode> {
    let begin = Instant::now();
    file::check_picture(&args.output)?;
    let view = args.view.prepare(&paths(args))?;
    let spinner = report.spinner("loading");
    let loaded = models::load(args)?;
    for warning in &loaded.warnings {
        spinner.suspend(|| report.warn(warning));
    }
    let Loaded { models, config, name, .. } = loaded;
    let kind = args.scheduler.map_or_else(|| config.scheduler.kind(), |s| Ok(s.into()))?;
    let mut pipeline = TextToImage::new(models, config).with_context(|| args.model.display().to_string())?;
    spinner.finish_and_clear();
    let load = begin.elapsed();

    let options = options(args, kind);
    let mut steps = Steps::new(report);
    let generation = pipeline.generate(&options, &mut |at| steps.advance(at))?;
    steps.bar.finish_and_clear();
    let mut pictures = Vec::new();
    for (idx, image) in generation.images.iter().enumerate() {
        pictures.push(save(args, &options, &name, kind, idx, image, report)?);
    }
    let warnings: Vec<String> = generation.warnings.iter().map(ToString::to_string).collect();
    warnings.iter().for_each(|warning| report.warn(warning));
    let grid = side_by_side(args, &generation.images, &view, report)?;
    steps.tell(report, begin.elapsed());
    report.json(&Summary {
        model: name,
        scheduler: kind.name(),
        pictures,
        grid,
        warnings,
        load_s: load.as_secs_f64(),
        seconds_per_step: steps.mean().map(|t| t.as_secs_f64()),
        seconds: begin.elapsed().as_secs_f64(),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: &GenerateArgs, kind: SchedulerKind) -> GenerateOptions {
    GenerateOptions {
        prompt: args.prompt.clone(),
        negative_prompt: args.negative_prompt.clone(),
        seed: args.seed,
        steps: args.steps,
        guidance_scale: args.guidance,
        image_count: args.count.into(),
        scheduler: Some(kind),
        random: RandomKind::from(args.random),
        disable_safety: args.no_safety_check,
    }
}

/// The bar over all steps of all pictures, and how long they take.
struct Steps {
    bar: ProgressBar,
    begin: Instant,
    n_done: u32,
    total: Duration,
}

impl Steps {
    fn new(report: &Report) -> Self {
        Self { bar: report.step_bar("denoising", 0), begin: Instant::now(), n_done: 0, total: Duration::ZERO }
    }

    fn advance(&mut self, at: Progress<'_>) -> ControlFlow<()> {
        self.n_done += 1;
        self.total = self.begin.elapsed();
        self.bar.set_length((at.n_images * at.n_steps) as u64);
        self.bar.set_position((at.image_idx * at.n_steps + at.step) as u64);
        ControlFlow::Continue(())
    }

    fn mean(&self) -> Option<Duration> {
        self.total.checked_div(self.n_done)
    }

    fn tell(&self, report: &Report, elapsed: Duration) {
        if let Some(mean) = self.mean() {
            let n = count(self.n_done as usize, "step");
            report.line(format_args!("{n}, {} per step, {} in all", seconds(mean), seconds(elapsed)));
        }
    }
}

/// Writes one picture with its settings.
fn save(
    args: &GenerateArgs,
    options: &GenerateOptions,
    model: &str,
    kind: SchedulerKind,
    image_idx: usize,
    generated: &GeneratedImage,
    report: &Report,
) -> Result<Picture> {
    let image = &generated.image;
    let settings = PictureSettings {
        software: concat!("smelt ", env!("CARGO_PKG_VERSION")).to_owned(),
        model: model.to_owned(),
        prompt: options.prompt.clone(),
        negative_prompt: options.negative_prompt.clone(),
        seed: options.seed,
        image_idx,
        steps: options.steps,
        guidance_scale: options.guidance_scale,
        scheduler: kind.name().to_owned(),
        random: options.random.name().to_owned(),
        width: image.width(),
        height: image.height(),
    };
    let path = numbered(&args.output, image_idx, options.image_count);
    file::write(&path, |out| Ok(image.write_png(out, &settings.to_png_texts())?))?;
    let flagged = generated.safety.as_ref().map(|verdict| verdict.flagged);
    if flagged == Some(true) {
        report.warn(format_args!(
            "{} is black: the safety checker found something unsafe in it; another seed or prompt may do, or --no-safety-check",
            path.display()
        ));
    }
    report.line(format_args!("wrote {} ({}x{})", path.display(), image.width(), image.height()));
    Ok(Picture { path: path.display().to_string(), width: image.width(), height: image.height(), flagged })
}

/// The files that pictures are written to.
fn paths(args: &GenerateArgs) -> Vec<PathBuf> {
    let n = usize::from(args.count);
    (0..n).map(|idx| numbered(&args.output, idx, n)).collect()
}

/// Puts the pictures into a grid and on the terminal: one with its prompt as caption, several with their names.
fn side_by_side(
    args: &GenerateArgs,
    images: &[GeneratedImage],
    view: &View<'_>,
    report: &Report,
) -> Result<Option<String>> {
    let captions = match &paths(args)[..] {
        [_] => vec![args.prompt.clone()],
        several => several.iter().map(|path| file::stem(path)).collect(),
    };
    let cells = images.iter().zip(captions);
    let cells: Vec<Cell<'_>> = cells.map(|(i, caption)| Cell { image: &i.image, caption: vec![caption] }).collect();
    view.finish(&cells, Some(&args.prompt), report)
}

/// `out.png` for a single picture, `out-1.png`, `out-2.png`, … for several.
fn numbered(path: &Path, idx: usize, n_images: usize) -> PathBuf {
    if n_images == 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{}", idx + 1));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_pictures_are_numbered_before_the_extension() {
        assert_eq!(numbered(Path::new("a/heart.png"), 0, 1), Path::new("a/heart.png"));
        assert_eq!(numbered(Path::new("a/heart.png"), 0, 2), Path::new("a/heart-1.png"));
        assert_eq!(numbered(Path::new("heart"), 9, 10), Path::new("heart-10"));
        assert_eq!(numbered(Path::new("a.b.png"), 1, 2), Path::new("a.b-2.png"));
    }
}
