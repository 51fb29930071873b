//! What the server can do, and what it takes.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use smelt::{Emphasis, Enlarge, Preprocess, Request, Sampler, Spread};
use utoipa::ToSchema;

use crate::app::App;
use crate::blocking::blocking;
use crate::body::json;
use crate::catalogue::Named;
use crate::fault::Fault;

/// A name, and what it is called for people.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Choice {
    name: String,
    label: String,
}

/// What the server can do, and what it takes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Capabilities {
    /// Name and version.
    software: &'static str,
    samplers: Vec<Choice>,
    /// Spreads of noise levels, which names of samplers may have behind them: `euler-karras`.
    spreads: Vec<Choice>,
    /// Languages of prompts.
    emphases: Vec<Choice>,
    /// Ways to enlarge between two passes.
    enlarge: Vec<Choice>,
    /// What becomes of a picture before a ControlNet sees it.
    preprocess: Vec<Choice>,
    loras: Vec<String>,
    embeddings: Vec<String>,
    controlnets: Vec<String>,
    upscalers: Vec<String>,
    /// Whether models of the Hub are fetched.
    downloads: bool,
    /// Whether finished pictures are kept in files.
    keeps: bool,
    /// Steps where neither a request nor its model says how many.
    usual_steps: usize,
    /// The same of guidance.
    usual_guidance: f32,
    /// Jobs that may wait.
    queue: usize,
    /// Jobs that wait.
    waiting: usize,
    /// Pixels of a picture that is drawn, at most.
    pixels: usize,
    /// Steps of a picture, at most.
    steps: usize,
    /// Pictures of a job, at most.
    pictures: usize,
    /// Bytes of a request, at most.
    body_bytes: usize,
}

fn choice(name: impl ToString, label: impl ToString) -> Choice {
    Choice { name: name.to_string(), label: label.to_string() }
}

fn names(all: Vec<Named>) -> Vec<String> {
    all.into_iter().map(|one| one.name).collect()
}

/// What the server can do, and what it takes.
#[utoipa::path(get, path = "/smelt/v1/capabilities", tag = "server", responses((status = 200, body = Capabilities)))]
pub(super) async fn capabilities(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Fault> {
    let found = blocking(move || {
        let (catalogue, limits, usual) = (&app.catalogue, &app.options.limits, Request::default());
        Ok(Capabilities {
            software: smelt::SOFTWARE,
            samplers: Sampler::all().map(|(sampler, label)| choice(sampler.exact_name(), label)).collect(),
            spreads: Spread::ALL.into_iter().map(|spread| choice(spread.name(), spread.label())).collect(),
            emphases: Emphasis::ALL.into_iter().map(|emphasis| choice(emphasis.name(), emphasis.summary())).collect(),
            enlarge: Enlarge::all().map(|(name, words)| choice(name, words)).collect(),
            preprocess: [Preprocess::None, Preprocess::Canny(smelt::image::Canny::default())]
                .map(|p| choice(p, p))
                .into(),
            loras: names(catalogue.loras()),
            embeddings: catalogue.embeddings(),
            controlnets: names(catalogue.controlnets()),
            upscalers: names(catalogue.upscalers()),
            downloads: app.options.allow_downloads,
            keeps: app.options.keep.is_some(),
            usual_steps: usual.steps,
            usual_guidance: usual.guidance,
            queue: limits.queue,
            waiting: app.queue.len(),
            pixels: limits.pixels,
            steps: limits.steps,
            pictures: limits.pictures,
            body_bytes: limits.body_bytes,
        })
    });
    json(&found.await?)
}
