//! How far the job is that runs, and how it is ended early.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Query, State};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::body::Json;
use crate::clock::stamp;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::job::{Job, Phase, data_uri};

/// How far the job is that runs, with the latest preview.
pub(super) async fn progress(
    State(app): State<Arc<App>>,
    Query(query): Query<Map<String, Value>>,
) -> Result<Answer<Value>, Fault> {
    let skips = Fields::new(query).flag("skip_current_image")?.unwrap_or(false);
    let Some(job) = app.current().filter(|job| !job.status().phase.is_over()) else {
        let state = state(None);
        return Ok(Answer(
            json!({ "progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": null, "textinfo": null }),
        ));
    };
    let (steps, preview) = (job.status().steps, job.preview().filter(|_| !skips));
    Ok(Answer(json!({
        // Above 0 from the start, by which clients tell a server that works from one that rests.
        "progress": (0.01 + steps.progress).min(1.0),
        "eta_relative": steps.eta_s.unwrap_or(0.0),
        "state": state(Some(&job)),
        "current_image": preview.map(|preview| STANDARD.encode(preview.png.as_slice())),
        "textinfo": null,
    })))
}

fn state(job: Option<&Job>) -> Value {
    let status = job.map(Job::status);
    let steps = status.as_ref().map(|status| status.steps).unwrap_or_default();
    let has_begun = steps.n_pictures > 0;
    // As there: none at rest, and unknown right after the start.
    let job_count = match job {
        None => 0,
        Some(_) if !has_begun => -1,
        Some(_) => i64::try_from(steps.n_pictures).unwrap_or(i64::MAX),
    };
    json!({
        "skipped": job.is_some_and(|job| job.n_skipped() > 0),
        "interrupted": job.is_some_and(|job| job.is_interrupted() || job.is_cancelled()),
        "stopping_generation": job.is_some_and(Job::is_interrupted),
        "job": job.map_or("", |job| job.id.as_str()),
        "job_count": job_count,
        "job_timestamp": status.as_ref().map_or_else(|| "0".to_owned(), |status| stamp(status.created)),
        "job_no": steps.picture,
        "sampling_step": steps.step,
        "sampling_steps": steps.n_steps,
    })
}

/// Ends the job that runs; its call gets the pictures that are finished.
pub(super) async fn interrupt(State(app): State<Arc<App>>) -> Answer<Value> {
    if let Some(job) = app.current() {
        job.interrupt();
    }
    Answer(json!({}))
}

/// Ends the picture that is drawn; the job goes on with the next.
pub(super) async fn skip(State(app): State<Arc<App>>) -> Answer<Value> {
    if let Some(job) = app.current() {
        job.skip();
    }
    Answer(Value::Null)
}

/// How far a job of that name (`force_task_id`) is.
pub(super) async fn task(
    State(app): State<Arc<App>>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Answer<Value>, Fault> {
    let mut fields = Fields::new(body);
    let name = fields.word("id_task")?;
    let last = fields.whole("id_live_preview")?.unwrap_or(-1);
    let shows = fields.flag("live_preview")?.unwrap_or(true);
    let job = name.and_then(|name| app.named(&name).or_else(|| app.job(&name)));
    let status = job.as_ref().map(|job| job.status());
    let phase = status.as_ref().map(|status| status.phase);
    let is_queued = phase == Some(Phase::Queued);
    let is_over = phase.is_some_and(Phase::is_over);
    let steps = status.as_ref().map(|status| status.steps).unwrap_or_default();
    let preview = job.and_then(|job| job.preview()).filter(|preview| shows && preview.n as i64 != last);
    let textinfo = match status.and_then(|status| status.position) {
        Some(position) if is_queued => Some(format!("In queue: {position} before this one")),
        _ => None,
    };
    Ok(Answer(json!({
        "active": phase.is_some() && !is_queued && !is_over,
        "queued": is_queued,
        "completed": is_over,
        "progress": if phase.is_some() { Some(steps.progress) } else { None },
        "eta": steps.eta_s,
        "live_preview": preview.as_ref().map(|preview| data_uri("image/png", &preview.png)),
        "id_live_preview": preview.map_or(last, |preview| preview.n as i64),
        "textinfo": textinfo,
    })))
}

/// Jobs that wait, by the names that clients gave them.
pub(super) async fn pending(State(app): State<Arc<App>>) -> Answer<Value> {
    let tasks = app.names_of(&app.queue.jobs());
    Answer(json!({ "size": tasks.len(), "tasks": tasks }))
}
