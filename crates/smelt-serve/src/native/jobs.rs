//! Jobs: taken, looked at, cancelled.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use smelt::Enlargement;
use utoipa::{IntoParams, ToSchema};

use super::ErrorBody;
use super::request::JobRequest;
use crate::app::App;
use crate::blocking::blocking;
use crate::body::{Json, json};
use crate::client::Client;
use crate::enlarge::upscaling;
use crate::fault::Fault;
use crate::input;
use crate::job::{Job, Phase, Status, Work};

/// Jobs that are known.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Jobs {
    /// The newest first.
    jobs: Vec<Status>,
}

/// Takes a job.
#[utoipa::path(post, path = "/smelt/v1/jobs", tag = "jobs", request_body = JobRequest, responses(
    (status = 202, description = "The job waits for its turn; `Location` says where to look.", body = Status),
    (status = 400, description = "It cannot be drawn as it is asked for.", body = ErrorBody),
    (status = 404, description = "There is no such model.", body = ErrorBody),
    (status = 413, description = "It is too large.", body = ErrorBody),
    (status = 422, description = "It is not what is described here.", body = ErrorBody),
    (status = 429, description = "Too many jobs wait; `Retry-After` says when to try again.", body = ErrorBody),
))]
pub(super) async fn submit(
    State(app): State<Arc<App>>,
    Client(client): Client,
    Json(request): Json<JobRequest>,
) -> Result<impl IntoResponse, Fault> {
    // Pictures are decoded, and folders are looked into.
    let job = blocking(move || {
        let order = request.draft(&app.options.limits)?.settle(&app.catalogue, &app.options.limits)?;
        app.submit(client, Work::Draw(Box::new(order)))
    })
    .await?;
    taken(&job)
}

/// The response to a job that waits.
pub(super) fn taken(job: &Job) -> Result<impl IntoResponse + use<>, Fault> {
    Ok((StatusCode::ACCEPTED, [(LOCATION, format!("/smelt/v1/jobs/{}", job.id))], json(&job.status())?))
}

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Which {
    /// Only those that are in this phase; `active`: those that are not over.
    phase: Option<String>,
}

/// The jobs that are known.
#[utoipa::path(get, path = "/smelt/v1/jobs", tag = "jobs", params(Which), responses(
    (status = 200, body = Jobs), (status = 400, description = "There is no such phase.", body = ErrorBody),
))]
pub(super) async fn list(State(app): State<Arc<App>>, Query(which): Query<Which>) -> Result<impl IntoResponse, Fault> {
    let all = app.jobs().into_iter().map(|job| job.status());
    let named = |name: &str| Phase::ALL.into_iter().find(|(_, known)| *known == name).map(|(phase, _)| phase);
    let jobs = match which.phase.as_deref() {
        None => all.collect(),
        Some("active") => all.filter(|status| !status.phase.is_over()).collect(),
        Some(name) => {
            let wanted = named(name).ok_or_else(|| {
                let names = Phase::ALL.map(|(_, name)| name).join(", ");
                Fault::field("phase", format!("{name:?} is no phase; there are {names} and active"))
            })?;
            all.filter(|status| status.phase == wanted).collect()
        }
    };
    json(&Jobs { jobs })
}

/// A job that is known.
pub(super) fn known(app: &App, id: &str) -> Result<Arc<Job>, Fault> {
    app.job(id).ok_or_else(|| {
        Fault::not_found(format!("no job is called {id:?}; jobs that are over are forgotten after a while"))
    })
}

/// A job as it stands.
#[utoipa::path(get, path = "/smelt/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "The job.")), responses(
    (status = 200, body = Status), (status = 404, description = "There is no such job.", body = ErrorBody),
))]
pub(super) async fn status(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<impl IntoResponse, Fault> {
    json(&known(&app, &id)?.status())
}

/// Cancels a job; pictures that are finished stay. A job that is over stays as it is.
#[utoipa::path(delete, path = "/smelt/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "The job.")), responses(
    (status = 200, description = "As it stands; a step may still be finished.", body = Status),
    (status = 404, description = "There is no such job.", body = ErrorBody),
))]
pub(super) async fn cancel(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<impl IntoResponse, Fault> {
    let job = known(&app, &id)?;
    if !job.status().phase.is_over() {
        app.cancel(&job);
    }
    json(&job.status())
}

/// A picture to be made larger.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpscaleRequest {
    /// PNG, JPEG or WebP as base64.
    image: String,
    /// Name of the upscaler, or `lanczos` or `nearest`.
    upscaler: String,
    /// So many times as large along each side; default: as the network makes them, or twice.
    scale: Option<f64>,
}

/// Takes a job that makes a picture larger.
#[utoipa::path(post, path = "/smelt/v1/upscale", tag = "jobs", request_body = UpscaleRequest, responses(
    (status = 202, description = "The job waits for its turn.", body = Status),
    (status = 400, description = "It cannot be done as it is asked for.", body = ErrorBody),
    (status = 413, description = "It is too large.", body = ErrorBody),
    (status = 422, description = "It is not what is described here.", body = ErrorBody),
    (status = 429, description = "Too many jobs wait.", body = ErrorBody),
))]
pub(super) async fn upscale(
    State(app): State<Arc<App>>,
    Client(client): Client,
    Json(request): Json<UpscaleRequest>,
) -> Result<impl IntoResponse, Fault> {
    let job = blocking(move || {
        let picture = input::picture("image", &request.image, &app.options.limits)?;
        let enlargement = request.scale.map_or(Enlargement::Own, Enlargement::By);
        let upscale = upscaling(&app, picture, &request.upscaler, enlargement)?;
        app.submit(client, Work::Upscale(Box::new(upscale)))
    })
    .await?;
    taken(&job)
}
