//! What a job draws: a request of the library's, settled when it is taken, with what it is drawn by.
//!
//! All interfaces make a [`Draft`] of what they were sent; what is left open, the model says, and then what is usual. So a
//! request means the same whichever interface it came by, and what is wrong with it is said before it waits.

use std::sync::Arc;

use serde_json::{Map, Value};
use smelt::image::PictureFormat;
use smelt::{Control, LoraAsked, PictureSize, Request, RequestFile, Sizes, Source, Start};

use crate::catalogue::{Catalogue, Model, named};
use crate::fault::Fault;
use crate::options::Limits;

/// What was sent, as far as it was said.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Name of the model.
    pub(crate) model: Option<String>,
    /// Fields of the library's request, as its JSON has them.
    pub(crate) settings: Map<String, Value>,
    /// The picture to begin with.
    pub(crate) start: Option<Start>,
    /// Names of ControlNets, and what guides by them.
    pub(crate) controls: Vec<(String, Control)>,
    pub(crate) width: Option<usize>,
    pub(crate) height: Option<usize>,
    /// Names of LoRAs with their strengths.
    pub(crate) loras: Vec<(String, f32)>,
    /// Steps between two previews; none where nobody looks.
    pub(crate) preview_every: Option<usize>,
    pub(crate) format: PictureFormat,
}

/// What a job draws.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) model: Arc<Model>,
    pub(crate) request: Request,
    pub(crate) sizes: Sizes,
    pub(crate) loras: Vec<LoraAsked>,
    pub(crate) controlnets: Vec<Source>,
    pub(crate) preview_every: Option<usize>,
    pub(crate) format: PictureFormat,
}

/// A random seed that every tool can write.
pub(crate) fn random_seed() -> u64 {
    u64::from(uuid::Uuid::new_v4().as_fields().0)
}

impl Draft {
    /// Sets a field of the request, unless there is nothing to say.
    pub(crate) fn set(&mut self, field: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.settings.insert(field.to_owned(), value.into());
        }
    }

    /// Settles what is open, and refuses what cannot be drawn or is too much.
    pub(crate) fn settle(self, catalogue: &Catalogue, limits: &Limits) -> Result<Order, Fault> {
        let Self { model, mut settings, start, controls, width, height, loras, preview_every, format } = self;
        let model = catalogue.model_of(model.as_deref())?;
        let mut request = Request::default();
        model.recommended.apply(&mut request);
        if settings.get("seed").is_none_or(Value::is_null) {
            settings.insert("seed".to_owned(), random_seed().into());
        }
        let is_guided = settings.get("guidance").and_then(Value::as_f64).is_none_or(|scale| scale > 1.0);
        if !is_guided && settings.get("negative_prompt").is_none() {
            // What the model would be told by itself has no effect then.
            request.negative_prompt = None;
        }
        read(settings)?.apply(&mut request).map_err(|error| Fault::refused(&error))?;
        let controlnets = controls.iter().map(|(name, _)| controlnet(catalogue, name)).collect::<Result<_, _>>()?;
        request.controls = controls.into_iter().map(|(_, control)| control).collect();
        request.start = start;
        let sizes = sizes(&model, (width, height), limits)?;
        check(&request, limits)?;
        request.check().map_err(|error| Fault::refused(&error))?;
        check_named(catalogue, &model, &request)?;
        let loras = loras.iter().map(|(name, strength)| lora(catalogue, name, *strength)).collect::<Result<_, _>>()?;
        Ok(Order { model, request, sizes, loras, controlnets, preview_every, format })
    }
}

/// Reads fields of the library's request; an error names the one at fault.
fn read(settings: Map<String, Value>) -> Result<RequestFile, Fault> {
    const WHAT: &str = "the request";
    let all = RequestFile::of(WHAT, settings.clone());
    all.map_err(|error| {
        let is_at_fault = |(key, value): &(String, Value)| {
            RequestFile::of(WHAT, Map::from_iter([(key.clone(), value.clone())])).is_err()
        };
        let field = settings.into_iter().find(is_at_fault).map(|(key, _)| key);
        Fault { field, ..Fault::refused(&error) }
    })
}

