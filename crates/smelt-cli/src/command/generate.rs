//! `smelt generate`: a prompt to pictures.
//!
//! The models come from a directory of packages, or from a checkpoint that is converted in memory: the same programs, without files.

mod events;
mod like;
mod names;
pub(super) mod pace;
mod places;
mod previews;
mod save;
mod series;
mod start;
mod steps;
pub(super) mod texts;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use smelt::metadata::Unknown;
use smelt::{
    EngineSpec, Like, Opened, Opening, Pipeline, PipelineOptions, Recommended, Request, RequestFile, Seeds, Sizes,
    Variation, Varied, demo,
};

use crate::cli::{GenerateArgs, Seed};
use crate::file;
use crate::report::Report;
use crate::screen::Screen;
use events::Line;
use places::Places;
use save::{Saved, noise, save_latents, side_by_side};
use series::{Drawn, Written};
use steps::{Order, Steps};

/// What `--json` prints at the end.
#[derive(Serialize)]
struct Summary {
    model: String,
    scheduler: String,
    seed: u64,
    pictures: Vec<Saved>,
    /// Path of the file that holds all pictures, with `--grid`.
    grid: Option<String>,
    warnings: Vec<String>,
    /// With --like: what of the picture's settings was not taken over.
    not_taken: Vec<Unknown>,
    load_s: f64,
    /// Mean over all evaluations of the UNet; null without any.
    seconds_per_step: Option<f64>,
    seconds: f64,
}

pub(super) fn run(args: &GenerateArgs, report: &Report) -> Result<ExitCode> {
    let begin = Instant::now();
    report.by_line();
    let settings = args.settings.as_deref().map(RequestFile::read).transpose()?;
    let mut like = like::read(args)?;
    let typed = Typed { prompt: texts::prompt(args)?, seed: args.seed.as_ref().map(Seed::value) };
    let mut variations = texts::variations(args)?;
    let (start, controls) = (start::read(&args.start, like.as_ref())?, args.control.read(like.as_ref())?);
    let asked = |recommended: Option<&Recommended>, like: Option<&Like>| -> Result<Request> {
        let request = request(args, &typed, recommended, settings.as_ref(), like)?;
        Ok(Request { start: start.clone(), controls: controls.clone(), ..request })
    };
    let mut request = asked(None, like.as_ref())?;
    let series = variations.requests(&request)?;
    let mut outputs = Places::of(args, &series, variations.columns(&request), report)?;
    let given = args.noise.as_deref().map_or(Ok(Vec::new()), |path| noise(path, request.count))?;
    let opened = open(args, &series, report)?;
    if let Some(like) = &mut like {
        like::settle(like, &opened, report)?;
    }
    let recommended = opened.recommended()?;
    if recommended.is_some() || like.is_some() {
        request = asked(recommended.as_ref(), like.as_ref())?;
    }
    request.noise = given;
    variations.requests(&request)?.iter().try_for_each(|varied| varied.request.check())?;
    let mut pipeline = load(args, &mut request, (&opened, like::sizes(args, like.as_ref())), report)?;
    if let Some(like) = &like {
        like::compare(like, &opened, pipeline.name(), report)?;
    }
    let load = begin.elapsed();

    let series = variations.requests(&request)?;
    let mut steps = Steps::new(&series, &outputs.files, outputs.previews.take(), report);
    let by_stage = args.low_memory || request.hires.is_some();
    let order = if by_stage { Order::ByStage } else { Order::OneByOne };
    let is_wanted = outputs.view.is_wanted() || outputs.latents.is_some();
    let written = if is_wanted { Written::Wanted } else { Written::Forgotten };
    let Drawn { pictures, warnings } = series::draw(&mut pipeline, &series, &mut steps, (order, written), report)?;
    if let Some(file) = &outputs.latents {
        save_latents(file, &pictures, report)?;
    }
    let grid = side_by_side(&request.prompt, &outputs.captions, &pictures, &outputs.view, report)?;
    if args.seed == Some(Seed::Random) {
        report.line(format_args!("seed {}", request.seed));
    }
    steps.tell(begin.elapsed());
    report.event(&Line::Done(&Summary {
        model: pipeline.name().to_owned(),
        scheduler: pipeline.scheduler().to_string(),
        seed: series.first().map_or(request.seed, |first| first.request.seed),
        pictures: steps.saved(),
        grid,
        warnings,
        not_taken: like.map_or_else(Vec::new, |like| like.not_taken),
        load_s: load.as_secs_f64(),
        seconds_per_step: steps.mean().map(|t| t.as_secs_f64()),
        seconds: begin.elapsed().as_secs_f64(),
    }));
    Ok(ExitCode::SUCCESS)
}

