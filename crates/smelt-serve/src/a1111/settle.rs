//! What was asked for in AUTOMATIC1111's words as a job draws it: by the same tables that read its settings out of pictures.

use serde_json::Value;
use smelt::image::Size;
use smelt::metadata::{Hires, Made, Size as Pixels, Tool, Unknown, Variation};
use smelt::{Enlarge, Like, Request, Sampler};

use super::asked::{self, Asked};
use crate::app::App;
use crate::catalogue::Model;
use crate::fault::Fault;
use crate::order::{Draft, Order, random_seed};

/// Steps between two previews, at most.
const PREVIEW_EVERY: usize = 10;
/// What is not taken over and changes nothing that could be meant; all else is refused.
const NOTES: [&str; 3] = ["CFG scale", "Negative prompt", "Sampler noise"];

/// A request, settled.
pub(super) struct Settled {
    pub(super) order: Order,
    /// What is done otherwise than there, for whoever reads it.
    pub(super) notes: Vec<String>,
}

/// Settles a request; what begins and guides is taken out of it.
pub(super) fn settle(app: &App, asked: &mut Asked) -> Result<Settled, Fault> {
    let model = app.catalogue.model_of(asked.model.as_deref())?;
    let made = made(asked, &model)?;
    let mut like = Like::of_made(&made);
    let opened = smelt::open(model.source.clone()).map_err(|error| Fault::refused(&error))?;
    like.settle(&opened).map_err(|error| Fault::refused(&error))?;
    let notes = notes(&like, made.sampler.as_deref())?;
    let mut settings = like.settings().clone();
    if asked.negative.is_none() {
        // The model may have its own.
        settings.shift_remove("negative_prompt");
    }
    settings.insert("emphasis".to_owned(), asked.settings.emphasis.name().into());
    settings.insert("count".to_owned(), asked.count().into());
    let start = asked.begin.take().map(|begin| {
        let mut start = begin.start();
        like.begin(&mut start);
        start
    });
    // What is too large is refused in a moment, and nothing is made as large before.
    let most = app.options.limits.pixels;
    let size = size(asked, &model).filter(|size| (1..=most).contains(&size.width.saturating_mul(size.height)));
    let controls = std::mem::take(&mut asked.units).into_iter().map(|unit| unit.control(size)).collect();
    let draft = Draft {
        model: Some(model.name.clone()),
        settings,
        start,
        controls,
        width: asked.numbers.width,
        height: asked.numbers.height,
        format: asked.settings.format,
        ..Draft::default()
    };
    let mut order = draft.settle(&app.catalogue, &app.options.limits)?;
    order.preview_every = Some((order.request.steps / 4).clamp(1, PREVIEW_EVERY));
    Ok(Settled { order, notes })
}

/// The size of what is drawn, as far as it is known before.
pub(super) fn size(asked: &Asked, model: &Model) -> Option<Size> {
    let width = asked.numbers.width.or(model.size.map(|[width, _]| width))?;
    let height = asked.numbers.height.or(model.size.map(|[_, height]| height))?;
    Some(Size { width, height })
}

/// The request as settings of a picture.
fn made(asked: &Asked, model: &Model) -> Result<Made, Fault> {
    let mut usual = Request::default();
    model.recommended.apply(&mut usual);
    let mut made = Made::by(Tool::Automatic1111);
    made.prompt = Some(asked.prompt.clone());
    // The web UI takes an empty one as none.
    made.negative = asked.negative.clone().filter(|text| !text.is_empty());
    made.steps = Some(asked.numbers.steps.unwrap_or(usual.steps) as u64);
    made.guidance = Some(asked.numbers.guidance.unwrap_or_else(|| usual.guidance.into()));
    made.seed = asked.noise.seed;
    made.size = size(asked, model).map(|size| Pixels { width: size.width as u64, height: size.height as u64 });
    made.clip_skip = Some(asked.settings.clip_skip);
    made.rng = Some(asked.settings.source.to_owned());
    made.sampler = asked.sampler.clone();
    made.schedule = asked.schedule.clone();
    if let (None, Some(schedule)) = (&made.sampler, &asked.schedule)
        && !schedule.eq_ignore_ascii_case("automatic")
    {
        // A schedule alone is that of the model's own sampler, or of the web UI's.
        made.sampler = Some(usual.scheduler.map_or("Euler", Sampler::label).to_owned());
    }
    made.eta = asked
        .numbers
        .eta
        .filter(|_| takes_eta(made.sampler.as_deref().map_or(usual.scheduler, |name| name.parse().ok())));
    if asked.noise.subseed_strength != 0.0 {
        let seed = Some(asked.noise.subseed.unwrap_or_else(random_seed));
        made.variation = Some(Variation { seed, strength: Some(asked.noise.subseed_strength) });
    }
    if let Some(hires) = &asked.hires {
        made.hires = Some(second(hires)?);
        made.strength = Some(asked.numbers.strength.unwrap_or(asked::STRENGTH));
    }
    if let Some(begin) = &asked.begin {
        begin.tell(&mut made, asked.numbers.strength);
    }
    Ok(made)
}

