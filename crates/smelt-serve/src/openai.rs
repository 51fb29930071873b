//! OpenAI's interface for images, below `/v1`: generations, edits, variations and models, with streams of partial pictures.
//!
//! - Models are the server's; names of OpenAI's own (`gpt-image-1`, `dall-e-3`), which clients send by default, mean the
//!   chosen one.
//! - Seeds are random unless `seed` is given, and each picture says its own.
//! - Fields of others that the SDK lets through count too: `seed`, `steps`, `guidance`, `negative_prompt`, `strength`.
//! - Pictures come as `b64_json` unless `response_format` is `url`.
//!
//! What it deliberately does not do: anything of OpenAI's other than images.

mod asked;
mod draw;
mod form;
mod shape;
mod stream;

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::app::App;
use crate::catalogue::Model;
use crate::fault::Fault;

/// How the names of OpenAI's own models begin.
const OWN: [&str; 3] = ["dall-e-", "gpt-image-", "chatgpt-image-"];

/// All routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/images/generations", post(draw::generations))
        .route("/v1/images/edits", post(draw::edits))
        .route("/v1/images/variations", post(draw::variations))
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(model))
        // Bodies are read whole, within the server's own limit, before forms are taken apart.
        .layer(DefaultBodyLimit::disable())
}

async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    let data: Vec<Value> = app.catalogue.models().iter().map(|model| about(model)).collect();
    Json(json!({ "object": "list", "data": data }))
}

async fn model(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, Fault> {
    Ok(Json(about(&*find(&app, Some(&id))?)))
}

fn about(model: &Model) -> Value {
    let changed = std::fs::metadata(&model.path).and_then(|about| about.modified()).ok();
    let created = changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs());
    json!({ "id": model.name, "object": "model", "created": created, "owned_by": "smelt" })
}

/// The model of a name.
fn find(app: &App, name: Option<&str>) -> Result<Arc<Model>, Fault> {
    let is_own = |name: &&str| OWN.iter().any(|own| name.starts_with(own)) && app.catalogue.find(name).is_none();
    app.catalogue.model_of(name.filter(|name| !is_own(name)))
}
