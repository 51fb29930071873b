//! What happens to a job, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt};
use utoipa::ToSchema;

use super::ErrorBody;
use super::jobs::known;
use crate::app::App;
use crate::fault::Fault;
use crate::job::{JobEvent, follow};

/// An event as it is written.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it only describes what is written")]
pub(super) struct Told {
    /// What happened: `queued`, `loading`, `drawing`, `step`, `preview`, `picture`, `warning`, `done`, `error` or `cancelled`.
    event: String,
    /// A JobEvent as JSON.
    data: String,
}

/// What happens to a job: first what happened already and still matters, then everything as it happens. The stream ends with
/// `done`, `error` or `cancelled`.
#[utoipa::path(get, path = "/smelt/v1/jobs/{id}/events", tag = "jobs", params(("id" = String, Path, description = "The job.")), responses(
    (status = 200, description = "Server-sent events; `event` is the name, `data` a JobEvent.", content_type = "text/event-stream", body = Told),
    (status = 404, description = "There is no such job.", body = ErrorBody),
))]
pub(super) async fn events(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Fault> {
    let job = known(&app, &id)?;
    let events = follow(&job).map(|event| Ok(written(&event)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

fn written(event: &JobEvent) -> Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    Event::default().event(event.name()).data(data)
}
