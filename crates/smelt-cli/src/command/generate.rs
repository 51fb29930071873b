//! `smelt generate`: a prompt to pictures.
//!
//! The models come from a directory of packages, or from a checkpoint that is converted in memory: the same programs, without files.

mod start;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use safe_files::{OutputFile, Outputs, is_stream};
use serde::Serialize;
use smelt::sheet::Cell;
use smelt::{
    EngineSpec, Event, HostTensor, Opened, Opening, Picture, Pipeline, PipelineOptions, Recommended, Request,
    RequestFile, Source, Variation, Watch, demo, tensor_file,
};

use crate::cli::{GenerateArgs, Seed};
use crate::file;
use crate::report::{Report, count, seconds};
use crate::screen::Screen;
use crate::view::View;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    model: String,
    scheduler: String,
    seed: u64,
    pictures: Vec<Saved>,
    /// Path of the file that holds all pictures, with `--grid`.
    grid: Option<String>,
    warnings: Vec<String>,
    load_s: f64,
    /// Mean over all evaluations of the UNet; null without any.
    seconds_per_step: Option<f64>,
    seconds: f64,
}

#[derive(Serialize)]
struct Saved {
    path: String,
    width: usize,
    height: usize,
    /// What draws it again; with --seeds stream, as one of so many.
    seed: u64,
    /// Null when the safety checker did not run.
    flagged: Option<bool>,
}