/// The size that pictures shall have; packages and the model's own size need none.
fn sizes(model: &Model, asked: (Option<usize>, Option<usize>), limits: &Limits) -> Result<Sizes, Fault> {
    let (width, height) = match (asked, model.size) {
        ((None, None), _) => return Ok(Sizes::default()),
        ((Some(width), Some(height)), _) => (width, height),
        ((Some(width), None), own) => (width, own.map_or(width, |[_, height]| height)),
        ((None, Some(height)), own) => (own.map_or(height, |[width, _]| width), height),
    };
    if width.saturating_mul(height) > limits.pixels {
        return Err(Fault::field(
            "size",
            format!("{width}x{height} has more than the {} pixels that are drawn here", limits.pixels),
        ));
    }
    if model.size == Some([width, height]) {
        return Ok(Sizes::default());
    }
    if width == 0 || height == 0 || width % model.multiple != 0 || height % model.multiple != 0 {
        return Err(Fault::field(
            "size",
            format!("{width}x{height}: both sides must be multiples of {} for {}", model.multiple, model.name),
        ));
    }
    let size: PictureSize = format!("{width}x{height}").parse().map_err(|error| Fault::field("size", error))?;
    Ok(Sizes { size: vec![size], ..Sizes::default() })
}

/// Refuses what is too much.
fn check(request: &Request, limits: &Limits) -> Result<(), Fault> {
    let texts = [
        Some(&request.prompt),
        request.negative_prompt.as_ref(),
        request.prompt_2.as_ref(),
        request.negative_prompt_2.as_ref(),
    ];
    if let Some(text) = texts.into_iter().flatten().find(|text| text.chars().count() > limits.prompt) {
        return Err(Fault::field(
            "prompt",
            format!("a prompt of {} characters; {} are read here at most", text.chars().count(), limits.prompt),
        ));
    }
    let hires_steps = request.hires.and_then(|hires| hires.steps).unwrap_or(0);
    let steps = request
        .steps
        .max(hires_steps)
        .max(request.timesteps.as_ref().map_or(0, Vec::len))
        .max(request.sigmas.as_ref().map_or(0, Vec::len));
    if request.steps == 0 || steps > limits.steps {
        return Err(Fault::field("steps", format!("{steps} steps; 1 to {} are taken here", limits.steps)));
    }
    if request.count == 0 || request.count > limits.pictures {
        return Err(Fault::field(
            "count",
            format!("{} pictures; a request is for 1 to {}", request.count, limits.pictures),
        ));
    }
    Ok(())
}

fn controlnet(catalogue: &Catalogue, name: &str) -> Result<Source, Fault> {
    let all = catalogue.controlnets();
    match named(&all, name) {
        Some(found) => Ok(found.path.as_path().into()),
        None => Err(Fault::field("controlnet", unknown("ControlNet", name, "--controlnet-dir", &all))),
    }
}

fn lora(catalogue: &Catalogue, name: &str, strength: f32) -> Result<LoraAsked, Fault> {
    let all = catalogue.loras();
    match named(&all, name) {
        Some(_) if !strength.is_finite() => Err(Fault::field("loras", format!("{name}: a strength is a number"))),
        Some(found) => Ok(LoraAsked {
            file: found.path.clone(),
            strength: smelt::LoraStrength { denoiser: strength, text: strength },
        }),
        None => Err(Fault::field("loras", unknown("LoRA", name, "--lora-dir", &all))),
    }
}

/// Refuses LoRAs that prompts name and the folder has not: what looks like a path is never looked up. Packages have LoRAs in
/// them, and the library says which.
fn check_named(catalogue: &Catalogue, model: &Model, request: &Request) -> Result<(), Fault> {
    if model.is_packages {
        return Ok(());
    }
    let names = request.lora_names().map_err(|error| Fault::refused(&error))?;
    let all = if names.is_empty() { Vec::new() } else { catalogue.loras() };
    match names.iter().find(|name| !all.iter().any(|one| one.name == **name)) {
        Some(name) => Err(Fault::field("prompt", unknown("LoRA", name, "--lora-dir", &all))),
        None => Ok(()),
    }
}

/// Says what is there where a name means nothing.
pub(crate) fn unknown(what: &str, name: &str, option: &str, all: &[crate::catalogue::Named]) -> String {
    let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    match names.is_empty() {
        true => format!("no {what} is called {name:?}: the server was started without a folder of such ({option})"),
        false => format!("no {what} is called {name:?}; there are {}", names.join(", ")),
    }
}
