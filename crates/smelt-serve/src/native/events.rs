//! What happens to a job, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use tokio_stream::wrappers::BroadcastStream;

use super::ErrorBody;
use super::jobs::known;
use crate::app::App;
use crate::fault::Fault;
use crate::job::{Job, JobEvent};

/// What happens to a job: first what happened already and still matters, then everything as it happens. The stream ends with
/// `done`, `error` or `cancelled`.
#[utoipa::path(get, path = "/smelt/v1/jobs/{id}/events", tag = "jobs", params(("id" = String, Path, description = "The job.")), responses(
    (status = 200, description = "Server-sent events; `event` is the name, `data` a JobEvent.", content_type = "text/event-stream", body = String),
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

/// Everything that is told of a job, until it is over.
pub(crate) fn follow(job: &Arc<Job>) -> impl Stream<Item = Arc<JobEvent>> + use<> {
    let (status, preview, receiver) = job.follow();
    let before = JobEvent::so_far(&status, preview.as_ref()).into_iter().map(Arc::new);
    let is_over = status.phase.is_over();
    // Whoever lags behind goes on with what is newest.
    let after = BroadcastStream::new(receiver).filter_map(async |event| event.ok());
    let after = if is_over { stream::empty().boxed() } else { after.boxed() };
    let mut ended = false;
    stream::iter(before).chain(after).take_while(move |event| {
        let goes_on = !ended;
        ended |= event.is_last();
        async move { goes_on }
    })
}

fn written(event: &JobEvent) -> Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    Event::default().event(event.name()).data(data)
}
