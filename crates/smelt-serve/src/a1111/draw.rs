//! `txt2img` and `img2img`: a request waits for its job and gets all pictures at once.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json as Answer};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::asked::Asked;
use super::info::{self, About};
use super::settings::Shared;
use super::settle::{Settled, settle, told};
use crate::app::App;
use crate::blocking::blocking;
use crate::body::Json;
use crate::call::{Call, Finished};
use crate::client::Client;
use crate::fault::Fault;
use crate::job::{Job, Work};

type Body = Json<Map<String, Value>>;

pub(super) async fn txt2img(
    State(app): State<Arc<App>>,
    Extension(shared): Extension<Arc<Shared>>,
    Client(client): Client,
    Json(body): Body,
) -> Result<Answer<Value>, Fault> {
    draw(app, &shared, client, body, false).await
}

pub(super) async fn img2img(
    State(app): State<Arc<App>>,
    Extension(shared): Extension<Arc<Shared>>,
    Client(client): Client,
    Json(body): Body,
) -> Result<Answer<Value>, Fault> {
    draw(app, &shared, client, body, true).await
}

/// A job that was taken, and what its response has beside pictures.
struct Taken {
    job: Arc<Job>,
    about: About,
    echo: Map<String, Value>,
    sends_images: bool,
}

async fn draw(
    app: Arc<App>,
    shared: &Arc<Shared>,
    client: String,
    body: Map<String, Value>,
    is_image: bool,
) -> Result<Answer<Value>, Fault> {
    let (settings, own) = (shared.get(), app.clone());
    let taken = blocking(move || {
        let asked = Asked::read(body, is_image, &settings, &own.options)?;
        take(&own, client, asked)
    });
    let Taken { job, about, echo, sends_images } = taken.await?;
    let call = Call::new(app, job);
    let status = call.end().await?;
    // Files are read, and much is encoded.
    blocking(move || Ok(answer(&call.pictures(&status)?, about, echo, sends_images))).await
}

fn answer(pictures: &[Finished], about: About, mut echo: Map<String, Value>, sends_images: bool) -> Answer<Value> {
    info::drawn(&mut echo, pictures);
    let info = about.info(pictures);
    let image = |one: &Finished| STANDARD.encode(one.bytes.as_slice());
    let images: Vec<String> = if sends_images { pictures.iter().map(image).collect() } else { Vec::new() };
    Answer(json!({ "images": images, "parameters": echo, "info": info.to_string() }))
}

/// Settles a request and lets it wait for its turn.
fn take(app: &App, client: String, mut asked: Asked) -> Result<Taken, Fault> {
    let is_repeated = asked.begin.as_ref().is_some_and(|begin| begin.is_repeated);
    let Settled { order, notes } = settle(app, &mut asked)?;
    if asked.keeps_model && asked.model.is_some() {
        app.catalogue.choose(&order.model);
    }
    let echo = echo(&asked, &order, is_repeated);
    let about = About::of(&asked, &order, notes);
    let job = app.submit(client, Work::Draw(Box::new(order)))?;
    if let Some(name) = &asked.task {
        app.name(name, &job);
    }
    Ok(Taken { job, about, echo, sends_images: asked.sends_images })
}

/// The request with what was settled of it.
fn echo(asked: &Asked, order: &crate::order::Order, is_repeated: bool) -> Map<String, Value> {
    let mut echo = asked.echo.clone();
    let (sampler, schedule) = told(order.request.scheduler);
    let size = info::size(asked, order);
    let settled = [
        ("prompt", json!(order.request.prompt)),
        ("negative_prompt", json!(order.request.negative_prompt.clone().unwrap_or_default())),
        ("seed", json!(order.request.seed)),
        ("subseed", json!(order.request.variation.map(|other| other.seed))),
        ("subseed_strength", json!(asked.noise.subseed_strength)),
        ("batch_size", json!(asked.batch_size)),
        ("n_iter", json!(asked.n_iter)),
        ("steps", json!(order.request.steps)),
        ("cfg_scale", json!(order.request.guidance)),
        ("width", json!(size.map(|[width, _]| width))),
        ("height", json!(size.map(|[_, height]| height))),
        ("sampler_name", sampler),
        ("scheduler", schedule),
    ];
    echo.extend(settled.map(|(key, value)| (key.to_owned(), value)));
    if !is_repeated {
        for key in ["init_images", "mask"] {
            if let Some(value) = echo.get_mut(key) {
                *value = Value::Null;
            }
        }
    }
    echo
}
