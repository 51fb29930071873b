//! What happens to a job, as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use utoipa::ToSchema;

use super::ErrorBody;
use super::jobs::known;
use crate::app::App;
use crate::fault::Fault;
use crate::job::{Job, JobEvent};

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

/// Everything that is told of a job, until it is over.
pub(crate) fn follow(job: &Arc<Job>) -> impl Stream<Item = Arc<JobEvent>> + use<> {
    let (status, preview, receiver) = job.follow();
    let before: VecDeque<_> = JobEvent::so_far(&status, preview.as_ref()).into_iter().map(Arc::new).collect();
    stream::unfold((before, receiver), async |(mut before, mut receiver)| {
        let event = match before.pop_front() {
            Some(event) => event,
            None => next(receiver.as_mut()?).await?,
        };
        // Nothing comes behind the last one.
        let receiver = receiver.filter(|_| !event.is_last());
        Some((event, (before, receiver)))
    })
}

/// The next event; whoever lags behind goes on with what is newest.
async fn next(receiver: &mut Receiver<Arc<JobEvent>>) -> Option<Arc<JobEvent>> {
    loop {
        match receiver.recv().await {
            Ok(event) => return Some(event),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

fn written(event: &JobEvent) -> Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    Event::default().event(event.name()).data(data)
}
