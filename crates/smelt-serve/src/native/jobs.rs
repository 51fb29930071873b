//! Jobs: taken, looked at, cancelled.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use smelt::Enlargement;
use smelt::image::{Filter, Size};
use utoipa::{IntoParams, ToSchema};

use super::request::JobRequest;
use super::{ErrorBody, client};
use crate::app::App;
use crate::body::{Json, json};
use crate::catalogue::named;
use crate::fault::Fault;
use crate::input;
use crate::job::{Job, Phase, Status, Upscale, UpscaleBy, Work};
use crate::order::unknown;

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
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Json(request): Json<JobRequest>,
) -> Result<impl IntoResponse, Fault> {
    // Pictures are decoded, and folders are looked into.
    let job = blocking(move || {
        let order = request.draft(&app.options.limits)?.settle(&app.catalogue, &app.options.limits)?;
        app.submit(client(&headers, address), Work::Draw(Box::new(order)))
    })
    .await?;
    taken(&job)
}

/// The response to a job that waits.
pub(super) fn taken(job: &Job) -> Result<impl IntoResponse + use<>, Fault> {
    Ok((StatusCode::ACCEPTED, [(LOCATION, format!("/smelt/v1/jobs/{}", job.id))], json(&job.status())?))
}

/// Does what takes a while where nobody else waits for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Fault::internal("the request broke off by a fault in the program")))
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
    let phase = |status: &Status| serde_json::to_value(status.phase).unwrap_or_default();
    let is_known = |wanted: &str| {
        let phases = [Phase::Queued, Phase::Loading, Phase::Drawing, Phase::Done, Phase::Failed, Phase::Cancelled];
        wanted == "active" || phases.iter().any(|phase| serde_json::to_value(phase).is_ok_and(|name| name == wanted))
    };
    let jobs = match which.phase.as_deref() {
        Some(wanted) if !is_known(wanted) => {
            return Err(Fault::field(
                "phase",
                format!(
                    "{wanted:?} is no phase; there are queued, loading, drawing, done, failed, cancelled and active"
                ),
            ));
        }
        Some("active") => all.filter(|status| !status.phase.is_over()).collect(),
        Some(wanted) => all.filter(|status| phase(status) == wanted).collect(),
        None => all.collect(),
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
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Json(request): Json<UpscaleRequest>,
) -> Result<impl IntoResponse, Fault> {
    let job = blocking(move || {
        let picture = input::picture("image", &request.image, &app.options.limits)?;
        let enlargement = request.scale.map_or(Enlargement::Own, Enlargement::By);
        let upscale = upscaling(&app, picture, &request.upscaler, enlargement)?;
        app.submit(client(&headers, address), Work::Upscale(Box::new(upscale)))
    })
    .await?;
    taken(&job)
}

/// Finds an upscaler, and refuses sizes that are too large.
pub(crate) fn upscaling(
    app: &App,
    given: input::Given,
    name: &str,
    enlargement: Enlargement,
) -> Result<Upscale, Fault> {
    let own = given.image.size();
    let factor = |scale: f64| Size { width: scaled(own.width, scale), height: scaled(own.height, scale) };
    let size = match enlargement {
        Enlargement::To(size) => size,
        Enlargement::By(scale) if !(scale.is_finite() && scale > 0.0) => {
            return Err(Fault::field(
                "scale",
                format!("{scale} is no number of times that a picture could become as large"),
            ));
        }
        Enlargement::By(scale) => factor(scale),
        Enlargement::Own => factor(2.0),
    };
    let most = app.options.limits.pixels.saturating_mul(16);
    if size.width.saturating_mul(size.height) > most {
        return Err(Fault::field("scale", format!("{size} has more than the {most} pixels that are made here")));
    }
    let by = match name.to_lowercase().as_str() {
        "lanczos" => UpscaleBy::Filter(Filter::Lanczos, size),
        "nearest" => UpscaleBy::Filter(Filter::Nearest, size),
        _ => {
            let all = app.catalogue.upscalers();
            let found = named(&all, name)
                .ok_or_else(|| Fault::field("upscaler", unknown("upscaler", name, "--upscaler-dir", &all)))?;
            UpscaleBy::Network(found.path.as_path().into())
        }
    };
    // What cannot be read is not carried over; the picture itself is.
    let found = smelt::metadata::read_bytes(&given.bytes).ok();
    Ok(Upscale { picture: given.image, found, name: name.to_owned(), by, enlargement })
}

fn scaled(side: usize, scale: f64) -> usize {
    ((side as f64 * scale).round() as usize).max(1)
}
