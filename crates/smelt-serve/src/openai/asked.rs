//! What is asked for in OpenAI's words, as a job draws it.

use std::sync::Arc;

use smelt::image::{Fit, GreyImage, PictureFormat};
use smelt::{Emphasis, Start, StartMask};

use super::find;
use super::form::Sent;
use crate::app::App;
use crate::catalogue::Model;
use crate::fault::Fault;
use crate::fields::{Fields, Idle, Usual};
use crate::format::about;
use crate::input::{self, Given};
use crate::options::Limits;
use crate::order::{Draft, Order};

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Generate,
    Edit,
    Vary,
}

/// Fields that have no effect here, with the values that say nothing.
const IDLE: &[Idle] = &[
    Idle { name: "quality", usual: Usual::Words(&["auto", "standard", "medium"]) },
    Idle { name: "style", usual: Usual::Words(&["vivid"]) },
    Idle { name: "background", usual: Usual::Words(&["auto", "opaque"]) },
    Idle { name: "moderation", usual: Usual::Words(&["auto"]) },
    Idle { name: "input_fidelity", usual: Usual::Words(&["low"]) },
    Idle { name: "output_compression", usual: Usual::Numbers(&[100.0]) },
];
/// Formats of pictures.
const FORMATS: [PictureFormat; 3] = [PictureFormat::Png, PictureFormat::Jpeg, PictureFormat::WebP];
/// Pictures of a request, at most, and partial ones.
const MOST: usize = 10;
const MOST_PARTIAL: usize = 3;

/// A request, settled.
pub(super) struct Asked {
    pub(super) order: Order,
    /// Who asks, for turns.
    pub(super) user: Option<String>,
    pub(super) is_url: bool,
    pub(super) streams: bool,
    /// Partial pictures of each that are sent, at most.
    pub(super) n_partial: usize,
    /// Tokens of the prompt.
    pub(super) n_tokens: usize,
}

/// A field's fault.
fn wrong(field: &str, message: String) -> Fault {
    Fault { code: "invalid_value", ..Fault::field(field, message) }
}

impl Asked {
    pub(super) fn read(sent: Sent, deed: Deed, app: &App) -> Result<Self, Fault> {
        let Sent { mut fields, images, mask } = sent;
        let fields = &mut fields;
        let model = find(app, fields.word("model")?.as_deref())?;
        let prompt = prompt(fields, deed)?;
        let (width, height) = size(fields, &model)?;
        let format = format(fields)?;
        let is_url = response_format(fields)?;
        let streams = fields.flag("stream")?.unwrap_or(false);
        let n_partial = fields.count("partial_images")?.unwrap_or(0);
        if n_partial > MOST_PARTIAL || (n_partial > 0 && !streams) {
            let message = format!("partial_images {n_partial}: 0 to {MOST_PARTIAL}, and only with stream true");
            return Err(wrong("partial_images", message));
        }
        let user = fields.word("user")?;
        let mut draft = Draft { model: Some(model.name.clone()), width, height, format, ..Draft::default() };
        numbers(fields, &mut draft)?;
        draft.start = start(fields, deed, images, mask, app)?;
        let n_tokens = tokens(app, &model, &prompt);
        draft.set("prompt", Some(prompt));
        fields.check(IDLE)?;
        if let Some(name) = fields.names().into_iter().next() {
            let message = format!("Unknown parameter: {name:?}, which has no effect here");
            return Err(Fault { code: "unknown_parameter", ..Fault::field(name, message) });
        }
        let mut order = draft.settle(&app.catalogue, &app.options.limits)?;
        // So many of them at even distances, and none at the end.
        order.preview_every = (n_partial > 0).then(|| order.request.steps.div_ceil(n_partial + 1).max(1));
        Ok(Self { order, user, is_url, streams, n_partial, n_tokens })
    }

    /// The size of the pictures, where it was asked for or the model has one.
    pub(super) fn size(&self) -> Option<String> {
        let asked = self.order.sizes.size.first().map(ToString::to_string);
        asked.or(self.order.model.size.map(|[width, height]| format!("{width}x{height}")))
    }
}

fn prompt(fields: &mut Fields, deed: Deed) -> Result<String, Fault> {
    match fields.text("prompt")? {
        Some(prompt) => Ok(prompt),
        None if deed == Deed::Vary => Ok(String::new()),
        None => {
            let message = "Missing required parameter: 'prompt'; it says what the picture shows";
            Err(Fault { code: "missing_required_parameter", ..Fault::field("prompt", message) })
        }
    }
}