pub(super) fn run(args: &GenerateArgs, report: &Report) -> Result<ExitCode> {
    let begin = Instant::now();
    let settings = args.settings.as_deref().map(RequestFile::read).transpose()?;
    let mut request = request(args, None, settings.as_ref())?;
    let outputs = Places::of(args, &request, report)?;
    let controls = args.control.read()?;
    let start = start::read(&args.start)?;
    let given = args.noise.as_deref().map_or(Ok(Vec::new()), |path| noise(path, request.count))?;
    let opened = open(args, &request, report)?;
    if let Some(recommended) = opened.recommended()? {
        request = self::request(args, Some(&recommended), settings.as_ref())?;
    }
    (request.start, request.noise, request.controls) = (start, given, controls);
    request.check()?;
    let mut pipeline = load(args, &mut request, &opened, report)?;
    let load = begin.elapsed();

    let mut steps = Steps::new(report);
    let drawing = pipeline.draw(&request, &mut steps)?;
    let mut pictures = Vec::new();
    for (file, picture) in outputs.files.iter().zip(&drawing.pictures) {
        pictures.push(save(file, picture, report)?);
    }
    if let Some(file) = &outputs.latents {
        save_latents(file, &drawing.pictures, report)?;
    }
    drawing.warnings.iter().for_each(|warning| report.warn(warning));
    let grid = side_by_side(&request.prompt, &outputs.paths, &drawing.pictures, &outputs.view, report)?;
    if args.seed == Some(Seed::Random) {
        report.line(format_args!("seed {}", request.seed));
    }
    steps.tell(report, begin.elapsed());
    report.json(&Summary {
        model: pipeline.name().to_owned(),
        scheduler: pipeline.scheduler().to_string(),
        seed: request.seed,
        pictures,
        grid,
        warnings: drawing.warnings,
        load_s: load.as_secs_f64(),
        seconds_per_step: steps.mean().map(|t| t.as_secs_f64()),
        seconds: begin.elapsed().as_secs_f64(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What is usual, what the model recommends, what the file of settings says, what was typed: each stands before the one
/// before it. The picture to begin with comes later.
fn request(args: &GenerateArgs, recommended: Option<&Recommended>, settings: Option<&RequestFile>) -> Result<Request> {
    let own = if args.model.is_none() { demo::GUIDANCE } else { Request::default().guidance };
    let mut request = Request { guidance: own, ..Request::default() };
    if let Some(recommended) = recommended {
        recommended.apply(&mut request);
    }
    settings.map_or(Ok(()), |settings| settings.apply(&mut request))?;
    type_over(args, &mut request);
    request.check()?;
    Ok(request)
}

/// Puts what was typed in its place.
fn type_over(args: &GenerateArgs, request: &mut Request) {
    fn set<T>(place: &mut T, typed: Option<T>) {
        if let Some(typed) = typed {
            *place = typed;
        }
    }
    set(&mut request.prompt, args.prompt.clone());
    request.negative_prompt = args.negative_prompt.clone().or(request.negative_prompt.take());
    request.prompt_2 = args.xl.prompt_2.clone().or(request.prompt_2.take());
    request.negative_prompt_2 = args.xl.negative_prompt_2.clone().or(request.negative_prompt_2.take());
    set(&mut request.emphasis, args.emphasis);
    set(&mut request.conditions, Some(args.xl.conditions()).filter(|told| !told.is_empty()));
    set(&mut request.negative_conditions, Some(args.xl.negative_conditions()).filter(|told| !told.is_empty()));
    request.hires = args.hires.over(request.hires);
    request.refiner_start = args.xl.refiner_start().or(request.refiner_start);
    set(&mut request.seed, args.seed.map(Seed::value));
    set(&mut request.steps, args.steps);
    set(&mut request.guidance, args.guidance);
    set(&mut request.guidance_rescale, args.guidance_rescale);
    set(&mut request.clip_skip, args.clip_skip);
    request.negative_clip_skip = args.negative_clip_skip.or(request.negative_clip_skip);
    request.timesteps = args.timesteps.clone().or(request.timesteps.take());
    request.sigmas = args.sigmas.clone().or(request.sigmas.take());
    request.eta = args.eta.or(request.eta);
    request.original_steps = args.original_steps.or(request.original_steps);
    let variation = args.variation_seed.zip(args.variation_strength);
    set(&mut request.variation, variation.map(|(seed, strength)| Some(Variation { seed, strength })));
    set(&mut request.count, args.count.map(usize::from));
    set(&mut request.seeds, args.seeds);
    set(&mut request.random, args.random);
    request.scheduler = args.scheduler.or(request.scheduler);
    request.guidance_interval = args.guidance_interval.or(request.guidance_interval);
    request.skip_layers = args.skip_layers.asked().or(request.skip_layers);
    request.forecast = args.forecast.or(request.forecast);
    request.no_safety_check |= args.no_safety_check;
    if args.fast {
        request.make_fast();
    }
}

/// Finds the model, and fetches it where it is the Hub's.
fn open(args: &GenerateArgs, request: &Request, report: &Report) -> Result<Opened> {
    let mut opening = Opening::from(&args.opening);
    request.name_in(&mut opening)?;
    let model = match &args.model {
        Some(model) => model.clone(),
        None => demo::directory(file::cache_folder())?.into(),
    };
    engine(args).check()?;
    let sources = args.control.controlnets.iter().chain([&model]).chain(&args.xl.refiner).chain(&args.taesd);
    opening.fetch(sources, &[], &mut Screen::new(report))?;
    Ok(opening.open(model)?)
}

/// What executes the models.
fn engine(args: &GenerateArgs) -> EngineSpec {
    EngineSpec { vae_memory: args.vae_memory, ..args.engine.spec(args.device) }
}

/// Loads the models; the request's scheduler is settled with them.
fn load(args: &GenerateArgs, request: &mut Request, opened: &Opened, report: &Report) -> Result<Pipeline> {
    let mut options = PipelineOptions {
        engine: engine(args),
        sizes: (&args.size).into(),
        scheduler: request.scheduler.take(),
        steps: request.steps,
        controlnets: args.control.controlnets.clone(),
        taesd: args.taesd.clone(),
        with_picture: request.start.is_some(),
        text_length: args.text_length,
        clip_skips: [Some(request.clip_skip), request.negative_clip_skip].into_iter().flatten().collect(),
        skip_layers: request.skip_layers.iter().map(|skip| skip.layers).collect(),
        safety_check: !request.no_safety_check,
        low_memory: args.low_memory,
        refiner: args.xl.refiner.clone(),
        tokenizer: args.tokenizer.clone(),
        attention: args.attention,
        precision: args.precision,
    };
    let spinner = report.spinner("loading");
    request.check_for(opened)?;
    if let Some(start) = &mut request.start {
        options.sizes = start.sizes(opened, options.sizes)?;
    }
    let pipeline = opened.pipeline(&options)?;
    spinner.finish_and_clear();
    pipeline.warnings().iter().for_each(|warning| report.warn(warning));
    Ok(pipeline)
}

/// Where everything goes, named before any work.
struct Places<'a> {
    paths: Vec<PathBuf>,
    files: Vec<OutputFile>,
    latents: Option<OutputFile>,
    view: View<'a>,
}

impl<'a> Places<'a> {
    fn of(args: &'a GenerateArgs, request: &Request, report: &Report) -> Result<Self> {
        let count = request.count;
        let output = args.output.clone().map_or_else(|| free_name(&request.prompt, count), Ok)?;
        let paths: Vec<PathBuf> = (0..count).map(|idx| numbered(&output, idx, count)).collect();
        let mut outputs = Outputs::new();
        let files = picture_files(&mut outputs, &output, &paths)?;
        let latents =
            args.latents.as_deref().map(|path| file::binary(&mut outputs, "--latents", None, path)).transpose()?;
        let view = args.view.prepare(&mut outputs)?;
        name_inputs(&mut outputs, args)?;
        report.make_way(&outputs)?;
        Ok(Self { paths, files, latents, view })
    }
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
    for (option, file) in [("--image", &args.start.image), ("--mask", &args.start.mask), ("--noise", &args.noise)] {
        file.iter().try_for_each(|file| outputs.reads(option, file))?;
    }
    if let Some(settings) = &args.settings {
        outputs.reads("--settings", settings)?;
    }
    for image in &args.control.control_images {
        outputs.reads("--control-image", image)?;
    }
    let beside = args.control.controlnets.iter().map(|net| ("the ControlNet's file", net));
    let beside = beside.chain(args.taesd.iter().map(|taesd| ("the TAESD's file", taesd)));
    for (what, source) in beside {
        for path in source.path().filter(|path| path.exists()).map(smelt::files).unwrap_or_default() {
            outputs.reads(what, &path)?;
        }
    }
    let models = [&args.model, &args.xl.refiner].into_iter().flatten().filter_map(Source::path);
    for dir in models.chain(args.tokenizer.as_deref()) {
        smelt::files(dir).iter().try_for_each(|path| outputs.reads("the model's file", path))?;
    }
    Ok(())
}

/// The bar over all steps of all pictures, and how long they take.
struct Steps<'r> {
    screen: Screen<'r>,
    begin: Instant,
    n_done: u32,
    total: Duration,
}

impl Watch for Steps<'_> {
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        if matches!(event, Event::Progress(_)) {
            self.n_done += 1;
            self.total = self.begin.elapsed();
        }
        self.screen.event(event)
    }
}

