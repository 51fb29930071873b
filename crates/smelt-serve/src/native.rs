//! The server's own interface, below `/smelt/v1`: jobs, what happens to them, pictures and models.

mod about;
mod events;
mod jobs;
mod models;
mod pictures;
mod request;
mod settings;

use std::sync::Arc;

use axum::Router;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// A request that cannot be met.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorAbout,
}

/// What is wrong.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ErrorAbout {
    /// For programs.
    code: String,
    /// For people: what, where, and what to do.
    message: String,
    /// The field at fault.
    field: Option<String>,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Smelt", description = "Pictures by Stable Diffusion: jobs, events, pictures and models."),
    components(schemas(ErrorBody, ErrorAbout, crate::job::JobEvent))
)]
struct Document;

/// The routes, and the document that describes them.
pub(crate) fn routes() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(jobs::submit, jobs::list))
        .routes(routes!(jobs::status, jobs::cancel))
        .routes(routes!(jobs::upscale))
        .routes(routes!(events::events))
        .routes(routes!(pictures::list))
        .routes(routes!(pictures::file, pictures::remove))
        .routes(routes!(pictures::about))
        .routes(routes!(settings::settings))
        .routes(routes!(settings::tokens))
        .routes(routes!(models::list))
        .routes(routes!(models::refresh))
        .routes(routes!(models::download))
        .routes(routes!(models::load))
        .routes(routes!(models::unload))
        .routes(routes!(about::capabilities))
        .split_for_parts();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    (router, document)
}
