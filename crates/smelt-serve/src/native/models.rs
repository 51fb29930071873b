//! Models: which there are, and which are in memory.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use smelt::Source;
use utoipa::ToSchema;

use super::ErrorBody;
use super::jobs::taken;
use crate::app::App;
use crate::blocking::blocking;
use crate::body::{Json, json};
use crate::catalogue::Model;
use crate::client::Client;
use crate::fault::Fault;
use crate::fetch;
use crate::job::{Status, Work};

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelAbout {
    /// What requests call it.
    name: String,
    /// `packages`, or `checkpoint`, which has any size and takes LoRAs.
    kind: &'static str,
    /// Whether it is in memory.
    loaded: bool,
    /// Whether it is used where a request names none.
    chosen: bool,
    /// Columns and rows of the pictures that it was made for, where that is known.
    size: Option<[usize; 2]>,
    /// Columns and rows are multiples of this.
    multiple: usize,
    /// Bytes of its files.
    bytes: u64,
    /// AUTOMATIC1111's hash, where it is known.
    hash: Option<String>,
    /// What suits it, where that is not what is usual: steps, guidance, scheduler, negative_prompt.
    #[schema(value_type = Object)]
    recommended: serde_json::Value,
}

impl ModelAbout {
    fn of(app: &App, model: &Model) -> Self {
        Self {
            name: model.name.clone(),
            kind: if model.is_packages { "packages" } else { "checkpoint" },
            loaded: app.loaded_names().contains(&model.name),
            chosen: app.catalogue.chosen().is_some_and(|chosen| chosen.name == model.name),
            size: model.size,
            multiple: model.multiple,
            bytes: model.bytes,
            hash: model.hash.clone(),
            recommended: serde_json::to_value(&model.recommended).unwrap_or_default(),
        }
    }
}

/// The models.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Models {
    models: Vec<ModelAbout>,
}

fn all(app: &App) -> Models {
    Models { models: app.catalogue.models().iter().map(|model| ModelAbout::of(app, model)).collect() }
}

/// The models that requests may name.
#[utoipa::path(get, path = "/smelt/v1/models", tag = "models", responses((status = 200, body = Models)))]
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Fault> {
    json(&all(&app))
}

/// Looks into the folders of models again.
#[utoipa::path(post, path = "/smelt/v1/models/refresh", tag = "models", responses((status = 200, body = Models)))]
pub(super) async fn refresh(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Fault> {
    let found = blocking(move || {
        app.catalogue.refresh();
        Ok(all(&app))
    });
    json(&found.await?)
}

/// Takes a job that loads a model and chooses it where a request names none.
#[utoipa::path(post, path = "/smelt/v1/models/{name}/load", tag = "models", params(("name" = String, Path, description = "The model.")), responses(
    (status = 202, description = "The job waits for its turn.", body = Status),
    (status = 404, description = "There is no such model.", body = ErrorBody),
    (status = 429, description = "Too many jobs wait.", body = ErrorBody),
))]
pub(super) async fn load(
    State(app): State<Arc<App>>,
    Client(client): Client,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Fault> {
    let model = app.catalogue.model_of(Some(&name))?;
    app.catalogue.choose(&model);
    taken(&*app.submit(client, Work::Load(model))?)
}

/// Takes a job that drops a model from memory.
#[utoipa::path(post, path = "/smelt/v1/models/{name}/unload", tag = "models", params(("name" = String, Path, description = "The model.")), responses(
    (status = 202, description = "The job waits for its turn.", body = Status),
    (status = 404, description = "There is no such model.", body = ErrorBody),
    (status = 429, description = "Too many jobs wait.", body = ErrorBody),
))]
pub(super) async fn unload(
    State(app): State<Arc<App>>,
    Client(client): Client,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Fault> {
    let model = app.catalogue.model_of(Some(&name))?;
    taken(&*app.submit(client, Work::Unload(Some(model.name.clone())))?)
}

/// A model of the Hub.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DownloadRequest {
    /// `hf:owner/name`, with `@revision` and a path behind it where it has such.
    source: String,
}

/// Takes a job that fetches a model of the Hub, beside those that draw; `steps` counts bytes then.
#[utoipa::path(post, path = "/smelt/v1/models/download", tag = "models", request_body = DownloadRequest, responses(
    (status = 202, description = "It comes.", body = Status),
    (status = 400, description = "It is no reference to the Hub.", body = ErrorBody),
    (status = 403, description = "The server fetches no models.", body = ErrorBody),
    (status = 409, description = "Another is fetched already.", body = ErrorBody),
    (status = 413, description = "It is too large.", body = ErrorBody),
    (status = 422, description = "It is not what is described here.", body = ErrorBody),
))]
pub(super) async fn download(
    State(app): State<Arc<App>>,
    Client(client): Client,
    Json(request): Json<DownloadRequest>,
) -> Result<impl IntoResponse, Fault> {
    let source: Source = request.source.parse().map_err(|error| Fault::field("source", format!("source: {error}")))?;
    // A path would be opened where it is, and no path of a request is.
    if !matches!(source, Source::Hub { .. }) {
        return Err(Fault::field("source", "source: it is no reference to the Hub; one is hf:owner/name"));
    }
    taken(&*fetch::begin(&app, client, source)?)
}