/// With all others it counts nothing, in the web UI too.
fn takes_eta(sampler: Option<Sampler>) -> bool {
    sampler.is_some_and(Sampler::takes_eta)
}

fn second(asked: &asked::Hires) -> Result<Hires, Fault> {
    let mut hires = Hires::default();
    hires.scale = Some(asked.scale);
    let (width, height) = (asked.size.0 as u64, asked.size.1 as u64);
    hires.size = Some(Pixels { width, height });
    hires.steps = asked.steps.map(|steps| steps as u64);
    if let Some(name) = &asked.upscaler {
        name.parse::<Enlarge>().map_err(|error| Fault::field("hr_upscaler", error.chain()))?;
    }
    hires.upscaler = asked.upscaler.clone();
    Ok(hires)
}

/// What cannot be done is refused, unless it changes nothing that could be meant.
fn notes(like: &Like, sampler: Option<&str>) -> Result<Vec<String>, Fault> {
    let mut notes = Vec::new();
    for Unknown { key, value, why } in &like.not_taken {
        let why = why.as_deref().unwrap_or("there is nothing like it here");
        match key.as_str() {
            "Sampler" => return Err(no_sampler(sampler.unwrap_or(value))),
            "Schedule type" => return Err(no_schedule(value, why)),
            key if NOTES.contains(&key) => notes.push(format!("{key} {value}: {why}")),
            key => return Err(Fault::field(key, format!("{key} {value}: {why}"))),
        }
    }
    Ok(notes)
}

fn no_sampler(name: &str) -> Fault {
    let names: Vec<&str> = samplers().map(|(_, label)| label).collect();
    Fault::field("sampler_name", format!("Sampler not found: {name:?}; there are {}", names.join(", ")))
}

fn no_schedule(name: &str, why: &str) -> Fault {
    let all = schedules();
    let is_known = all.iter().any(|schedule| schedule.label == name || schedule.name == name);
    let names: Vec<&str> = all.iter().map(|schedule| schedule.label).collect();
    let message = match is_known {
        true => format!("scheduler {name:?}: {why}; leave it out, or give \"Automatic\""),
        false => format!("Scheduler not found: {name:?} ({why}); there are {}", names.join(", ")),
    };
    Fault::field("scheduler", message)
}

/// Samplers by the web UI's names; those that only diffusers has are called by its classes, and are left out.
pub(super) fn samplers() -> impl Iterator<Item = (Sampler, &'static str)> {
    Sampler::all().filter(|(_, label)| !label.ends_with("Scheduler"))
}

/// A noise schedule.
pub(super) struct Schedule {
    pub(super) name: String,
    pub(super) label: &'static str,
    pub(super) spread: Option<smelt::Spread>,
}

/// Noise schedules by the web UI's names.
pub(super) fn schedules() -> Vec<Schedule> {
    let name = |label: &str| label.to_lowercase().replace(' ', "_");
    let all = smelt::Spread::ALL.into_iter().filter(|spread| *spread != smelt::Spread::AlignYourStepsXl);
    let automatic = Schedule { name: name("Automatic"), label: "Automatic", spread: None };
    std::iter::once(automatic)
        .chain(all.map(|spread| Schedule { name: name(spread.label()), label: spread.label(), spread: Some(spread) }))
        .collect()
}

/// What a sampler and its noise levels are called, as the web UI writes them.
pub(super) fn told(sampler: Option<Sampler>) -> (Value, Value) {
    match sampler {
        Some(sampler) => (sampler.label().into(), sampler.spread().map_or("Automatic", smelt::Spread::label).into()),
        None => (Value::Null, "Automatic".into()),
    }
}
