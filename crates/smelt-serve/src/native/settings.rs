//! Settings that pictures carry, whatever tool drew them, and tokens of prompts.

use std::io::Cursor;
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smelt::image::RgbImage;
use smelt::{Like, LikeGiven, Request, Start, StartMask};
use utoipa::ToSchema;

use super::ErrorBody;
use crate::app::App;
use crate::blocking::blocking;
use crate::body::{self, Json};
use crate::fault::Fault;
use crate::input;

/// A picture that was drawn by some tool.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SettingsRequest {
    /// PNG, JPEG or WebP as base64.
    image: String,
}

/// What a picture says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SettingsAbout {
    /// What drew it.
    tool: String,
    /// The model, by that tool's name.
    model: Option<String>,
    width: Option<usize>,
    height: Option<usize>,
    /// Fields of a job that draw it again.
    #[schema(value_type = Object)]
    settings: Value,
    /// How it began with another picture, which its settings do not hold: `strength`, `fit`, `mask_inverted`, `mask_blur` and
    /// `only_masked`, as a job's `image` has them; null where it did not.
    #[schema(value_type = Option<Object>)]
    image: Option<Value>,
    /// What could not be taken over, and why.
    not_taken: Vec<String>,
}

/// The settings that a picture carries, as a job takes them.
#[utoipa::path(post, path = "/smelt/v1/settings", tag = "pictures", request_body = SettingsRequest, responses(
    (status = 200, body = SettingsAbout),
    (status = 400, description = "It carries none, or is no picture.", body = ErrorBody),
    (status = 413, description = "It is too large.", body = ErrorBody),
    (status = 422, description = "It is not what is described here.", body = ErrorBody),
))]
pub(super) async fn settings(
    State(app): State<Arc<App>>,
    Json(request): Json<SettingsRequest>,
) -> Result<impl IntoResponse, Fault> {
    let found = blocking(move || {
        let given = input::picture("image", &request.image, &app.options.limits)?;
        about(given)
    });
    body::json(&found.await?)
}

/// What a picture says of itself, as far as it differs from what is usual.
fn about(given: input::Given) -> Result<SettingsAbout, Fault> {
    let refused = |error: smelt::Error| Fault::refused(&error);
    let mut like = Like::from_bytes("the picture", Cursor::new(given.bytes)).map_err(refused)?;
    let image = began_with(&mut like).map_err(refused)?;
    let mut request = Request::default();
    like.apply(&mut request).map_err(refused)?;
    let usual = serde_json::to_value(Request::default()).unwrap_or_default();
    let mut settings = serde_json::to_value(&request).unwrap_or_default();
    if let Value::Object(fields) = &mut settings {
        fields.retain(|key, value| key == "prompt" || key == "seed" || usual.get(key) != Some(value));
    }
    let not_taken = like.not_taken.iter().map(|unknown| {
        let why = unknown.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        format!("{}: {}{why}", unknown.key, unknown.value)
    });
    Ok(SettingsAbout {
        tool: like.tool.to_string(),
        model: like.model.clone(),
        width: like.size.map(|size| size.width),
        height: like.size.map(|size| size.height),
        settings,
        image,
        not_taken: not_taken.collect(),
    })
}

/// How it began with another picture, if it did; what else its settings name and do not hold is not taken over.
fn began_with(like: &mut Like) -> Result<Option<Value>, smelt::Error> {
    let plain = like.clone();
    if like.give(&LikeGiven::default()).is_ok() {
        return Ok(None);
    }
    *like = plain;
    like.give(&LikeGiven { image: true, mask: true, ..LikeGiven::default() })?;
    // With a mask, so that what is said of one is heard; no pixel counts.
    let any = RgbImage::new(1, 1, vec![0; 3])?;
    let mask = StartMask { image: any.to_grey(), file: String::new(), is_inverted: false };
    let mut start = Start { mask: Some(mask), ..Start::new(any, "") };
    like.begin(&mut start);
    Ok(Some(json!({
        "strength": start.strength,
        "fit": start.fit.name(),
        "mask_inverted": start.mask.is_some_and(|mask| mask.is_inverted),
        "mask_blur": start.mask_blur,
        "only_masked": start.only_masked,
    })))
}

/// A prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokensRequest {
    prompt: String,
    /// Name of the model; default: the one that is chosen.
    #[serde(default)]
    model: Option<String>,
    /// The language of the prompt.
    #[serde(default)]
    emphasis: Option<String>,
}

/// How a prompt lies in the windows of a text encoder.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokensAbout {
    /// Tokens of the longest text.
    tokens: usize,
    /// Tokens that a window has room for.
    room: usize,
    /// Windows that it takes.
    windows: usize,
    /// Tokens that are cut off.
    cut: usize,
}

/// Counts the tokens of a prompt.
#[utoipa::path(post, path = "/smelt/v1/tokens", tag = "server", request_body = TokensRequest, responses(
    (status = 200, body = TokensAbout),
    (status = 400, description = "It is too long, or of no such language.", body = ErrorBody),
    (status = 404, description = "There is no such model.", body = ErrorBody),
    (status = 422, description = "It is not what is described here.", body = ErrorBody),
))]
pub(super) async fn tokens(
    State(app): State<Arc<App>>,
    Json(request): Json<TokensRequest>,
) -> Result<impl IntoResponse, Fault> {
    let most = app.options.limits.prompt;
    if request.prompt.chars().count() > most {
        return Err(Fault::field("prompt", format!("a prompt of more than the {most} characters that are read here")));
    }
    let found = blocking(move || {
        let refused = |error: smelt::Error| Fault::refused(&error);
        let model = app.catalogue.model_of(request.model.as_deref())?;
        let emphasis = match &request.emphasis {
            Some(name) => name.parse().map_err(|error| Fault::field("emphasis", format!("emphasis: {error}")))?,
            None => smelt::Emphasis::default(),
        };
        let counter = app.counter(&model).map_err(refused)?;
        let counted = counter.count(&request.prompt, emphasis).map_err(refused)?;
        let longest = counted.encoders.iter().max_by_key(|encoder| encoder.n_tokens);
        let longest = longest.ok_or_else(|| Fault::bad("the model has no text encoder of CLIP's"))?;
        Ok(TokensAbout {
            tokens: longest.n_tokens,
            room: longest.room,
            windows: longest.windows.len(),
            cut: longest.n_cut,
        })
    });
    body::json(&found.await?)
}