/// `WxH`, or what the model was made for.
fn size(fields: &mut Fields, model: &Model) -> Result<(Option<usize>, Option<usize>), Fault> {
    let Some(text) = fields.word("size")?.filter(|size| size != "auto") else { return Ok((None, None)) };
    let sides = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let own = model
        .size
        .map_or_else(String::new, |[width, height]| format!("; {} was made for {width}x{height}", model.name));
    let (width, height) =
        sides.ok_or_else(|| wrong("size", format!("size {text:?}: it is \"auto\" or WIDTHxHEIGHT in pixels{own}")))?;
    Ok((Some(width), Some(height)))
}

fn format(fields: &mut Fields) -> Result<PictureFormat, Fault> {
    let Some(name) = fields.word("output_format")? else { return Ok(PictureFormat::Png) };
    let found = FORMATS.into_iter().find(|format| about(*format).name == name);
    found.ok_or_else(|| wrong("output_format", format!("output_format {name:?}: there are png, jpeg and webp")))
}

/// Whether pictures come as addresses.
fn response_format(fields: &mut Fields) -> Result<bool, Fault> {
    match fields.word("response_format")?.as_deref() {
        None | Some("b64_json") => Ok(false),
        Some("url") => Ok(true),
        Some(other) => Err(wrong("response_format", format!("response_format {other:?}: there are b64_json and url"))),
    }
}

/// Numbers, those that other servers take beside OpenAI's too.
fn numbers(fields: &mut Fields, draft: &mut Draft) -> Result<(), Fault> {
    let n = fields.count("n")?.unwrap_or(1);
    if n == 0 || n > MOST {
        return Err(wrong("n", format!("n {n}: a request is for 1 to {MOST} pictures")));
    }
    draft.set("count", Some(n));
    // Each picture has a seed that draws it alone.
    draft.set("seeds", Some("each"));
    draft.set("seed", fields.seed("seed")?);
    let steps = (fields.count("steps")?, fields.count("num_inference_steps")?);
    draft.set("steps", steps.0.or(steps.1));
    let guidance = (fields.number("guidance")?, fields.number("guidance_scale")?);
    draft.set("guidance", guidance.0.or(guidance.1));
    draft.set("negative_prompt", fields.text("negative_prompt")?);
    Ok(())
}

/// The picture to begin with.
fn start(
    fields: &mut Fields,
    deed: Deed,
    images: Vec<Vec<u8>>,
    mask: Option<Vec<u8>>,
    app: &App,
) -> Result<Option<Start>, Fault> {
    let limits = &app.options.limits;
    let strength = fields.number("strength")?;
    let mut images = images.into_iter();
    let image = match (deed, images.next(), images.next()) {
        (Deed::Generate, None, _) if mask.is_none() && strength.is_none() => return Ok(None),
        (Deed::Generate, ..) => {
            return Err(wrong("image", "image, mask and strength are for /v1/images/edits".to_owned()));
        }
        (_, None, _) => {
            let message = "Missing required parameter: 'image'; it is the picture to begin with";
            return Err(Fault { code: "missing_required_parameter", ..Fault::field("image", message) });
        }
        (_, Some(_), Some(_)) => {
            return Err(wrong("image", "image: one picture can be begun with, and not several".to_owned()));
        }
        (_, Some(image), None) => input::decoded("image", image, limits)?,
    };
    let clear = match mask {
        Some(_) if deed == Deed::Vary => return Err(wrong("mask", "mask is for /v1/images/edits".to_owned())),
        Some(mask) => Some(clear_of(mask, &image, limits)?),
        // Without a mask, what is transparent in the picture itself is repainted.
        None => image.alpha.filter(|_| deed == Deed::Edit),
    };
    let mask = clear.map(|image| StartMask { image, file: "mask".to_owned(), is_inverted: true });
    Ok(Some(Start { strength, mask, fit: Fit::Crop, ..Start::new(image.image, "image") }))
}

/// How opaque a mask is; it is as large as the picture.
fn clear_of(mask: Vec<u8>, picture: &Given, limits: &Limits) -> Result<GreyImage, Fault> {
    let given = input::decoded("mask", mask, limits)?;
    let (size, own) = (given.image.size(), picture.image.size());
    if size != own {
        return Err(wrong("mask", format!("mask of {size} and image of {own} pixels: they must be alike")));
    }
    let message = "mask: no pixel of it is transparent, and transparent ones say what is repainted";
    given.alpha.ok_or_else(|| wrong("mask", message.to_owned()))
}

/// Tokens of a prompt; none that are counted where a model has no tokenizer of CLIP's.
fn tokens(app: &App, model: &Arc<Model>, prompt: &str) -> usize {
    if prompt.chars().count() > app.options.limits.prompt {
        // Refused in a moment.
        return 0;
    }
    let counted = app.counter(model).and_then(|counter| counter.count(prompt, Emphasis::default()));
    counted.ok().and_then(|counted| counted.encoders.iter().map(|encoder| encoder.n_tokens).max()).unwrap_or(0)
}
