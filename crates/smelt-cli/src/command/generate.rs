//! `smelt generate`: a prompt to pictures.
//!
//! The models come from a directory of packages, or from a checkpoint that is converted in memory: the same programs, without files.

mod burn;
mod models;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use safe_files::{OutputFile, Outputs, is_stream};
use sd_runtime::Stop;
use sd_runtime::image::RgbImage;
use sd_runtime::pipeline::{
    GenerateOptions, GeneratedImage, PictureSettings, Progress, StartingImage, StartingPicture,
};
use sd_runtime::rng::RandomKind;
use sd_runtime::scheduler::SchedulerKind;
use serde::Serialize;

use crate::cli::{GenerateArgs, Seed};
use crate::file;
use crate::report::{Report, count, seconds};
use crate::screen::Screen;
use crate::view::View;
use smelt::sheet::Cell;
use smelt::tensor_file;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    model: String,
    scheduler: &'static str,
    seed: u32,
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
    refuse_ineffective(args)?;
    let seed = args.seed.value();
    let output = args.output.clone().map_or_else(|| free_name(&args.prompt, args.count), Ok)?;
    let paths: Vec<PathBuf> = (0..args.count.into()).map(|idx| numbered(&output, idx, args.count.into())).collect();
    let mut outputs = Outputs::new();
    let files = picture_files(&mut outputs, &output, &paths)?;
    let latents =
        args.latents.as_deref().map(|path| file::binary(&mut outputs, "--latents", None, path)).transpose()?;
    let view = args.view.prepare(&mut outputs)?;
    name_inputs(&mut outputs, args)?;
    report.make_way(&outputs)?;
    let start = args.image.as_deref().map(smelt::read_picture).transpose().context("--image")?;
    let start = start.map(|image| StartingImage { image, strength: args.strength });
    let spinner = report.spinner("loading");
    let dir = args.model.clone().map_or_else(smelt::demo::directory, Ok)?;
    let loaded = models::load(args, &dir)?;
    for warning in &loaded.warnings {
        spinner.suspend(|| report.warn(warning));
    }
    let (name, kind) = (loaded.name.clone(), loaded.config.scheduler.kind()?);
    let (mut pipeline, found) = loaded.pipeline().with_context(|| dir.display().to_string())?;
    for warning in found {
        spinner.suspend(|| report.warn(warning));
    }
    spinner.finish_and_clear();
    let load = begin.elapsed();

    let options = GenerateOptions { start, seed, ..options(args) };
    let mut steps = Steps::new(report);
    let generation = pipeline.generate(&options, &Stop::never(), &mut |at| steps.advance(at))?;
    steps.bar.finish_and_clear();
    let mut pictures = Vec::new();
    for (idx, image) in generation.images.iter().enumerate() {
        let settings = settings(args, &options, &name, kind, idx, &image.image);
        pictures.push(save(&files[idx], &settings, image, report)?);
    }
    if let Some(file) = &latents {
        save_latents(file, &generation.images, report)?;
    }
    let warnings: Vec<String> = generation.warnings.iter().map(ToString::to_string).collect();
    warnings.iter().for_each(|warning| report.warn(warning));
    let grid = side_by_side(&args.prompt, &paths, &generation.images, &view, report)?;
    if args.seed == Seed::Random {
        report.line(format_args!("seed {seed}"));
    }
    steps.tell(report, begin.elapsed());
    report.json(&Summary {
        model: name,
        scheduler: kind.name(),
        seed,
        pictures,
        grid,
        warnings,
        load_s: load.as_secs_f64(),
        seconds_per_step: steps.mean().map(|t| t.as_secs_f64()),
        seconds: begin.elapsed().as_secs_f64(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The guidance that was asked for, or what suits the model.
fn guidance(args: &GenerateArgs) -> f32 {
    args.guidance.unwrap_or(match args.model {
        Some(_) => 7.5,
        None => smelt::demo::GUIDANCE,
    })
}

/// Refuses options that change nothing.
fn refuse_ineffective(args: &GenerateArgs) -> Result<()> {
    let guidance = guidance(args);
    if !args.negative_prompt.is_empty() && guidance <= 1.0 {
        bail!(
            "--negative-prompt has no effect at guidance {guidance}, which leaves it out; give more than 1, or leave the \
             negative prompt out"
        );
    }
    Ok(())
}

/// Names the pictures; what has no name beside it takes one.
fn picture_files(outputs: &mut Outputs, output: &Path, paths: &[PathBuf]) -> Result<Vec<OutputFile>> {
    if paths.len() > 1 && is_stream(output) {
        let n = paths.len();
        bail!("-o {} takes one picture, and --count asks for {n}; give the name of a file", output.display());
    }
    if paths.len() > 1 && output.is_dir() {
        bail!("cannot write {}: it is a directory; give the name of a file in it", output.display());
    }
    paths.iter().map(|path| file::picture(outputs, "-o", path)).collect()
}

/// Names what no picture may replace.
fn name_inputs(outputs: &mut Outputs, args: &GenerateArgs) -> Result<()> {
    if let Some(image) = &args.image {
        outputs.reads("--image", image)?;
    }
    for dir in args.model.iter().chain(&args.tokenizer) {
        // A place that cannot be resolved is told by whoever reads it.
        let dir = sd_convert::hub::resolve(dir).unwrap_or_else(|_| dir.clone());
        smelt::model_dir::files(&dir).iter().try_for_each(|path| outputs.reads("the model's file", path))?;
    }
    Ok(())
}

fn options(args: &GenerateArgs) -> GenerateOptions {
    GenerateOptions {
        prompt: args.prompt.clone(),
        negative_prompt: args.negative_prompt.clone(),
        seed: 0,
        steps: args.steps,
        guidance_scale: guidance(args),
        image_count: args.count.into(),
        // Settled when the configuration was read.
        scheduler: None,
        random: RandomKind::from(args.random),
        start: None,
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

/// The settings to write into a picture.
fn settings(
    args: &GenerateArgs,
    options: &GenerateOptions,
    model: &str,
    kind: SchedulerKind,
    image_idx: usize,
    image: &RgbImage,
) -> PictureSettings {
    PictureSettings {
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
        start: args.image.as_deref().map(|path| StartingPicture {
            file: path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            strength: args.strength,
        }),
        width: image.width(),
        height: image.height(),
    }
}

/// Writes one picture with its settings.
fn save(file: &OutputFile, settings: &PictureSettings, generated: &GeneratedImage, report: &Report) -> Result<Picture> {
    let image = &generated.image;
    file::write(file, |out| Ok(image.write_png(out, &settings.to_png_texts())?))?;
    let flagged = generated.safety.as_ref().map(|verdict| verdict.flagged);
    if flagged == Some(true) {
        report.warn(format_args!(
            "{file} is black: the safety checker found something unsafe in it; another seed or prompt may do, or --no-safety-check"
        ));
    }
    report.line(format_args!("wrote {file} ({}x{})", image.width(), image.height()));
    Ok(Picture { path: file.path().display().to_string(), width: image.width(), height: image.height(), flagged })
}

/// Writes what each picture began with and what it was decoded from.
fn save_latents(file: &OutputFile, images: &[GeneratedImage], report: &Report) -> Result<()> {
    let name = |i: usize, what: &str| if images.len() == 1 { what.to_owned() } else { format!("{}.{what}", i + 1) };
    let tensors = images
        .iter()
        .enumerate()
        .flat_map(|(i, image)| [(name(i, "noise"), image.noise.clone()), (name(i, "latents"), image.latents.clone())]);
    Ok(tensor_file::write(file, &tensors.collect(), &mut Screen::new(report))?)
}

/// A file in the current directory that is named by the prompt and not there yet.
fn free_name(prompt: &str, count: u16) -> Result<PathBuf> {
    let stem = stem_of(prompt);
    let name = |i: u32| PathBuf::from(if i == 1 { format!("{stem}.png") } else { format!("{stem}-{i}.png") });
    let is_free =
        |path: &PathBuf| (0..count.into()).all(|idx| numbered(path, idx, count.into()).symlink_metadata().is_err());
    (1..10_000).map(name).find(is_free).with_context(|| format!("every name {stem}-N.png is taken; say which with -o"))
}

/// The prompt's letters and digits in lower case, words joined by hyphens, at most about 60 characters.
fn stem_of(prompt: &str) -> String {
    let mut stem = String::new();
    for word in prompt.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if stem.chars().count() + word.chars().count() > 60 && !stem.is_empty() {
            break;
        }
        if !stem.is_empty() {
            stem.push('-');
        }
        stem.extend(word.chars().take(60).flat_map(char::to_lowercase));
    }
    if stem.is_empty() { "picture".to_owned() } else { stem }
}

/// Puts the pictures into a grid and on the terminal: one with its prompt as caption, several with their names.
fn side_by_side(
    prompt: &str,
    paths: &[PathBuf],
    images: &[GeneratedImage],
    view: &View<'_>,
    report: &Report,
) -> Result<Option<String>> {
    let captions = match paths {
        [_] => vec![prompt.to_owned()],
        several => several.iter().map(|path| file::stem(path)).collect(),
    };
    let cells = images.iter().zip(captions);
    let cells: Vec<Cell<'_>> = cells.map(|(i, caption)| Cell { image: &i.image, caption: vec![caption] }).collect();
    view.finish(&cells, Some(prompt), report)
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
    fn a_prompt_names_its_picture() {
        assert_eq!(stem_of("A red heart, 3D!"), "a-red-heart-3d");
        assert_eq!(stem_of("../../Übung: \u{2764}"), "übung");
        assert_eq!(stem_of("?!"), "picture");
        let long = stem_of(&"lighthouse ".repeat(20));
        assert!(long.len() <= 64 && long.ends_with("house"), "{long}");
        assert_eq!(stem_of(&"x".repeat(300)).len(), 60);
    }

    #[test]
    fn several_pictures_are_numbered_before_the_extension() {
        assert_eq!(numbered(Path::new("a/heart.png"), 0, 1), Path::new("a/heart.png"));
        assert_eq!(numbered(Path::new("a/heart.png"), 0, 2), Path::new("a/heart-1.png"));
        assert_eq!(numbered(Path::new("heart"), 9, 10), Path::new("heart-10"));
        assert_eq!(numbered(Path::new("a.b.png"), 1, 2), Path::new("a.b-2.png"));
    }
}