/// What was typed and has one value however often it is asked for.
struct Typed {
    prompt: Option<String>,
    seed: Option<u64>,
}

/// What is usual, what the model recommends, what the file of settings says, what the picture to be like says, what was
/// typed: each stands before the one before it. The picture to begin with comes later.
fn request(
    args: &GenerateArgs,
    typed: &Typed,
    recommended: Option<&Recommended>,
    settings: Option<&RequestFile>,
    like: Option<&Like>,
) -> Result<Request> {
    let own = if args.model.is_none() { demo::GUIDANCE } else { Request::default().guidance };
    let mut request = Request { guidance: own, ..Request::default() };
    if let Some(recommended) = recommended {
        recommended.apply(&mut request);
    }
    settings.map_or(Ok(()), |settings| settings.apply(&mut request))?;
    like.map_or(Ok(()), |like| like.apply(&mut request))?;
    type_over(args, typed, &mut request);
    request.check()?;
    Ok(request)
}

/// Puts what was typed in its place.
fn type_over(args: &GenerateArgs, typed: &Typed, request: &mut Request) {
    fn set<T>(place: &mut T, typed: Option<T>) {
        if let Some(typed) = typed {
            *place = typed;
        }
    }
    if args.seed.is_some() || args.seeds.is_some() || args.count.is_some() {
        // No longer the one of several that a picture to be like was.
        request.count = request.only.take().map_or(request.count, |_| 1);
    }
    set(&mut request.prompt, typed.prompt.clone());
    request.negative_prompt = args.negative_prompt.clone().or(request.negative_prompt.take());
    request.prompt_2 = args.xl.prompt_2.clone().or(request.prompt_2.take());
    request.negative_prompt_2 = args.xl.negative_prompt_2.clone().or(request.negative_prompt_2.take());
    set(&mut request.emphasis, args.emphasis);
    set(&mut request.conditions, Some(args.xl.conditions()).filter(|told| !told.is_empty()));
    set(&mut request.negative_conditions, Some(args.xl.negative_conditions()).filter(|told| !told.is_empty()));
    request.hires = args.hires.over(request.hires);
    request.refiner_start = args.xl.refiner_start.or(request.refiner_start);
    set(&mut request.seed, typed.seed);
    set(&mut request.steps, args.steps);
    if args.steps.is_some() || args.timesteps.is_some() || args.sigmas.is_some() {
        // Each takes the place of the others.
        (request.timesteps, request.sigmas) = (args.timesteps.clone(), args.sigmas.clone());
    }
    set(&mut request.guidance, args.guidance);
    set(&mut request.guidance_rescale, args.guidance_rescale);
    set(&mut request.clip_skip, args.clip_skip);
    request.negative_clip_skip = args.negative_clip_skip.or(request.negative_clip_skip);
    request.eta = args.eta.or(request.eta);
    request.original_steps = args.original_steps.or(request.original_steps);
    let variation = args.variation_seed.zip(args.variation_strength);
    set(&mut request.variation, variation.map(|(seed, strength)| Some(Variation { seed, strength })));
    set(&mut request.count, args.count.map(usize::from));
    // Choices in prompts are each picture's own.
    set(&mut request.seeds, args.seeds.or(args.vary.wildcards.as_ref().map(|_| Seeds::Each)));
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
fn open(args: &GenerateArgs, series: &[Varied], report: &Report) -> Result<Opened> {
    let opening = Opening::from(&args.opening);
    let model = match &args.model {
        Some(model) => model.clone(),
        None => demo::directory(file::cache_folder())?.into(),
    };
    engine(args).check_here()?;
    let sources = args.control.controlnets.iter().chain([&model]).chain(&args.xl.refiner).chain(&args.taesd);
    let sources = sources.chain(&args.preview.preview_taesd);
    opening.fetch(sources, &[], &mut Screen::new(report))?;
    Ok(opening.open_for_prompts(&model, series.iter().map(|varied| &varied.request))?)
}

/// What executes the models.
fn engine(args: &GenerateArgs) -> EngineSpec {
    EngineSpec { vae_memory: args.vae_memory, ..args.engine.spec() }
}

/// Loads the models; the request's scheduler is settled with them.
fn load(
    args: &GenerateArgs,
    request: &mut Request,
    (opened, sizes): (&Opened, Sizes),
    report: &Report,
) -> Result<Pipeline> {
    let mut options = PipelineOptions {
        engine: engine(args),
        sizes,
        scheduler: request.scheduler.take(),
        steps: request.steps,
        controlnets: args.control.controlnets.clone(),
        taesd: args.taesd.clone(),
        preview_taesd: args.preview.taesd(args.taesd.as_ref()),
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
        cache: file::cache_folder(),
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