impl<'r> Steps<'r> {
    fn new(report: &'r Report) -> Self {
        Self { screen: Screen::new(report), begin: Instant::now(), n_done: 0, total: Duration::ZERO }
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
fn save(file: &OutputFile, picture: &Picture, report: &Report) -> Result<Saved> {
    let image = &picture.image;
    file::write(file, |out| Ok(picture.write_png(out)?))?;
    if picture.flagged == Some(true) {
        report.warn(format_args!(
            "{file} is black: the safety checker found something unsafe in it; another seed or prompt may do, or --no-safety-check"
        ));
    }
    report.line(format_args!("wrote {file} ({}x{})", image.width(), image.height()));
    let path = file.path().display().to_string();
    Ok(Saved {
        path,
        width: image.width(),
        height: image.height(),
        seed: picture.settings.seed,
        flagged: picture.flagged,
    })
}

/// Reads the noise of so many pictures, as [`save_latents`] writes it.
fn noise(path: &Path, count: usize) -> Result<Vec<HostTensor>> {
    let mut tensors = tensor_file::read(path).with_context(|| format!("--noise {}", path.display()))?;
    let mut take = |i: usize| {
        let name = if count == 1 { "noise".to_owned() } else { format!("{}.noise", i + 1) };
        let found = tensors.remove(&name);
        found.with_context(|| format!("--noise {} has no tensor {name:?}; --latents writes such files", path.display()))
    };
    (0..count).map(&mut take).collect()
}

/// Writes what each picture began with and what it was decoded from.
fn save_latents(file: &OutputFile, pictures: &[Picture], report: &Report) -> Result<()> {
    let name = |i: usize, what: &str| if pictures.len() == 1 { what.to_owned() } else { format!("{}.{what}", i + 1) };
    let tensors = pictures.iter().enumerate().flat_map(|(i, picture)| {
        [(name(i, "noise"), picture.noise.clone()), (name(i, "latents"), picture.latents.clone())]
    });
    Ok(tensor_file::write(file, &tensors.collect(), &mut Screen::new(report))?)
}

/// A file in the current directory that is named by the prompt and not there yet.
fn free_name(prompt: &str, count: usize) -> Result<PathBuf> {
    let stem = stem_of(prompt);
    let name = |i: u32| PathBuf::from(if i == 1 { format!("{stem}.png") } else { format!("{stem}-{i}.png") });
    let is_free = |path: &PathBuf| (0..count).all(|idx| numbered(path, idx, count).symlink_metadata().is_err());
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
    pictures: &[Picture],
    view: &View<'_>,
    report: &Report,
) -> Result<Option<String>> {
    let captions = match paths {
        [_] => vec![prompt.to_owned()],
        several => several.iter().map(|path| file::stem(path)).collect(),
    };
    let cells = pictures.iter().zip(captions);
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
